package process_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/internal/process"
)

// childMode is set where the test binary runs as the child whose life is tested.
const childMode = "VIDFLOW_PROCESS_TEST_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		os.Exit(child(mode))
	}
	os.Exit(m.Run())
}

// child is a process as cmd/vidflow makes them. It prints a line when it works, and another when it is told to stop; in
// mode "stubborn" it then never ends.
func child(mode string) int {
	log := slog.New(slog.DiscardHandler)
	ctx, stop := process.WithSignals(context.Background(), log)
	defer stop()
	ops, err := process.NewOps(ctx, process.OpsOptions{Addr: "127.0.0.1:0", Log: log})
	if err != nil {
		return 3
	}
	defer ops.Close()
	err = process.Run(ctx, process.Options{Log: log, Ops: ops, ShutdownTimeout: time.Minute}, process.Part{
		Name: mode,
		Run: func(ctx context.Context) error {
			fmt.Println("works")
			<-ctx.Done()
			fmt.Println(context.Cause(ctx))
			if mode == "stubborn" {
				select {}
			}
			return nil
		},
	})
	if err != nil {
		return 1
	}
	return 0
}

func TestWithSignals(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		mode    string
		signals []syscall.Signal
		says    string
		want    int
	}{
		"SIGTERM ends it with 0":          {"graceful", []syscall.Signal{syscall.SIGTERM}, "received terminated", 0},
		"SIGINT ends it with 0":           {"graceful", []syscall.Signal{syscall.SIGINT}, "received interrupt", 0},
		"a second signal ends it at once": {"stubborn", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, "received terminated", 130},
		"a second SIGTERM too":            {"stubborn", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, "received terminated", 130},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), childMode+"="+row.mode)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stdout)
			expect(t, lines, "works")
			for i, signal := range row.signals {
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					expect(t, lines, row.says)
				}
			}
			_ = cmd.Wait() // its code is looked at next
			if got := cmd.ProcessState.ExitCode(); got != row.want {
				t.Errorf("exit code: got %d, want %d", got, row.want)
			}
		})
	}
}

func expect(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	if !lines.Scan() || !strings.Contains(lines.Text(), want) {
		t.Fatalf("the child says %q (%v), want %q", lines.Text(), lines.Err(), want)
	}
}
