package replay

import (
	"errors"
	"fmt"
	"log/slog"
	"sort"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/log"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/workflows"
)

// ErrNothingYet says that no worker has completed a task of the run yet: there is nothing that code could contradict.
var ErrNothingYet = errors.New("no task of the run was completed yet")

// IncompatibleError says that the code does not do what a history says was done: a worker with that code could not go on
// with the run, which would stand still until one with other code takes it up.
type IncompatibleError struct {
	// EventID is that of the first completed workflow task that the code would not have completed so.
	EventID int64
	// Problem says in words what differs. It tells names of steps, and nothing that was passed to them.
	Problem string
	// Err is what the SDK says. It may show parts of the history.
	Err error
}

func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("workflow task of event %d: %s", e.EventID, e.Problem)
}

func (e *IncompatibleError) Unwrap() error { return e.Err }

// Video is workflows.Video, or a function that stands in for it.
type Video func(workflow.Context, workflows.VideoInput) (workflows.VideoResult, error)

// History replays a history against video. The error is an *IncompatibleError when the two contradict each other, or else
// ErrNothingYet. The SDK writes into the history as it reads it: no two replays may share one at the same time.
func History(video Video, history *historypb.History) error {
	tasks, ends := completedTasks(history)
	if len(tasks) == 0 {
		return ErrNothingYet
	}
	err := replay(video, history)
	if err == nil { // what came after the last task may be a reason to end, what came before it is none
		err = replay(video, upTo(history, ends[len(ends)-1]))
	}
	if err == nil {
		return nil
	}
	// What comes of the first difference is said best where it is, and not where it shows at last.
	first := sort.Search(len(tasks)-1, func(i int) bool { return replay(video, upTo(history, ends[i])) != nil })
	if first < len(tasks)-1 {
		err = replay(video, upTo(history, ends[first]))
	}
	for end := tasks[first] + 2; end <= ends[first]; end++ {
		if pair := replay(video, upTo(history, end)); pair != nil && mismatch.MatchString(pair.Error()) {
			err = pair
			break
		}
	}
	return &IncompatibleError{EventID: history.GetEvents()[tasks[first]].GetEventId(), Problem: inWords(err.Error()), Err: err}
}

// errEnds is what the SDK does not say: a worker that reads a history does not look at what comes after the end of its own code.
var errEnds = errors.New("this code ends the run, the history does not")

func replay(video Video, history *historypb.History) error {
	events := history.GetEvents()
	started := events[0].GetWorkflowExecutionStartedEventAttributes()
	ended := false
	// A new one for each: it keeps the result of every run that it has seen.
	replayer := sdk.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(func(ctx workflow.Context, in workflows.VideoInput) (workflows.VideoResult, error) {
		r, err := video(ctx, in)
		ended = true
		return r, err
	}, workflow.RegisterOptions{Name: workflows.VideoWorkflow})
	err := replayer.ReplayWorkflowHistoryWithOptions(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), history,
		sdk.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{ // the workflow looks at its own id
			ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId(),
		}})
	if last := events[len(events)-1].GetEventType(); err == nil && ended && !ends(last) &&
		(ofTask(last) || last == enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) {
		return errEnds
	}
	return err
}

// completedTasks are the places of the workflow tasks that a worker completed, and where what each led to ends.
func completedTasks(history *historypb.History) (tasks, ends []int) {
	events := history.GetEvents()
	for i, e := range events {
		if e.GetEventType() != enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			continue
		}
		end := i + 1
		for end < len(events) && ofTask(events[end].GetEventType()) {
			end++
		}
		tasks, ends = append(tasks, i), append(ends, end)
	}
	return tasks, ends
}

// upTo is the history as it was before the event at that place.
func upTo(history *historypb.History, end int) *historypb.History {
	return &historypb.History{Events: history.GetEvents()[:end:end]}
}

// ofTask reports whether such an event is written together with the task that led to it.
func ofTask(t enums.EventType) bool {
	switch t {
	case enums.EVENT_TYPE_MARKER_RECORDED, enums.EVENT_TYPE_TIMER_STARTED, enums.EVENT_TYPE_TIMER_CANCELED,
		enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, enums.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED,
		enums.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES, enums.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,
		enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
		return true
	default:
		return ends(t)
	}
}

// ends reports whether such an event is that with which a worker ends a run.
func ends(t enums.EventType) bool {
	switch t {
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return true
	default:
		return false
	}
}
