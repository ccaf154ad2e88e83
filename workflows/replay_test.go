package workflows_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/workflows"
)

// histories are recorded from real runs by `make histories`, one for each path through the workflow. They are never
// edited or deleted: runs like them may be open in production.
func histories(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/histories/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded histories: %v", err)
	}
	return files
}

func replay(video any, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	history, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
	if err != nil {
		return err
	}
	started := history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes()
	replayer := sdk.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(video, workflow.RegisterOptions{Name: workflows.VideoWorkflow})
	return replayer.ReplayWorkflowHistoryWithOptions(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), history,
		sdk.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{
			ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId(),
		}})
}

// TestReplay sees every recorded history replay against the workflow as it is now. When it fails, the change would break
// the runs that are open: guard it by workflow.GetVersion.
func TestReplay(t *testing.T) {
	t.Parallel()
	for _, file := range histories(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			if err := replay(workflows.Video, file); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReplayCatchesAnIncompatibleChange proves that TestReplay can fail: a workflow with one step more in front does not
// replay.
func TestReplayCatchesAnIncompatibleChange(t *testing.T) {
	t.Parallel()
	changed := func(ctx workflow.Context, in workflows.VideoInput) (workflows.VideoResult, error) {
		ao := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{ScheduleToCloseTimeout: 1})
		_ = workflow.ExecuteLocalActivity(ao, workflows.StepMarkOverdue, workflows.MarkOverdueInput{}).Get(ao, nil)
		return workflows.Video(ctx, in)
	}
	for _, file := range histories(t) {
		if err := replay(changed, file); err == nil {
			t.Errorf("%s replays against a workflow with another first step", file)
		}
	}
}
