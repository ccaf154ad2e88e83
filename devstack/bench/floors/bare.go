package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"
)

// bareCmd is the workflow of a video without its effects: a run that waits for two signals and ends. A worker with the
// SDK's defaults, and callers that start runs and signal them.
type bareCmd struct {
	Runs    int    `required:"" help:"How many runs."`
	Callers int    `required:"" help:"How many callers start and signal runs at the same time."`
	Payload int    `default:"400" help:"Bytes that each signal carries."`
	Prefix  string `required:"" help:"Of the ids of the runs."`
	Apart   bool   `help:"Signal a run only once it waits for the signal, so that each has a workflow task of its own."`
	Warm    int    `default:"0" help:"Runs before those that are measured."`
}

const bareQueue = "bare"

// bare counts the runs that have ended.
type bare struct {
	// waiting has a channel for each run whose caller wants to know that it waits.
	waiting sync.Map
	ended   atomic.Int64
	// last is the one that ended last.
	last atomic.Pointer[string]
}

// run is the workflow.
func (b *bare) run(ctx workflow.Context) error {
	id := workflow.GetInfo(ctx).WorkflowExecution.ID
	for _, signal := range []string{"update_transcribe", "finish_compress"} {
		if waiting, ok := b.waiting.Load(id); ok && !workflow.IsReplaying(ctx) {
			waiting.(chan struct{}) <- struct{}{}
		}
		workflow.GetSignalChannel(ctx, signal).Receive(ctx, nil)
	}
	if !workflow.IsReplaying(ctx) {
		b.last.Store(&id)
		b.ended.Add(1)
	}
	return nil
}

// Run warms up, says so, measures, and says how long it took.
func (c *bareCmd) Run(ctx context.Context) error {
	temporal, err := dial(ctx)
	if err != nil {
		return err
	}
	defer temporal.Close()
	var b bare
	w := worker.New(temporal, bareQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(b.run, workflow.RegisterOptions{Name: "Bare"})
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	if c.Warm > 0 {
		if _, err := c.batch(ctx, temporal, &b, "warm-"+c.Prefix, c.Warm); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	took, err := c.batch(ctx, temporal, &b, c.Prefix, c.Runs)
	if err != nil {
		return err
	}
	events, err := c.events(ctx, temporal)
	if err != nil {
		return err
	}
	return tell(ctx, map[string]float64{"seconds": took.Seconds(), "events": events})
}

// batch has n runs begun, signalled and ended, makes sure of it, and says how long it took until the last had ended.
func (c *bareCmd) batch(ctx context.Context, temporal client.Client, b *bare, prefix string, n int) (time.Duration, error) {
	b.ended.Store(0)
	payload := strings.Repeat("x", c.Payload)
	began := time.Now()
	var next atomic.Int64
	callers, callersCtx := errgroup.WithContext(ctx)
	for range c.Callers {
		callers.Go(func() error {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				id := fmt.Sprint(prefix, i)
				waiting := make(chan struct{}, 2) // as many as there are signals: the run never blocks
				if c.Apart {
					b.waiting.Store(id, waiting)
				}
				run, err := temporal.ExecuteWorkflow(callersCtx, client.StartWorkflowOptions{ID: id, TaskQueue: bareQueue}, "Bare")
				if err != nil {
					return err
				}
				for _, signal := range []string{"update_transcribe", "finish_compress"} {
					if c.Apart {
						select {
						case <-waiting:
						case <-callersCtx.Done():
							return callersCtx.Err()
						}
					}
					if err := temporal.SignalWorkflow(callersCtx, id, run.GetRunID(), signal, payload); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := callers.Wait(); err != nil {
		return 0, err
	}
	for b.ended.Load() < int64(n) {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d runs have ended: %w", b.ended.Load(), n, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	if err := temporal.GetWorkflow(ctx, *b.last.Load(), "").Get(ctx, nil); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, checkCompleted(ctx, temporal, prefix, n)
}

// events is how many a run has, on average of some: three for each workflow task, and four more.
func (c *bareCmd) events(ctx context.Context, temporal client.Client) (float64, error) {
	const most = 50
	var sum int64
	some := min(c.Runs, most)
	for i := range some {
		id := fmt.Sprint(c.Prefix, 1+i*c.Runs/some)
		run, err := temporal.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			return 0, err
		}
		sum += run.GetWorkflowExecutionInfo().GetHistoryLength()
	}
	return float64(sum) / float64(some), nil
}

// checkCompleted waits until the list of runs, which is a moment behind, has n completed ones.
func checkCompleted(ctx context.Context, temporal client.Client, prefix string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	query := fmt.Sprintf("WorkflowId STARTS_WITH %q AND ExecutionStatus = 'Completed'", prefix)
	for {
		found, err := temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		if err == nil && found.GetCount() == int64(n) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d runs are listed as completed (%w)", found.GetCount(), n, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
