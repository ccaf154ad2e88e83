package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/leftover"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/internal/contract"
)

// devStack is a running `devstack dev`.
type devStack struct {
	t      *testing.T
	dir    string
	block  ports.Block
	child  *process.Process
	output process.Output
	env    map[string]string // of its environment file
}

// TestDev is what `make dev` promises, without make.
func TestDev(t *testing.T) {
	t.Parallel()
	block := freeBlock(t)
	dir := filepath.Join(t.TempDir(), "state")
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()

	first := startDev(t, dir, block)
	video := first.pasteTheLine()
	await := func(s *devStack) {
		t.Helper()
		client := api.Client{URL: s.env["VIDFLOW_API"], Token: s.env["VIDFLOW_TOKEN"]}
		v, err := client.Await(ctx, video, api.Video.Done)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := s.get(v.TranscriptURL); status != http.StatusOK || !strings.Contains(body, string(video)) {
			t.Errorf("the transcript's public URL answers %d: %.100s", status, body)
		}
		if status, body := s.get(fmt.Sprintf("%s/api/v1/namespaces/default/workflows?query=%s", s.env["VIDFLOW_TEMPORAL_UI"],
			"WorkflowId%3D%22video%2F"+string(video)+"%22")); status != http.StatusOK || !strings.Contains(body, string(video)) {
			t.Errorf("the Temporal UI answers %d and does not know the run: %.200s", status, body)
		}
	}
	await(first)
	first.refusesASecond()
	first.restartsWhatDies()
	first.stop()

	second := startDev(t, dir, block)
	await(second) // the state is still there
	second.stop()

	clean := exec.CommandContext(ctx, need(t, "VIDFLOW_TEST_DEVSTACK"), "clean", "--state="+dir)
	if out, err := clean.CombinedOutput(); err != nil {
		t.Errorf("clean: %v: %s", err, out)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the state is left: %v", err)
	}
}

// freeBlock is a block of ports for a stack of its own. Nothing holds it before that starts, nor while it is started again:
// it is none of those that other tests are given.
func freeBlock(t *testing.T) ports.Block {
	t.Helper()
	first, err := ports.Unused(20)
	if err != nil {
		t.Fatal(err)
	}
	return ports.Block{Base: first}
}

// startDev starts the stack and waits for its welcome.
func startDev(t *testing.T, dir string, block ports.Block) *devStack {
	t.Helper()
	s := &devStack{t: t, dir: dir, block: block}
	cmd := exec.Command(need(t, "VIDFLOW_TEST_DEVSTACK"), "dev", "--state="+dir, "--binary="+need(t, "VIDFLOW_TEST_BINARY"),
		"--port-base="+strconv.Itoa(block.Base))
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.child = child
	t.Cleanup(func() {
		child.Stop(context.Background(), process.Step{Signal: syscall.SIGTERM, Wait: 20 * time.Second})
		if t.Failed() {
			t.Logf("output of the stack:\n%s", s.output.String())
		}
	})
	s.await("the welcome is there", func() error {
		if !strings.Contains(s.output.String(), "Ctrl-C stops everything") {
			return errors.New("not yet")
		}
		return nil
	})
	s.source()
	return s
}

// source reads the environment file with a shell, as a developer does.
func (s *devStack) source() {
	s.t.Helper()
	cmd := exec.Command("sh", "-euc", `. "$1"; env`, "sh", filepath.Join(s.dir, "env"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("source the environment file: %v", err)
	}
	s.env = map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		s.env[name] = value
	}
}

// pasteTheLine runs the printed command that creates a video.
func (s *devStack) pasteTheLine() contract.VideoID {
	s.t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		s.t.Skip("there is no curl to paste the line to")
	}
	for line := range strings.Lines(s.output.String()) {
		command, found := strings.CutPrefix(strings.TrimSpace(line), "curl -sS -X POST")
		if !found {
			continue
		}
		out, err := exec.Command("sh", "-c", "curl -sS -X POST"+command).Output()
		if err != nil {
			s.t.Fatalf("the printed line fails: %v", err)
		}
		_, rest, _ := strings.Cut(string(out), `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		video, err := contract.ParseVideoID(id)
		if err != nil {
			s.t.Fatalf("the printed line answers %s", out)
		}
		return video
	}
	s.t.Fatalf("no line to paste in:\n%s", s.output.String())
	return ""
}

// refusesASecond: on the same state, and on the same ports.
func (s *devStack) refusesASecond() {
	s.t.Helper()
	for dir, want := range map[string]string{s.dir: "works on " + s.dir + " already", s.t.TempDir(): "wanted by the API"} {
		cmd := exec.Command(need(s.t, "VIDFLOW_TEST_DEVSTACK"), "dev", "--state="+dir, "--binary="+need(s.t, "VIDFLOW_TEST_BINARY"),
			"--port-base="+strconv.Itoa(s.block.Base))
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			s.t.Errorf("a second stack ends with %v and says %q, want %q in it", err, out, want)
		}
	}
}

// restartsWhatDies: it is said, and there is a new one.
func (s *devStack) restartsWhatDies() {
	s.t.Helper()
	old := s.pid("worker")
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	s.await("the worker is started again", func() error {
		if !strings.Contains(s.output.String(), "worker ended (signal: killed); it is started again in") {
			return errors.New("it is not said")
		}
		if status, _ := s.get(s.env["VIDFLOW_WORKER_OPS"] + "/readyz"); status != http.StatusOK {
			return fmt.Errorf("its readiness answers %d", status)
		}
		return nil
	})
}

// pid finds a process of the stack by its command line.
func (s *devStack) pid(name string) int {
	s.t.Helper()
	entries, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, entry := range entries {
		environ, _ := os.ReadFile(entry)
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(entry), "cmdline"))
		if strings.Contains(string(environ), leftover.Marker+"="+s.dir+"\x00") && strings.HasSuffix(string(cmdline), "\x00"+name+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
			return pid
		}
	}
	s.t.Skipf("found no process %s: is there no /proc?", name)
	return 0
}

// stop interrupts the stack, which must end soon and leave nothing.
func (s *devStack) stop() {
	s.t.Helper()
	began := time.Now()
	if err := syscall.Kill(s.child.PID(), syscall.SIGINT); err != nil {
		s.t.Fatal(err)
	}
	if err := s.child.Wait(); err != nil {
		s.t.Errorf("ended with %v, want exit code 0", err)
	}
	if took := time.Since(began); took > time.Minute {
		s.t.Errorf("it took %s to stop, want a few seconds", took)
	}
	if err := leftover.Check(s.dir, s.block); err != nil {
		s.t.Error(err)
	}
}

func (s *devStack) get(url string) (status int, body string) {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String()
}

func (s *devStack) await(what string, look func() error) {
	s.t.Helper()
	p := &pipeline{t: s.t}
	p.await(what, func(context.Context) error {
		select {
		case <-s.child.Done():
			s.t.Fatalf("the stack ended: %v", s.child.Wait())
		default:
		}
		return look()
	})
}
