package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
)

// signals is a loop that calls SignalWithStart: for each run that is to be made and, in turn with that, for each that was
// made by an earlier floor.
type signals struct {
	Concurrency int    `help:"Calls under way." default:"64"`
	Runs        int    `help:"How many runs to make." required:""`
	Name        string `help:"What the ids of the runs are made of." required:""`
	Earlier     string `help:"The name of the floor whose runs are signalled too; none when empty."`
	Bytes       int    `help:"Length of a signal's argument." default:"400"`
}

// Run signals, checks that the runs have the signals, and prints how long it took.
func (s *signals) Run(ctx context.Context) error {
	temporal, err := dial(ctx)
	if err != nil {
		return err
	}
	defer temporal.Close()
	fmt.Println("ready")

	argument := map[string]string{"filler": strings.Repeat("x", max(s.Bytes-len(`{"filler":""}`), 0))}
	call := func(ctx context.Context, id, signal string) error {
		_, err := temporal.SignalWithStartWorkflow(ctx, id, signal, argument, client.StartWorkflowOptions{
			ID: id, TaskQueue: "videos", StaticSummary: "Started by a result on update_transcribe",
			WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
			WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		}, "Video", map[string]string{"videoId": strings.TrimPrefix(id, "video/")})
		return err
	}
	calls, workers := errgroup.WithContext(ctx)
	calls.SetLimit(s.Concurrency)
	began, done := time.Now(), 0
	for i := range s.Runs {
		calls.Go(func() error { return call(workers, runID(s.Name, i), "update_transcribe") })
		done++
		if s.Earlier != "" {
			calls.Go(func() error { return call(workers, runID(s.Earlier, i), "finish_compress") })
			done++
		}
	}
	if err := calls.Wait(); err != nil {
		return err
	}
	took := time.Since(began)

	// A run that nobody works on has the events of its start, of each signal, and of the task that waits.
	for i := 0; i < s.Runs; i += max(s.Runs/20, 1) {
		err := errors.Join(hasEvents(ctx, temporal, runID(s.Name, i), 3))
		if s.Earlier != "" {
			err = errors.Join(err, hasEvents(ctx, temporal, runID(s.Earlier, i), 4))
		}
		if err != nil {
			return err
		}
	}
	return tell(ctx, map[string]float64{"signals": float64(done), "seconds": took.Seconds()})
}

func hasEvents(ctx context.Context, temporal client.Client, id string, want int64) error {
	run, err := temporal.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return err
	}
	if got := run.GetWorkflowExecutionInfo().GetHistoryLength(); got != want {
		return fmt.Errorf("run %s has %d events and not %d", id, got, want)
	}
	return nil
}

func runID(name string, i int) string {
	return "video/" + uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s/%d", name, i)).String()
}
