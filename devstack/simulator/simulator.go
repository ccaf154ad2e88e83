package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Config of a simulator. The zero value of all but Brokers works.
type Config struct {
	Brokers []string
	// Topics default to those of the contract.
	RequestTopic, TranscriptionTopic, CompressionTopic string
	// Group defaults to "simulator". What it has committed is answered.
	Group string
	// Options of Kafka clients beside these, such as a login.
	Options []kgo.Opt
	// Seed of what is drawn: who is silent, who repeats and so on. What is said in a video does not depend on it.
	Seed uint64
	// Behaviour at the start; DefaultBehaviour when nil.
	Behaviour *Behaviour
	// Traces makes a span of each answer; none when nil.
	Traces trace.TracerProvider
	// Log gets a line an answer; nothing when nil.
	Log *slog.Logger
}

// Limits of what a simulator has in hand.
const (
	// maxInHand requests wait for their time at once; more wait in Kafka.
	maxInHand = 20_000
	// maxMessageBytes is what a record may have.
	maxMessageBytes = 64 << 20
	// sendTimeout is for a record that a broker does not take, sendGrace for one on its way when the simulator stops.
	sendTimeout = 30 * time.Second
	sendGrace   = 3 * time.Second
)

// Simulator answers requests. Its methods are safe for concurrent use.
type Simulator struct {
	cfg      Config
	log      *slog.Logger
	producer *kgo.Client
	// speaking bounds how many transcripts are made up and sent at once: they are large.
	speaking chan struct{}

	requests, ignored, transcriptions, compressions, pending atomic.Int64

	mu        sync.Mutex
	behaviour Behaviour
}

// New connects to nothing yet.
func New(cfg Config) (*Simulator, error) {
	setDefault(&cfg.RequestTopic, "Transcribe")
	setDefault(&cfg.TranscriptionTopic, "update_transcribe")
	setDefault(&cfg.CompressionTopic, "finish_compress")
	setDefault(&cfg.Group, "simulator")
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Simulator{cfg: cfg, log: cfg.Log, speaking: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))}
	behaviour := DefaultBehaviour()
	if cfg.Behaviour != nil {
		behaviour = *cfg.Behaviour
	}
	if err := s.Behave(behaviour); err != nil {
		return nil, err
	}
	producer, err := kgo.NewClient(s.options(
		// Not compressed: a three-hour transcript is to be beyond a megabyte on its way too.
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(maxMessageBytes),
		kgo.MaxBufferedBytes(4*maxMessageBytes),
		kgo.RecordDeliveryTimeout(sendTimeout),
	)...)
	if err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	s.producer = producer
	return s, nil
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func (s *Simulator) options(opts ...kgo.Opt) []kgo.Opt {
	return append(append([]kgo.Opt{
		kgo.SeedBrokers(s.cfg.Brokers...),
		kgo.ClientID("simulator"),
	}, s.cfg.Options...), opts...)
}

// Close disconnects what Emit uses. Close it after Run has returned.
func (s *Simulator) Close() { s.producer.Close() }

// Behave changes the behaviour for the requests that are received from now on.
func (s *Simulator) Behave(b Behaviour) error {
	if err := b.check(); err != nil {
		return fmt.Errorf("behaviour of the simulator: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour = b.clone()
	return nil
}

// Behaviour is what applies to requests that are received now.
func (s *Simulator) Behaviour() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviour.clone()
}

// Run answers requests until ctx is cancelled and the answers being sent have been sent. Those that wait for their time
// are answered by the next run: what is committed is answered, and nothing else. A topic of requests that is made anew is
// answered from its start.
func (s *Simulator) Run(ctx context.Context) error {
	for {
		known, ok := s.await(ctx, func(kadm.TopicID) bool { return true })
		if !ok {
			return nil
		}
		one, stop := context.WithCancel(ctx)
		var watching sync.WaitGroup
		watching.Go(func() {
			defer stop()
			s.await(one, func(id kadm.TopicID) bool { return id != known })
		})
		err := s.consume(one)
		stop()
		watching.Wait()
		if err != nil || ctx.Err() != nil {
			return err
		}
		s.log.Warn("Kafka topic was made anew", "topic", s.cfg.RequestTopic)
		s.forget(ctx)
	}
}

// watchEvery is how often the topic of requests is looked at.
const watchEvery = time.Second

// await looks at the topic of requests until its id is a wanted one, and returns that; false when ctx ended before.
func (s *Simulator) await(ctx context.Context, wanted func(kadm.TopicID) bool) (kadm.TopicID, bool) {
	admin := kadm.NewClient(s.producer)
	for {
		topics, err := admin.ListTopics(ctx, s.cfg.RequestTopic)
		if err == nil {
			err = topics.Error()
		}
		topic, ok := topics[s.cfg.RequestTopic]
		switch {
		case ctx.Err() != nil:
			return kadm.TopicID{}, false
		case err != nil:
			s.log.Debug("Kafka topic is not there", "topic", s.cfg.RequestTopic, "error", err)
		case ok && wanted(topic.ID):
			return topic.ID, true
		}
		if !sleep(ctx, watchEvery) {
			return kadm.TopicID{}, false
		}
	}
}

// forget drops what was acknowledged of a topic that is gone.
func (s *Simulator) forget(ctx context.Context) {
	var topics kadm.TopicsSet
	topics.Add(s.cfg.RequestTopic)
	if _, err := kadm.NewClient(s.producer).DeleteOffsets(ctx, s.cfg.Group, topics); err != nil {
		s.log.Warn("Kafka offsets of the old topic could not be dropped", "topic", s.cfg.RequestTopic, "error", err)
	}
}

// consume answers the requests of one topic until ctx ends.
func (s *Simulator) consume(ctx context.Context) error {
	var answering sync.WaitGroup
	var consumer *kgo.Client
	requests := newProgress(func(r *kgo.Record) { consumer.MarkCommitRecords(r) })
	revoked := func(ctx context.Context, cl *kgo.Client, lost map[string][]int32) {
		requests.revoke(lost)
		if err := cl.CommitMarkedOffsets(ctx); err != nil {
			s.log.Warn("Kafka commit failed, some requests will be answered again", "error", err)
		}
	}
	consumer, err := kgo.NewClient(s.options(
		kgo.ConsumerGroup(s.cfg.Group),
		kgo.ConsumeTopics(s.cfg.RequestTopic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(500*time.Millisecond),
		kgo.BlockRebalanceOnPoll(), // until the requests of a poll are in progress
		kgo.OnPartitionsRevoked(revoked),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { requests.revoke(lost) }),
	)...)
	if err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	defer consumer.CloseAllowingRebalance()

	waiting := make(chan struct{}, maxInHand)
	for ctx.Err() == nil {
		fetches := consumer.PollRecords(ctx, 1000)
		fetches.EachError(func(topic string, partition int32, err error) {
			if !errors.Is(err, context.Canceled) {
				s.log.Warn("Kafka fetch failed", "topic", topic, "partition", partition, "error", err)
			}
		})
		received := make([]received, 0, fetches.NumRecords())
		fetches.EachRecord(func(r *kgo.Record) { received = append(received, s.receive(requests, r)) })
		consumer.AllowRebalance()
		for _, r := range received {
			select {
			case waiting <- struct{}{}:
			case <-ctx.Done():
				continue
			}
			answering.Go(func() {
				defer func() { <-waiting }()
				if s.answer(ctx, r.id, r.answers) {
					requests.done(r.inHand)
				}
			})
		}
	}
	answering.Wait()
	commitCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := consumer.CommitMarkedOffsets(commitCtx); err != nil {
		s.log.Warn("Kafka commit failed, some requests will be answered again", "error", err)
	}
	return nil
}

// received is a request and what is to become of it.
type received struct {
	*inHand
	id      contract.VideoID
	answers []answer
}

// receive takes a request in hand. One that cannot be understood is ignored, as the real services do.
func (s *Simulator) receive(p *progress, r *kgo.Record) received {
	s.requests.Add(1)
	got := received{inHand: p.begin(r)}
	var request contract.Request
	err := json.Unmarshal(r.Value, &request)
	if err == nil {
		request.VideoID, err = contract.ParseVideoID(string(request.VideoID))
	}
	if err != nil {
		s.ignored.Add(1)
		s.log.Warn("Kafka request ignored", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "error", err)
		return got
	}
	got.id = request.VideoID
	got.answers = s.Behaviour().plan(s.cfg.Seed, r, request, time.Now())
	return got
}

// answer sends the answers, each when it is due; false when ctx ended before that.
func (s *Simulator) answer(ctx context.Context, id contract.VideoID, answers []answer) bool {
	s.pending.Add(1)
	defer s.pending.Add(-1)
	for _, a := range answers {
		if !sleep(ctx, time.Until(a.due)) {
			return false
		}
		for {
			_, err := s.send(ctx, id, a)
			if err == nil {
				break
			}
			s.log.Warn("Kafka send failed", "video_id", id, "error", err)
			if errors.Is(err, kerr.MessageTooLarge) {
				break // it would be for ever
			}
			if !sleep(ctx, time.Second) {
				return false
			}
		}
	}
	return true
}

// sleep is false when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send makes up an answer and sends it. When ctx ends it goes on for as long as a broker that is there takes.
func (s *Simulator) send(ctx context.Context, id contract.VideoID, a answer) (Sent, error) {
	select {
	case s.speaking <- struct{}{}:
		defer func() { <-s.speaking }()
	case <-ctx.Done():
		return Sent{}, ctx.Err()
	}
	r := &kgo.Record{}
	count := &s.compressions
	if a.transcription {
		count = &s.transcriptions
		r.Topic = s.cfg.TranscriptionTopic
		r.Key, r.Value = TranscriptMessage(id, TranscriptForm(a.form), a.opts...)
	} else {
		r.Topic = s.cfg.CompressionTopic
		r.Key, r.Value = CompressionMessage(id, CompressionForm(a.form), a.opts...)
	}
	defer s.trace(ctx, a, r)()
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(sendGrace, cancel) })()
	err := s.producer.ProduceSync(sending, r).FirstErr()
	for errors.Is(err, kerr.UnknownTopicID) && sending.Err() == nil {
		// The topic was made anew. A producer does not get over that by itself.
		s.producer.PurgeTopicsFromProducing(r.Topic)
		err = s.producer.ProduceSync(sending, r).FirstErr()
	}
	if err != nil {
		return Sent{}, fmt.Errorf("send to %s: %w", r.Topic, err)
	}
	count.Add(1)
	s.log.Info("Kafka message sent", "video_id", id, "topic", r.Topic, "partition", r.Partition, "offset", r.Offset,
		"bytes", len(r.Value), "form", a.form)
	return Sent{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Bytes: len(r.Value), Form: a.form}, nil
}
