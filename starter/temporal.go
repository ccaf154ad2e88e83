package starter

import (
	"context"
	"net/url"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// Temporal is what the API and the relay need of a Temporal client. A client.Client, connected or lazy, is one.
type Temporal interface {
	ExecuteWorkflow(ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error)
	NewWithStartWorkflowOperation(options client.StartWorkflowOptions, workflow any, args ...any) client.WithStartWorkflowOperation
	UpdateWithStartWorkflow(ctx context.Context, options client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error)
	CancelWorkflow(ctx context.Context, workflowID, runID string) error
	TerminateWorkflow(ctx context.Context, workflowID, runID, reason string, details ...any) error
	DescribeWorkflow(ctx context.Context, workflowID, runID string) (*client.WorkflowExecutionDescription, error)
}

// maxSummaryBytes keeps a run's summary to a line of the UI; the server's own limit is 400 bytes, and as plain text in
// markdown the line may become twice as long.
const maxSummaryBytes = 190

// maxLinkBytes is the longest address that the details of a run show: it is kept with each run.
const maxLinkBytes = 500

// startOptions are those of every run that starter starts: one at a time, and a run that is open already will do.
// It says what the video is in markdown, as it was at the start, unless titles are to be hidden; the rest is in the run's
// current details.
func startOptions(v contract.Video, hideTitle bool) client.StartWorkflowOptions {
	options := client.StartWorkflowOptions{
		ID:                       workflows.WorkflowID(v.ID),
		TaskQueue:                workflows.TaskQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticDetails:            "created " + v.CreatedAt.UTC().Format("2006-01-02 15:04 MST"),
	}
	if hideTitle { // the name of a recording often is its title
		return options
	}
	options.StaticSummary = workflows.PlainText(workflows.Line(v.Title, maxSummaryBytes))
	if len(v.CameraVideoURL) <= maxLinkBytes && public(v.CameraVideoURL) {
		options.StaticDetails += ", [recording](<" + v.CameraVideoURL + ">)"
	}
	return options
}

// public reports whether an address has no part that may be a secret: a query, such as the signature of a link, or a login.
func public(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.RawQuery == "" && u.Fragment == "" && u.User == nil
}
