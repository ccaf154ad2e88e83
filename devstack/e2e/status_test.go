package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/workflows"
)

// status runs vidflow status and answers what it says and its exit code.
func (p *pipeline) status(args ...string) (out string, code int) {
	p.t.Helper()
	cmd := p.toolCommand(append([]string{"status"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || stderr.Len() > 0 {
		p.t.Fatalf("vidflow status: %v\n%s", err, stderr.String())
	}
	return stdout.String(), cmd.ProcessState.ExitCode()
}

// awaitSays waits until vidflow status ends with the code and says all that is wanted.
func (p *pipeline) awaitSays(args []string, wantCode int, want ...string) (out string) {
	p.t.Helper()
	p.await(fmt.Sprintf("vidflow status %s says %q", strings.Join(args, " "), want), func(context.Context) error {
		var code int
		out, code = p.status(args...)
		if code != wantCode {
			return fmt.Errorf("exit code %d, want %d:\n%s", code, wantCode, out)
		}
		for _, w := range want {
			if !strings.Contains(unwrapped(out), w) {
				return fmt.Errorf("%q is not in:\n%s", w, out)
			}
		}
		return nil
	})
	return out
}

// unwrapped has no line breaks, which may be anywhere in a sentence.
func unwrapped(text string) string { return strings.Join(strings.Fields(text), " ") }

// TestStatus: with everything up all is in order; whichever process is stopped is named.
func TestStatus(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	p.awaitSays(nil, 0, "OK everything that could be asked is in order", "all read")
	p.stop(worker)
	p.awaitSays(nil, 4, "BROKEN", `No worker polls task queue "videos"`, "stopped")
	p.start(worker)
	p.awaitSays(nil, 0)
	p.stop(bridge)
	p.awaitSays(nil, 4, "BROKEN", "No kafkabridge consumes "+p.topics.transcribed, "No kafkabridge consumes "+p.topics.compressed)
	p.start(bridge)
	p.awaitSays(nil, 0)
	p.stop(starter)
	p.awaitSays([]string{"--api", p.places.API.URL}, 4, "The API at "+p.places.API.URL+" does not answer.")
	if os.Getenv(postgrestest.PoolerVariable) == "" { // a pooler hides it
		p.awaitSays(nil, 4, "No starter is connected to Postgres")
	}
	p.start(starter)
	p.awaitSays([]string{"--api", p.places.API.URL}, 0, "answers")

	// Again and again until it is interrupted.
	cmd := p.toolCommand("status", "--watch=100ms", "--json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for looks, fine := 0, 0; fine < 3; looks++ { // on a busy machine one may find an answer missing
		var report struct{ Verdict string }
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &report) != nil || looks == 100 {
			t.Fatalf("look %d says %s", looks, lines.Text())
		}
		if report.Verdict == "ok" {
			fine++
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // to the end
		continue
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted it ends with %v, want exit code 0", err)
	}
}

// TestStatus_of_videos takes one video to each state, and asks where it is.
func TestStatus_of_videos(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	create := func() (contract.VideoID, []string) {
		t.Helper()
		id := p.create(time.Minute)
		if _, err := p.places.API.Await(ctx, id, asked); err != nil {
			t.Fatal(err)
		}
		return id, []string{string(id)}
	}

	waiting, args := create()
	p.awaitSays(args, 0, "OK video", "It waits for the transcription (ask 1 of 3", "then ask 2 is sent", "It waits for the compression, until",
		"its own view transcription waiting, asks: 1 of 3; compression waiting", "running")
	p.awaitSays([]string{strings.ToUpper(string(waiting))}, 0, "It waits for the transcription (ask 1 of 3")

	retried, args := create()
	if _, err := p.places.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: workflows.WorkflowID(retried), UpdateName: workflows.UpdateRetry, Args: []any{workflows.Retry{Force: true}},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	}); err != nil {
		t.Fatal(err)
	}
	p.awaitSays(args, 0, "It waits for the transcription (ask 2 of 4")

	// The storage refuses what it is sent; it says that it is so, and what fails.
	failing, args := create()
	if err := p.storage.Order(ctx, storage.Fault{Kind: storage.InternalError, Path: string(failing), Count: 1000}); err != nil {
		t.Fatal(err)
	}
	p.transcribe(failing, simulator.Take(1))
	p.awaitSays(args, 3, "TROUBLE", "The step StoreTranscript fails", "Storage does not take the transcript yet", "step StoreTranscript: attempt")

	buried, args := create()
	p.produce(p.topics.transcribed, []byte(buried), []byte("{"))
	said := p.awaitSays(args, 3, "1 result of the transcription could not be understood.", "→ vidflow dlq show "+p.topics.transcribed+".dlq/")
	_, letter, _ := strings.Cut(said, "vidflow dlq show ")
	letter, _, _ = strings.Cut(letter, "\n")
	if got := p.tool("dlq", "show", letter); !strings.Contains(got, string(buried)) {
		t.Errorf("vidflow dlq show %s says\n%s", letter, got)
	}

	done, args := create()
	p.transcribe(done, simulator.Take(1))
	p.compress(done)
	if _, err := p.places.API.Await(ctx, done, api.Video.Done); err != nil {
		t.Fatal(err)
	}
	p.awaitSays(args, 0, "Both results are in; nothing is left to do.", "can still be read", "where transcript_url says", "completed")

	deleted, args := create()
	if err := p.places.API.Delete(ctx, deleted); err != nil {
		t.Fatal(err)
	}
	p.awaitSays(args, 5, "NO VIDEO", "It was deleted at")
	p.awaitSays([]string{uuid.NewString()}, 5, "There is no such video, and vidflow never saw one with this id.")

	// The times of a run are those of the worker that began it.
	p.restartWorker(envfile.Var{Name: "COMPRESSION_OVERDUE_AFTER", Value: "1s"}, envfile.Var{Name: "COMPRESSION_GIVE_UP_AFTER", Value: "1h"})
	_, args = create()
	p.awaitSays(args, 3, "The compression is overdue; it is waited for until", "then it is given up")

	p.restartWorker(envfile.Var{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: "1s"}, envfile.Var{Name: "TRANSCRIPTION_MAX_ASKS", Value: "1"},
		envfile.Var{Name: "COMPRESSION_OVERDUE_AFTER", Value: "24h"})
	failed, args := create()
	p.awaitSays(args, 4, "FAILED", "The transcription was given up at", "No transcription came for any of 1 asks.", "transcription/retry")

	p.awaitSays(nil, 3, "DEGRADED", "1 video failed since yesterday. → vidflow status "+string(failed), "1 dead letter is open. → vidflow dlq list",
		"1 compression is overdue.")
}

func (p *pipeline) restartWorker(settings ...envfile.Var) {
	p.t.Helper()
	p.stop(worker)
	p.env = p.env.With(settings...)
	p.start(worker)
}

// saysWhatIsAway looks while Temporal and Kafka are away and Postgres is there.
func (p *pipeline) saysWhatIsAway(waiting contract.VideoID) {
	p.t.Helper()
	p.awaitSays(nil, 4, "Temporal cannot be used", "Kafka cannot be used", "worker ✗ cannot be told: Temporal does not answer",
		"kafkabridge ✗ cannot be told: Kafka does not answer", "transcription 3 waiting", "to start a run, the oldest from", "storage ok")
	p.awaitSays([]string{string(waiting)}, 3, "Its run could not be started yet", "Ask 1 of 3 is")
}

// TestStatus_least_privileges: to describe topics and groups is enough for all but the age of what is unread, and what may
// not be looked at is named.
func TestStatus_least_privileges(t *testing.T) {
	t.Parallel()
	if !onApacheKafka(t) {
		t.Skip("the embedded broker knows no permissions")
	}
	p := newPipeline(t)
	p.produce(p.topics.transcribed, nil, []byte("unread"))
	groups := []string{
		p.env.Value("KAFKA_TRANSCRIPTION_GROUP"), p.env.Value("KAFKA_COMPRESSION_GROUP"), p.env.Value("KAFKA_DEAD_LETTER_GROUP"),
	}
	type group struct {
		Error       string   `json:"error"`
		Lag         int      `json:"lag"`
		LagSeconds  *float64 `json:"lag_seconds"`
		OldestError string   `json:"oldest_error"`
	}
	look := func() []group {
		t.Helper()
		cmd := p.toolCommand("status", "--json")
		cmd.Env = append(cmd.Env, "KAFKA_USERNAME="+string(apache.Guest), "KAFKA_PASSWORD="+apache.Guest.Password())
		out, err := cmd.Output()
		var report struct{ Kafka struct{ Groups []group } }
		if jsonErr := json.Unmarshal(out, &report); jsonErr != nil || len(report.Kafka.Groups) != 3 {
			t.Fatalf("%v, %v in %s", err, jsonErr, out)
		}
		return report.Kafka.Groups
	}
	allow := func(operation kadm.ACLOperation) {
		t.Helper()
		if err := apache.Give(t.Context(), kadm.NewClient(p.kafka),
			apache.Grant{User: apache.Guest, Topics: p.topics.all()[1:], Operations: []kadm.ACLOperation{operation}},
			apache.Grant{User: apache.Guest, Groups: groups, Operations: []kadm.ACLOperation{kadm.OpDescribe}}); err != nil {
			t.Fatal(err)
		}
	}
	for i, g := range look() {
		if !strings.Contains(g.Error, "may not look at consumer group "+groups[i]) {
			t.Errorf("with no permission: %+v", g)
		}
	}
	allow(kadm.OpDescribe)
	p.await("it tells all but the age", func(context.Context) error {
		got := look()
		if g := got[0]; g.Error != "" || g.Lag != 1 || g.LagSeconds != nil || !strings.Contains(g.OldestError, "no permission for the topic") ||
			got[1].Error != "" || got[2].Error != "" {
			return fmt.Errorf("it says %+v", got)
		}
		return nil
	})
	allow(kadm.OpRead)
	p.await("it tells the age as well", func(context.Context) error {
		if g := look()[0]; g.Error != "" || g.LagSeconds == nil || g.OldestError != "" {
			return fmt.Errorf("it says %+v", g)
		}
		return nil
	})
}
