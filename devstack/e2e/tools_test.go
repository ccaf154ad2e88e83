package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/outcome"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// toolCommand is a tool of the binary, which is yet to be run.
func (p *pipeline) toolCommand(args ...string) *exec.Cmd {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.binary, args...)
	env := p.env
	if onApacheKafka(p.t) {
		env = env.With(envfile.Var{Name: "KAFKA_USERNAME", Value: string(apache.Vidflow)},
			envfile.Var{Name: "KAFKA_PASSWORD", Value: apache.Vidflow.Password()})
	}
	cmd.Env = env.Environ([]string{"PATH=" + os.Getenv("PATH")})
	return cmd
}

// tool runs a tool, which has to succeed, and returns all that it said.
func (p *pipeline) tool(args ...string) string {
	p.t.Helper()
	cmd := p.toolCommand(args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("vidflow %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// awaitLetters waits until the API says so much of a video's dead letters.
func (p *pipeline) awaitLetters(id contract.VideoID, count, open int) {
	p.t.Helper()
	_, err := p.places.API.Await(p.t.Context(), id, func(v api.Video) bool {
		d := v.Pipeline.DeadLetters
		return d.Count == count && d.Open == open && d.Latest != nil && d.Latest.Class == contract.ClassJSON
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// letter is one of a transcript that an older version did not understand.
func (p *pipeline) letter(key, value []byte, offset int64) *kgo.Record {
	return &kgo.Record{
		Topic: p.topics.transcribed + contract.DeadLetterSuffix, Key: key, Value: value,
		Headers: []kgo.RecordHeader{
			{Key: contract.HeaderOriginTopic, Value: []byte(p.topics.transcribed)},
			{Key: contract.HeaderOriginTopicID, Value: []byte("0f0e0d0c-0b0a-4900-8807-060504030201")},
			{Key: contract.HeaderOriginPartition, Value: []byte("0")},
			{Key: contract.HeaderOriginOffset, Value: strconv.AppendInt(nil, offset, 10)},
			{Key: contract.HeaderOriginTime, Value: strconv.AppendInt(nil, time.Now().UnixMilli(), 10)},
			{Key: contract.HeaderClass, Value: []byte(contract.ClassJSON)},
			{Key: contract.HeaderReason, Value: []byte("not understood yet")},
		},
	}
}

// TestRedrive_killed: a redrive that is killed in the middle, twice, and run again sends back everything.
func TestRedrive_killed(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	const letters, atOnce = 600, 16
	for i := range letters {
		id := contract.VideoID(uuid.NewString())
		p.kafka.Produce(t.Context(), p.letter([]byte(id), []byte(`{"video_id":"`+string(id)+`"}`), int64(i)), nil)
	}
	if err := p.kafka.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		cmd := p.toolCommand("dlq", "redrive", "--all")
		lines := bufio.NewScanner(startNarrow(t, cmd))
		for range 50 {
			if !lines.Scan() {
				t.Fatal("it ended before it could be killed")
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	p.tool("dlq", "redrive", "--all")
	if got := p.tool("dlq", "list"); got != "No dead letters.\n" {
		t.Errorf("left are\n%s", got)
	}
	sent := strings.Split(strings.TrimSpace(p.tool("kafka", "tail", "transcripts", "--from", "start", "--json")), "\n")
	origins := make(map[string]int)
	for _, line := range sent {
		var m struct{ Headers []struct{ Key, Value string } }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		for _, h := range m.Headers {
			if h.Key == contract.HeaderOriginOffset {
				origins[h.Value]++
			}
		}
	}
	if repeats := len(sent) - letters; len(origins) != letters || repeats < 0 || repeats > 2*atOnce {
		t.Errorf("%d records of %d origins, want each of %d, and no more repeats than were under way when it was killed", len(sent),
			len(origins), letters)
	}
	t.Logf("%d records were sent twice", len(sent)-letters)
}

// TestDeadLetters: the API says that a video has some, and a redrive brings back what can be understood by now.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	id := p.create(time.Minute)

	p.produce(p.topics.transcribed, []byte(id), []byte("{"))
	p.awaitLetters(id, 1, 1)

	// What an older version did not understand, and this one does.
	key, value := simulator.TranscriptMessage(id, simulator.Nested)
	if err := p.kafka.ProduceSync(t.Context(), p.letter(key, value, 7)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	p.awaitLetters(id, 2, 2)

	if got := p.tool("dlq", "redrive", "--video", string(id), "--dry-run"); !strings.Contains(got, "2 would be sent back.") {
		t.Errorf("got %s", got)
	}
	if got := p.tool("dlq", "redrive", "--video", string(id)); !strings.Contains(got, "2 of 2 sent back.") {
		t.Errorf("got %s", got)
	}
	if _, err := p.places.API.Await(t.Context(), id, transcribed); err != nil {
		t.Fatal(err)
	}
	// The other one died again, and is older than what was applied.
	p.await("it died again", func(ctx context.Context) error {
		if got := p.tool("dlq", "list", "--video", string(id)); strings.Count(got, "open, 2 letters") != 1 {
			return fmt.Errorf("the list is\n%s", got)
		}
		return nil
	})
	p.awaitLetters(id, 2, 0)
	p.compress(id)
	want, err := simulator.Stored(id, simulator.Nested)
	if err != nil {
		t.Fatal(err)
	}
	p.checkDone(t.Context(), id, outcome.Wanted{Stored: want, Compressed: simulator.CompressedURL(id)})
}

// TestKafkaTools: the check finds nothing wrong, and a test video gets through both ways.
func TestKafkaTools(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.simulate(soon())
	p.start(everyProcess...)
	if got := p.tool("kafka", "check"); !strings.Contains(got, " 0 failed") || !strings.Contains(got, "read back in") {
		t.Errorf("got %s", got)
	}
	got := p.tool("kafka", "send-test-video", "--timeout", patience.String(), "--api", p.places.API.URL, "--token", p.places.API.Token,
		"--course", seed.Courses[0].ID)
	for _, want := range []string{"was asked for", "transcript: ", "the bridge has taken it", "was created", "done; ", "and deleted again"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if got := p.tool("kafka", "tail", "--from", "start"); strings.Count(got, "transcript: ") < 2 || strings.Contains(got, "cannot be understood") {
		t.Errorf("got %s", got)
	}
}
