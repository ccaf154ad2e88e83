package e2e

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

func TestOneVideo(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	p.simulate(soon())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	id := p.create(2 * time.Minute)
	p.awaitDone(ctx, soon(), 2*time.Minute, id)
}

func TestTwoHundredAtOnce(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	b := soon()
	b.Repeats, b.Reorders = 0.3, 0.3
	b.RepeatWithin, b.ReorderWithin = simulator.Duration(time.Second), simulator.Duration(time.Second)
	b.TranscriptForms, b.CompressionForms = simulator.TranscriptForms(), simulator.CompressionForms()
	p.simulate(b)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()

	const videos, length = 200, 30 * time.Second
	ids := make([]contract.VideoID, videos)
	var group errgroup.Group
	for i := range ids {
		group.Go(func() error {
			v, err := p.places.API.Create(ctx, seed.Courses[0].ID, newVideo(length))
			ids[i] = v.ID
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	p.awaitDone(ctx, b, length, ids...)
}

// A transcript of three hours is beyond a megabyte, and thus beyond what may travel inside a workflow.
func TestThreeHourTranscripts(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	b := soon()
	b.TranscriptForms = simulator.TranscriptForms()
	p.simulate(b)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()

	const length = 3 * time.Hour
	ids := make([]contract.VideoID, 6)
	for i := range ids {
		ids[i] = p.create(length)
	}
	p.awaitDone(ctx, b, length, ids...)
}
