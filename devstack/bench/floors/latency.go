package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"
)

// latency sends signals to runs that wait for them, at a rate, and tells how long each took until a local activity that
// the run answers it with has noted the time.
type latency struct {
	Runs int     `help:"Runs, each of which gets two signals." required:""`
	Rate float64 `help:"Signals a second." required:""`
}

const (
	latencyQueue    = "floor-latency"
	latencyWorkflow = "FloorLatency"
)

// notes are the times: by run, then by signal.
type notes struct {
	mu   sync.Mutex
	sent map[string]time.Time
	took []float64 // milliseconds
}

func noteKey(run string, n int) string { return fmt.Sprintf("%s/%d", run, n) }

// Note is the local activity.
func (n *notes) Note(_ context.Context, key string) error {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	sent, ok := n.sent[key]
	if !ok {
		return fmt.Errorf("nobody has signalled %s", key)
	}
	delete(n.sent, key) // one that is run twice fails the second time, and with it the floor
	n.took = append(n.took, float64(now.Sub(sent).Microseconds())/1000)
	return nil
}

func waitForTwo(ctx workflow.Context) error {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{ScheduleToCloseTimeout: 5 * time.Second})
	for range 2 {
		var key string
		workflow.GetSignalChannel(ctx, "result").Receive(ctx, &key)
		if err := workflow.ExecuteLocalActivity(ctx, "Note", key).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// Run starts the runs, signals them, waits for their end, and prints what each signal took.
func (l *latency) Run(ctx context.Context) error {
	temporal, err := dial(ctx)
	if err != nil {
		return err
	}
	defer temporal.Close()
	seen := &notes{sent: map[string]time.Time{}}
	w := worker.New(temporal, latencyQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(waitForTwo, workflow.RegisterOptions{Name: latencyWorkflow})
	w.RegisterActivity(seen)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	fmt.Println("ready")

	runs := make([]client.WorkflowRun, l.Runs)
	starts, starting := errgroup.WithContext(ctx)
	starts.SetLimit(8)
	for i := range runs {
		starts.Go(func() (err error) {
			runs[i], err = temporal.ExecuteWorkflow(starting, client.StartWorkflowOptions{ID: "floor/" + uuid.NewString(), TaskQueue: latencyQueue}, latencyWorkflow)
			return err
		})
	}
	if err := starts.Wait(); err != nil {
		return err
	}
	if err := waiting(ctx, temporal, runs); err != nil {
		return err
	}

	var signals errgroup.Group
	began, pause := time.Now(), time.Duration(float64(time.Second)/l.Rate)
	for i := range 2 * len(runs) {
		at := began.Add(time.Duration(i)*pause + time.Duration(rand.Int64N(int64(pause))))
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return ctx.Err()
		}
		run := runs[i%len(runs)]
		signals.Go(func() error {
			key := noteKey(run.GetID(), i)
			seen.mu.Lock()
			seen.sent[key] = time.Now()
			seen.mu.Unlock()
			return temporal.SignalWorkflow(ctx, run.GetID(), "", "result", key)
		})
	}
	if err := signals.Wait(); err != nil {
		return err
	}
	for _, run := range runs {
		if err := run.Get(ctx, nil); err != nil {
			return err
		}
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.took) != 2*len(runs) {
		return fmt.Errorf("%d signals were answered and not %d", len(seen.took), 2*len(runs))
	}
	return tell(ctx, map[string][]float64{"milliseconds": seen.took})
}

// waiting waits until all runs have had their first task.
func waiting(ctx context.Context, temporal client.Client, runs []client.WorkflowRun) error {
	const tasked = 4 // events: started; a task scheduled, started, completed
	for _, run := range runs {
		for {
			described, err := temporal.DescribeWorkflowExecution(ctx, run.GetID(), run.GetRunID())
			if err != nil {
				return err
			}
			events := described.GetWorkflowExecutionInfo().GetHistoryLength()
			if events >= tasked {
				break
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return errors.Join(fmt.Errorf("run %s has %d events, not %d", run.GetID(), events, tasked), ctx.Err())
			}
		}
	}
	return nil
}
