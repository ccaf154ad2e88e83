package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/control"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/devstack/stack"
	"github.com/codeendelea/vidflow/internal/postgres"
)

type execCmd struct {
	Logs    bool     `help:"Show what the servers log."`
	Keep    bool     `help:"Keep the folder with the servers' state and logs, and say where it is."`
	Kafka   string   `help:"The broker: embedded, or apache, the real Apache Kafka (needs java and mvn)." enum:"embedded,apache" default:"embedded" placeholder:"NAME"`
	Pooler  bool     `help:"Put PgBouncer before Postgres, in transaction mode (needs pgbouncer)."`
	Store   string   `name:"temporal-store" help:"What Temporal keeps its state on: sqlite, or postgres, as a cluster does." enum:"sqlite,postgres" default:"sqlite" placeholder:"NAME"`
	Binary  string   `help:"The vidflow binary that tests start; VIDFLOW_TEST_BINARY for the command." env:"VIDFLOW_TEST_BINARY" type:"path" placeholder:"PATH"`
	Command []string `arg:"" passthrough:"" help:"The command and its arguments."`
}

// stopTimeout bounds the way down of everything together.
const stopTimeout = 9 * time.Second

func (c *execCmd) Run(sig *interrupts) (err error) {
	ctx := sig.asked
	if len(c.Command) > 0 && c.Command[0] == "--" {
		c.Command = c.Command[1:]
	}
	if len(c.Command) == 0 {
		return errors.New("exec: which command? For example: devstack exec -- go test ./internal/postgres")
	}
	dir, err := scratch()
	if err != nil {
		return err
	}
	if c.Keep {
		defer func() { note("state and logs are in " + dir) }()
	} else {
		defer func() { err = errors.Join(err, stack.Remove(dir)) }()
	}
	block, anchor, err := ports.Free()
	if err != nil {
		return err
	}
	defer func() { _ = anchor.Close() }()
	log := io.Discard
	if c.Logs {
		log = os.Stderr
	}
	servers, err := stack.New(stack.Config{
		Dir: dir, Ports: block, Disposable: true, Log: log, Note: note, ApacheKafka: c.Kafka == "apache", Pooler: c.Pooler,
		TemporalStore: c.Store,
	})
	if err != nil {
		return err
	}
	if err := servers.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopAll(sig.insisted, servers)) }()
	if err := servers.PrepareDatabase(ctx, migrate); err != nil {
		return err
	}

	// The control outlives ctx: it is up until the command has ended.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	var group errgroup.Group
	group.Go(func() error { return control.Serve(serving, anchor, servers) })
	defer func() {
		stopServing()
		err = errors.Join(err, group.Wait())
	}()

	env := servers.Environment().With(servers.TestEnvironment()...)
	if self, err := os.Executable(); err == nil {
		env = env.With(envfile.Var{Name: "VIDFLOW_TEST_DEVSTACK", Value: self})
		cli := filepath.Join(filepath.Dir(self), "temporal") // built with it, unless it is run by `go run`
		if _, err := os.Stat(cli); err == nil {
			env = env.With(envfile.Var{Name: "VIDFLOW_TEST_TEMPORAL_CLI", Value: cli})
		}
	}
	if c.Binary != "" {
		env = env.With(envfile.Var{Name: "VIDFLOW_TEST_BINARY", Value: c.Binary})
	}
	return c.run(sig, env)
}

func (c *execCmd) run(sig *interrupts, env envfile.Vars) error {
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Env = env.Environ(os.Environ())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		return err
	}
	select {
	case <-child.Done():
	case <-sig.asked.Done():
	}
	// Also when it has ended by itself: it may have left children in its group.
	child.Stop(sig.insisted,
		process.Step{Signal: syscall.SIGINT, Wait: 3 * time.Second},
		process.Step{Signal: syscall.SIGTERM, Wait: 2 * time.Second})
	if code := process.ExitCode(child.Wait()); code != 0 {
		return exitCode(code)
	}
	return nil
}

// scratch is a new folder that other users can pass through, as Postgres must.
func scratch() (string, error) {
	dir, err := os.MkdirTemp("", "vidflow-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return filepath.EvalSymlinks(dir)
}

func stopAll(insisted context.Context, servers *stack.Stack) error {
	ctx, cancel := context.WithTimeout(insisted, stopTimeout)
	defer cancel()
	return servers.Stop(ctx)
}

// migrate is what `vidflow migrate` does; here no binary is needed for it.
func migrate(ctx context.Context, url string) error {
	return postgres.Migrate(ctx, url, slog.New(slog.DiscardHandler))
}

func note(message string) { _, _ = fmt.Fprintf(os.Stderr, "devstack: %s\n", message) }
