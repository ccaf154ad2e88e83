package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/codeendelea/vidflow/devstack/process"
)

// child is a process that is killed and frozen, and started again when it ends by itself.
type child struct {
	name string
	// command makes the command for one start.
	command func() *exec.Cmd
	// addr takes connections when it serves.
	addr string
	// stopTimeout is how long it has to end in good order.
	stopTimeout time.Duration
	log         *os.File
	say         func(format string, args ...any)

	// turn is held by who does something to it that takes a while.
	turn sync.Mutex

	mu      sync.Mutex
	running *process.Process // nil while it is down on purpose
	// crashes counts the times it ended by itself.
	crashes int
	closed  bool
	watched sync.WaitGroup
}

// restartPause is how long a process that ended by itself stays down.
const restartPause = 500 * time.Millisecond

// start starts it; it does nothing when it runs.
func (c *child) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.startLocked()
}

func (c *child) startLocked() error {
	if c.running != nil || c.closed {
		return nil
	}
	cmd := c.command()
	cmd.Stdout, cmd.Stderr = c.log, c.log
	running, err := process.Start(cmd, process.Options{})
	if err != nil {
		return err
	}
	c.running = running
	c.watched.Go(func() { c.watch(running) })
	return nil
}

// watch starts it again when it has ended without being told to.
func (c *child) watch(p *process.Process) {
	err := p.Wait()
	c.mu.Lock()
	mine := c.running == p
	if mine {
		c.crashes++
	}
	c.mu.Unlock()
	if !mine {
		return
	}
	c.say("%s ended by itself: %v", c.name, err)
	_ = p.Signal(syscall.SIGKILL) // what is left of its group
	time.Sleep(restartPause)      //nolint:forbidigo // as a supervisor does
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == p {
		c.running = nil
		if err := c.startLocked(); err != nil {
			c.say("%s: %v", c.name, err)
		}
	}
}

// take takes the running process out of the hands of watch.
func (c *child) take() *process.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.running
	c.running = nil
	return p
}

// kill ends it with SIGKILL; it stays down until start.
func (c *child) kill() {
	if p := c.take(); p != nil {
		p.Stop(context.Background())
	}
}

// stop ends it in good order; it stays down until start.
func (c *child) stop(ctx context.Context) {
	if p := c.take(); p != nil {
		_ = p.Signal(syscall.SIGCONT)
		p.Stop(ctx, process.Step{Signal: syscall.SIGTERM, Wait: c.stopTimeout})
	}
}

// close stops it for good.
func (c *child) close(ctx context.Context) {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop(ctx)
	c.watched.Wait()
}

// signal freezes and thaws it.
func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil {
		_ = c.running.Signal(sig)
	}
}

func (c *child) ended() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crashes
}

// serves waits until it takes connections.
func (c *child) serves(ctx context.Context) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", c.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve at %s: %w", c.name, c.addr, ctx.Err())
		case <-ticker.C:
		}
	}
}
