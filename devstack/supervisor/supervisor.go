// Package supervisor keeps child processes running: one that ends is started again, after a pause that grows while it
// keeps ending, and this is said.
package supervisor

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/codeendelea/vidflow/devstack/process"
)

// Spec is a child and how it is kept.
type Spec struct {
	// Name is what its lines begin with.
	Name string
	// Path, Args and Env of the program. Env is all of its environment.
	Path string
	Args []string
	Env  []string
	// Output takes its standard output and error.
	Output io.Writer
	// Say tells the user what happens to the child.
	Say func(format string, args ...any)

	// Pause before the first restart, doubled for each further one up to MaxPause; one that ran for longer than
	// Steady starts over. StopTimeout is how long it gets to end after SIGTERM. Defaults: 500 ms, 15 s, 15 s and 6 s.
	Pause, MaxPause, Steady, StopTimeout time.Duration
}

// Supervisor keeps one child running.
type Supervisor struct {
	spec     Spec
	restarts atomic.Int64
	pid      atomic.Int64
}

// New returns a supervisor; Run runs it.
func New(spec Spec) *Supervisor {
	defaultTo := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	defaultTo(&spec.Pause, 500*time.Millisecond)
	defaultTo(&spec.MaxPause, 15*time.Second)
	defaultTo(&spec.Steady, 15*time.Second)
	defaultTo(&spec.StopTimeout, 6*time.Second)
	return &Supervisor{spec: spec}
}

// Name is that of the child.
func (s *Supervisor) Name() string { return s.spec.Name }

// Restarts is how often the child was started again.
func (s *Supervisor) Restarts() int { return int(s.restarts.Load()) }

// PID is the process id of the child; 0 while there is none.
func (s *Supervisor) PID() int { return int(s.pid.Load()) }

// Run keeps the child running until ctx is cancelled, then stops it gracefully, or by force once insist is cancelled
// too. An error means that the program cannot be started at all.
func (s *Supervisor) Run(ctx, insist context.Context) error {
	pause := s.spec.Pause
	for {
		started := time.Now()
		child, err := s.start()
		if err != nil {
			return err
		}
		s.pid.Store(int64(child.PID()))
		select {
		case <-child.Done():
		case <-ctx.Done():
		}
		stopping := ctx.Err() != nil
		// Also when it has ended by itself: nothing of its group may stay.
		child.Stop(insist, process.Step{Signal: syscall.SIGTERM, Wait: s.spec.StopTimeout})
		s.pid.Store(0)
		if stopping {
			return nil //nolint:nilerr // of another variable: a child that was started and then stopped
		}
		if time.Since(started) > s.spec.Steady {
			pause = s.spec.Pause
		}
		s.spec.Say("%s ended (%s); it is started again in %s", s.spec.Name, ending(child.Wait()), pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		pause = min(2*pause, s.spec.MaxPause)
		s.restarts.Add(1)
	}
}

func (s *Supervisor) start() (*process.Process, error) {
	cmd := exec.Command(s.spec.Path, s.spec.Args...)
	cmd.Env = s.spec.Env
	cmd.Stdout, cmd.Stderr = s.spec.Output, s.spec.Output
	// A grandchild that keeps the pipe open must not keep the supervisor waiting.
	cmd.WaitDelay = time.Second
	return process.Start(cmd, process.Options{})
}

func ending(err error) string {
	if err == nil {
		return "exit code 0"
	}
	return fmt.Sprint(err)
}
