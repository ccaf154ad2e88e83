package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// TestHeartbeats sees an activity that only waits give signs of life, where they are asked for.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(3 * time.Minute)
	env.SetWorkerOptions(sdk.Options{
		Interceptors:             []interceptor.WorkerInterceptor{&heartbeats{}},
		DeadlockDetectionTimeout: 3 * time.Minute, // the machine may be busy
	})
	alive := make(chan struct{})
	sign := sync.OnceFunc(func() { close(alive) })
	env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) { sign() })
	env.RegisterActivityWithOptions(func(ctx context.Context) error {
		select {
		case <-alive:
			return nil
		case <-time.After(time.Minute):
			return errors.New("no sign of life")
		}
	}, activity.RegisterOptions{Name: "wait"})
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute,
			HeartbeatTimeout:    300 * time.Millisecond,
			RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
		})
		return workflow.ExecuteActivity(ctx, "wait").Get(ctx, nil)
	})
	if err := env.GetWorkflowError(); err != nil {
		t.Error(err)
	}
}
