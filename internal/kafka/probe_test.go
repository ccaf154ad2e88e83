package kafka

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestProbe_asks_seldom_and_tells_the_truth(t *testing.T) {
	t.Parallel()
	var (
		clock = time.Unix(0, 0)
		away  error
		pings int
	)
	probe := newProbe(func(context.Context) error { pings++; return away }, func() time.Time { return clock })
	down := errors.New("down")
	for i, step := range []struct {
		after time.Duration
		away  error
		want  error
		pings int
	}{
		{0, nil, nil, 1},
		{probeGoodFor - 1, down, nil, 1}, // believed for a while
		{1, down, down, 2},
		{probeBadFor - 1, nil, down, 2},
		{1, nil, nil, 3},
	} {
		clock, away = clock.Add(step.after), step.away
		if got := probe(t.Context()); !errors.Is(got, step.want) || pings != step.pings {
			t.Errorf("step %d: got %v after %d pings, want %v after %d", i, got, pings, step.want, step.pings)
		}
	}
}

func TestProbe_forgets_what_an_impatient_caller_saw(t *testing.T) {
	t.Parallel()
	probe := newProbe(func(ctx context.Context) error { return ctx.Err() }, time.Now)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := probe(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := probe(t.Context()); err != nil {
		t.Errorf("the next caller got %v", err)
	}
}
