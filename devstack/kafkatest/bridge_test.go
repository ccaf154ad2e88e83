package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/kafkabridge"
)

// temporal accepts every signal and remembers the newest of each video.
type temporal struct {
	mu       sync.Mutex
	away     bool
	accepted map[string]contract.Reference // by id of the workflow
}

// SignalWithStartWorkflow implements kafkabridge.Signaller.
func (f *temporal) SignalWithStartWorkflow(
	_ context.Context, workflowID, _ string, arg any, _ client.StartWorkflowOptions, _ any, _ ...any,
) (client.WorkflowRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, errors.New("Temporal is away")
	}
	f.accepted[workflowID] = arg.(contract.Reference)
	return nil, nil //nolint:nilnil // the bridge looks at the error alone
}

func (f *temporal) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

func (f *temporal) references() map[string]contract.Reference {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.accepted)
}

// crossing is a bridge on topics of its own, with the least privileges, and a reader like the worker's.
type crossing struct {
	*site
	names    apache.Names
	temporal *temporal
	reader   *kafka.Reader
	log      *process.Output
	cfg      kafkabridge.Config
}

// newCrossing makes everything and starts nothing. The settings are those of the topics of results.
func newCrossing(t *testing.T, settings map[string]string) *crossing {
	t.Helper()
	s := newSite(t)
	id := s.topic(1, settings)
	names := apache.Names{
		Ask: id + "-ask", Transcribed: id, Compressed: id + "-compressed",
		TranscriptionGroup: id + "-transcription", CompressionGroup: id + "-compression",
		DeadLetterSuffix: contract.DeadLetterSuffix,
	}
	s.makeTopic(names.Compressed, 1, settings)
	for _, topic := range []string{names.Ask, names.Transcribed + contract.DeadLetterSuffix, names.Compressed + contract.DeadLetterSuffix} {
		s.makeTopic(topic, 1, nil)
	}
	s.allow(names.LeastPrivileges()...)
	return &crossing{
		site:     s,
		names:    names,
		temporal: &temporal{accepted: map[string]contract.Reference{}},
		reader:   newReader(t, s.config(apache.VidflowWorker, kafka.MechanismScramSHA512)),
		log:      logOf(t),
		cfg: kafkabridge.Config{
			Kafka:              s.config(apache.VidflowBridge, kafka.MechanismScramSHA256),
			Transcription:      kafkabridge.Source{Topic: names.Transcribed, Group: names.TranscriptionGroup},
			Compression:        kafkabridge.Source{Topic: names.Compressed, Group: names.CompressionGroup},
			SignalInterval:     20 * time.Millisecond,
			RetryInitial:       20 * time.Millisecond,
			RetryMax:           time.Second,
			CommitInterval:     100 * time.Millisecond,
			TopicCheckInterval: time.Second,
		},
	}
}

// start runs the bridge until stop is called, or the end of the test.
func (c *crossing) start() (stop func()) {
	c.t.Helper()
	bridge, err := kafkabridge.New(c.cfg, c.temporal, logTo(c.log))
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- bridge.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Errorf("the bridge ends with %v", err)
		}
		bridge.Close()
	})
	c.t.Cleanup(stop)
	return stop
}

// transcript is a result whose value has about that many bytes, which do not compress to nothing.
func transcript(bytes int) *kgo.Record {
	id := uuid.NewString()
	var words strings.Builder
	for at := 0; words.Len() < bytes; at++ {
		if at > 0 {
			words.WriteByte(',')
		}
		fmt.Fprintf(&words, `{"text":"w%x","start":%d,"end":%d}`, uint32(at)*2654435761, at, at+1)
	}
	return &kgo.Record{
		Key: []byte(id),
		Value: fmt.Appendf(nil, `{"video_id":"%s","transcription":{"duration":%d,"language":"en","words":[%s]}}`,
			id, bytes, words.String()),
	}
}

func transcripts(n, bytes int) (records []*kgo.Record) {
	for range n {
		records = append(records, transcript(bytes))
	}
	return records
}

// awaitRead waits until each record was signalled, and reads it where the signal says.
func (c *crossing) awaitRead(records ...*kgo.Record) {
	c.t.Helper()
	c.await("all results are signalled", func(context.Context) error {
		have := c.temporal.references()
		missing := 0
		for _, r := range records {
			if _, ok := have["video/"+string(r.Key)]; !ok {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d are missing", missing, len(records))
		}
		return nil
	})
	have := c.temporal.references()
	for _, r := range records {
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		value, err := c.reader.Read(ctx, have["video/"+string(r.Key)])
		cancel()
		if err != nil || string(value) != string(r.Value) {
			c.t.Errorf("read %d bytes and %v, want the %d bytes of the result", len(value), err, len(r.Value))
		}
	}
}

// awaitCommitted waits until the group of transcriptions has acknowledged everything.
func (c *crossing) awaitCommitted() {
	c.t.Helper()
	c.await("everything is acknowledged", func(ctx context.Context) error {
		ends, err := c.admin.ListEndOffsets(ctx, c.names.Transcribed)
		if err != nil {
			return err
		}
		end, _ := ends.Lookup(c.names.Transcribed, 0)
		committed, err := c.admin.FetchOffsets(ctx, c.names.TranscriptionGroup)
		if err != nil {
			return err
		}
		if at, _ := committed.Lookup(c.names.Transcribed, 0); at.At != end.Offset {
			return fmt.Errorf("acknowledged to %d of %d", at.At, end.Offset)
		}
		return nil
	})
}

// awaitState waits until the group of transcriptions is in a state.
func (c *crossing) awaitState(want string) {
	c.t.Helper()
	c.await("the group is in state "+want, func(ctx context.Context) error {
		groups, err := c.admin.DescribeGroups(ctx, c.names.TranscriptionGroup)
		if err != nil {
			return err
		}
		if got := groups[c.names.TranscriptionGroup].State; got != want {
			return errors.New("it is in " + got)
		}
		return nil
	})
}

// deadLetters waits for n dead letters of transcriptions and returns them.
func (c *crossing) deadLetters(n int) (letters []*kgo.Record) {
	c.t.Helper()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(need(c.t, "VIDFLOW_TEST_KAFKA_BROKERS")),
		kgo.ConsumeTopics(c.names.Transcribed+contract.DeadLetterSuffix))
	if err != nil {
		c.t.Fatal(err)
	}
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for len(letters) < n {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			c.t.Fatalf("%d of %d dead letters: %v", len(letters), n, err)
		}
		letters = append(letters, fetches.Records()...)
	}
	return letters
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
