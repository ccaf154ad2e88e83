// Package worker runs the Temporal worker: it polls the task queue of videos, executes the workflow and its activities,
// and finishes what it has in hand when it is stopped.
//
// It knows the workflow and the activities and what tunes them, and nothing of HTTP, Kafka or SQL.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/internal/attributes"
	"github.com/codeendelea/vidflow/workflows"
)

// Config tunes a Worker. The zero value works.
type Config struct {
	// Build is what the server notes as the build of the worker with each workflow task, in the history of the run. Default:
	// the hash of the binary, which is read for that.
	Build string
	// Version makes the worker a versioned one, which gets tasks of runs that are its version's alone. Without a deployment's
	// name it is unversioned.
	Version sdk.WorkerDeploymentVersion
	// StopTimeout is how long activities in hand may take to end once the worker is stopped; what has not ended by then
	// is tried again by another worker. Default 20 s.
	StopTimeout time.Duration
	// Metrics are told of the steps that fail; nil tells nobody.
	Metrics *Metrics
}

// Worker executes workflow and activity tasks of the task queue workflows.TaskQueue. Any number of them may run side by
// side.
type Worker struct {
	// make makes the SDK's worker: one whose start has failed is not started a second time.
	make  func() sdk.Worker
	log   *slog.Logger
	fatal chan error // capacity 1: the first error is the one that counts
}

// New makes a worker that has everything registered, and does not start it.
func New(temporal client.Client, steps *activities.Activities, cfg Config, log *slog.Logger) *Worker {
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 20 * time.Second
	}
	interceptors := []interceptor.WorkerInterceptor{&heartbeats{}}
	if cfg.Metrics != nil {
		interceptors = append(interceptors, &failures{metrics: cfg.Metrics})
	}
	w := &Worker{log: log, fatal: make(chan error, 1)}
	options := sdk.Options{
		WorkerStopTimeout: cfg.StopTimeout,
		Interceptors:      interceptors,
		OnFatalError: func(err error) {
			select {
			case w.fatal <- err:
			default:
			}
		},
	}
	if cfg.Version.DeploymentName != "" {
		options.DeploymentOptions = sdk.DeploymentOptions{UseVersioning: true, Version: cfg.Version}
	}
	tune(&options)
	sdk.SetBinaryChecksum(cfg.Build) // also keeps the SDK from reading the binary for its hash
	w.make = func() sdk.Worker {
		made := sdk.New(temporal, workflows.TaskQueue, options)
		Register(made, steps)
		return made
	}
	return w
}

// Register tells a registry of the workflow and its activities. A nil steps registers activities that can be named but
// not executed, which is enough to replay histories.
func Register(r sdk.Registry, steps *activities.Activities) {
	r.RegisterWorkflowWithOptions(workflows.Video, workflow.RegisterOptions{
		Name: workflows.VideoWorkflow,
		// A run stays with the version that it began on (decision 29). It says nothing in a worker that is unversioned.
		VersioningBehavior: workflow.VersioningBehaviorPinned,
	})
	for name, step := range methods(steps) {
		r.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: name})
	}
}

// methods are the steps by their names.
func methods(steps *activities.Activities) map[string]any {
	return map[string]any{
		workflows.StepBegin:           steps.Begin,
		workflows.StepAsk:             steps.AskForTranscription,
		workflows.StepStoreTranscript: steps.StoreTranscript,
		workflows.StepSetVideoURL:     steps.SetVideoURL,
		workflows.StepMarkOverdue:     steps.MarkOverdue,
		workflows.StepGiveUp:          steps.GiveUp,
		workflows.StepReopen:          steps.Reopen,
	}
}

// Run polls until ctx is cancelled, ends what it has in hand, and returns nil then. A server that goes away just when the
// worker starts is waited for. Run returns an error when the server refuses the worker for good, as when the namespace is
// gone.
func (w *Worker) Run(ctx context.Context) error {
	running, err := w.start(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it waited
		}
		return fmt.Errorf("start the worker on task queue %s: %w", workflows.TaskQueue, err)
	}
	defer running.Stop()
	w.log.Info("worker started", "task_queue", workflows.TaskQueue)
	select {
	case <-ctx.Done():
		w.log.Info("worker stopping: no more tasks are taken")
		return nil
	case err := <-w.fatal:
		return fmt.Errorf("the worker cannot go on: %w", err)
	}
}

// startPause is how long it waits before it tries again to start.
const startPause = time.Second

// start starts a worker, in as many tries as it takes until ctx is cancelled.
func (w *Worker) start(ctx context.Context) (sdk.Worker, error) {
	for {
		starting := w.make()
		err := starting.Start()
		if err == nil {
			return starting, nil
		}
		starting.Stop()
		if !away(err) {
			return nil, err
		}
		w.log.Warn("Temporal is away, the worker starts when it is there", "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(startPause):
		}
	}
}

// away says whether a server that did not let the worker start may do so later.
func away(err error) bool {
	var (
		unavailable *serviceerror.Unavailable
		late        *serviceerror.DeadlineExceeded
		exhausted   *serviceerror.ResourceExhausted
	)
	return errors.As(err, &unavailable) || errors.As(err, &late) || errors.As(err, &exhausted) || errors.Is(err, context.DeadlineExceeded)
}

// KnowsSearchAttributes reports whether the namespace has all the attributes that the workflow would set. A server that
// does not tell is taken to have none: everything works without them.
func KnowsSearchAttributes(ctx context.Context, temporal client.Client, namespace string) (bool, error) {
	missing, err := attributes.Missing(ctx, temporal, namespace)
	for _, key := range missing {
		err = errors.Join(err, fmt.Errorf("the search attribute %s is missing", key.GetName()))
	}
	return err == nil, err
}
