// Package process starts child processes that cannot outlive the stack: each in a process group of its own, signalled
// and waited for as a group, and killed by the kernel when the stack itself is killed (Linux).
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a child that was started.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; read after done
}

// Options of Start beside the command itself.
type Options struct {
	// OnDeath is sent to the child by the kernel when the stack dies without stopping it; SIGKILL when zero.
	OnDeath syscall.Signal
	// Credential is the user the child runs as; nil means the user of the stack.
	Credential *syscall.Credential
}

// Start starts cmd; its SysProcAttr is set here.
//
// The kernel ties the parent-death signal to the thread that started the child, not to the process, so that thread is
// kept until the child has ended.
func Start(cmd *exec.Cmd, opts Options) (*Process, error) {
	if opts.OnDeath == 0 {
		opts.OnDeath = syscall.SIGKILL
	}
	cmd.SysProcAttr = attributes(opts)
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1) // one result, read below
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// PID is the child's process id and that of its process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the child and answers how it ended: nil, or an *exec.ExitError.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Signal sends sig to the whole process group of the child.
func (p *Process) Signal(sig syscall.Signal) error {
	err := syscall.Kill(-p.PID(), sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Step is one signal on the way to the end of a process and how long it has to work.
type Step struct {
	Signal syscall.Signal
	Wait   time.Duration
}

// Stop sends the signals of steps one after the other until the child has ended, then kills whatever is left of its
// process group. When ctx is cancelled it goes straight to the kill.
func (p *Process) Stop(ctx context.Context, steps ...Step) {
	for _, step := range steps {
		_ = p.Signal(step.Signal)
		timer := time.NewTimer(step.Wait)
		select {
		case <-p.done:
		case <-timer.C:
			continue
		case <-ctx.Done():
		}
		timer.Stop()
		break
	}
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// ExitCode is what a shell would say of a child that ended with err, an answer of Wait: its exit code, or 128 and the
// number of the signal that ended it.
func ExitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		return 1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// Alive says whether a process with that id exists.
func Alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, os.ErrPermission)
}
