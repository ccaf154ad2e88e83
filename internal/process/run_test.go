package process

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// runParts runs the parts with a limit that none of them meets. stop is what a signal does.
func runParts(t *testing.T, parts ...Part) (ops *Ops, stop func(), ended <-chan error) {
	t.Helper()
	return runWithin(t, time.Minute, parts...)
}

// runWithin runs the parts with this limit.
func runWithin(t *testing.T, limit time.Duration, parts ...Part) (ops *Ops, stop func(), ended <-chan error) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ops, err := NewOps(t.Context(), OpsOptions{Addr: "127.0.0.1:0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ops.Close)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		result <- Run(ctx, Options{Log: log, Ops: ops, ShutdownTimeout: limit, grace: limit}, parts...)
	}()
	return ops, cancel, result
}

func within(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(5 * time.Minute):
		t.Fatal("Run did not return")
		return nil
	}
}

func TestRun_ends_cleanly(t *testing.T) {
	t.Parallel()
	started, finished := make(chan struct{}), atomic.Bool{}
	_, stop, ended := runParts(t, Part{Name: "worker", Run: func(ctx context.Context) error {
		close(started)
		<-ctx.Done()
		finished.Store(true) // the work in hand
		return nil
	}})
	<-started
	stop()
	if err := within(t, ended); err != nil || !finished.Load() {
		t.Errorf("got %v, work in hand finished: %t; want no error, true", err, finished.Load())
	}
}

func TestRun_ends_when_a_part_cannot_work_and_something_optional_is_away(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	_, _, ended := runParts(t, Part{
		Name: "worker",
		Run:  func(context.Context) error { t.Error("it was run"); return nil },
		Checks: []Check{
			{Name: "Kafka", Required: true, Probe: func(context.Context) error { return Never(refused) }},
			{Name: "Worker version", Probe: func(context.Context) error { return errors.New("away") }},
		},
	})
	if err := within(t, ended); !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
}

func TestRun_ends_cleanly_while_a_part_waits(t *testing.T) {
	t.Parallel()
	tried := make(chan struct{}, 100)
	_, stop, ended := runParts(t, Part{
		Name: "worker",
		Run:  func(context.Context) error { t.Error("it was run"); return nil },
		Checks: []Check{{Name: "Temporal", Required: true, Probe: func(context.Context) error {
			tried <- struct{}{}
			return errors.New("away")
		}}},
	})
	<-tried
	stop()
	if err := within(t, ended); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

func TestRun_ends_all_parts_when_one_fails(t *testing.T) {
	t.Parallel()
	failure := errors.New("listen: address in use")
	var stopped atomic.Bool
	_, _, ended := runParts(
		t,
		Part{Name: "starter", Run: func(context.Context) error { return failure }},
		Part{Name: "worker", Run: func(ctx context.Context) error { <-ctx.Done(); stopped.Store(true); return nil }},
	)
	err := within(t, ended)
	if !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), "starter: ") {
		t.Errorf("got %v, want starter's %v", err, failure)
	}
	if !stopped.Load() {
		t.Error("the other part was not stopped")
	}
}

func TestRun_refuses_what_can_never_work(t *testing.T) {
	t.Parallel()
	_, _, ended := runParts(t, Part{
		Name: "worker",
		Run:  func(context.Context) error { t.Error("it was run"); return nil },
		Checks: []Check{{Name: "Kafka producer", Required: true, Probe: func(context.Context) error {
			return Never(errors.New("topic Transcribe is missing"))
		}}},
	})
	if err := within(t, ended); err == nil || err.Error() != "worker: Kafka producer cannot be used: topic Transcribe is missing" {
		t.Errorf("got %v, want the topic by name", err)
	}
}

func TestRun_goes_on_without_what_is_not_required(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	_, stop, ended := runParts(t, Part{
		Name: "starter",
		Run:  func(ctx context.Context) error { close(started); <-ctx.Done(); return nil },
		Checks: []Check{
			{Name: "Storage", Probe: func(context.Context) error { return Never(errors.New("no bucket")) }},
			{Name: "Temporal", Probe: func(context.Context) error { return errors.New("away") }},
		},
	})
	<-started
	stop()
	if err := within(t, ended); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

func TestRun_does_not_take_an_early_end_for_success(t *testing.T) {
	t.Parallel()
	_, _, ended := runParts(t, Part{Name: "worker", Run: func(context.Context) error { return nil }})
	if err := within(t, ended); err == nil || err.Error() != "worker ended by itself" {
		t.Errorf("got %v, want that it ended by itself", err)
	}
}

func TestRun_leaves_behind_what_does_not_end(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(release) })
	ops, stop, ended := runWithin(t, 50*time.Millisecond, Part{Name: "worker", Run: func(context.Context) error {
		close(started)
		<-release
		return nil
	}})
	<-started
	stop()
	err := within(t, ended)
	if !errors.Is(err, ErrLeftBehind) || !strings.HasPrefix(err.Error(), "worker: ") {
		t.Errorf("got %v, want that worker did not end", err)
	}
	if r := ops.readiness(t.Context()); r.Status != StatusNotReady || r.Parts["worker"] != "stopping" {
		t.Errorf("readiness: got %+v, want not ready and stopping", r)
	}
}
