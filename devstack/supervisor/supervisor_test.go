package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/devstack/process"
)

// said collects what the user is told and lets a test wait for it.
type said struct {
	lines chan string
}

func (s said) say(format string, args ...any) { s.lines <- fmt.Sprintf(format, args...) }

func (s said) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-s.lines:
		return line
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing was said")
		return ""
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	t.Run("starts_again_what_ends_with_growing_pauses_and_says_so", func(t *testing.T) {
		t.Parallel()
		s, told, stop := run(t, `exit 3`)
		var got []string
		for range 4 {
			got = append(got, told.next(t))
		}
		want := []string{
			"child ended (exit status 3); it is started again in 1ms",
			"child ended (exit status 3); it is started again in 2ms",
			"child ended (exit status 3); it is started again in 4ms",
			"child ended (exit status 3); it is started again in 5ms",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if s.Restarts() < 3 {
			t.Errorf("%d restarts, want 3 or more", s.Restarts())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("starts_again_what_is_killed", func(t *testing.T) {
		t.Parallel()
		s, told, stop := run(t, `echo up > "$UP"; while :; do sleep 0.01; done`)
		awaitFile(t, s)
		first := s.PID()
		if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if got := told.next(t); !strings.Contains(got, "signal: killed") {
			t.Errorf("said %q, want the signal named", got)
		}
		await(t, func() bool { return s.PID() != 0 && s.PID() != first })
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("stops_gracefully", func(t *testing.T) {
		t.Parallel()
		s, told, stop := run(t, `trap 'echo bye > "$UP.bye"; exit 0' TERM; echo up > "$UP"; while :; do sleep 0.01; done`)
		awaitFile(t, s)
		pid := s.PID()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(up(s) + ".bye"); err != nil {
			t.Errorf("the child was not asked: %v", err)
		}
		if process.Alive(pid) || s.PID() != 0 {
			t.Error("the child is still there")
		}
		if len(told.lines) != 0 {
			t.Errorf("said %q about a child that was asked to end", <-told.lines)
		}
	})
	t.Run("kills_what_will_not_stop_when_the_user_insists", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		insist, insistNow := context.WithCancel(t.Context())
		s := New(spec(t, `trap '' TERM; echo up > "$UP"; while :; do sleep 0.01; done`, said{make(chan string, 100)}))
		s.spec.StopTimeout = time.Hour
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx, insist) }()
		awaitFile(t, s)
		cancel()
		insistNow()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("it does not end")
		}
	})
	t.Run("gives_up_on_a_program_that_is_not_there", func(t *testing.T) {
		t.Parallel()
		s := New(Spec{Name: "child", Path: "/no/such/program"})
		if err := s.Run(t.Context(), t.Context()); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
			t.Errorf("got %v, want an error that names the program", err)
		}
	})
}

func spec(t *testing.T, script string, told said) Spec {
	return Spec{
		Name: "child", Path: "/bin/sh", Args: []string{"-c", script},
		Env:    []string{"PATH=" + os.Getenv("PATH"), "UP=" + filepath.Join(t.TempDir(), "up")},
		Output: &bytes.Buffer{}, Say: told.say,
		Pause: time.Millisecond, MaxPause: 5 * time.Millisecond, Steady: time.Hour,
	}
}

func run(t *testing.T, script string) (*Supervisor, said, func() error) {
	t.Helper()
	told := said{make(chan string, 10_000)}
	s := New(spec(t, script, told))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, t.Context()) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return s, told, stop
}

// up is the file by which the script says that it runs.
func up(s *Supervisor) string { return strings.TrimPrefix(s.spec.Env[1], "UP=") }

func awaitFile(t *testing.T, s *Supervisor) {
	t.Helper()
	await(t, func() bool { _, err := os.Stat(up(s)); return err == nil && s.PID() != 0 })
}

func await(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // polls a condition of another process
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
