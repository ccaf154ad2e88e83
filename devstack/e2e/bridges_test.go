package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// bridges run beside each other, and beside no other process of vidflow: what they signal stays in the runs' histories,
// where it is counted.
var bridges = [3]string{bridge + "-1", bridge + "-2", bridge + "-3"}

// TestBridges_restarted_in_turn: under load, one is always away. Nobody's work stops, and next to nothing is repeated.
func TestBridges_restarted_in_turn(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(bridges[:]...)
	p.awaitShared(2)
	watch := p.watchCommits()
	stream := p.stream()
	stream.awaitMore(50)
	for _, name := range bridges {
		p.stop(name)
		p.launch(name)
		p.awaitStatus(name, "ready")
		stream.awaitMore(50)
	}
	videos := stream.stop()
	p.awaitAcknowledged()
	watch.stop()

	repeats := p.checkSignalled(videos)
	t.Logf("%d results, %d signalled twice, longest time without a commit %s", len(videos), repeats, watch.longest)
	if repeats > len(videos)/10 {
		t.Errorf("%d of %d results were signalled twice", repeats, len(videos))
	}
	if watch.longest > 40*time.Second { // a session lasts 45
		t.Errorf("nothing was committed for %s", watch.longest)
	}
	for _, problem := range watch.problems {
		t.Error(problem)
	}
}

// TestBridges_one_of_which_hangs: it is stopped in the middle of its work, for longer than its session lasts, and then
// goes on as if nothing had been. The other has taken its partitions over by then, and nothing of it comes to harm.
func TestBridges_one_of_which_hangs(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(bridges[:2]...)
	p.awaitShared(2)
	watch := p.watchCommits()
	stream := p.stream()
	stream.awaitMore(50)

	hung := p.processes[bridges[0]]
	if err := hung.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hung.Signal(syscall.SIGCONT) }() // else it could not be ended
	stream.awaitMore(50)
	before := stream.stop()
	p.awaitAcknowledged() // the other one does it all
	if err := hung.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	stream = p.stream()
	p.awaitStatus(bridges[0], "ready")
	p.awaitShared(2)
	stream.awaitMore(50)
	videos := append(before, stream.stop()...)
	p.awaitAcknowledged()
	watch.stop()

	repeats := p.checkSignalled(videos)
	t.Logf("%d results, %d signalled twice, longest time without a commit %s", len(videos), repeats, watch.longest)
	for _, problem := range watch.problems {
		t.Error(problem)
	}
}

// TestTopicMadeAnew under running processes: a later result of the new topic replaces what the old one brought, although
// its offset is smaller.
func TestTopicMadeAnew(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	id := p.create(time.Minute)
	p.transcribe(contract.VideoID(uuid.NewString()), simulator.Take(0)) // so that offsets of the old topic are larger
	p.transcribe(id, simulator.Take(1))
	if _, err := p.places.API.Await(ctx, id, transcribed); err != nil {
		t.Fatal(err)
	}
	p.awaitAcknowledged()

	admin := kadm.NewClient(p.kafka)
	deleted, err := admin.DeleteTopics(ctx, p.topics.transcribed)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.await("the topic can be made anew", func(ctx context.Context) error {
		made, err := admin.CreateTopics(ctx, 4, 1, nil, p.topics.transcribed)
		if err != nil {
			return err
		}
		return made.Error()
	})
	p.kafka.PurgeTopicsFromClient(p.topics.transcribed)
	p.transcribe(id, simulator.Take(2))

	want, err := simulator.Stored(id, simulator.Nested, simulator.Take(2))
	if err != nil {
		t.Fatal(err)
	}
	p.await("the result of the new topic is stored", func(ctx context.Context) error { return p.holds(ctx, id, want) })
	p.awaitAcknowledged()
	for _, name := range everyProcess {
		p.awaitStatus(name, "ready")
	}
}

// awaitShared waits until that many members share the partitions of the results.
func (p *pipeline) awaitShared(members int) {
	p.t.Helper()
	admin := kadm.NewClient(p.kafka)
	p.await(fmt.Sprintf("%d bridges share the partitions", members), func(ctx context.Context) error {
		groups, err := admin.DescribeGroups(ctx, p.env.Value("KAFKA_TRANSCRIPTION_GROUP"))
		if err != nil {
			return err
		}
		busy, partitions := 0, 0
		for _, g := range groups {
			for _, m := range g.Members {
				if c, ok := m.Assigned.AsConsumer(); ok && len(c.Topics) > 0 {
					busy++
					for _, topic := range c.Topics {
						partitions += len(topic.Partitions)
					}
				}
			}
		}
		if busy < members || partitions != 4 {
			return fmt.Errorf("%d members have %d partitions", busy, partitions)
		}
		return nil
	})
}

// stream makes something of a new video all the time, until it is stopped.
type stream struct {
	p    *pipeline
	end  context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	videos []contract.VideoID
	err    error
}

// stream produces a result every few milliseconds, each for a video of its own.
func (p *pipeline) stream() *stream {
	return p.streamOf(40*time.Millisecond, func(ctx context.Context) (contract.VideoID, error) {
		id := contract.VideoID(uuid.NewString())
		return id, p.kafka.ProduceSync(ctx, &kgo.Record{Topic: p.topics.transcribed, Key: []byte(id), Value: tiny(id, 0)}).FirstErr()
	})
}

func (p *pipeline) streamOf(pause time.Duration, one func(context.Context) (contract.VideoID, error)) *stream {
	ctx, cancel := context.WithCancel(p.t.Context())
	s := &stream{p: p, end: cancel, done: make(chan struct{})}
	p.t.Cleanup(func() { s.stop() })
	go func() {
		defer close(s.done)
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			id, err := one(p.t.Context()) // to its end, also when it is stopped
			s.mu.Lock()
			if err == nil {
				s.videos = append(s.videos, id)
			} else {
				s.err = err
			}
			s.mu.Unlock()
		}
	}()
	return s
}

// awaitMore waits until there are that many more videos, and returns them.
func (s *stream) awaitMore(n int) (more []contract.VideoID) {
	s.p.t.Helper()
	s.mu.Lock()
	from := len(s.videos)
	s.mu.Unlock()
	s.p.await("more videos are in the stream", func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err != nil {
			s.p.t.Fatal(s.err)
		}
		if more = slices.Clone(s.videos[from:]); len(more) < n {
			return fmt.Errorf("%d of %d", len(more), n)
		}
		return nil
	})
	return more
}

// stop ends it and returns its videos.
func (s *stream) stop() []contract.VideoID {
	s.p.t.Helper()
	s.end()
	<-s.done
	if s.err != nil {
		s.p.t.Error(s.err)
	}
	return s.videos
}

// tiny is a transcript of one word, and one of many for the same video.
func tiny(id contract.VideoID, take int) []byte {
	return fmt.Appendf(nil, `{"video_id":"%s","transcription":{"duration":1,"language":"en","words":[{"text":"take %d","start":0,"end":1}]}}`, id, take)
}

// watch looks at the committed offsets until it is stopped.
type watch struct {
	stop     func()
	longest  time.Duration // without a commit
	problems []string
}

func (p *pipeline) watchCommits() *watch {
	w := &watch{}
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan struct{})
	w.stop = func() {
		cancel()
		<-done
	}
	p.t.Cleanup(w.stop)
	admin := kadm.NewClient(p.kafka)
	go func() {
		defer close(done)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		last := map[int32]int64{}
		moved := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			offsets, err := admin.FetchOffsets(ctx, p.env.Value("KAFKA_TRANSCRIPTION_GROUP"))
			if err != nil {
				continue
			}
			for partition := range int32(4) {
				at, _ := offsets.Lookup(p.topics.transcribed, partition)
				if at.At < last[partition] {
					w.problems = append(w.problems, fmt.Sprintf("the offset of partition %d went back from %d to %d", partition, last[partition], at.At))
				}
				if at.At > last[partition] {
					w.longest, moved = max(w.longest, time.Since(moved)), time.Now()
				}
				last[partition] = at.At
			}
		}
	}()
	return w
}

// checkSignalled counts the results that were signalled more than once; that one was not is a failure.
func (p *pipeline) checkSignalled(videos []contract.VideoID) (repeats int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(16)
	for _, id := range videos {
		group.Go(func() error {
			seen := map[string]int{}
			history := p.places.Temporal.GetWorkflowHistory(ctx, workflows.WorkflowID(id), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
			for history.HasNext() {
				event, err := history.Next()
				if err != nil {
					return fmt.Errorf("video %s: %w", id, err)
				}
				signal := event.GetWorkflowExecutionSignaledEventAttributes()
				if signal == nil {
					continue
				}
				var ref contract.Reference
				if err := converter.GetDefaultDataConverter().FromPayloads(signal.GetInput(), &ref); err != nil {
					return err
				}
				seen[ref.Position.String()]++
			}
			if len(seen) != 1 {
				return fmt.Errorf("video %s was signalled %v, want one result", id, seen)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, n := range seen {
				repeats += n - 1
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		p.t.Error(err)
	}
	return repeats
}
