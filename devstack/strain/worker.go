package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/contract"
)

// burst is what waits for a worker when it starts: a transcript for each of some videos.
type burst struct {
	name    string
	backlog backlog
	slow    time.Duration // that storage takes for an upload
}

func (c *command) bursts() []burst {
	const kib, mib = 1 << 10, 1 << 20
	batches := backlog{records: c.Large / 4, size: mib - 4*kib, codec: kgo.ZstdCompression(), batch: 8 * mib}
	usual := backlog{records: c.Large, size: 80 * kib, codec: kgo.ZstdCompression(), batch: 8 * mib}
	alone := backlog{records: c.Large / 4, size: mib - 4*kib, codec: kgo.NoCompression(), batch: mib}
	whole := backlog{records: c.Largest, size: largest - 64*kib, codec: kgo.NoCompression(), batch: maxMessageBytes}
	deep := backlog{records: c.Largest, size: contract.MaxStoredBytes / 30, codec: kgo.NoCompression(), batch: maxMessageBytes, deep: true}
	return []burst{
		{"of 80 KB, 100 to a batch", usual, 0},
		{"of 1 MB", alone, 0},
		{"of 1 MB, 8 to a batch, storage slow", batches, time.Second},
		{"of 16 MiB, storage slow", whole, time.Second / 2},
		{"of 2 MiB, zeros in lists that become 40 MiB, storage slow", deep, time.Second},
	}
}

func (c *command) worker(ctx context.Context, r *report) error {
	s, err := c.servers(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	for _, b := range c.bursts() {
		name := fmt.Sprintf("%d transcripts %s", b.backlog.records, b.name)
		if !strings.Contains(name, c.Match) {
			continue
		}
		m, err := s.worker(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.add(name, m)
	}
	return nil
}

// worker measures a worker that finds a burst when it starts.
func (s *servers) worker(ctx context.Context, b burst) (m measurement, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := s.begin(ctx); err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.end(ctx)) }()
	ids, err := s.videos(ctx, b.backlog.records)
	if err != nil {
		return m, err
	}
	if err := s.produce(ctx, b.backlog, ids); err != nil {
		return m, fmt.Errorf("produce: %w", err)
	}
	bridge, err := s.start(ctx, "kafkabridge")
	if err != nil {
		return m, err
	}
	defer bridge.Stop(context.Background())
	if err := await(ctx, bridge, func() (bool, error) { return committed(ctx, s.admin, s.topic, s.topic, len(ids)) }); err != nil {
		return m, fmt.Errorf("not all was signalled: %w", err)
	}
	if _, err := stop(bridge); err != nil {
		return m, fmt.Errorf("the bridge: %w", err)
	}
	if b.slow > 0 {
		if err := s.storage.Order(ctx, storage.Fault{Kind: storage.Slow, Count: len(ids), Delay: storage.Duration(b.slow)}); err != nil {
			return m, err
		}
		defer func() { err = errors.Join(err, s.storage.Clear(context.WithoutCancel(ctx))) }()
	}

	started := time.Now()
	worker, err := s.start(ctx, "worker")
	if err != nil {
		return m, err
	}
	defer worker.Stop(context.Background())
	if err := await(ctx, worker, func() (bool, error) {
		n, err := s.transcribed(ctx, ids)
		return n == len(ids), err
	}); err != nil {
		return m, fmt.Errorf("not all was stored: %w", err)
	}
	m.took = time.Since(started)
	if m.peak, err = stop(worker); err != nil {
		return m, fmt.Errorf("the worker: %w", err)
	}
	return m, s.stored(ctx, b.backlog, ids)
}

// produce puts a transcript for each video on the topic.
func (s *servers) produce(ctx context.Context, b backlog, ids []contract.VideoID) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")), kgo.ProducerBatchCompression(b.codec),
		kgo.ProducerBatchMaxBytes(b.batch), kgo.ProducerLinger(100*time.Millisecond), kgo.MaxBufferedBytes(64<<20))
	if err != nil {
		return err
	}
	defer client.Close()
	return produce(ctx, client, s.topic, b, func(i int) string { return string(ids[i]) })
}

// stored checks that what is in storage is what was sent, of the first and the last.
func (s *servers) stored(ctx context.Context, b backlog, ids []contract.VideoID) error {
	client, err := newStorage()
	if err != nil {
		return err
	}
	defer client.Close()
	values := newValues(b)
	for _, i := range []int{0, len(ids) - 1} {
		_, want, err := contract.DecodeToStore([]byte(ids[i]), []byte(strings.Join(values.of(i, string(ids[i])), "")))
		if err != nil {
			return err
		}
		got, err := client.Get(ctx, ids[i].TranscriptPath())
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("video %s has another transcript than was sent", ids[i])
		}
	}
	return nil
}
