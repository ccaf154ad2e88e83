package e2e

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/devstack/process"
)

// devstackExec is a second stack, beside the one that the tests use, with its state in dir.
func devstackExec(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(need(t, "VIDFLOW_TEST_DEVSTACK"), append([]string{"exec"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	return cmd
}

func TestExec(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const script = `
		for name in DATABASE_URL KAFKA_BROKERS TEMPORAL_ADDRESS SUPABASE_URL SUPABASE_SERVICE_KEY JWT_SECRET \
			VIDFLOW_TEST_POSTGRES_URL VIDFLOW_TEST_STORAGE_CONTROL VIDFLOW_TEST_CONTROL; do
			eval "[ -n \"\$$name\" ]" || echo "$name is not set"
		done
		[ "$DATABASE_URL" != "$1" ] || echo "the stack is the one that the test runs in"
		cat
		sleep 600 &
		exit 7`
	cmd := devstackExec(t, dir, "--", "sh", "-c", script, "sh", os.Getenv("DATABASE_URL"))
	cmd.Stdin = strings.NewReader("what comes in\n")
	cmd.Stderr = os.Stderr

	out, err := cmd.Output()

	if diff := cmp.Diff("what comes in\n", string(out)); diff != "" {
		t.Errorf("the command's output (-want +got):\n%s", diff)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("ended with %v, want the command's own exit code, 7", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

// TestExec_interrupted: the command is told, and what it says to that is what counts.
func TestExec_interrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := devstackExec(t, dir, "sh", "-c", `trap 'exit 9' INT; echo up; while :; do sleep 0.05; done`)
	cmd.Stderr = os.Stderr
	awaitLine(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if code := process.ExitCode(cmd.Wait()); code != 9 {
		t.Errorf("exit code %d, want the command's own, 9", code)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s to end", took)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

// TestExec_killed: nothing may outlive a stack that had no chance to stop anything.
func TestExec_killed(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends the children of a process that is killed")
	}
	dir := t.TempDir()
	cmd := devstackExec(t, dir, "sh", "-c", `echo $$; exec sleep 600`)
	cmd.Stderr = os.Stderr
	command, err := strconv.Atoi(awaitLine(t, cmd))
	if err != nil {
		t.Fatal(err)
	}
	server := postmaster(t, dir)

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	p := &pipeline{t: t}
	p.await("the command and Postgres are gone", func(context.Context) error {
		for name, pid := range map[string]int{"the command": command, "Postgres": server} {
			if process.Alive(pid) && !zombie(pid) {
				return errors.New(name + " is still there")
			}
		}
		return nil
	})
	// Postgres may have its data where its user can reach it.
	if elsewhere, err := filepath.Glob(filepath.Join(dir, "*", "postgres")); err == nil && len(elsewhere) == 1 {
		if target, err := os.Readlink(elsewhere[0]); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(target) })
		}
	}
}

// awaitLine starts a command and answers the first line of its output.
func awaitLine(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(out)
	line, err := reader.ReadString('\n')
	if err != nil {
		t.Fatalf("the command says nothing: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, reader) }() // until the command has ended
	return strings.TrimSpace(line)
}

// postmaster is the process id of the Postgres server of the one stack in dir.
func postmaster(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "postgres", "data", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		t.Fatalf("found %v and %v, want one server", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// zombie says whether a process has ended and only nobody has asked how, as in a container without an init.
func zombie(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
