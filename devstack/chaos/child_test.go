package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeper replaces the shell: one that is frozen while it forks waits in the kernel, and does not show as frozen.
const sleeper = "exec sleep 600"

func shell(t *testing.T, script string) *child {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	c := &child{
		name: "child", stopTimeout: 5 * time.Second, log: log, say: func(string, ...any) {},
		command: func() *exec.Cmd { return exec.Command("sh", "-c", script) },
	}
	t.Cleanup(func() {
		c.close(context.Background())
		_ = log.Close()
	})
	return c
}

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return 0
	}
	return c.running.PID()
}

// state of a process, as the kernel has it: T when it is frozen.
func state(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	first, _, _ := strings.Cut(rest, " ")
	return first
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !is(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestChild_stays_down_when_it_is_killed_on_purpose(t *testing.T) {
	t.Parallel()
	c := shell(t, sleeper)
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	first := c.pid()
	c.kill()
	if c.pid() != 0 || c.ended() != 0 {
		t.Errorf("process %d, ended by itself %d times", c.pid(), c.ended())
	}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	if c.pid() == first || c.pid() == 0 {
		t.Errorf("process %d after %d", c.pid(), first)
	}
}

func TestChild_is_started_again_when_it_ends_by_itself(t *testing.T) {
	t.Parallel()
	c := shell(t, sleeper)
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	first := c.pid()
	if err := syscall.Kill(-first, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process", func() bool { return c.pid() != 0 && c.pid() != first })
	if c.ended() != 1 {
		t.Errorf("it counts %d ends", c.ended())
	}
}

func TestChild_is_frozen_and_woken(t *testing.T) {
	t.Parallel()
	c := shell(t, sleeper)
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	c.signal(syscall.SIGSTOP)
	eventually(t, "it is frozen", func() bool { return state(c.pid()) == "T" })
	c.signal(syscall.SIGCONT)
	eventually(t, "it is awake", func() bool { return state(c.pid()) != "T" })
}

func TestChild_that_is_frozen_can_be_stopped(t *testing.T) {
	t.Parallel()
	c := shell(t, sleeper)
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	c.signal(syscall.SIGSTOP)
	c.close(t.Context())
	if err := c.start(); err != nil || c.pid() != 0 {
		t.Errorf("after its end: process %d, %v", c.pid(), err)
	}
}
