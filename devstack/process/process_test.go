package process

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childMode makes the test binary a parent that starts a child and waits, for TestChildrenDieWithTheirParent.
const childMode = "VIDFLOW_DEVSTACK_PROCESS_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(childMode) != "" {
		child, err := Start(exec.Command("sleep", "600"), Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(child.PID())
		_ = child.Wait()
	}
	os.Exit(m.Run())
}

func TestStop(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script string
		steps  []Step
		want   int // exit code
	}{
		"the_first_signal_is_enough": {`trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done`, []Step{{syscall.SIGTERM, time.Minute}}, 3},
		"the_next_signal_follows":    {`trap '' TERM; trap 'exit 4' INT; echo up; while :; do sleep 0.01; done`, []Step{{syscall.SIGTERM, 50 * time.Millisecond}, {syscall.SIGINT, time.Minute}}, 4},
		"then_it_is_killed":          {`trap '' TERM INT; echo up; while :; do sleep 0.01; done`, []Step{{syscall.SIGTERM, 50 * time.Millisecond}}, 128 + 9},
		"no_steps_kill_at_once":      {`echo up; sleep 600`, nil, 128 + 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := startShell(t, tt.script)
			p.Stop(t.Context(), tt.steps...)
			if got := ExitCode(p.Wait()); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
}

func TestStop_in_a_hurry(t *testing.T) {
	t.Parallel()
	p, _ := startShell(t, `trap '' TERM; echo up; while :; do sleep 0.01; done`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Stop(ctx, Step{syscall.SIGTERM, time.Hour})
	if got := ExitCode(p.Wait()); got != 128+9 {
		t.Errorf("exit code %d, want that of a kill", got)
	}
}

func TestStop_takes_grandchildren_along(t *testing.T) {
	t.Parallel()
	p, line := startShell(t, `sleep 600 & echo $!; exec 1>&-; wait`)
	grandchild, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	p.Stop(t.Context())
	awaitGone(t, grandchild)
}

func TestStart_says_what_cannot_be_started(t *testing.T) {
	t.Parallel()
	_, err := Start(exec.Command("/no/such/program"), Options{})
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("got %v, want an error that names the program", err)
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + 15} {
		p, err := Start(exec.Command("sh", "-c", script), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := ExitCode(p.Wait()); got != want {
			t.Errorf("%s: exit code %d, want %d", script, got, want)
		}
	}
}

func startShell(t *testing.T, script string) (p *Process, firstLine string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout = w
	p, err = Start(cmd, Options{})
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(context.Background()) })
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return p, strings.TrimSpace(line)
}

// awaitGone waits until a process that is not our child has ended, or is a zombie that nobody reaps (a container without
// an init).
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for Alive(pid) {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // polls a condition of another process
	}
}
