package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/workflows"
)

// OpenRuns selects the runs that have not ended: those that a worker goes on with.
const OpenRuns = "CloseTime IS NULL"

// Temporal is what is needed of a Temporal client.
type Temporal interface {
	CountWorkflow(ctx context.Context, request *workflowservice.CountWorkflowExecutionsRequest) (*workflowservice.CountWorkflowExecutionsResponse, error)
	ListWorkflow(ctx context.Context, request *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
	GetWorkflowHistory(ctx context.Context, workflowID, runID string, isLongPoll bool, filterType enums.HistoryEventFilterType) client.HistoryEventIterator
}

// Selection is which runs of the workflow to look at.
type Selection struct {
	// Query narrows them, in the language of Temporal's list filters.
	Query string
	// Percent, when not 0, looks at that share of them, drawn at random; Most, when not 0, at that many of them at most,
	// each with the same chance.
	Percent float64
	Most    int
}

func (s Selection) query() string {
	q := fmt.Sprintf("WorkflowType = '%s'", workflows.VideoWorkflow)
	if s.Query != "" {
		q += " AND (" + s.Query + ")"
	}
	return q
}

// Verdict is what became of a run.
type Verdict string

// The verdicts.
const (
	// Replays: the code does what the history says.
	Replays Verdict = "replays"
	// Incompatible: it does not; Err is an *IncompatibleError.
	Incompatible Verdict = "incompatible"
	// NothingYet: no task of the run was completed, so any code will do.
	NothingYet Verdict = "nothing_yet"
	// Deleted: the run was removed from the server after it had been listed.
	Deleted Verdict = "deleted"
)

// Result is what was found out about one run.
type Result struct {
	WorkflowID, RunID string
	Status            enums.WorkflowExecutionStatus
	Events            int
	Verdict           Verdict
	// Err and History are there when the run is incompatible.
	Err     *IncompatibleError
	History *historypb.History
}

// Count is how many runs the selection has by now, before any share of them is drawn.
func Count(ctx context.Context, temporal Temporal, s Selection) (int, error) {
	counted, err := temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: s.query()})
	if err != nil {
		return 0, fmt.Errorf("count the runs: %w", err)
	}
	return int(counted.GetCount()), nil
}

// Check replays the selected runs against video, so many at a time, and hands each result to report, one after the other
// and in no order. It keeps that many histories in memory and no more. It ends with an error when Temporal does not answer
// or refuses, however many results it has reported by then.
func Check(ctx context.Context, temporal Temporal, video Video, s Selection, parallel int, report func(Result)) error {
	group, ctx := errgroup.WithContext(ctx)
	runs := make(chan *workflow.WorkflowExecutionInfo) // no capacity: what is listed is in a page already
	group.Go(func() error {
		defer close(runs)
		return list(ctx, temporal, s, func(run *workflow.WorkflowExecutionInfo) error {
			select {
			case runs <- run:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
	var reporting sync.Mutex
	for range parallel {
		group.Go(func() error {
			for run := range runs {
				r, err := check(ctx, temporal, video, run)
				if err != nil {
					return err
				}
				reporting.Lock()
				report(r)
				reporting.Unlock()
			}
			return nil
		})
	}
	return group.Wait()
}

// list hands the selected runs on, page by page.
func list(ctx context.Context, temporal Temporal, s Selection, next func(*workflow.WorkflowExecutionInfo) error) error {
	var seen int
	var drawn []*workflow.WorkflowExecutionInfo // when a number of them is drawn, which needs all to have been seen
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: s.query()}
	for {
		page, err := temporal.ListWorkflow(ctx, request)
		if err != nil {
			return fmt.Errorf("list the runs: %w", err)
		}
		for _, run := range page.GetExecutions() {
			if s.Percent > 0 && rand.Float64()*100 >= s.Percent {
				continue
			}
			if s.Most == 0 {
				if err := next(run); err != nil {
					return err
				}
				continue
			}
			seen++
			if len(drawn) < s.Most {
				drawn = append(drawn, run)
			} else if i := rand.IntN(seen); i < s.Most {
				drawn[i] = run
			}
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			break
		}
	}
	for _, run := range drawn {
		if err := next(run); err != nil {
			return err
		}
	}
	return nil
}

func check(ctx context.Context, temporal Temporal, video Video, run *workflow.WorkflowExecutionInfo) (Result, error) {
	r := Result{WorkflowID: run.GetExecution().GetWorkflowId(), RunID: run.GetExecution().GetRunId(), Status: run.GetStatus()}
	history, err := fetch(ctx, temporal, run.GetExecution())
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		r.Verdict = Deleted
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read the history of %s, run %s: %w", r.WorkflowID, r.RunID, err)
	}
	r.Events = len(history.GetEvents())
	err = History(video, history)
	switch {
	case err == nil:
		r.Verdict = Replays
	case errors.Is(err, ErrNothingYet):
		r.Verdict = NothingYet
	case errors.As(err, &r.Err):
		r.Verdict, r.History = Incompatible, history
	default:
		return r, err
	}
	return r, nil
}

func fetch(ctx context.Context, temporal Temporal, run *commonpb.WorkflowExecution) (*historypb.History, error) {
	history := new(historypb.History)
	events := temporal.GetWorkflowHistory(ctx, run.GetWorkflowId(), run.GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return nil, err
		}
		history.Events = append(history.Events, event)
	}
	return history, nil
}
