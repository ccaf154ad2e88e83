package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/kafka"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/internal/contract"
)

const partitions = 4

// rig is a broker, and a Temporal of some kind.
type rig struct {
	binary   string
	dir      string
	brokers  string
	ops      string // where the bridge answers probes
	temporal string
	standIn  *standIn // nil where a server is used
	undo     []func()
}

// newRig starts what the bridge talks to.
func newRig(binary, temporal string) (_ *rig, err error) {
	r := &rig{binary: binary, temporal: temporal}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.dir, err = os.MkdirTemp("", "vidflow-strain-"); err != nil {
		return nil, err
	}
	r.undo = append(r.undo, func() { _ = os.RemoveAll(r.dir) })
	block, anchor, err := ports.Free()
	if err != nil {
		return nil, err
	}
	r.undo = append(r.undo, func() { _ = anchor.Close() })
	broker := kafka.New(kafka.Config{
		Dir: filepath.Join(r.dir, "kafka"), Port: block.Port(ports.Kafka), MaxMessageBytes: 16 << 20, Log: io.Discard,
	})
	if err := broker.Start(context.Background()); err != nil {
		return nil, err
	}
	r.undo = append(r.undo, func() { _ = broker.Stop(context.Background()) })
	r.brokers, r.ops = block.Addr(ports.Kafka), block.Addr(ports.BridgeOps)
	if temporal == "" {
		r.temporal = block.Addr(ports.TemporalGRPC)
		if r.standIn, err = startStandIn(r.temporal); err != nil {
			return nil, err
		}
		r.undo = append(r.undo, r.standIn.close)
	}
	return r, nil
}

func (r *rig) close() {
	for i := len(r.undo) - 1; i >= 0; i-- {
		r.undo[i]()
	}
}

// measurement of one backlog.
type measurement struct {
	took time.Duration
	peak int64 // resident memory, in bytes
}

// measure puts a backlog on topics of its own, has a bridge work it off, and checks that all of it arrived.
func (r *rig) measure(ctx context.Context, b backlog) (m measurement, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	id := uuid.NewString()[:8]
	client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers), kgo.ProducerBatchCompression(b.codec),
		kgo.ProducerBatchMaxBytes(b.batch), kgo.ProducerLinger(100*time.Millisecond), kgo.MaxBufferedBytes(64<<20))
	if err != nil {
		return m, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topics := []string{"transcribed-" + id, "compressed-" + id, "transcribed-" + id + contract.DeadLetterSuffix, "compressed-" + id + contract.DeadLetterSuffix}
	defer func() {
		_, e := admin.DeleteTopics(context.WithoutCancel(ctx), topics...)
		err = errors.Join(err, e)
	}()
	made, err := admin.CreateTopics(ctx, partitions, 1, nil, topics...)
	if err = errors.Join(err, made.Error()); err != nil {
		return m, err
	}
	if err := produce(ctx, client, topics[0], b, func(int) string { return uuid.NewString() }); err != nil {
		return m, err
	}

	r.standIn.begin(b.away)
	bridge, err := r.start(id, topics)
	if err != nil {
		return m, err
	}
	defer bridge.Stop(context.Background())
	started := time.Now()
	if b.away {
		if err := r.untilFull(ctx, bridge); err != nil {
			return m, err
		}
		r.standIn.open()
	}
	if err := await(ctx, bridge, func() (bool, error) { return committed(ctx, admin, "t-"+id, topics[0], b.records) }); err != nil {
		return m, fmt.Errorf("not all was committed: %w", err)
	}
	m.took = time.Since(started)
	if m.peak, err = peak(bridge.PID()); err != nil {
		return m, err
	}
	if err := bridge.Signal(syscall.SIGTERM); err != nil {
		return m, err
	}
	if err := bridge.Wait(); err != nil {
		return m, fmt.Errorf("the bridge ended: %w", err)
	}
	return m, r.arrived(ctx, admin, b, topics)
}

// arrived checks from outside that nothing was lost.
func (r *rig) arrived(ctx context.Context, admin *kadm.Client, b backlog, topics []string) error {
	if b.poison {
		ends, err := admin.ListEndOffsets(ctx, topics[2])
		if err != nil {
			return err
		}
		var letters int64
		ends.Each(func(o kadm.ListedOffset) { letters += o.Offset })
		if letters != int64(b.records) {
			return fmt.Errorf("%d dead letters of %d", letters, b.records)
		}
		return nil
	}
	if r.standIn == nil {
		return nil
	}
	if got := r.standIn.videos(); got != b.records {
		return fmt.Errorf("%d videos of %d were signalled", got, b.records)
	}
	return nil
}

func (r *rig) start(id string, topics []string) (*process.Process, error) {
	log, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(r.binary, "kafkabridge")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{
		"KAFKA_BROKERS=" + r.brokers, "KAFKA_SSL=false",
		"KAFKA_CONSUME_TOPIC=" + topics[0], "KAFKA_COMPRESSION_TOPIC=" + topics[1],
		"KAFKA_TRANSCRIPTION_GROUP=t-" + id, "KAFKA_COMPRESSION_GROUP=c-" + id,
		"TEMPORAL_ADDRESS=" + r.temporal, "TEMPORAL_NAMESPACE=default", "OPS_ADDR=" + r.ops, "LOG_FORMAT=json",
	}
	return process.Start(cmd, process.Options{})
}

// produce puts a backlog on a topic, the records for the videos that are named.
func produce(ctx context.Context, client *kgo.Client, topic string, b backlog, id func(i int) string) error {
	values := newValues(b)
	var failed error
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed = err // promises are called one after the other, and Flush comes after them
		}
	}
	for i := range b.records {
		video := id(i)
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(video), Value: []byte(strings.Join(values.of(i, video), ""))}, promise)
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	return failed
}

// values are transcripts of about a size that compress as well as real ones do.
type values struct{ words, end string }

func newValues(b backlog) values {
	if b.deep {
		const open, shut = "[[[[[[[[[[[[[[[", "]]]]]]]]]]]]]]]"
		return values{"", `]},"x":` + open + strings.Repeat("0,", (b.size-200)/2) + "0" + shut + "}"}
	}
	var words strings.Builder
	words.Grow(b.size)
	for at := 0; words.Len() < b.size-150; at++ {
		if at > 0 {
			words.WriteByte(',')
		}
		fmt.Fprintf(&words, `{"text":"%s","start":%d.%02d,"end":%d.%02d}`, vocabulary[(at*at+at/7)%len(vocabulary)], at/2, at*37%100, at/2+1, at*53%100)
	}
	if b.poison {
		return values{words.String(), "]}"} // never closed
	}
	return values{words.String(), "]}}"}
}

// of is the i-th transcript, in its parts: all but the first are the same for all.
func (v values) of(i int, video string) []string {
	return []string{fmt.Sprintf(`{"video_id":"%s","transcription":{"duration":%d.5,"language":"en","words":[`, video, 100_000+i), v.words, v.end}
}

var vocabulary = strings.Fields("the of and to in graph tree edge path is that cycle node for as with this search on are by be queue we it " +
	"which visited from order an first depth breadth at each has or not heap sorted time")

func committed(ctx context.Context, admin *kadm.Client, group, topic string, want int) (bool, error) {
	offsets, err := admin.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) || errors.Is(err, kerr.CoordinatorNotAvailable) {
		return false, nil // not there yet
	}
	if err != nil {
		return false, err
	}
	var sum int64
	for p := range int32(partitions) {
		if o, ok := offsets.Lookup(topic, p); ok && o.At > 0 {
			sum += o.At
		}
	}
	return sum == int64(want), nil
}

// untilFull waits until the bridge has taken nothing more in hand for a while.
func (r *rig) untilFull(ctx context.Context, bridge *process.Process) error {
	const still = 3 * time.Second
	last, since := -1.0, time.Now()
	return await(ctx, bridge, func() (bool, error) {
		now, err := r.received(ctx)
		if err != nil || now != last {
			last, since = now, time.Now()
		}
		return now > 0 && time.Since(since) > still, nil
	})
}

// received reads how many records the bridge has taken.
func (r *rig) received(ctx context.Context) (sum float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.ops+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if series, value, _ := strings.Cut(lines.Text(), " "); strings.HasPrefix(series, "vidflow_bridge_received_total{") {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, lines.Err()
}

// await repeats a look until it is true, the process has ended or the time is over.
func await(ctx context.Context, p *process.Process, look func() (bool, error)) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		done, err := look()
		if done || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-p.Done():
			return fmt.Errorf("it ended: %w", p.Wait())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// peak is the most memory that a process has had resident so far, as Linux counts it. What the kernel tells of one that
// has ended would not do: that counts also what it had, as a copy of this process, before it became another.
func peak(pid int) (bytes int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("memory can be measured on Linux alone: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("the kernel does not tell the peak of its memory")
}
