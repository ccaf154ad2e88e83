package kafkabridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

const (
	transcripts       = "update_transcribe"
	compressions      = "finish_compress"
	transcriptGroup   = "codeendelea-transcription-consumer"
	compressionGroup  = "codeendelea-compression-consumer"
	transcriptGrave   = transcripts + contract.DeadLetterSuffix
	compressionGrave  = compressions + contract.DeadLetterSuffix
	patience          = 2 * time.Minute // only a failure meets it
	defaultPartitions = 2
)

// rig is a broker in the process, with the topics of the contract, and a client to look at it with.
type rig struct {
	t       *testing.T
	cluster *kfake.Cluster
	cl      *kgo.Client
	admin   *kadm.Client

	mu      sync.Mutex
	commits []committed
	log     strings.Builder
}

// committed is a commit that the broker was asked for.
type committed struct {
	Group     string
	Member    string
	Partition int32
	Offset    int64
}

func newRig(t *testing.T, partitions int32, opts ...kfake.Opt) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1),
		kfake.SeedTopics(partitions, transcripts, compressions),
		kfake.SeedTopics(1, transcriptGrave, compressionGrave),
		kfake.GroupMinSessionTimeout(time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	t.Cleanup(cluster.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(64<<20), kgo.MetadataMinAge(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	r := &rig{t: t, cluster: cluster, cl: cl, admin: kadm.NewClient(cl)}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1, When: func(req kmsg.Request) bool {
		r.noteCommit(req.(*kmsg.OffsetCommitRequest))
		return true
	}})
	t.Cleanup(func() {
		if t.Failed() {
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Log(r.log.String())
		}
	})
	return r
}

func (r *rig) noteCommit(req *kmsg.OffsetCommitRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			c := committed{Group: req.Group, Member: req.MemberID, Partition: p.Partition, Offset: p.Offset}
			if !slices.Contains(r.commits, c) {
				r.commits = append(r.commits, c)
			}
		}
	}
}

// commitsOf are all commits for a group that the broker was ever asked for.
func (r *rig) commitsOf(group string) (out []committed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.commits {
		if c.Group == group {
			out = append(out, c)
		}
	}
	return out
}

// Write collects the log for a test that fails.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *rig) logged(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.log.String(), text)
}

// running is a bridge that runs.
type running struct {
	*Bridge
	stop func()
}

// start runs a bridge that is in more of a hurry than in production.
func (r *rig) start(temporal Signaller, change func(*Config)) *running {
	r.t.Helper()
	b := r.newBridge(temporal, change)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			r.t.Error("Run does not end")
		}
		b.Close()
	})
	r.t.Cleanup(stop)
	return &running{Bridge: b, stop: stop}
}

func (r *rig) newBridge(temporal Signaller, change func(*Config)) *Bridge {
	r.t.Helper()
	cfg := Config{
		Kafka:              kafka.Config{Brokers: r.cluster.ListenAddrs(), InitialRetryTime: 10 * time.Millisecond},
		Transcription:      Source{Topic: transcripts, Group: transcriptGroup},
		Compression:        Source{Topic: compressions, Group: compressionGroup},
		SignalInterval:     50 * time.Millisecond,
		RetryInitial:       20 * time.Millisecond,
		RetryMax:           50 * time.Millisecond,
		CommitInterval:     20 * time.Millisecond,
		TopicCheckInterval: 200 * time.Millisecond,
		DrainTimeout:       5 * time.Second,
		Version:            "v1.2.3",
		Host:               "here",
	}
	if change != nil {
		change(&cfg)
	}
	b, err := New(cfg, temporal, slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// put produces records to one partition, in order.
func (r *rig) put(topic string, partition int32, records ...*kgo.Record) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for _, rec := range records {
		rec.Topic, rec.Partition = topic, partition
	}
	if err := r.cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		r.t.Fatalf("produce to %s: %v", topic, err)
	}
}

// transcript is a transcription result with words of about that many bytes.
func transcript(video, bytes int) *kgo.Record {
	var words strings.Builder
	for at := 0; words.Len() < max(bytes-100, 1); at++ {
		if at > 0 {
			words.WriteByte(',')
		}
		fmt.Fprintf(&words, `{"text":"w%d","start":%d,"end":%d}`, at, at, at+1)
	}
	id := videoID(video)
	value := fmt.Sprintf(`{"video_id":"%s","transcription":{"duration":2.5,"language":"en","words":[%s]}}`, id, words.String())
	return &kgo.Record{Key: []byte(id), Value: []byte(value)}
}

func compression(video int) *kgo.Record {
	return &kgo.Record{Key: []byte(videoID(video)), Value: fmt.Appendf(nil, "https://cdn.example.com/%d.mp4", video)}
}

func each(from, to int, record func(int) *kgo.Record) (out []*kgo.Record) {
	for i := from; i < to; i++ {
		out = append(out, record(i))
	}
	return out
}

func small(video int) *kgo.Record { return transcript(video, 0) }

// eventually waits for a condition, with a deadline.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			r.t.Fatalf("not in time: %s", what)
		}
	}
}

// offsets are those committed for a group, by partition; a partition without one is left out.
func (r *rig) offsets(group string) map[int32]int64 {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := r.admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		r.t.Fatalf("fetch offsets: %v", err)
	}
	out := make(map[int32]int64)
	resp.Each(func(o kadm.OffsetResponse) {
		if o.At >= 0 {
			out[o.Partition] = o.At
		}
	})
	return out
}

func (r *rig) eventuallyCommitted(group string, want map[int32]int64) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%s at %v", group, want), func() bool {
		got := r.offsets(group)
		for p, o := range want {
			if got[p] != o {
				return false
			}
		}
		return len(got) == len(want)
	})
}

// read returns the first n records of a topic by partition and offset.
func (r *rig) read(topic string, n int) []*kgo.Record {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.ConsumeTopics(topic))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			r.t.Fatalf("%d of %d records of %s: %v", len(records), n, topic, err)
		}
		records = append(records, fetches.Records()...)
	}
	slices.SortFunc(records, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return records
}

func (r *rig) topicID(topic string) uuid.UUID { return uuid.UUID(r.cluster.TopicInfo(topic).TopicID) }

// makeAnew deletes a topic and makes another of the same name.
func (r *rig) makeAnew(topic string, partitions int32) {
	r.t.Helper()
	if err := errors.Join(r.cluster.DeleteTopic(topic), r.cluster.CreateTopic(topic, partitions, nil)); err != nil {
		r.t.Fatal(err)
	}
	r.cl.PurgeTopicsFromClient(topic)
}

// headers by key.
func headers(rec *kgo.Record) map[string]string {
	out := make(map[string]string)
	for _, h := range rec.Headers {
		out[h.Key] = string(h.Value)
	}
	return out
}

// gate refuses signals until it is opened.
type gate struct {
	mu     sync.Mutex
	closed bool
	only   func(signal) bool        // nil: all
	tries  map[contract.VideoID]int // of those that were refused
}

func (g *gate) answer(_ context.Context, s signal) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed || g.only != nil && !g.only(s) {
		return nil
	}
	if g.tries == nil {
		g.tries = make(map[contract.VideoID]int)
	}
	g.tries[s.Video]++
	return errors.New("Temporal is away")
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}

func (g *gate) attempts() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tries := range g.tries {
		n += tries
	}
	return n
}

// eventuallyAgain waits until a video was refused twice from now on: the second time, all that had come before now was
// in what was sent.
func (r *rig) eventuallyAgain(g *gate, video contract.VideoID) {
	r.t.Helper()
	tries := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.tries[video]
	}
	seen := tries()
	r.eventually("it is tried again", func() bool { return tries() >= seen+2 })
}

// videos of signals, in order.
func videos(signals []signal) (out []contract.VideoID) {
	for _, s := range signals {
		out = append(out, s.Video)
	}
	return out
}

// warmVideo is the video of the records that warmUp produces.
var warmVideo = videoID(-1)

// warmUp produces to partition 0 of the transcription results until the bridge has committed all of it, and returns the
// committed offset: from then on it has certainly found where to begin.
func (r *rig) warmUp(group string) (committed int64) {
	r.t.Helper()
	pause := 100 * time.Millisecond
	r.eventually("warm-up", func() bool {
		rec := small(-1)
		r.put(transcripts, 0, rec)
		committed = rec.Offset + 1
		for deadline := time.Now().Add(pause); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
			if r.offsets(group)[0] == committed {
				return true
			}
		}
		pause *= 2 // a busy machine takes longer to commit
		return false
	})
	return committed
}
