package starter_test

import (
	"errors"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/workflows"
)

// realTemporal is a client in a namespace of its own on a real server, where no other test's worker polls.
func realTemporal(t *testing.T) client.Client {
	t.Helper()
	return temporaltest.New(t).Client
}

// runWorker runs a stand-in for the workflow: it waits until it is cancelled, and takes each retry for the first.
func runWorker(t *testing.T, c client.Client) {
	t.Helper()
	w := worker.New(c, workflows.TaskQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(standIn, workflow.RegisterOptions{Name: workflows.VideoWorkflow})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

func standIn(ctx workflow.Context, in workflows.VideoInput) error {
	if in.VideoID == "" {
		return temporal.NewNonRetryableApplicationError("no video id", workflows.ErrInvalidInput, nil)
	}
	err := workflow.SetUpdateHandler(ctx, workflows.UpdateRetry, func(_ workflow.Context, r workflows.Retry) (workflows.Retried, error) {
		if !r.Force {
			return workflows.Retried{}, temporal.NewNonRetryableApplicationError("nothing to retry, said the run", workflows.ErrNothingToRetry, nil)
		}
		return workflows.Retried{Ask: 2}, nil
	})
	if err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return false })
}

// runOf is the latest run of a video; nil when there never was one.
func runOf(t *testing.T, c client.Client, id contract.VideoID) *client.WorkflowExecutionDescription {
	t.Helper()
	d, err := c.DescribeWorkflow(t.Context(), workflows.WorkflowID(id), "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return nil
	case err != nil:
		t.Fatal(err)
	}
	return d
}

func status(t *testing.T, c client.Client, id contract.VideoID) enumspb.WorkflowExecutionStatus {
	t.Helper()
	if d := runOf(t, c, id); d != nil {
		return d.Status
	}
	return enumspb.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED
}
