package replay_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/replay"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/workflows"
)

// remover removes a run from the server when its history is about to be read.
type remover struct {
	client.Client

	t     *testing.T
	ns    string
	runID string
}

func (r *remover) GetWorkflowHistory(
	ctx context.Context, workflowID, runID string, longPoll bool, filter enums.HistoryEventFilterType,
) client.HistoryEventIterator {
	if runID == r.runID {
		run := &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID}
		if _, err := r.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
			Namespace: r.ns, WorkflowExecution: run,
		}); err != nil {
			r.t.Error(err)
		}
		until(r.t, "the run is removed", func() bool {
			_, err := r.DescribeWorkflowExecution(ctx, workflowID, runID)
			return err != nil
		})
	}
	return r.Client.GetWorkflowHistory(ctx, workflowID, runID, longPoll, filter)
}

// TestCheck lists and draws runs of a real server, without search attributes, some pages of them, of which one is removed
// meanwhile.
func TestCheck(t *testing.T) {
	t.Parallel()
	ns := temporaltest.NewBare(t)
	const n = 40
	var last string
	for range n {
		id := postgrestest.NewVideoID()
		run, err := ns.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: workflows.WorkflowID(id), TaskQueue: "nobody-polls-it",
		}, workflows.VideoWorkflow, workflows.VideoInput{VideoID: string(id)})
		if err != nil {
			t.Fatal(err)
		}
		last = run.GetRunID()
	}
	open := replay.Selection{Query: replay.OpenRuns}
	until(t, "all are listed", func() bool {
		counted, err := replay.Count(t.Context(), ns.Client, open)
		if err != nil {
			t.Fatal(err)
		}
		return counted == n
	})
	check := func(temporal replay.Temporal, s replay.Selection) map[replay.Verdict]int {
		t.Helper()
		got := map[replay.Verdict]int{}
		seen := map[string]bool{}
		if err := replay.Check(t.Context(), temporal, workflows.Video, s, 4, func(r replay.Result) {
			if seen[r.RunID] {
				t.Errorf("%s is looked at twice", r.RunID)
			}
			seen[r.RunID] = true
			got[r.Verdict]++
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got, want := check(ns.Client, open), map[replay.Verdict]int{replay.NothingYet: n}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, most := range []int{1, 7, n, 2 * n} {
		if got := check(ns.Client, replay.Selection{Query: replay.OpenRuns, Most: most})[replay.NothingYet]; got != min(most, n) {
			t.Errorf("of a sample of %d: got %d", most, got)
		}
	}
	var shares []int
	for range 10 {
		shares = append(shares, check(ns.Client, replay.Selection{Query: replay.OpenRuns, Percent: 50})[replay.NothingYet])
	}
	if slices.Min(shares) < 3 || slices.Max(shares) > n-3 {
		t.Errorf("half of %d: got %v", n, shares)
	}
	if got := check(ns.Client, replay.Selection{Query: fmt.Sprintf("RunId = '%s' OR RunId = 'none'", last)}); got[replay.NothingYet] != 1 {
		t.Errorf("one by its id: got %v", got)
	}
	removing := &remover{Client: ns.Client, t: t, ns: ns.Name, runID: last}
	if got, want := check(removing, open), map[replay.Verdict]int{replay.NothingYet: n - 1, replay.Deleted: 1}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := replay.Check(ctx, ns.Client, workflows.Video, open, 4, func(replay.Result) {}); err == nil {
		t.Error("a check that was stopped says that all is well")
	}
	if err := replay.Check(t.Context(), ns.Client, workflows.Video, replay.Selection{Query: "Nonsense = 1"}, 4, func(replay.Result) {}); err == nil {
		t.Error("a query that is none finds nothing to complain about")
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
