package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/outcome"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// TestLateUpload: the worker dies in the middle of an upload, which lands all the same, long after. A newer result that
// has come in the meantime must be what stays: it waits until the old upload can no longer land.
func TestLateUpload(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, envfile.Var{Name: "STORAGE_TIMEOUT", Value: "5s"}) // so that claims are short
	p.start(everyProcess...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	id := p.create(time.Minute)
	if err := p.storage.Order(ctx, storage.Fault{Kind: storage.Hold, Path: string(id)}); err != nil {
		t.Fatal(err)
	}
	older, newer := simulator.Take(1), simulator.Take(2)
	if _, err := p.places.API.Await(ctx, id, asked); err != nil {
		t.Fatal(err)
	}

	p.transcribe(id, older)
	if _, err := p.storage.Uploads(ctx, string(id), storage.Held, 1, patience); err != nil {
		t.Fatalf("wait for the upload that is held: %v", err)
	}
	p.kill(worker)
	p.start(worker)
	if _, err := p.places.API.Await(ctx, id, transcribed); err != nil {
		t.Fatal(err)
	}
	p.transcribe(id, newer)
	p.await("the newer result waits for the old upload", func(ctx context.Context) error { return p.waitsForClaim(ctx, id) })
	if n, err := p.storage.Release(ctx, string(id)); err != nil || n != 1 {
		t.Fatalf("released %d uploads and %v, want the one that was held", n, err)
	}

	want, err := simulator.Stored(id, simulator.Nested, newer)
	if err != nil {
		t.Fatal(err)
	}
	p.await("the newer result is stored", func(ctx context.Context) error { return p.holds(ctx, id, want) })
	uploads, err := p.storage.Uploads(ctx, string(id), "", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(uploads); got < 3 { // more where storage does not answer in time
		t.Errorf("%d uploads, want three: the one of the worker that died, its repeat, the newer one: %+v", got, uploads)
	}

	// And the run goes on to its end as if nothing had been.
	p.compress(id)
	p.checkDone(ctx, id, outcome.Wanted{Stored: want, Compressed: simulator.CompressedURL(id)})
}

func (p *pipeline) transcribe(id contract.VideoID, take simulator.Option) {
	p.t.Helper()
	key, value := simulator.TranscriptMessage(id, simulator.Nested, take)
	p.produce(p.topics.transcribed, key, value)
}

func (p *pipeline) compress(id contract.VideoID) {
	p.t.Helper()
	key, value := simulator.CompressionMessage(id, simulator.URL)
	p.produce(p.topics.compressed, key, value)
}

func transcribed(v api.Video) bool { return v.Pipeline.Transcription.State == contract.Done }

// waitsForClaim looks for the pending activity that was told to come back later.
func (p *pipeline) waitsForClaim(ctx context.Context, id contract.VideoID) error {
	run, err := p.places.Temporal.DescribeWorkflowExecution(ctx, workflows.WorkflowID(id), "")
	if err != nil {
		return err
	}
	for _, activity := range run.GetPendingActivities() {
		if strings.Contains(activity.GetLastFailure().GetMessage(), "another result of this video is being stored") {
			return nil
		}
	}
	return fmt.Errorf("no activity waits: %v", run.GetPendingActivities())
}

// holds says whether exactly that is at the public URL.
func (p *pipeline) holds(ctx context.Context, id contract.VideoID, want []byte) error {
	got, err := p.places.Transcript(ctx, id)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("something else is stored")
	}
	return nil
}

func (p *pipeline) checkDone(ctx context.Context, id contract.VideoID, want outcome.Wanted) {
	p.t.Helper()
	if _, err := p.places.API.Await(ctx, id, api.Video.Done); err != nil {
		p.t.Fatal(err)
	}
	if err := p.places.Check(ctx, id, want); err != nil {
		p.t.Error(err)
	}
}
