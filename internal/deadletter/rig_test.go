package deadletter_test

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/deadletter"
	"github.com/codeendelea/vidflow/internal/kafka"
)

const (
	transcripts  = "update_transcribe"
	compressions = "finish_compress"
	patience     = 2 * time.Minute // only a failure meets it
	videoID      = "0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01"
)

var (
	topicID = uuid.MustParse("0f0e0d0c-0b0a-4900-8807-060504030201")
	noon    = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
)

// rig is a broker in the process, with the topics of results and of their dead letters.
type rig struct {
	t       *testing.T
	cluster *kfake.Cluster
	cfg     kafka.Config
	cl      *kgo.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, transcripts, compressions,
		transcripts+contract.DeadLetterSuffix, compressions+contract.DeadLetterSuffix))
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	t.Cleanup(cluster.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &rig{t: t, cluster: cluster, cl: cl, cfg: kafka.Config{
		Brokers: cluster.ListenAddrs(), ConnectionTimeout: patience, RequestTimeout: patience,
		Retries: 3, InitialRetryTime: 10 * time.Millisecond,
	}}
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	r.t.Cleanup(cancel)
	return ctx
}

func (r *rig) box() *deadletter.Box {
	r.t.Helper()
	box, err := deadletter.Open(r.cfg, quiet(), transcripts, compressions)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(box.Close)
	return box
}

func (r *rig) producer() *kafka.Producer {
	r.t.Helper()
	p, err := kafka.NewProducer(r.cfg, quiet(), "test")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.Close)
	return p
}

// death is a letter as the bridge writes it.
type death struct {
	topic, key, value, class, reason string
	origin                           int64 // offset
	minute                           int   // after noon
	without                          bool
}

func (r *rig) bury(deaths ...death) {
	r.t.Helper()
	for _, d := range deaths {
		topic := d.topic
		if topic == "" {
			topic = transcripts
		}
		rec := &kgo.Record{
			Topic: topic + contract.DeadLetterSuffix, Value: []byte(d.value), Timestamp: noon.Add(time.Duration(d.minute) * time.Minute),
			Headers: []kafka.Header{
				{Key: "theirs", Value: []byte("kept")},
				{Key: contract.HeaderOriginTopic, Value: []byte(topic)},
				{Key: contract.HeaderOriginTopicID, Value: []byte(topicID.String())},
				{Key: contract.HeaderOriginPartition, Value: []byte("1")},
				{Key: contract.HeaderOriginOffset, Value: strconv.AppendInt(nil, d.origin, 10)},
				{Key: contract.HeaderOriginTime, Value: strconv.AppendInt(nil, noon.UnixMilli(), 10)},
				{Key: contract.HeaderReason, Value: []byte(d.reason)},
				{Key: contract.HeaderClass, Value: []byte(d.class)},
				{Key: contract.HeaderVersion, Value: []byte("v1.2.3")},
				{Key: contract.HeaderHost, Value: []byte("bridge-0")},
			},
		}
		if d.key != "" {
			rec.Key = []byte(d.key)
		}
		if d.without {
			rec.Value = nil
			rec.Headers = append(rec.Headers, kafka.Header{Key: contract.HeaderSize, Value: []byte("12000000")},
				kafka.Header{Key: contract.HeaderSHA256, Value: []byte("5a5a")})
		}
		if err := r.cl.ProduceSync(r.ctx(), rec).FirstErr(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// records are all of a topic.
func (r *rig) records(topic string) (records []*kgo.Record) {
	r.t.Helper()
	s, err := kafka.NewScanner(r.cfg, quiet(), "test")
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.Close()
	spans, err := s.Spans(r.ctx(), kafka.Start(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := s.Scan(r.ctx(), spans, false, func(rec *kgo.Record) error {
		records = append(records, rec)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return records
}

func (r *rig) committed(group string) (offsets int64) {
	r.t.Helper()
	all, err := kadm.NewClient(r.cl).FetchOffsets(r.ctx(), group)
	if err != nil {
		return 0
	}
	all.Each(func(o kadm.OffsetResponse) { offsets += max(o.At, 0) })
	return offsets
}

func headers(rec *kgo.Record) map[string]string {
	m := make(map[string]string)
	for _, h := range rec.Headers {
		m[h.Key] = string(h.Value)
	}
	return m
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// logBuffer is a log that a test can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was logged so far.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually waits for a condition.
func (r *rig) eventually(what string, done func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			r.t.Fatalf("waited in vain for %s", what)
		}
	}
}
