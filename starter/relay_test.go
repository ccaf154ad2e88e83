package starter_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/starter"
	"github.com/codeendelea/vidflow/workflows"
)

const (
	running    = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	canceled   = enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED
	terminated = enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED
)

func (w *world) intentsGone() {
	w.t.Helper()
	eventually(w.t, "all intents are carried out", func() bool { return w.intents() == 0 })
}

// TestRelayStarts the run of a video, which shows what video it is about.
func TestRelayStarts(t *testing.T) {
	t.Parallel()
	c := realTemporal(t)
	w := newWorld(t, func(deps *starter.Deps, cfg *starter.Config) {
		deps.Temporal = c
		cfg.RelayInterval = time.Hour // creating a video wakes it
	})
	w.runRelay()
	a := w.call(http.MethodPost, w.videosPath(), w.owner(), with(body(), "title", "Graphs\n[here](https://example.org) "+strings.Repeat("ю", 200))).expect(t, http.StatusCreated)
	id := contract.VideoID(decode[starter.VideoAnswer](t, a).Data.ID)
	w.intentsGone()

	d := runOf(t, c, id)
	if d == nil || d.Status != running || d.WorkflowType.Name != workflows.VideoWorkflow || d.TaskQueueName != workflows.TaskQueue {
		t.Fatalf("run %+v", d)
	}
	summary, err := d.GetStaticSummary()
	if err != nil || !strings.HasPrefix(summary, `Graphs \[here\](https://example.org) ю`) || strings.ContainsAny(summary, "\n") || len(summary) > 200 {
		t.Errorf("summary %q, %v", summary, err)
	}
	details, err := d.GetStaticDetails()
	if err != nil || !strings.HasPrefix(details, "created 20") || !strings.Contains(details, "[recording](<https://") {
		t.Errorf("details %q, %v", details, err)
	}
}

// TestRelayAfterOutage creates while Temporal is away, and every video gets its run when it is back, though the starter
// that created them is gone.
func TestRelayAfterOutage(t *testing.T) {
	t.Parallel()
	c := realTemporal(t)
	w := newWorld(t)
	stop := runRelay(t, w.starter) // with a Temporal that is away
	var ids []contract.VideoID
	for range 5 {
		ids = append(ids, w.create())
	}
	eventually(t, "every start was tried", func() bool {
		return w.text(`select count(*)::text from pipeline.intents where last_error is not null`) == "5"
	})
	stop()
	w.db.Exec(t, `update pipeline.intents set next_at = now()`) // as time would

	runRelay(t, w.another(func(deps *starter.Deps, _ *starter.Config) { deps.Temporal = c }))
	w.intentsGone()
	for _, id := range ids {
		equal(t, "status", status(t, c, id), running)
	}
}

// another is one more instance on the same database.
func (w *world) another(opts ...option) *starter.Starter {
	w.t.Helper()
	deps := starter.Deps{Store: w.db.Store, Temporal: temporalAway{}, Publisher: w.publisher, Objects: w.objects}
	cfg := starter.Config{JWTSecret: secret, ResultTopic: resultTopic, RelayInterval: 50 * time.Millisecond}
	for _, opt := range opts {
		opt(&deps, &cfg)
	}
	s, err := starter.New(deps, cfg, discard)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// TestRelays runs three beside each other: each of 200 videos gets exactly one run.
func TestRelays(t *testing.T) {
	t.Parallel()
	c := realTemporal(t)
	w := newWorld(t)
	var begun sync.Map
	noted := notingTemporal{Client: c, runs: &begun}
	for range 3 {
		runRelay(t, w.another(func(deps *starter.Deps, _ *starter.Config) { deps.Temporal = noted }))
	}
	const videos = 200
	ids := make([]contract.VideoID, videos)
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := worker; i < videos; i += 10 {
				ids[i] = w.create()
			}
		})
	}
	wg.Wait()
	w.intentsGone()
	for _, id := range ids {
		if got := status(t, c, id); got != running {
			t.Fatalf("video %s: status %s", id, got)
		}
	}
	runs := 0
	begun.Range(func(any, any) bool { runs++; return true })
	equal(t, "runs", runs, videos)
}

// TestRelayStops soon, though Temporal does not answer, and leaves no intent leased that it has not begun with.
func TestRelayStops(t *testing.T) {
	t.Parallel()
	hanging := hangingTemporal{entered: make(chan struct{}, 100), left: make(chan error, 100)}
	w := newWorld(t, func(deps *starter.Deps, cfg *starter.Config) { deps.Temporal, cfg.RelayWorkers = hanging, 2 })
	for range 5 {
		w.create()
	}
	stop := runRelay(t, w.starter)
	<-hanging.entered
	<-hanging.entered
	eventually(t, "all are leased", func() bool {
		return w.text(`select count(*)::text from pipeline.intents where attempts = 1`) == "5"
	})
	stop()
	for range 2 {
		if err := within(t, "it is let go", hanging.left); !errors.Is(err, context.Canceled) {
			t.Errorf("an attempt ended with %v, want that stopping cut it short", err)
		}
	}
	// Those that hung are due again soon.
	equal(t, "intents handed back",
		w.text(`select count(*)::text from pipeline.intents where last_error like '%stopped%' and next_at <= clock_timestamp()`), "3")
}

// hangingTemporal accepts connections and never answers.
type hangingTemporal struct {
	temporalAway
	entered chan struct{}
	left    chan error // with what
}

func (h hangingTemporal) ExecuteWorkflow(ctx context.Context, _ client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	h.entered <- struct{}{}
	<-ctx.Done()
	h.left <- ctx.Err()
	return nil, ctx.Err()
}

// notingTemporal notes the runs that it was told of. A start that was not heard of in time is made again, and is told of the
// same run.
type notingTemporal struct {
	client.Client
	runs *sync.Map // by run id
}

func (c notingTemporal) ExecuteWorkflow(ctx context.Context, o client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	run, err := c.Client.ExecuteWorkflow(ctx, o, workflow, args...)
	if err == nil {
		c.runs.Store(run.GetRunID(), true)
	}
	return run, err
}

// TestRelayRepeats a start whose intent could not be forgotten: the run is the same one.
func TestRelayRepeats(t *testing.T) {
	t.Parallel()
	c := realTemporal(t)
	forgetful := &forgetfulStore{}
	w := newWorld(t, func(deps *starter.Deps, _ *starter.Config) {
		deps.Temporal = c
		forgetful.Store = deps.Store
		deps.Store = forgetful
	})
	id := w.create()
	w.runRelay()
	w.intentsGone()
	if forgetful.failed.Load() == 0 {
		t.Fatal("the intent was forgotten at once")
	}
	runs, err := c.ListWorkflow(t.Context(), listOf(id))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the run is listed", func() bool {
		runs, err = c.ListWorkflow(t.Context(), listOf(id))
		return err == nil && len(runs.Executions) > 0
	})
	equal(t, "runs", len(runs.Executions), 1)
}

// forgetfulStore does not forget an intent at the first two tries.
type forgetfulStore struct {
	starter.Store
	failed atomic.Int64
}

func (s *forgetfulStore) IntentDone(ctx context.Context, id contract.VideoID, kind postgres.IntentKind) error {
	if s.failed.Add(1) <= 2 {
		return errors.New("connection reset")
	}
	return s.Store.IntentDone(ctx, id, kind)
}

// TestRelayCleansUp after a video whose run ends when it is cancelled.
func TestRelayCleansUp(t *testing.T) {
	t.Parallel()
	c := realTemporal(t)
	runWorker(t, c)
	w := newWorld(t, func(deps *starter.Deps, _ *starter.Config) { deps.Temporal = c })
	w.runRelay()
	id := w.create()
	w.intentsGone()
	w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNoContent)
	w.intentsGone()
	equal(t, "status", status(t, c, id), canceled)
	if !w.objects.was(id.TranscriptPath()) {
		t.Error("the transcript was not removed")
	}
}

// TestRelayTerminates a run that does not end by itself, since no worker is there.
func TestRelayTerminates(t *testing.T) {
	t.Parallel()
	c := realTemporal(t)
	w := newWorld(t, func(deps *starter.Deps, cfg *starter.Config) {
		deps.Temporal, cfg.TerminateAfter = c, 50*time.Millisecond
	})
	id := w.db.Video(t, w.course)
	// On a task queue that nobody polls.
	if _, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.WorkflowID(id), TaskQueue: "nobody"},
		workflows.VideoWorkflow, workflows.VideoInput{VideoID: id.String()}); err != nil {
		t.Fatal(err)
	}
	w.runRelay()
	w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNoContent)
	w.intentsGone()
	equal(t, "status", status(t, c, id), terminated)
}

// TestRelayCleansUpPiecemeal: neither outage keeps the other part from being done, and the intent stays until both are.
func TestRelayCleansUpPiecemeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // Temporal is away
	id := w.create()
	w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNoContent)
	equal(t, "intents", w.text(`select string_agg(kind, ',') from pipeline.intents`), "cleanup")
	w.objects.fail(errors.New("502 Bad Gateway"))
	stop := runRelay(t, w.starter)
	eventually(t, "both failures are noted", func() bool {
		said := w.text(`select coalesce(last_error, '') from pipeline.intents`)
		return strings.Contains(said, "refused") && strings.Contains(said, "502")
	})
	w.objects.fail(nil)
	w.db.Exec(t, `update pipeline.intents set next_at = now()`)
	eventually(t, "the transcript is removed", func() bool { return w.objects.was(id.TranscriptPath()) })
	equal(t, "intents", w.intents(), 1)
	stop()

	w.db.Exec(t, `update pipeline.intents set next_at = now()`)
	c := realTemporal(t)
	runRelay(t, w.another(func(deps *starter.Deps, _ *starter.Config) { deps.Temporal = c }))
	w.intentsGone()
}

// TestRelayOutwaitsClaims: the object is removed only when no upload can land any more.
func TestRelayOutwaitsClaims(t *testing.T) {
	t.Parallel()
	c := realTemporal(t)
	w := newWorld(t, func(deps *starter.Deps, _ *starter.Config) { deps.Temporal = c })
	id := w.create()
	pos := contract.NewPosition(uuid.New(), 0, 1, time.Now(), time.Now())
	const ttl = 2 * time.Second
	begin := time.Now()
	if claim, err := w.db.Store.Claim(t.Context(), id, uuid.New(), pos, ttl); err != nil || claim.Outcome != postgres.Granted {
		t.Fatal(claim, err)
	}
	w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNoContent)
	w.runRelay()
	w.intentsGone()
	if waited := time.Since(begin); waited < ttl-100*time.Millisecond { // by another clock
		t.Errorf("removed after %s, while a claim of %s stood", waited, ttl)
	}
	if !w.objects.was(id.TranscriptPath()) {
		t.Error("the transcript was not removed")
	}
}

// TestRelayFindsVanished rows: those that the old server deleted, and those that went with a course.
func TestRelayFindsVanished(t *testing.T) {
	t.Parallel()
	c := realTemporal(t)
	w := newWorld(t, func(deps *starter.Deps, cfg *starter.Config) {
		deps.Temporal, cfg.HouseInterval = c, 20*time.Millisecond
	})
	course := w.db.CourseOf(t, w.lecturer)
	alone, withCourse, stays := w.create(), w.db.Video(t, course), w.create()
	if _, err := w.db.Store.LoadPipeline(t.Context(), withCourse); err != nil { // known here since a result came
		t.Fatal(err)
	}
	w.runRelay()
	w.intentsGone()
	w.db.RemoveVideo(t, alone)
	w.db.Exec(t, `delete from public.courses where id = $1`, course)
	for _, id := range []contract.VideoID{alone, withCourse} {
		eventually(t, "a vanished video is cleaned up", func() bool { return w.objects.was(id.TranscriptPath()) })
	}
	if w.objects.was(stays.TranscriptPath()) {
		t.Error("a video that is there was cleaned up")
	}
}

// manyVideos has so many videos that looking at them does not end.
type manyVideos struct {
	starter.Store
	pages chan contract.VideoID // each page that is asked for: after which video
	swept chan struct{}
}

func (m manyVideos) FindVanished(ctx context.Context, after contract.VideoID, _ int) ([]contract.VideoID, contract.VideoID, error) {
	select {
	case m.pages <- after:
	case <-ctx.Done():
	}
	return nil, contract.VideoID(uuid.NewString()), ctx.Err()
}

func (m manyVideos) Sweep(ctx context.Context, _ int) (int, error) {
	select {
	case m.swept <- struct{}{}:
	case <-ctx.Done():
	}
	return 0, ctx.Err()
}

// TestRelayLooksForVanished_so_far_at_a_time: a look ends, other work is done, and the next look goes on where it ended.
func TestRelayLooksForVanished_so_far_at_a_time(t *testing.T) {
	t.Parallel()
	many := manyVideos{pages: make(chan contract.VideoID), swept: make(chan struct{})}
	w := newWorld(t, func(deps *starter.Deps, cfg *starter.Config) {
		many.Store, deps.Store = deps.Store, &many
		cfg.HouseInterval = time.Millisecond
	})
	w.runRelay()
	seen, pages := map[contract.VideoID]bool{}, 0
	deadline := time.After(soon)
	for looks := 0; looks < 3; {
		select {
		case after := <-many.pages:
			if pages++; seen[after] || pages > 20*(looks+1) {
				t.Fatalf("page %d of look %d, after %q: seen before: %t", pages, looks+1, after, seen[after])
			}
			seen[after] = true
		case <-many.swept:
			looks++
		case <-deadline:
			t.Fatalf("%d looks and %d pages in time", looks, pages)
		}
	}
}

// TestRetry goes through a real run: the one that is open, and one that the retry starts.
func TestRetry(t *testing.T) {
	t.Parallel()
	c := realTemporal(t)
	runWorker(t, c)
	w := newWorld(t, func(deps *starter.Deps, cfg *starter.Config) { deps.Temporal, cfg.RetryTimeout = c, soon })
	id := w.db.Video(t, w.course)
	path := "/api/videos/" + id.String() + "/transcription/retry"

	a := w.call(http.MethodPost, path, w.owner(), `{"force":true}`).expect(t, http.StatusAccepted)
	equal(t, "ask", decode[starter.RetryAnswer](t, a).Data.Ask, 2)
	first := runOf(t, c, id)
	a = w.call(http.MethodPost, path, w.owner(), nil).expect(t, http.StatusConflict).code(t, "nothing_to_retry")
	equal(t, "sentence", decode[starter.Problem](t, a).Message, "nothing to retry, said the run")
	equal(t, "run", runOf(t, c, id).WorkflowExecution.RunID, first.WorkflowExecution.RunID)
}

func listOf(id contract.VideoID) *workflowservice.ListWorkflowExecutionsRequest {
	return &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowId = '" + workflows.WorkflowID(id) + "'"}
}
