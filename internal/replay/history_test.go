package replay_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/replay"
	"github.com/codeendelea/vidflow/workflows"
)

// before is the workflow with something in front of it.
func before(first func(workflow.Context)) replay.Video {
	return func(ctx workflow.Context, in workflows.VideoInput) (workflows.VideoResult, error) {
		first(ctx)
		return workflows.Video(ctx, in)
	}
}

func step(ctx workflow.Context, name string) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{ScheduleToCloseTimeout: time.Second})
	_ = workflow.ExecuteLocalActivity(ctx, name, workflows.MarkOverdueInput{}).Get(ctx, nil)
}

// TestHistory_says_what_differs replays a recorded history against changes that runs in production would not survive.
func TestHistory_says_what_differs(t *testing.T) {
	t.Parallel()
	if err := replay.History(workflows.Video, history(t, "storage-down")); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	for name, row := range map[string]struct {
		video replay.Video
		want  string
	}{
		"another first step": {
			before(func(ctx workflow.Context) { step(ctx, workflows.StepMarkOverdue) }),
			"workflow task of event 4: the history has the step Begin, this code has the step MarkOverdue",
		},
		"a timer first": {
			before(func(ctx workflow.Context) { _ = workflow.Sleep(ctx, time.Second) }),
			"workflow task of event 4: the history has the step Begin, this code has a timer",
		},
		"an activity beside it": {
			before(func(ctx workflow.Context) {
				workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Second}), "Notify")
			}),
			"workflow task of event 4: the history has the step Begin, this code has the activity Notify",
		},
		"a step more at the end": {
			func(ctx workflow.Context, in workflows.VideoInput) (workflows.VideoResult, error) {
				r, err := workflows.Video(ctx, in)
				_ = workflow.Sleep(ctx, time.Second)
				return r, err
			},
			"workflow task of event 24: this code has a timer, the history does not",
		},
		"nothing left": {
			func(workflow.Context, workflows.VideoInput) (workflows.VideoResult, error) {
				return workflows.VideoResult{}, nil
			},
			"workflow task of event 4: the history has a timer at event 7, this code has none there",
		},
		"a panic": {
			before(func(workflow.Context) { panic("no such map") }),
			"workflow task of event 4: no such map",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := replay.History(row.video, history(t, "storage-down"))
			var incompatible *replay.IncompatibleError
			if !errors.As(err, &incompatible) || !strings.HasSuffix(err.Error(), row.want) {
				t.Errorf("got %q, want %q", err, row.want)
			}
		})
	}
}

// TestHistory_of_any_length replays every recorded history as it was after each of its events: what an open run may look
// like at any moment. Code that made it is never refused; other code is, from the first completed task on.
func TestHistory_of_any_length(t *testing.T) {
	t.Parallel()
	changed := before(func(ctx workflow.Context) { step(ctx, workflows.StepMarkOverdue) })
	for _, name := range recorded(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := history(t, name)
			for n := 1; n <= len(whole.GetEvents()); n++ {
				if n < len(whole.GetEvents()) && !atRest(whole.GetEvents()[n-1], whole.GetEvents()[n]) {
					continue // the server writes these together
				}
				part := &historypb.History{Events: whole.GetEvents()[:n]}
				completed := slices.ContainsFunc(part.Events, func(e *historypb.HistoryEvent) bool {
					return e.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
				})
				same, other := replay.History(workflows.Video, part), replay.History(changed, part)
				if !completed {
					if !errors.Is(same, replay.ErrNothingYet) || !errors.Is(other, replay.ErrNothingYet) {
						t.Errorf("after %d events: got %v and %v", n, same, other)
					}
					continue
				}
				if same != nil {
					t.Errorf("after %d events it is refused: %v", n, same)
				}
				var incompatible *replay.IncompatibleError
				if !errors.As(other, &incompatible) {
					t.Errorf("after %d events other code is not refused: %v", n, other)
				}
			}
		})
	}
}

// TestHistory_of_a_run_that_would_end replays runs that wait, as they are after each of their tasks, against code that has
// nothing more to do. A worker with it would end them.
func TestHistory_of_a_run_that_would_end(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"finished", "asked-again", "storage-down"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := history(t, name)
			tasks := 0
			for n := range whole.GetEvents() {
				if n == 0 || !atRest(whole.GetEvents()[n-1], whole.GetEvents()[n]) {
					continue
				}
				part := &historypb.History{Events: whole.GetEvents()[:n]}
				if errors.Is(replay.History(workflows.Video, part), replay.ErrNothingYet) {
					continue
				}
				tasks++
				err := replay.History(impatient, part)
				if err == nil || !strings.HasSuffix(err.Error(), "this code ends the run, the history does not") {
					t.Errorf("after %d events: got %v", n, err)
				}
			}
			if tasks < 3 {
				t.Errorf("only %d places", tasks)
			}
		})
	}
}

// impatient begins as Video does, and ends as soon as both tracks wait.
func impatient(ctx workflow.Context, in workflows.VideoInput) (r workflows.VideoResult, err error) {
	workflow.Go(ctx, func(ctx workflow.Context) { r, err = workflows.Video(ctx, in) })
	var first string
	waited := workflow.Await(ctx, func() bool { // what is shown changes in the round of coroutines in which the tracks begin
		now := workflow.GetCurrentDetails(ctx)
		if first == "" {
			first = now
		}
		return now != first
	})
	return r, errors.Join(err, waited)
}

// atRest reports whether the server shows a history that ends between the two events.
func atRest(last, next *historypb.HistoryEvent) bool {
	byTask := func(e *historypb.HistoryEvent) bool {
		switch e.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, enums.EVENT_TYPE_MARKER_RECORDED, enums.EVENT_TYPE_TIMER_STARTED,
			enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, enums.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
			enums.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
			enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED, enums.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED,
			enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
			enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
			return true
		default:
			return false
		}
	}
	return !byTask(last) || !byTask(next) || next.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
}

func recorded(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../../workflows/testdata/histories/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded histories: %v", err)
	}
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".json"))
	}
	return names
}

func history(t *testing.T, name string) *historypb.History {
	t.Helper()
	f, err := os.Open(filepath.Join("../../workflows/testdata/histories", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}
