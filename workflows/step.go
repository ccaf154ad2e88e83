package workflows

import (
	"errors"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Limits of a step.
const (
	// localStepTimeout is how long the first try of a step may take; it must stay below 0.8 of the workflow task's
	// time-out of 10 s, past which a local activity costs heartbeats.
	localStepTimeout = 5 * time.Second
	// stepTimeout is how long each later try may take, and stepSilence how long its worker may give no sign of life before
	// another one tries.
	stepTimeout = 2 * time.Minute
	stepSilence = 15 * time.Second
	// stepRetryMax is the longest pause between two tries, unless the step itself asks for another.
	stepRetryMax = time.Minute
)

// step runs an activity: once as a local one, which costs a single event, and if that does not succeed at once as a
// regular one that is retried until it does, so that lasting trouble is a pending activity with its last error for all
// to see. An error is final, or a cancellation because abandon (which may be nil) became true during the retries.
func (v *video) step(ctx workflow.Context, name, summary string, in, out any, abandon func() bool) error {
	v.steps++
	defer func() { v.steps-- }()

	local := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: localStepTimeout,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                summary,
	})
	err := workflow.ExecuteLocalActivity(local, name, in).Get(local, out)
	var final *temporal.ApplicationError
	if err == nil || (errors.As(err, &final) && final.NonRetryable()) {
		return err
	}

	trouble := &Trouble{Step: name, Since: workflow.Now(ctx), Error: reason(err), what: summary}
	v.trouble = append(v.trouble, trouble)
	v.show()
	err = v.persist(ctx, name, summary, in, out, abandon)
	v.trouble = slices.DeleteFunc(v.trouble, func(t *Trouble) bool { return t == trouble })
	if err != nil {
		v.show() // else the caller shows what came of the step
	}
	return err
}

// persist runs the step as a regular activity.
func (v *video) persist(ctx workflow.Context, name, summary string, in, out any, abandon func() bool) error {
	regular, cancel := workflow.WithCancel(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: stepTimeout,
		HeartbeatTimeout:    stepSilence,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: stepRetryMax, // and no limit of attempts
		},
		Summary: summary,
	}))
	defer cancel()
	done := workflow.ExecuteActivity(regular, name, in)
	if abandon != nil {
		if err := workflow.Await(regular, func() bool { return done.IsReady() || abandon() }); err != nil {
			return err
		}
		if !done.IsReady() {
			cancel() // the attempt under way may still succeed: that is harmless, steps are idempotent
		}
	}
	return done.Get(regular, out)
}

// reason is what an error of a step says, without the wrapping of the SDK.
func reason(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Message()
	}
	var late *temporal.TimeoutError
	if errors.As(err, &late) {
		return "no answer within " + brief(localStepTimeout)
	}
	var activity *temporal.ActivityError
	if errors.As(err, &activity) {
		return activity.Unwrap().Error()
	}
	return err.Error()
}
