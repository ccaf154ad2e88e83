package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/codeendelea/vidflow/internal/attributes"
	"github.com/codeendelea/vidflow/internal/versions"
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
	last := make(map[string]poll)
	var shares []versions.Share
	for _, kind := range []enums.TaskQueueType{enums.TASK_QUEUE_TYPE_WORKFLOW, enums.TASK_QUEUE_TYPE_ACTIVITY} {
		queue, err := s.Temporal.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
			Namespace: s.Namespace, TaskQueue: &taskqueue.TaskQueue{Name: taskQueue}, TaskQueueType: kind, ReportStats: true,
		})
		if err != nil {
			return Worker{Error: s.text(s.temporalError(err))}
		}
		for _, p := range queue.GetPollers() {
			if at := p.GetLastAccessTime().AsTime(); at.After(last[p.GetIdentity()].at) {
				last[p.GetIdentity()] = poll{at, versions.Of(p)}
			}
		}
		if kind == enums.TASK_QUEUE_TYPE_WORKFLOW {
			shares = versions.Shares(queue)
		}
		w.Backlog += queue.GetStats().GetApproximateBacklogCount()
		w.BacklogSeconds = max(w.BacklogSeconds, queue.GetStats().GetApproximateBacklogAge().AsDuration().Seconds())
	}
	// Temporal remembers for minutes who polled, and beside it what workers say of themselves.
	ended := s.ended(ctx)
	now := time.Now()
	for identity, p := range last {
		w.Pollers = append(w.Pollers, Poller{
			Identity: identity, LastAccess: p.at, AgeSeconds: seconds(now, p.at), Version: p.version.String(),
			Silent: now.Sub(p.at) > silentAfter, Stopped: ended[identity],
		})
	}
	slices.SortFunc(w.Pollers, func(a, b Poller) int {
		return cmp.Or(b.LastAccess.Compare(a.LastAccess), strings.Compare(a.Identity, b.Identity))
	})
	var live []versions.Version
	for _, p := range w.Pollers {
		if !p.Silent && !p.Stopped {
			live = append(live, last[p.Identity].version)
		}
	}
	for _, share := range shares {
		w.Versions = append(w.Versions, VersionShare{share.Version.String(), share.Percentage})
	}
	if unserved, ok := errors.AsType[*versions.UnservedError](versions.Served(shares, live)); ok {
		w.Unserved, w.Mend = unserved.What, unserved.Do
	}
	if len(live) > 0 { // else everything stands still
		w.Stranded, w.StrandedVersion = s.stranded(ctx, live)
	}
	return w
}

// poll is when a worker polled last, and its version.
type poll struct {
	at      time.Time
	version versions.Version
}

// stranded counts the open runs of versions that none of the workers is of, and names one of these. There are none on a
// server that knows no versions.
func (s Sources) stranded(ctx context.Context, live []versions.Version) (int64, string) {
	query := fmt.Sprintf(`WorkflowType = "%s" AND ExecutionStatus = "Running" AND TemporalWorkflowVersioningBehavior = "Pinned"`, workflows.VideoWorkflow)
	var names []string
	for _, v := range live {
		if v != (versions.Version{}) {
			names = append(names, strconv.Quote(v.String()))
		}
	}
	if len(names) > 0 {
		query += " AND TemporalWorkerDeploymentVersion NOT IN (" + strings.Join(names, ", ") + ")"
	}
	count, err := s.Temporal.WorkflowService().CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: s.Namespace, Query: query})
	if err != nil || count.GetCount() == 0 {
		return 0, ""
	}
	list, err := s.Temporal.WorkflowService().ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.Namespace, Query: query, PageSize: 1})
	if err != nil || len(list.GetExecutions()) == 0 {
		return 0, "" // ended meanwhile
	}
	run, err := s.Temporal.WorkflowService().DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: s.Namespace, Execution: list.GetExecutions()[0].GetExecution(),
	})
	if err != nil {
		return 0, ""
	}
	info := run.GetWorkflowExecutionInfo().GetVersioningInfo()
	pinned := info.GetVersioningOverride().GetPinned().GetVersion()
	if pinned == nil {
		pinned = info.GetDeploymentVersion()
	}
	return count.GetCount(), versions.Version{Deployment: pinned.GetDeploymentName(), Build: pinned.GetBuildId()}.String()
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
