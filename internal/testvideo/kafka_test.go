package testvideo_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/kafkatool"
	"github.com/codeendelea/vidflow/internal/testvideo"
)

const (
	patience = 2 * time.Minute
	group    = "codeendelea-transcription-consumer"
)

var topics = kafkatool.Topics{Requests: "Transcribe", Transcripts: "update_transcribe", Compressions: "finish_compress"}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newConfig(t *testing.T) testvideo.KafkaConfig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics.Requests, topics.Transcripts, topics.Compressions,
		topics.Transcripts+contract.DeadLetterSuffix))
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	t.Cleanup(cluster.Close)
	return testvideo.KafkaConfig{
		Kafka: kafka.Config{Brokers: cluster.ListenAddrs(), RequestTimeout: patience}, Topics: topics, Group: group,
		VideoID: contract.VideoID(uuid.NewString()), VideoURL: "https://example.org/test.mp4", Timeout: patience,
	}
}

// serve answers each request with records, as the services do, and takes the results as the bridge does.
func serve(t *testing.T, cfg testvideo.KafkaConfig, answer func(request *kgo.Record) []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	open := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cfg.Kafka.Brokers...)}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		return cl
	}
	services := open(kgo.ConsumeTopics(topics.Requests), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	bridge := open(kgo.ConsumeTopics(topics.Transcripts), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ended := make(chan struct{}, 2)
	go func() {
		defer func() { ended <- struct{}{} }()
		for ctx.Err() == nil {
			services.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
				for _, r := range answer(rec) {
					services.ProduceSync(ctx, r)
				}
			})
		}
	}()
	go func() {
		defer func() { ended <- struct{}{} }()
		for ctx.Err() == nil {
			if !bridge.PollFetches(ctx).Empty() {
				_ = bridge.CommitUncommittedOffsets(ctx)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		<-ended
		services.Close()
		bridge.Close()
	})
}

func transcript(key []byte) *kgo.Record {
	return &kgo.Record{Topic: topics.Transcripts, Key: key, Value: []byte(`{"video_id":"` + string(key) +
		`","transcription":{"duration":2.5,"language":"en","words":[{"text":"a","start":0,"end":1}]}}`)}
}

func TestOverKafka(t *testing.T) {
	t.Parallel()
	other := []byte(uuid.NewString())
	for name, row := range map[string]struct {
		answer func(request *kgo.Record) []*kgo.Record
		want   []string // names of the steps
		err    error
	}{
		"a transcript": {
			func(r *kgo.Record) []*kgo.Record { return []*kgo.Record{transcript(other), transcript(r.Key)} },
			[]string{testvideo.Asked, testvideo.Transcript, testvideo.Taken},
			nil,
		},
		"a compression first": {
			func(r *kgo.Record) []*kgo.Record {
				return []*kgo.Record{
					{Topic: topics.Compressions, Key: r.Key, Value: []byte("https://x/1.mp4"), Partition: 0}, transcript(r.Key),
				}
			},
			[]string{testvideo.Asked, testvideo.Transcript, testvideo.Taken},
			nil,
		},
		"poison": {
			func(r *kgo.Record) []*kgo.Record {
				return []*kgo.Record{
					{Topic: topics.Transcripts, Key: r.Key, Value: []byte("{")},
					{Topic: topics.Transcripts + contract.DeadLetterSuffix, Key: r.Key, Value: []byte("{"), Headers: []kgo.RecordHeader{
						{Key: contract.HeaderOriginTopic, Value: []byte(topics.Transcripts)},
						{Key: contract.HeaderOriginTopicID, Value: []byte(uuid.NewString())},
						{Key: contract.HeaderOriginPartition, Value: []byte("0")},
						{Key: contract.HeaderOriginOffset, Value: []byte("0")},
						{Key: contract.HeaderOriginTime, Value: []byte("0")},
					}},
				}
			},
			[]string{testvideo.Asked, testvideo.DeadLetter},
			testvideo.ErrDied,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := newConfig(t)
			asked := make(chan *kgo.Record, 1)
			serve(t, cfg, func(r *kgo.Record) []*kgo.Record {
				asked <- r
				return row.answer(r)
			})
			var steps []testvideo.Step
			err := testvideo.OverKafka(t.Context(), cfg, quiet(), func(s testvideo.Step) { steps = append(steps, s) })
			if !errors.Is(err, row.err) {
				t.Fatalf("got %v, want %v", err, row.err)
			}
			var got []string
			for _, s := range steps {
				// Those of other topics and partitions may come in between, in any order.
				if s.Name != testvideo.Compression && (row.err == nil || s.Name != testvideo.Transcript) {
					got = append(got, s.Name)
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			request := <-asked
			if string(request.Key) != string(cfg.VideoID) || !strings.Contains(string(request.Value), cfg.VideoURL) || len(request.Headers) != 4 {
				t.Errorf("asked with %+v", request)
			}
		})
	}
}

func TestOverKafka_says_who_does_not_answer(t *testing.T) {
	t.Parallel()
	t.Run("the services", func(t *testing.T) {
		t.Parallel()
		cfg := newConfig(t)
		cfg.Timeout = 5 * time.Second // within which a busy machine has asked
		err := testvideo.OverKafka(t.Context(), cfg, quiet(), func(testvideo.Step) {})
		if !errors.Is(err, testvideo.ErrNoAnswer) {
			t.Errorf("got %v, want %v", err, testvideo.ErrNoAnswer)
		}
	})
	t.Run("the bridge", func(t *testing.T) {
		t.Parallel()
		cfg := newConfig(t)
		cfg.Timeout = 10 * time.Second // within which a busy machine has been answered
		serve(t, cfg, func(r *kgo.Record) []*kgo.Record { return []*kgo.Record{transcript(r.Key)} })
		cfg.Group = "another"
		err := testvideo.OverKafka(t.Context(), cfg, quiet(), func(testvideo.Step) {})
		if !errors.Is(err, testvideo.ErrNotTaken) {
			t.Errorf("got %v, want %v", err, testvideo.ErrNotTaken)
		}
	})
	t.Run("Kafka", func(t *testing.T) {
		t.Parallel()
		cfg := newConfig(t)
		cfg.Topics.Compressions = "nowhere"
		if err := testvideo.OverKafka(t.Context(), cfg, quiet(), func(testvideo.Step) {}); !kafka.IsSetup(err) {
			t.Errorf("got %v, want a SetupError", err)
		}
	})
}
