package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/workflows"
)

// TestReplay is the check before a deploy: runs in every state replay in the version that made them, a version with a
// broken change is refused by its own check, and the same change, guarded, is not.
func TestReplay(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, envfile.Var{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: "1s"},
		envfile.Var{Name: "COMPRESSION_OVERDUE_AFTER", Value: "1s"}, envfile.Var{Name: "COMPRESSION_GIVE_UP_AFTER", Value: "1s"})
	if got := p.tool("replay"); got != "0 replay, 0 incompatible.\n" {
		t.Errorf("of an empty namespace: %q", got)
	}
	p.runsInEveryState()
	const everyRun = "StartTime > '2020-01-01T00:00:00Z'"

	t.Run("this version", func(t *testing.T) {
		p := p.in(t)
		if got, want := p.tool("replay"), "1 replay, 0 incompatible, 1 with nothing to replay yet.\n"; got != want {
			t.Errorf("of the open runs: got %q, want %q", got, want)
		}
		if got, want := p.tool("replay", "--query", everyRun), "7 replay, 0 incompatible, 1 with nothing to replay yet.\n"; got != want {
			t.Errorf("of all runs: got %q, want %q", got, want)
		}
		if got, want := p.tool("replay", "--query", everyRun, "--sample", "3", "--json"), `{"replay":`; !strings.HasPrefix(got, want) {
			t.Errorf("of three of them: got %q", got)
		}
		if said, code := p.gate(p.binary); code != 0 || said != "1 replay, 0 incompatible, 1 with nothing to replay yet.\n" {
			t.Errorf("the gate of the example pipeline ends with %d and says %q", code, said)
		}
	})

	const firstStep = `	if err := v.begin(ctx); err != nil {`
	t.Run("a broken change", func(t *testing.T) {
		t.Parallel()
		p := p.in(t)
		broken := p.build(firstStep, "	if err := workflow.Sleep(ctx, time.Second); err != nil {\n		return VideoResult{}, err\n	}\n"+firstStep)
		saved := t.TempDir()
		found, stderr, code := p.runBinary(broken, "replay", "--query", everyRun, "--json", "--save", saved)
		lines := strings.Split(strings.TrimSpace(found), "\n")
		if code != 3 || !strings.Contains(stderr, "Do not deploy") {
			t.Errorf("exit code %d, and %q, want 3 and a warning", code, stderr)
		}
		if want := `{"replay":0,"incompatible":7,"nothingYet":1,"deleted":0}`; lines[len(lines)-1] != want {
			t.Errorf("the last line is %s, want %s", lines[len(lines)-1], want)
		}
		if said, code := p.gate(broken); code != 3 || !strings.Contains(said, "1 incompatible") {
			t.Errorf("the gate of the example pipeline ends with %d, want 3, and says %s", code, said)
		}
		states := map[string]int{}
		for _, line := range lines[:len(lines)-1] {
			var run struct {
				WorkflowID, RunID, Status, Problem, Look, Saved string
				Event                                           int
			}
			if err := json.Unmarshal([]byte(line), &run); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			states[run.Status]++
			if run.Event == 0 || run.Problem != "the history has the step Begin, this code has a timer" || !strings.Contains(run.Look, run.RunID) {
				t.Errorf("got %s", line)
			}
			if shown := temporaltest.Paste(t, run.Look); !strings.Contains(shown, "WorkflowExecutionStarted") {
				t.Errorf("%s shows\n%s", run.Look, shown)
			}
			file, err := os.Open(run.Saved)
			if err != nil {
				t.Error(err)
				continue
			}
			history, err := client.HistoryFromJSON(file, client.HistoryJSONOptions{})
			_ = file.Close()
			if err != nil || history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowId() != run.WorkflowID {
				t.Errorf("%s is no history of %s: %v", run.Saved, run.WorkflowID, err)
			}
		}
		want := map[string]int{"running": 1, "completed": 3, "failed": 1, "canceled": 1, "terminated": 1}
		if diff := cmp.Diff(want, states); diff != "" {
			t.Errorf("incompatible runs by status (-want +got):\n%s", diff)
		}
		for _, secret := range []string{"End to end", "https://"} {
			if strings.Contains(found, secret) {
				t.Errorf("the report shows %q, which belongs to a video:\n%s", secret, found)
			}
		}
	})

	t.Run("the same change, guarded", func(t *testing.T) {
		t.Parallel()
		p := p.in(t)
		guarded := p.build(firstStep, "	if workflow.GetVersion(ctx, \"sleep-first\", workflow.DefaultVersion, 1) == 1 {\n"+
			"		if err := workflow.Sleep(ctx, time.Second); err != nil {\n			return VideoResult{}, err\n		}\n	}\n"+firstStep)
		stdout, stderr, code := p.runBinary(guarded, "replay", "--query", everyRun)
		if want := "7 replay, 0 incompatible, 1 with nothing to replay yet.\n"; code != 0 || stdout != want {
			t.Errorf("exit code %d, %q, %s; want 0 and %q", code, stdout, stderr, want)
		}
	})
}

// runsInEveryState makes runs and stops the processes: failed, running, canceled, terminated, completed for a video that
// is done and for one that was deleted, completed again after a reset, and one whose first task nobody took.
func (p *pipeline) runsInEveryState() {
	p.t.Helper()
	temporal, ctx := p.namespace.Client, p.t.Context()
	p.start(everyProcess...)
	failed := p.create(time.Minute)
	p.awaitRun(failed, enums.WORKFLOW_EXECUTION_STATUS_FAILED)

	p.stop(worker)
	p.env = p.env.With(envfile.Var{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: "1h"},
		envfile.Var{Name: "COMPRESSION_OVERDUE_AFTER", Value: "1h"})
	p.start(worker)
	var ids []contract.VideoID
	for range 5 {
		ids = append(ids, p.create(time.Minute))
	}
	for _, id := range ids {
		if _, err := p.places.API.Await(ctx, id, asked); err != nil {
			p.t.Fatal(err)
		}
	}
	canceled, terminated, deleted, done := ids[1], ids[2], ids[3], ids[4]
	err := errors.Join(
		temporal.CancelWorkflow(ctx, workflows.WorkflowID(canceled), ""),
		temporal.TerminateWorkflow(ctx, workflows.WorkflowID(terminated), "", "a test"),
		p.places.API.Delete(ctx, deleted))
	if err != nil {
		p.t.Fatal(err)
	}
	key, value := simulator.TranscriptMessage(done, simulator.Nested)
	p.produce(p.topics.transcribed, key, value)
	p.compress(done)
	for id, status := range map[contract.VideoID]enums.WorkflowExecutionStatus{
		canceled: enums.WORKFLOW_EXECUTION_STATUS_CANCELED, deleted: enums.WORKFLOW_EXECUTION_STATUS_COMPLETED,
		done: enums.WORKFLOW_EXECUTION_STATUS_COMPLETED,
	} {
		p.awaitRun(id, status)
	}
	if _, err := temporal.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: p.namespace.Name, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: workflows.WorkflowID(done)},
		Reason: "a test", RequestId: uuid.NewString(), WorkflowTaskFinishEventId: 4,
	}); err != nil {
		p.t.Fatal(err)
	}
	p.awaitRun(done, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	p.stopAll()
	clear(p.processes)
	if _, err := temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: workflows.WorkflowID(terminated), TaskQueue: workflows.TaskQueue,
	}, workflows.VideoWorkflow, workflows.VideoInput{VideoID: string(terminated)}); err != nil {
		p.t.Fatal(err)
	}
	p.await("all runs are listed", func(ctx context.Context) error {
		got, err := temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Query: "ExecutionStatus != 'Running' OR WorkflowId IN ('" + workflows.WorkflowID(terminated) + "','" + workflows.WorkflowID(ids[0]) + "')",
		})
		if err == nil && got.GetCount() != 8 {
			err = fmt.Errorf("there are %d", got.GetCount())
		}
		return err
	})
}

// awaitRun waits until the latest run of the video has that status, and is listed with it.
func (p *pipeline) awaitRun(id contract.VideoID, want enums.WorkflowExecutionStatus) {
	p.t.Helper()
	p.await(fmt.Sprintf("the run of %s is %s", id, want), func(ctx context.Context) error {
		d, err := p.namespace.Client.DescribeWorkflowExecution(ctx, workflows.WorkflowID(id), "")
		if err == nil && d.GetWorkflowExecutionInfo().GetStatus() != want {
			err = fmt.Errorf("it is %s", d.GetWorkflowExecutionInfo().GetStatus())
		}
		return err
	})
}

// build builds a vidflow whose workflow has other text, as `make build` does.
func (p *pipeline) build(old, changed string) (binary string) {
	p.t.Helper()
	dir := p.t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(root, "workflows", "video.go")
	source, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	if n := strings.Count(string(source), old); n != 1 {
		p.t.Fatalf("%s has %q %d times, want it once", file, old, n)
	}
	replaced := filepath.Join(dir, "video.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: replaced}})
	if err != nil {
		p.t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(replaced, []byte(strings.Replace(string(source), old, changed, 1)), 0o600),
		os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	if err != nil {
		p.t.Fatal(err)
	}
	binary = filepath.Join(dir, "vidflow")
	cmd := exec.CommandContext(p.t.Context(), "go", "build", "-trimpath", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, "./cmd/vidflow")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// runBinary runs a tool of another binary.
func (p *pipeline) runBinary(binary string, args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	other := *p
	other.binary = binary
	cmd := other.toolCommand(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
