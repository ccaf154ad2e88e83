package workflows_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/replay"
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

func history(t *testing.T, file string) *historypb.History {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	history, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return history
}

// TestReplay sees every recorded history replay against the workflow as it is now. When it fails, the change would break
// the runs that are open: guard it by workflow.GetVersion.
func TestReplay(t *testing.T) {
	t.Parallel()
	for _, file := range histories(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			if err := replay.History(workflows.Video, history(t, file)); err != nil {
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
		if err := replay.History(changed, history(t, file)); err == nil {
			t.Errorf("%s replays against a workflow with another first step", file)
		}
	}
}
