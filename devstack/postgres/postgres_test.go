package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
)

func newServer(t *testing.T, dir string) *Server {
	t.Helper()
	block, anchor, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = anchor.Close() })
	s := New(Config{
		Dir: filepath.Join(dir, "postgres"), Port: block.Port(ports.Postgres), LogFile: filepath.Join(dir, "log"), Disposable: true,
		Note: func(message string) { t.Log(message) },
	})
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, s *Server, sql string) (answer string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func TestServer(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]os.FileMode{"in_an_open_folder": 0o755, "in_a_closed_folder": 0o700} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(openDir(t), "state")
			if err := os.Mkdir(dir, mode); err != nil {
				t.Fatal(err)
			}
			s := newServer(t, dir)
			start(t, s)
			start(t, s) // does nothing

			if uid := owner(t, s.running.PID()); uid == 0 {
				t.Error("it runs as root")
			}
			if got := query(t, s, `select current_setting('listen_addresses') || current_setting('unix_socket_directories')`); got != "127.0.0.1" {
				t.Errorf("it listens at %q, want the loopback address alone", got)
			}
			keep(t, s, "kept over a restart")
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			start(t, s)
			if got := query(t, s, `select note from kept`); got != "kept over a restart" {
				t.Errorf("got %q after a restart", got)
			}
		})
	}
}

// TestServer_after_a_crash: a server that nobody stopped does not keep the next one from starting.
func TestServer_after_a_crash(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	s := newServer(t, dir)
	start(t, s)
	keep(t, s, "kept over a crash")

	t.Run("of_the_server", func(t *testing.T) {
		for range 2 { // the second one does nothing
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		start(t, s)
		if got := query(t, s, `select note from kept`); got != "kept over a crash" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("of_the_stack", func(t *testing.T) {
		orphan := s.running
		s.running = nil // as if the stack that started it were gone
		if orphan == nil {
			t.Fatal("there is no server to leave behind")
		}
		start(t, s)
		select {
		case <-orphan.Done():
		default:
			t.Error("the old server still runs")
		}
		if got := query(t, s, `select note from kept`); got != "kept over a crash" {
			t.Errorf("got %q", got)
		}
	})
}

func TestServer_of_another_version(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	s := newServer(t, dir)
	start(t, s)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "postgres", "data", "PG_VERSION")
	if err := os.WriteFile(file, []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "made by Postgres 9") || !strings.Contains(err.Error(), "make clean-dev") {
		t.Errorf("got %v, want the versions named and what to do", err)
	}
}

func TestServer_says_why_it_does_not_start(t *testing.T) {
	t.Parallel()
	s := newServer(t, openDir(t))
	start(t, s)
	other := newServer(t, openDir(t))
	other.cfg.Port = s.cfg.Port
	if err := other.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "could not bind") {
		t.Errorf("got %v, want what the server said", err)
	}
}

func keep(t *testing.T, s *Server, note string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), `create table kept as select '`+note+`'::text as note`); err != nil {
		t.Fatal(err)
	}
}

// owner is the user that a process runs as.
func owner(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) && !process.Alive(pid) {
		t.Fatalf("process %d is gone", pid)
	}
	if err != nil {
		t.Skip("there is no /proc to ask")
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "Uid:" {
			uid, err := strconv.Atoi(fields[2]) // the effective one
			if err != nil {
				t.Fatal(err)
			}
			return uid
		}
	}
	t.Fatalf("no user in %s", status)
	return 0
}
