// Package postgres runs a real Postgres server as a child process of the stack: never as root, on the loopback
// interface alone, and never longer than the stack itself.
package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/devstack/process"
)

// Superuser and Password log in to a server of the stack; they protect nothing but the loopback interface of a
// development machine.
const (
	Superuser = "postgres"
	Password  = "postgres"
)

const (
	startTimeout = 60 * time.Second
	// orphansTimeout is how long the children of a server that was killed may take to notice.
	orphansTimeout = 10 * time.Second
)

var errEnded = errors.New("it ended at once")

// Config says where the server listens and what it keeps.
type Config struct {
	// Dir holds the cluster. When the user that Postgres runs as cannot enter it, the cluster is elsewhere and Dir is
	// a link to it.
	Dir string
	// Port on 127.0.0.1.
	Port int
	// LogFile takes the output of initdb and of the server.
	LogFile string
	// Disposable trades safety on a crash of the machine for speed.
	Disposable bool
	// Note tells the user what takes long; may be nil.
	Note func(string)
}

// Server is a Postgres server. Its methods are safe for concurrent use.
type Server struct {
	cfg Config

	mu      sync.Mutex
	running *process.Process // nil while stopped
}

// New returns a server that is not started.
func New(cfg Config) *Server {
	if cfg.Note == nil {
		cfg.Note = func(string) {}
	}
	return &Server{cfg: cfg}
}

// URL is the address of a database for the superuser.
func (s *Server) URL(database string) string {
	return URL(s.cfg.Port, Superuser, Password, database)
}

// URL is the address of a database on a server of the stack.
func URL(port int, user, password, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(user, password),
		Host:     "127.0.0.1:" + strconv.Itoa(port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Start makes the cluster where there is none, starts the server and waits until it takes a login. It does nothing
// when it runs.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil
	}
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	return nil
}

func (s *Server) start(ctx context.Context) error {
	acct, err := unprivileged()
	if err != nil {
		return err
	}
	bin, err := programs(acct, s.cfg.Note)
	if err != nil {
		return err
	}
	home, err := place(s.cfg.Dir, acct)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.cfg.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the children have their own descriptors
	data := filepath.Join(home, "data")
	if err := s.initialise(ctx, acct, bin, home, data, log); err != nil {
		return err
	}
	stale, err := clearStale(ctx, data)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(orphansTimeout); ; {
		s.running, err = s.launch(ctx, acct, bin, home, data, log)
		if err == nil {
			return nil
		}
		// The children of a server that was killed are a moment behind it, and keep the next one out.
		if !stale || !errors.Is(err, errEnded) || time.Now().After(deadline) {
			return fmt.Errorf("%w\n%s", err, tail(s.cfg.LogFile))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// launch starts the server and waits until it takes a login.
func (s *Server) launch(ctx context.Context, acct account, bin, home, data string, log *os.File) (*process.Process, error) {
	cmd := exec.Command(filepath.Join(bin, "postgres"), s.arguments(data)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = home, environment(home), log, log
	// SIGINT is Postgres' "fast" shutdown: it ends sessions and leaves a clean cluster.
	running, err := process.Start(cmd, process.Options{OnDeath: syscall.SIGINT, Credential: acct.credential()})
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx, running, data); err != nil {
		stop(ctx, running)
		return nil, err
	}
	return running, nil
}

// Stop ends sessions, shuts the server down and waits for its end.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		stop(ctx, s.running)
		s.running = nil
	}
	return nil
}

// Kill ends the server with SIGKILL, as a crash does: its sessions are cut, and nothing is shut down in good order.
// It does nothing when the server is stopped.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return nil
	}
	err := s.running.Signal(syscall.SIGKILL)
	_ = s.running.Wait()
	s.running = nil
	return err
}

// Remove deletes the cluster of a stopped server, also where Dir is a link to it.
func (s *Server) Remove() error { return Remove(s.cfg.Dir) }

func stop(ctx context.Context, p *process.Process) {
	p.Stop(ctx,
		process.Step{Signal: syscall.SIGINT, Wait: 5 * time.Second},
		process.Step{Signal: syscall.SIGQUIT, Wait: 2 * time.Second})
}

// initialise makes the cluster under another name first, so that one that was interrupted is never taken for whole.
func (s *Server) initialise(ctx context.Context, acct account, bin, home, data string, log *os.File) error {
	version, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err == nil {
		return checkVersion(ctx, bin, strings.TrimSpace(string(version)))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unfinished := data + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	secret := filepath.Join(home, "password")
	if err := os.WriteFile(secret, []byte(Password+"\n"), 0o600); err != nil {
		return err
	}
	defer func() { _ = os.Remove(secret) }()
	if err := acct.own(secret); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(bin, "initdb"), "--pgdata="+unfinished, "--username="+Superuser,
		"--pwfile="+secret, "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync")
	var output bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = home, environment(home), log, &output
	initdb, err := process.Start(cmd, process.Options{Credential: acct.credential()})
	if err != nil {
		return err
	}
	select {
	case <-initdb.Done():
	case <-ctx.Done():
		initdb.Stop(ctx)
		return ctx.Err()
	}
	if err := initdb.Wait(); err != nil {
		return fmt.Errorf("initdb as %s: %w\n%s", acct, err, strings.TrimSpace(output.String()))
	}
	return os.Rename(unfinished, data)
}

// checkVersion refuses a cluster that was made by another major version of Postgres.
func checkVersion(ctx context.Context, bin, cluster string) error {
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return fmt.Errorf("ask Postgres for its version: %w", err)
	}
	fields := strings.Fields(string(out)) // postgres (PostgreSQL) 15.14 (Debian …)
	if len(fields) < 3 {
		return fmt.Errorf("postgres --version answered %q", out)
	}
	if program, _, _ := strings.Cut(fields[2], "."); program != cluster {
		return fmt.Errorf("the data was made by Postgres %s, the programs in %s are Postgres %s: "+
			"remove the data (make clean-dev) or install Postgres %s", cluster, bin, program, cluster)
	}
	return nil
}

func (s *Server) arguments(data string) []string {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(s.cfg.Port),
		"unix_socket_directories=",
		"dynamic_shared_memory_type=mmap", // leaves nothing in /dev/shm when it is killed
		"max_connections=300",
		"timezone=UTC",
		"log_timezone=UTC",
		"logging_collector=off",
	}
	if s.cfg.Disposable {
		settings = append(settings, "fsync=off", "full_page_writes=off") // survives a crash of the server all the same
	}
	args := []string{"-D", data}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return args
}

// environment of the programs: nothing of the stack's own, whose PG variables would change what they do.
func environment(home string) []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "HOME=" + home, "TMPDIR=" + home}
}

// await waits until the server of that data takes a login.
func (s *Server) await(ctx context.Context, running *process.Process, data string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := s.login(ctx, data)
		if err == nil {
			return nil
		}
		select {
		case <-running.Done():
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("it takes no login: %w", err)
		case <-ticker.C:
		}
	}
}

// login makes sure that it is our server that answers, and not another one that has the port already.
func (s *Server) login(ctx context.Context, data string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var served string
	if err := conn.QueryRow(ctx, "select current_setting('data_directory')").Scan(&served); err != nil {
		return err
	}
	if served != data {
		return fmt.Errorf("the server that answers serves %s", served)
	}
	return nil
}

// tail is the end of a log file, for an error.
func tail(path string) string {
	const most = 2000
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(content) > most {
		content = content[len(content)-most:]
	}
	return strings.TrimSpace(string(content))
}
