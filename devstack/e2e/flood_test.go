package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/outcome"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// TestFlood sends one video the same result a hundred thousand times, and another as many different ones. Neither run
// fails, a third video is done in the middle of it, and in the end the newest is what is stored.
func TestFlood(t *testing.T) {
	t.Parallel()
	if onApacheKafka(t) {
		t.Skip("which broker it is makes no difference to a flood, and it takes a while")
	}
	const n = 100_000
	p := newPipeline(t)
	p.start(everyProcess...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	repeated, different, other := p.create(time.Minute), p.create(time.Minute), p.create(time.Minute)

	began := time.Now()
	flooding := make(chan error, 1)
	go func() { flooding <- p.flood(ctx, n, repeated, different) }()
	p.transcribe(other, simulator.Take(1))
	p.compress(other)
	want, err := simulator.Stored(other, simulator.Nested, simulator.Take(1))
	if err != nil {
		t.Fatal(err)
	}
	p.checkDone(ctx, other, outcome.Wanted{Stored: want, Compressed: simulator.CompressedURL(other)})
	t.Logf("the other video was done after %s", time.Since(began).Round(time.Millisecond))
	if err := <-flooding; err != nil {
		t.Fatal(err)
	}
	t.Logf("the flood was produced after %s", time.Since(began).Round(time.Millisecond))
	p.awaitAcknowledgedFor(4 * patience)
	t.Logf("it was acknowledged after %s", time.Since(began).Round(time.Millisecond))

	for id, last := range map[contract.VideoID][]byte{repeated: tiny(repeated, 0), different: tiny(different, n-1)} {
		p.compress(id)
		_, want, err := contract.DecodeToStore([]byte(id), last)
		if err != nil {
			t.Fatal(err)
		}
		p.await("the newest is stored", func(ctx context.Context) error { return p.holds(ctx, id, want) })
		p.checkDone(ctx, id, outcome.Wanted{Stored: want, Compressed: simulator.CompressedURL(id)})
		run, err := p.places.Temporal.DescribeWorkflowExecution(ctx, "video/"+id.String(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("its last run has %d events", run.GetWorkflowExecutionInfo().GetHistoryLength())
	}
	t.Logf("all was done after %s", time.Since(began).Round(time.Millisecond))
}

// flood produces n results for each of the videos, those of the second all different.
func (p *pipeline) flood(ctx context.Context, n int, repeated, different contract.VideoID) (err error) {
	failed := func(_ *kgo.Record, e error) {
		if e != nil {
			err = e // promises are called one after the other, and Flush comes after them
		}
	}
	same := tiny(repeated, 0)
	for i := range n {
		p.kafka.Produce(ctx, &kgo.Record{Topic: p.topics.transcribed, Key: []byte(repeated), Value: same}, failed)
		p.kafka.Produce(ctx, &kgo.Record{Topic: p.topics.transcribed, Key: []byte(different), Value: tiny(different, i)}, failed)
	}
	if e := p.kafka.Flush(ctx); e != nil {
		return e
	}
	return err
}
