package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/codeendelea/vidflow/internal/attributes"
	"github.com/codeendelea/vidflow/workflows"
)

const (
	taskQueue = workflows.TaskQueue
	// silentAfter is how long ago a worker that has nothing to do asked last, at most: it asks once a minute.
	silentAfter = 90 * time.Second
	lately      = 24 * time.Hour
)

// worker asks who polls the task queue, for tasks of workflows and of activities.
func (s Sources) worker(ctx context.Context) Worker {
	var w Worker
	last := make(map[string]time.Time)
	for _, kind := range []enums.TaskQueueType{enums.TASK_QUEUE_TYPE_WORKFLOW, enums.TASK_QUEUE_TYPE_ACTIVITY} {
		queue, err := s.Temporal.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
			Namespace: s.Namespace, TaskQueue: &taskqueue.TaskQueue{Name: taskQueue}, TaskQueueType: kind, ReportStats: true,
		})
		if err != nil {
			return Worker{Error: s.text(s.temporalError(err))}
		}
		for _, p := range queue.GetPollers() {
			if at := p.GetLastAccessTime().AsTime(); at.After(last[p.GetIdentity()]) {
				last[p.GetIdentity()] = at
			}
		}
		w.Backlog += queue.GetStats().GetApproximateBacklogCount()
		w.BacklogSeconds = max(w.BacklogSeconds, queue.GetStats().GetApproximateBacklogAge().AsDuration().Seconds())
	}
	// Temporal remembers for minutes who polled, and beside it what workers say of themselves.
	ended := s.ended(ctx)
	now := time.Now()
	for identity, at := range last {
		w.Pollers = append(w.Pollers, Poller{
			Identity: identity, LastAccess: at, AgeSeconds: seconds(now, at), Silent: now.Sub(at) > silentAfter,
			Stopped: ended[identity],
		})
	}
	slices.SortFunc(w.Pollers, func(a, b Poller) int {
		return cmp.Or(b.LastAccess.Compare(a.LastAccess), strings.Compare(a.Identity, b.Identity))
	})
	return w
}

// ended are the workers that told Temporal that they end; none of a server that does not take such reports.
func (s Sources) ended(ctx context.Context) map[string]bool {
	ended := make(map[string]bool)
	req := &workflowservice.ListWorkersRequest{Namespace: s.Namespace, Query: fmt.Sprintf("TaskQueue = '%s'", taskQueue)}
	for {
		list, err := s.Temporal.WorkflowService().ListWorkers(ctx, req)
		if err != nil {
			return nil
		}
		for _, w := range list.GetWorkers() {
			// One that is started again may have the identity of the one before: 1@container@.
			over := w.GetStatus() == enums.WORKER_STATUS_SHUTTING_DOWN || w.GetStatus() == enums.WORKER_STATUS_SHUTDOWN
			was, known := ended[w.GetWorkerIdentity()]
			ended[w.GetWorkerIdentity()] = over && (was || !known)
		}
		if req.NextPageToken = list.GetNextPageToken(); len(req.NextPageToken) == 0 {
			return ended
		}
	}
}

func (s Sources) temporalError(err error) error {
	return fmt.Errorf("ask Temporal at %s about namespace %s: %w", s.TemporalAddress, s.Namespace, err)
}

// temporal asks for the namespace, its runs and the search attributes.
func (s Sources) temporal(ctx context.Context) Temporal {
	var t Temporal
	if _, err := s.Temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: s.Namespace}); err != nil {
		t.Error = s.text(s.temporalError(err))
		return t
	}
	ours := fmt.Sprintf(`WorkflowType = "%s"`, workflows.VideoWorkflow)
	since := time.Now().Add(-lately).UTC().Format(time.RFC3339)
	count := func(into *int64, query string) error {
		answer, err := s.Temporal.WorkflowService().CountWorkflowExecutions(ctx,
			&workflowservice.CountWorkflowExecutionsRequest{Namespace: s.Namespace, Query: ours + " AND " + query})
		*into = answer.GetCount()
		return err
	}
	err := count(&t.OpenRuns, `ExecutionStatus = "Running"`)
	if err == nil {
		err = count(&t.FailedLately, `ExecutionStatus IN ("Failed", "TimedOut", "Terminated") AND CloseTime > "`+since+`"`)
	}
	if err != nil {
		t.CountError = s.text(s.temporalError(err))
	} else {
		_ = count(&t.StuckRuns, `ExecutionStatus = "Running" AND TemporalReportedProblems IS NOT NULL`) // older servers know no such attribute
	}
	missing, err := attributes.Missing(ctx, s.Temporal, s.Namespace)
	var wrong *attributes.WrongTypeError
	switch {
	case errors.As(err, &wrong):
		t.MissingAttributes = []string{wrong.Name}
	case err == nil:
		t.MissingAttributes = []string{}
		for _, key := range missing {
			t.MissingAttributes = append(t.MissingAttributes, key.GetName())
		}
	}
	return t
}
