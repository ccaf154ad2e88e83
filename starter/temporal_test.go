package starter_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// realTemporal is a client in a namespace of its own on a real server, where no other test's worker polls.
func realTemporal(t *testing.T) client.Client {
	t.Helper()
	if os.Getenv("TEMPORAL_ADDRESS") == "" {
		t.Fatal("TEMPORAL_ADDRESS is not set: this test needs a Temporal server; run it with `make test`, or with `go run ./devstack exec -- go test ./starter`")
	}
	name, err := theNamespace()
	if err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	c, err := client.NewLazyClient(client.Options{HostPort: os.Getenv("TEMPORAL_ADDRESS"), Namespace: name, Logger: log.NewStructuredLogger(discard)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// theNamespace is made once for all tests of a run; servers take seconds to know a new one everywhere.
var theNamespace = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	options := client.Options{HostPort: os.Getenv("TEMPORAL_ADDRESS"), Logger: log.NewStructuredLogger(discard)}
	namespaces, err := client.NewNamespaceClient(options)
	if err != nil {
		return "", err
	}
	defer namespaces.Close()
	options.Namespace = "starter-test-" + strings.ToLower(rand.Text()[:8])
	err = namespaces.Register(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: options.Namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		return "", err
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return "", err
	}
	defer c.Close()
	for {
		_, err := c.DescribeWorkflow(ctx, "none", "")
		var unknown *serviceerror.NamespaceNotFound
		if err != nil && !errors.As(err, &unknown) && ctx.Err() == nil {
			return options.Namespace, nil // no such workflow, in a namespace that is known
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("namespace is not known: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
})

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
