package workflows_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

const videoID contract.VideoID = "0b6f1c1e-9c5d-4f0e-8a44-3f6f5a0d7b11"

var topicID = uuid.MustParse("7d3b1f6a-52c1-4d25-9a6e-000000000001")

// world stands for all that the steps touch: the row, the transcription service's topic and the storage. It keeps to
// the rules that the real activities keep, so that a run is judged by what it makes of them.
type world struct {
	env *testsuite.TestWorkflowEnvironment

	mu sync.Mutex
	// row says that the video exists, tombstone that vidflow deleted it.
	row, tombstone bool
	now            workflows.Snapshot
	transcriptPos  *contract.Position
	compressionPos *contract.Position

	// What a test looks at: asks published (with repeats), offsets stored and set in order, last errors.
	asked       []int
	stored      []int64
	set         []int64
	givenUpWhy  map[contract.Track]string
	steps       map[string]int
	failing     map[string]int    // step → tries that fail before it works
	finally     map[string]error  // step → final error
	gone        map[int64]bool    // offsets whose records cannot be read any more
	publishDown bool              // no ask can be published
	during      map[string]func() // runs inside the first try of a step
	settings    workflows.Settings
	attributes  []temporal.SearchAttributes // as they were set, one after the other
}

const maxAsks = 3

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		row: true, givenUpWhy: map[contract.Track]string{}, steps: map[string]int{}, failing: map[string]int{},
		finally: map[string]error{}, gone: map[int64]bool{}, during: map[string]func(){},
		settings: workflows.Settings{
			AskAgainAfter: 6 * time.Hour, OverdueAfter: 24 * time.Hour, GiveUpAfter: 24 * time.Hour, UnknownGrace: 10 * time.Minute,
			SearchAttributes: true, TitleAndTrouble: true,
		},
	}
	since := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	w.nextRun(since)
	w.now = workflows.Snapshot{
		Revision: 1, Transcription: contract.Waiting, AskLimit: maxAsks, Compression: contract.Waiting, CompressionSince: &since,
	}
	return w
}

// nextRun gives the world a fresh environment, for one run that starts at that time.
func (w *world) nextRun(start time.Time) {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	w.env = suite.NewTestWorkflowEnvironment()
	w.env.SetTestTimeout(3 * time.Minute)
	w.env.SetWorkerOptions(worker.Options{
		Interceptors:             []interceptor.WorkerInterceptor{&watcher{world: w}},
		DeadlockDetectionTimeout: 3 * time.Minute, // the machine may be busy
	})
	w.env.SetStartTime(start)
	w.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: workflows.WorkflowID(videoID), TaskQueue: workflows.TaskQueue})
	w.env.RegisterWorkflow(workflows.Video)
	for name, step := range map[string]any{
		workflows.StepBegin: w.begin, workflows.StepAsk: w.ask, workflows.StepStoreTranscript: w.storeTranscript,
		workflows.StepSetVideoURL: w.setVideoURL, workflows.StepMarkOverdue: w.markOverdue, workflows.StepGiveUp: w.giveUp,
		workflows.StepReopen: w.reopen,
	} {
		w.env.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: name})
	}
}

// watcher notes which search attributes are set, and has activities tried as often as a server tries them: the SDK's
// test environment tries ten times when no limit is set.
type watcher struct {
	interceptor.WorkerInterceptorBase
	world *world
}

func (w *watcher) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{interceptor.WorkflowInboundInterceptorBase{Next: next}, w.world}
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	world *world
}

func (i *inbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outbound{interceptor.WorkflowOutboundInterceptorBase{Next: next}, i.world})
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	world *world
}

func (o *outbound) UpsertTypedSearchAttributes(ctx workflow.Context, attributes ...temporal.SearchAttributeUpdate) error {
	o.world.locked(func() { o.world.attributes = append(o.world.attributes, temporal.NewSearchAttributes(attributes...)) })
	return o.Next.UpsertTypedSearchAttributes(ctx, attributes...)
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	options := workflow.GetActivityOptions(ctx)
	policy := *options.RetryPolicy
	if policy.MaximumAttempts == 0 {
		policy.MaximumAttempts = math.MaxInt32
	}
	options.RetryPolicy = &policy
	return o.Next.ExecuteActivity(workflow.WithActivityOptions(ctx, options), name, args...)
}

// run executes the workflow to its end and returns its result, or its error.
func (w *world) run(in workflows.VideoInput) (workflows.VideoResult, error) {
	w.env.ExecuteWorkflow(workflows.Video, in)
	var r workflows.VideoResult
	if err := w.env.GetWorkflowError(); err != nil {
		return r, err
	}
	return r, w.env.GetWorkflowResult(&r)
}

// enter counts the step and makes it fail where a test wants it to. It returns with the lock held when it succeeds.
func (w *world) enter(step string) error {
	w.mu.Lock()
	w.steps[step]++
	if f := w.during[step]; f != nil {
		delete(w.during, step)
		w.mu.Unlock()
		f()
		w.mu.Lock()
	}
	var err error
	if err = w.finally[step]; err == nil && w.failing[step] > 0 {
		w.failing[step]--
		err = errors.New("away")
	}
	if err != nil {
		w.mu.Unlock()
	}
	return err
}

// change applies f unless the video is gone, and returns what the database then says.
func (w *world) change(f func()) workflows.Snapshot {
	if s, missing := w.missing(); missing {
		return s
	}
	before := w.now
	f()
	if w.now != before {
		w.now.Revision++
	}
	return w.now
}

func (w *world) missing() (workflows.Snapshot, bool) {
	switch {
	case w.tombstone:
		return workflows.Snapshot{Missing: workflows.Deleted}, true
	case !w.row:
		return workflows.Snapshot{Missing: workflows.Unknown}, true
	}
	return workflows.Snapshot{}, false
}

func (w *world) begin(_ context.Context, in workflows.BeginInput) (workflows.Plan, error) {
	if err := w.enter(workflows.StepBegin); err != nil {
		return workflows.Plan{}, err
	}
	defer w.mu.Unlock()
	s := w.change(func() {
		if in.Ask && w.now.Transcription == contract.Waiting && w.now.AskedAt == nil && !w.publishDown {
			w.publish(w.now.Asks + 1)
		}
	})
	p := workflows.Plan{Snapshot: s, Settings: w.settings}
	if s.Missing == "" {
		p.Title, p.CourseID, p.TranscriptURL = "Loops", "c1", "https://s.example.org/1.json"
		p.TranscriptPosition, p.CompressionPosition = w.transcriptPos, w.compressionPos
	}
	return p, nil
}

func (w *world) publish(n int) {
	w.asked = append(w.asked, n)
	at := w.env.Now()
	w.now.Asks, w.now.AskedAt = n, &at
}

func (w *world) ask(_ context.Context, in workflows.AskInput) (workflows.Snapshot, error) {
	if err := w.enter(workflows.StepAsk); err != nil {
		return workflows.Snapshot{}, err
	}
	defer w.mu.Unlock()
	if w.publishDown {
		return workflows.Snapshot{}, errors.New("no broker")
	}
	return w.change(func() {
		if in.N > w.now.Asks {
			w.publish(in.N)
		}
	}), nil
}

func (w *world) storeTranscript(_ context.Context, in workflows.ApplyInput) (workflows.Applied, error) {
	if err := w.enter(workflows.StepStoreTranscript); err != nil {
		return workflows.Applied{}, err
	}
	defer w.mu.Unlock()
	return w.apply(in.Result, &w.transcriptPos, func() {
		w.stored = append(w.stored, in.Result.Offset)
		w.now.Transcription = contract.Done
	}), nil
}

func (w *world) setVideoURL(_ context.Context, in workflows.ApplyInput) (workflows.Applied, error) {
	if err := w.enter(workflows.StepSetVideoURL); err != nil {
		return workflows.Applied{}, err
	}
	defer w.mu.Unlock()
	return w.apply(in.Result, &w.compressionPos, func() {
		w.set = append(w.set, in.Result.Offset)
		w.now.Compression = contract.Done
	}), nil
}

func (w *world) apply(ref contract.Reference, last **contract.Position, effect func()) workflows.Applied {
	if s, missing := w.missing(); missing {
		return workflows.Applied{Snapshot: s, Outcome: workflows.VideoMissing}
	}
	switch {
	case ref.Position.Same(*last):
		return workflows.Applied{Snapshot: w.now, Outcome: workflows.ResultApplied}
	case !ref.Position.Newer(*last):
		return workflows.Applied{Snapshot: w.now, Outcome: workflows.ResultSuperseded}
	case w.gone[ref.Offset]:
		return workflows.Applied{Snapshot: w.now, Outcome: workflows.ResultGone, Reason: "past retention"}
	}
	return workflows.Applied{Outcome: workflows.ResultApplied, Snapshot: w.change(func() {
		*last = &ref.Position
		effect()
	})}
}

func (w *world) markOverdue(_ context.Context, _ workflows.MarkOverdueInput) (workflows.Snapshot, error) {
	if err := w.enter(workflows.StepMarkOverdue); err != nil {
		return workflows.Snapshot{}, err
	}
	defer w.mu.Unlock()
	return w.change(func() {
		if w.now.Compression == contract.Waiting {
			w.now.Compression = contract.Overdue
		}
	}), nil
}

func (w *world) giveUp(_ context.Context, in workflows.GiveUpInput) (workflows.Snapshot, error) {
	if err := w.enter(workflows.StepGiveUp); err != nil {
		return workflows.Snapshot{}, err
	}
	defer w.mu.Unlock()
	return w.change(func() {
		w.givenUpWhy[in.Track] = in.Reason
		switch {
		case in.Track == contract.CompressionTrack && w.now.Compression.Open():
			w.now.Compression = contract.GivenUp
		case in.Track == contract.TranscriptionTrack && w.now.Transcription.Open() && w.now.Asks == in.Asks:
			w.now.Transcription = contract.GivenUp
		}
	}), nil
}

func (w *world) reopen(_ context.Context, in workflows.ReopenInput) (workflows.Snapshot, error) {
	if err := w.enter(workflows.StepReopen); err != nil {
		return workflows.Snapshot{}, err
	}
	defer w.mu.Unlock()
	return w.change(func() {
		if w.now.Asks == in.Asks {
			w.now.Transcription, w.now.AskedAt, w.now.AskLimit = contract.Waiting, nil, in.Asks+maxAsks
		}
	}), nil
}

// at runs f at that time after the start of the run.
func (w *world) at(after time.Duration, f func()) { w.env.RegisterDelayedCallback(f, after) }

// locked runs f, which changes the world behind the run's back.
func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// transcribed signals the transcription result at that offset, compressed a compression result.
func (w *world) transcribed(offset int64) {
	w.env.SignalWorkflow(workflows.SignalTranscribed, newReference("update_transcribe", offset, w.env.Now()))
}

func (w *world) compressed(offset int64) {
	w.env.SignalWorkflow(workflows.SignalCompressed, newReference("finish_compress", offset, w.env.Now()))
}

func newReference(topic string, offset int64, at time.Time) contract.Reference {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s@%d", topic, offset))
	r := contract.Reference{
		Topic: topic, TopicID: topicID, Offset: offset, Size: 1000, SHA256: sum[:],
		Position: contract.NewPosition(topicID, 0, offset, at, at),
	}
	if topic == "finish_compress" {
		r.URL = fmt.Sprintf("https://cdn.example.org/%d.mp4", offset)
	} else {
		r.Transcript = &contract.TranscriptSummary{Duration: 125.5, Language: "en", Words: 300}
	}
	return r
}

// retry sends the update; its outcome goes to got.
func (w *world) retry(in workflows.Retry, got *retried) {
	w.env.UpdateWorkflow(workflows.UpdateRetry, uuid.NewString(), &testsuite.TestUpdateCallback{
		OnAccept: func() {},
		OnReject: func(err error) { got.err = err },
		OnComplete: func(result any, err error) {
			got.err = err
			if r, ok := result.(workflows.Retried); ok {
				got.ask = r.Ask
			}
		},
	}, in)
}

type retried struct {
	ask int
	err error
}

// decodeInput is the input of the run that goes on.
func decodeInput(t *testing.T, next *workflow.ContinueAsNewError) workflows.VideoInput {
	t.Helper()
	var in workflows.VideoInput
	if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &in); err != nil {
		t.Fatal(err)
	}
	return in
}

// errorType is the type of the application error in err, "" when there is none.
func errorType(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}
