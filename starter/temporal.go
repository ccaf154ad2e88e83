package starter

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

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

// maxSummaryBytes keeps a run's summary to a line of the UI; the server's own limit is 400 bytes.
const maxSummaryBytes = 200

// startOptions are those of every run that starter starts: one at a time, and a run that is open already will do.
func startOptions(v contract.Video) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       workflows.WorkflowID(v.ID),
		TaskQueue:                workflows.TaskQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:            summary(v.Title),
		StaticDetails: fmt.Sprintf("- video `%s`\n- course `%s`\n- created %s\n",
			v.ID, v.CourseID, v.CreatedAt.UTC().Format(time.RFC3339)),
	}
}

// summary makes a single line of a title, at most maxSummaryBytes long.
func summary(title string) string {
	line := strings.Join(strings.FieldsFunc(title, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return contract.Clip(line, maxSummaryBytes-len("…"))
}
