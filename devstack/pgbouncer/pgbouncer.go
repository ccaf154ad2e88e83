// Package pgbouncer runs PgBouncer, in transaction mode, before the Postgres server of the stack: a child process that
// is not root, on the loopback interface alone, and not there any longer than the stack.
package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/process"
)

// Config says where the pooler listens and what it stands before.
type Config struct {
	// Dir holds its configuration. The user that Postgres runs as must be able to enter the folder above it.
	Dir string
	// Port and Postgres are ports on 127.0.0.1: its own and the server's.
	Port, Postgres int
	// Superuser looks up the passwords of those who log in.
	Superuser, Password string
	// LogFile takes what it says.
	LogFile string
}

const startTimeout = 15 * time.Second

// Server is a pooler. Its methods are safe for concurrent use.
type Server struct {
	cfg Config

	mu      sync.Mutex
	running *process.Process // nil while stopped
}

// New returns a pooler that is not started.
func New(cfg Config) *Server { return &Server{cfg: cfg} }

// Port is the one it listens on.
func (s *Server) Port() int { return s.cfg.Port }

// Addr is host:port of the pooler.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.cfg.Port)) }

// Start starts the pooler and returns once it listens; the server behind it need not be up. It does nothing when it runs.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil
	}
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("start PgBouncer: %w", err)
	}
	return nil
}

func (s *Server) start(ctx context.Context) error {
	program, err := find()
	if err != nil {
		return err
	}
	account, err := postgres.Unprivileged()
	if err != nil {
		return err
	}
	file, err := s.configure(account)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.cfg.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	cmd := exec.Command(program, file)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.cfg.Dir, log, log
	running, err := process.Start(cmd, process.Options{Credential: account.Credential()})
	if err != nil {
		return err
	}
	if err := s.await(ctx, running); err != nil {
		running.Stop(ctx)
		said, _ := os.ReadFile(s.cfg.LogFile)
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(said)))
	}
	s.running = running
	return nil
}

// find looks where Debian puts it too, which is not on everybody's PATH.
func find() (string, error) {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path, nil
	}
	const debian = "/usr/sbin/pgbouncer"
	if _, err := os.Stat(debian); err != nil {
		return "", fmt.Errorf("PgBouncer is not installed (Debian: apt-get install pgbouncer): %w", err)
	}
	return debian, nil
}

// configure writes what the pooler reads, for its account alone.
func (s *Server) configure(account postgres.Account) (file string, err error) {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return "", err
	}
	file = filepath.Join(s.cfg.Dir, "pgbouncer.ini")
	users := filepath.Join(s.cfg.Dir, "users.txt")
	return file, errors.Join(
		os.WriteFile(file, []byte(s.settings(users)), 0o600),
		os.WriteFile(users, fmt.Appendf(nil, "%q %q\n", s.cfg.Superuser, s.cfg.Password), 0o600),
		account.Own(file), account.Own(users), account.Own(s.cfg.Dir))
}

// settings has few connections to the server, so that those of clients are really shared.
func (s *Server) settings(users string) string {
	return fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
pool_mode = transaction
auth_type = scram-sha-256
auth_file = %s
auth_user = %s
auth_query = select rolname, rolpassword from pg_authid where rolname = $1 and rolcanlogin
max_client_conn = 1000
default_pool_size = 5
server_idle_timeout = 10
server_login_retry = 1
ignore_startup_parameters = extra_float_digits
`, s.cfg.Postgres, s.cfg.Port, users, s.cfg.Superuser)
}

func (s *Server) await(ctx context.Context, running *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", s.Addr())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-running.Done():
			return fmt.Errorf("it ended: %w", running.Wait())
		case <-ctx.Done():
			return fmt.Errorf("it does not listen: %w", err)
		case <-ticker.C:
		}
	}
}

// Stop ends the pooler at once, and with it all connections that go through it.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.Stop(ctx, process.Step{Signal: syscall.SIGTERM, Wait: 2 * time.Second})
		s.running = nil
	}
	return nil
}

// Kill ends the pooler as a crash would.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.Stop(context.Background())
		s.running = nil
	}
	return nil
}
