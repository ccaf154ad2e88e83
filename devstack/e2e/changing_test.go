package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"go.temporal.io/api/enums/v1"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/changing"
	"github.com/codeendelea/vidflow/devstack/docs"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// TestThirdTopic goes the whole way with the page on changing the workflow: with its third example applied, thumbnails are
// consumed, waited for and set, and what is no address is a dead letter.
func TestThirdTopic(t *testing.T) {
	t.Parallel()
	if onApacheKafka(t) {
		t.Skip("permissions for a third topic are not in the example")
	}
	p := newPipeline(t, envfile.Var{Name: "THUMBNAIL_WAIT", Value: "1h"})
	before := p.binary
	p.binary = p.buildThirdTopic()
	thumbnails := p.topics.transcribed + "-thumbnails"
	p.env = p.env.With(envfile.Var{Name: "KAFKA_THUMBNAIL_TOPIC", Value: thumbnails}, envfile.Var{Name: "KAFKA_THUMBNAIL_GROUP", Value: thumbnails})
	made, err := kadm.NewClient(p.kafka).CreateTopics(t.Context(), 4, 1, nil, thumbnails, thumbnails+contract.DeadLetterSuffix)
	if err = errors.Join(err, made.Error()); err != nil {
		t.Fatal(err)
	}
	p.migrate()
	p.start(everyProcess...)

	id := p.create(time.Minute)
	if _, err := p.places.API.Await(t.Context(), id, asked); err != nil {
		t.Fatal(err)
	}
	key, value := simulator.TranscriptMessage(id, simulator.Nested)
	p.produce(p.topics.transcribed, key, value)
	p.compress(id)
	if _, err := p.places.API.Await(t.Context(), id, func(v api.Video) bool { return v.Pipeline.State == "done" }); err != nil {
		t.Fatal(err)
	}
	p.awaitRun(id, enums.WORKFLOW_EXECUTION_STATUS_RUNNING)
	p.tool("replay")
	if said, _, code := p.runBinary(before, "replay"); code != 3 || !strings.Contains(said, "this code ends the run, the history does not") {
		t.Errorf("the version before, which waits for no thumbnail, would end the run; its replay says %q, exit code %d", said, code)
	}

	const picture = "https://cdn.example.org/thumbnail.png"
	p.produce(thumbnails, []byte(id), []byte(picture))
	p.awaitRun(id, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	var got string
	if err := p.db.Admin.QueryRow(t.Context(), "select snapshot_url from videos where id = $1", string(id)).Scan(&got); err != nil || got != picture {
		t.Errorf("got snapshot_url %q, error %v", got, err)
	}
	p.produce(thumbnails, []byte(id), []byte("no address"))
	p.await("what is no address is a dead letter", func(ctx context.Context) error {
		ends, err := kadm.NewClient(p.kafka).ListEndOffsets(ctx, thumbnails+contract.DeadLetterSuffix)
		letters := int64(0)
		ends.Each(func(o kadm.ListedOffset) { letters += o.Offset })
		if err == nil && letters != 1 {
			err = fmt.Errorf("there are %d", letters)
		}
		return err
	})
}

// buildThirdTopic builds a vidflow with that example of the page applied, guard included.
func (p *pipeline) buildThirdTopic() (binary string) {
	p.t.Helper()
	root, err := docs.Root()
	if err != nil {
		p.t.Fatal(err)
	}
	examples, err := changing.Read(filepath.Join(root, "docs", "changing-the-workflow.md"))
	if err != nil {
		p.t.Fatal(err)
	}
	dir := p.t.TempDir()
	overlay, err := changing.NewOverlay(root, dir)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range examples {
		if strings.Contains(e.Title, "third topic") {
			err = errors.Join(overlay.Apply(p.t.Context(), e.Change...), overlay.Apply(p.t.Context(), e.Guard...))
		}
	}
	flag, err2 := overlay.Flag()
	if err = errors.Join(err, err2); err != nil {
		p.t.Fatal(err)
	}
	binary = filepath.Join(dir, "vidflow")
	cmd := exec.CommandContext(p.t.Context(), "go", "build", flag, "-race", "-o", binary, "./cmd/vidflow")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// migrate runs the migrations of the binary, as the owner of the tables, and gives the test's role the rights that the
// binary's role has.
func (p *pipeline) migrate() {
	p.t.Helper()
	q := *p
	q.env = p.env.With(envfile.Var{Name: "DATABASE_URL", Value: p.db.AdminURL})
	q.tool("migrate")
	for line := range strings.Lines(q.tool("migrate", "--print-role-sql")) {
		if !strings.HasPrefix(line, "grant update (") {
			continue // the role has a password of its own, and its policies
		}
		if _, err := p.db.Admin.Exec(p.t.Context(), strings.ReplaceAll(line, `"vidflow"`, pgx.Identifier{p.db.Role}.Sanitize())); err != nil {
			p.t.Fatal(err)
		}
	}
}
