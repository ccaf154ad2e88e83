package process_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/process"
)

var errAway = errors.New("connection refused")

func TestWaitFor_goes_on_when_it_is_there(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMessages()
		started := time.Now()
		tries := 0
		err := process.WaitFor(t.Context(), log.logger(), process.Check{Name: "Postgres", Probe: func(context.Context) error {
			tries++
			if time.Since(started) < 2*time.Hour {
				return errAway
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(started); waited > 2*time.Hour+6*time.Second {
			t.Errorf("went on %s after it was there, want within 6s", waited-2*time.Hour)
		}
		got := log.all()
		if want := "dependency is away, waiting for it"; got[0] != want {
			t.Errorf("first message: got %q, want %q", got[0], want)
		}
		if want := "dependency is there"; got[len(got)-1] != want {
			t.Errorf("last message: got %q, want %q", got[len(got)-1], want)
		}
		// 15s, 45s, 105s, … and then every ten minutes: seven while the interval grows, and eleven or so more.
		if n := len(got); n < 15 || n > 22 || tries < 1000 {
			t.Errorf("got %d messages about %d tries in two hours, want about 18 about more than 1000", n, tries)
		}
	})
}

func TestWaitFor_says_once_what_comes_soon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMessages()
		started := time.Now()
		err := process.WaitFor(t.Context(), log.logger(), process.Check{Name: "Temporal", Probe: func(context.Context) error {
			if time.Since(started) < 10*time.Second {
				return errAway
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"dependency is away, waiting for it", "dependency is there"}, log.all()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

func TestWaitFor_raises_an_alarm(t *testing.T) {
	t.Parallel()
	for alarm, want := range map[bool]string{false: "level=WARN msg=\"dependency is still away\"", true: "level=ERROR msg=\"dependency is still away\""} {
		synctest.Test(t, func(t *testing.T) {
			var said bytes.Buffer
			started := time.Now()
			err := process.WaitFor(t.Context(), slog.New(slog.NewTextHandler(&said, nil)), process.Check{Name: "Worker version", Alarm: alarm, Probe: func(context.Context) error {
				if time.Since(started) < 20*time.Second {
					return errAway
				}
				return nil
			}})
			if err != nil || !strings.Contains(said.String(), want) {
				t.Errorf("got %v and %s, want %s", err, said.String(), want)
			}
		})
	}
}

func TestWaitFor_ends_with_what_can_never_work(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		missing := errors.New("topic Transcribe is missing")
		cancelled := false
		err := process.WaitFor(t.Context(), slog.New(slog.DiscardHandler),
			process.Check{Name: "Kafka producer", Probe: func(context.Context) error { return process.Never(missing) }},
			process.Check{Name: "Postgres", Probe: func(ctx context.Context) error {
				<-ctx.Done()
				cancelled = true
				return ctx.Err()
			}},
		)
		if !errors.Is(err, missing) || !process.CanNeverWork(err) {
			t.Errorf("got %v, want what can never work", err)
		}
		if want := "Kafka producer cannot be used: topic Transcribe is missing"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
		if !cancelled {
			t.Error("the other check was not cancelled")
		}
	})
}

func TestWaitFor_limits_each_try(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMessages()
		tries := 0
		err := process.WaitFor(t.Context(), log.logger(), process.Check{Name: "Storage", Probe: func(ctx context.Context) error {
			if tries++; tries == 2 {
				return nil
			}
			<-ctx.Done() // hangs
			return errAway
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.text(), "no answer within 10s: connection refused") {
			t.Errorf("got %s, want the limit and the error", log.text())
		}
	})
}

func TestWaitFor_ends_with_its_context(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("received interrupt")
		time.AfterFunc(time.Minute, func() { cancel(cause) })
		err := process.WaitFor(ctx, slog.New(slog.DiscardHandler),
			process.Check{Name: "Postgres", Probe: func(context.Context) error { return errAway }})
		if !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
	})
}

func TestFirstThen_is_thorough_until_that_succeeds(t *testing.T) {
	t.Parallel()
	var calls []string
	fail := true
	probe := process.FirstThen(
		func(context.Context) error {
			calls = append(calls, "thorough")
			if fail {
				return errAway
			}
			return nil
		},
		func(context.Context) error { calls = append(calls, "quick"); return errAway },
	)
	var failed []bool
	for range 4 {
		failed = append(failed, probe(t.Context()) != nil)
		fail = len(failed) < 2
	}
	if diff := cmp.Diff([]string{"thorough", "thorough", "thorough", "quick"}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]bool{true, true, false, true}, failed); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
}

// messages collects what is logged.
type messages struct {
	mu   sync.Mutex
	list []string
	buf  bytes.Buffer
}

func newMessages() *messages { return new(messages) }

func (m *messages) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(m, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.MessageKey {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.list = append(m.list, a.Value.String())
			}
			return a
		},
	}))
}

func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buf.Write(p)
}

func (m *messages) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list)
}

func (m *messages) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buf.String()
}
