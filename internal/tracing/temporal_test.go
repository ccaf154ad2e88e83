package tracing_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/internal/tracing/tracingtest"
)

const patience = 3 * time.Minute

// patient waits for a signal in each of two runs, the second of which continues the first, and takes updates meanwhile.
func patient(ctx workflow.Context, last bool) error {
	err := errors.Join(
		workflow.SetQueryHandler(ctx, "asked", func() (bool, error) { return last, nil }),
		workflow.SetUpdateHandler(ctx, "do", func(ctx workflow.Context) error { return do(ctx) }),
	)
	if err != nil {
		return err
	}
	if err := do(ctx); err != nil {
		return err
	}
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
	if err := do(ctx); err != nil {
		return err
	}
	if !last {
		return workflow.NewContinueAsNewError(ctx, "patient", true)
	}
	return nil
}

func do(ctx workflow.Context) error {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{ScheduleToCloseTimeout: patience})
	return workflow.ExecuteLocalActivity(ctx, "step").Get(ctx, nil)
}

// world is a namespace with clients that are traced and one that is not.
type world struct {
	t        *testing.T
	spans    tracingtest.Recorder
	plain    client.Client
	traced   client.Client
	starts   client.StartWorkflowOptions
	mu       sync.Mutex
	contexts []trace.SpanContext // of each step
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, spans: tracingtest.New(t)}
	namespace := temporaltest.NewBare(t)
	w.plain = namespace.Client
	traced, err := client.NewClientFromExisting(w.plain, client.Options{
		Namespace: namespace.Name, Interceptors: tracing.Interceptors(w.spans),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.traced = traced
	w.starts = client.StartWorkflowOptions{ID: "patient", TaskQueue: "patience"}
	return w
}

// work starts a worker, which is stopped by the function that is returned.
func (w *world) work(c client.Client) (stop func()) {
	w.t.Helper()
	made := worker.New(c, w.starts.TaskQueue, worker.Options{})
	made.RegisterWorkflowWithOptions(patient, workflow.RegisterOptions{Name: "patient"})
	made.RegisterActivityWithOptions(func(ctx context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.contexts = append(w.contexts, trace.SpanContextFromContext(ctx))
		return nil
	}, activity.RegisterOptions{Name: "step"})
	if err := made.Start(); err != nil {
		w.t.Fatal(err)
	}
	stop = sync.OnceFunc(made.Stop)
	w.t.Cleanup(stop)
	return stop
}

func (w *world) do(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

func TestInterceptors_a_run_is_one_span(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stop := w.work(w.traced)

	call, span := w.spans.Tracer("test").Start(ctx, "call")
	_, err := w.traced.ExecuteWorkflow(call, w.starts, "patient", false)
	w.do("start", err)
	update := func() {
		handle, err := w.traced.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			WorkflowID: "patient", UpdateName: "do", WaitForStage: client.WorkflowUpdateStageCompleted,
		})
		w.do("update", errors.Join(err))
		w.do("update", handle.Get(ctx, nil))
	}
	update()
	stop() // and with it goes all that the worker remembers
	stop = w.work(w.traced)
	update()
	w.do("signal", w.traced.SignalWorkflow(ctx, "patient", "", "go", nil))
	// The run that continues is the open one from here on.
	await(t, func() bool { return len(w.spans.Named("RunWorkflow:patient")) == 1 })
	stop()
	w.work(w.traced)
	await(t, func() bool { return w.traced.SignalWorkflow(ctx, "patient", "", "go", nil) == nil })
	w.do("run", w.traced.GetWorkflow(ctx, "patient", "").Get(ctx, nil))
	answer, err := w.traced.QueryWorkflow(ctx, "patient", "", "asked") // which replays a run that is closed
	w.do("query", err)
	var last bool
	if err := answer.Get(&last); err != nil || !last {
		t.Fatalf("the query says %t, %v", last, err)
	}
	span.End()
	await(t, func() bool { return len(w.spans.Named("RunWorkflow:patient")) >= 2 })

	runs := w.spans.Named("RunWorkflow:patient")
	if len(runs) != 2 {
		t.Fatalf("%d spans of two runs", len(runs))
	}
	start := w.spans.One(t, "StartWorkflow:patient")
	want := []trace.SpanContext{start.SpanContext, runs[0].SpanContext} // parents
	for i, run := range runs {
		if run.Parent.SpanID() != want[i].SpanID() || run.SpanContext.TraceID() != span.SpanContext().TraceID() {
			t.Errorf("run %d is a child of %s in %s, want %s", i+1, run.Parent.SpanID(), run.SpanContext.TraceID(), want[i].SpanID())
		}
		if run.Status.Code == codes.Error {
			t.Errorf("run %d failed: %s", i+1, run.Status.Description)
		}
	}
	updates := w.spans.Named("HandleUpdate:do")
	if len(updates) != 2 {
		t.Errorf("%d spans of two updates", len(updates))
	}
	steps := w.spans.Named("RunActivity:step")
	if len(steps) != 6 {
		t.Fatalf("%d spans of six steps", len(steps))
	}
	children := map[trace.SpanID]int{} // an update may come before its run's first step, or after
	for _, step := range steps {
		children[step.Parent.SpanID()]++
	}
	for what, parents := range map[string][]tracetest.SpanStub{"run": runs, "update": updates} {
		for i, parent := range parents {
			if got, want := children[parent.SpanContext.SpanID()], map[string]int{"run": 2, "update": 1}[what]; got != want {
				t.Errorf("%s %d has %d steps, want %d", what, i+1, got, want)
			}
		}
	}
	for _, s := range w.spans.All() {
		if s.Name == "StartActivity:step" || s.Name == "ValidateUpdate:do" || s.Name == "QueryWorkflow:asked" {
			t.Errorf("there is a span of nothing: %s", s.Name)
		}
	}
}

// TestInterceptors_on_one_side_alone: what is started without a trace runs with one, and the other way round.
func TestInterceptors_on_one_side_alone(t *testing.T) {
	t.Parallel()
	for name, tracedWorker := range map[string]bool{"worker": true, "client": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			starts, works := w.traced, w.plain
			if tracedWorker {
				starts, works = w.plain, w.traced
			}
			w.work(works)
			run, err := starts.SignalWithStartWorkflow(ctx, "patient", "go", nil, w.starts, "patient", true)
			w.do("start", err)
			w.do("run", run.Get(ctx, nil))
			if len(w.contexts) != 2 || w.contexts[0].IsValid() != tracedWorker {
				t.Fatalf("the steps had the spans %+v; is the worker traced: %t", w.contexts, tracedWorker)
			}
			if !tracedWorker {
				return
			}
			root := w.spans.One(t, "RunWorkflow:patient")
			if root.Parent.IsValid() || root.SpanContext.TraceID() != w.contexts[0].TraceID() {
				t.Errorf("the run is not the root of its step: %+v", root)
			}
		})
	}
}

func await(t *testing.T, look func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !look() {
		select {
		case <-deadline:
			t.Fatal("waited in vain")
		case <-tick.C:
		}
	}
}
