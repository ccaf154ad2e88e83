package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/control"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/leftover"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/stack"
	"github.com/codeendelea/vidflow/devstack/supervisor"
)

// The processes of vidflow, and what else can be left to somebody else.
const (
	workerProcess  = "worker"
	starterProcess = "starter"
	bridgeProcess  = "kafkabridge"
	simulatorPart  = "simulator"
)

var vidflowProcesses = []string{workerProcess, starterProcess, bridgeProcess}

// Bounds on the way up and on the way down. What a process has in hand must fit in before the servers go.
const (
	readyTimeout    = 90 * time.Second
	shutdownTimeout = 4 * time.Second
)

// session is a whole pipeline on one machine: the servers, the simulator of the external services, and the processes
// of vidflow as children. `dev` and `smoke` run one.
type session struct {
	dir       string
	block     ports.Block
	binary    string
	except    []string     // of vidflowProcesses and simulatorPart
	control   net.Listener // closed by run
	console   *supervisor.Console
	say       func(format string, args ...any)
	store     string          // of Temporal; SQLite when empty
	insist    context.Context // cancelled when the user wants it to end at once
	disposed  bool            // the state is thrown away afterwards
	simulator simulator.Config

	servers     *stack.Stack
	supervisors []*supervisor.Supervisor
}

// run brings everything up, calls ready, and takes everything down again once that has returned, ctx is cancelled or
// something has failed. That ctx is cancelled is no error.
func (s *session) run(ctx context.Context, ready func(ctx context.Context) error) error {
	defer func() { _ = s.control.Close() }()
	servers, err := stack.New(stack.Config{
		Dir: s.dir, Ports: s.block, Disposable: s.disposed, TemporalStore: s.store,
		Log:  s.console.Writer("servers", len(vidflowProcesses)),
		Note: func(message string) { s.say("%s", message) },
	})
	if err != nil {
		return err
	}
	s.servers = servers
	s.say("starting Temporal, Kafka, Postgres and the storage")
	err = servers.Start(ctx)
	if err == nil {
		err = s.runProcesses(ctx, ready)
	}
	if errors.Is(err, errDone) || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		err = nil
	}
	stopCtx, cancel := context.WithTimeout(s.insist, stopTimeout)
	defer cancel()
	return errors.Join(err, servers.Stop(stopCtx))
}

// runProcesses returns when all of them have stopped: errDone after ready has returned nil, or why else.
func (s *session) runProcesses(ctx context.Context, ready func(ctx context.Context) error) error {
	if err := s.servers.PrepareDatabase(ctx, s.migrate); err != nil {
		return err
	}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return control.Serve(running, s.control, s.servers) })
	if !slices.Contains(s.except, simulatorPart) {
		group.Go(func() error { return s.simulate(running) })
	}
	for i, name := range vidflowProcesses {
		if slices.Contains(s.except, name) {
			continue
		}
		child := supervisor.New(supervisor.Spec{
			Name:        name,
			Path:        s.binary,
			Args:        []string{name},
			Env:         s.vars(name).Environ(inherited(os.Environ())),
			Output:      s.console.Writer(name, i),
			Say:         s.say,
			StopTimeout: shutdownTimeout + time.Second,
		})
		s.supervisors = append(s.supervisors, child)
		group.Go(func() error { return child.Run(running, s.insist) })
	}
	group.Go(func() error {
		if err := s.awaitReady(running); err != nil {
			return err
		}
		if err := ready(running); err != nil {
			return err
		}
		return errDone
	})
	return group.Wait()
}

// errDone ends the group when the session has done what it was for.
var errDone = errors.New("done")

func (s *session) simulate(ctx context.Context) error {
	cfg := s.simulator
	cfg.Brokers = []string{s.block.Addr(ports.Kafka)}
	cfg.Log = slog.New(slog.NewJSONHandler(s.console.Writer(simulatorPart, len(vidflowProcesses)+1), nil))
	sim, err := simulator.New(cfg)
	if err != nil {
		return fmt.Errorf("start the simulator: %w", err)
	}
	defer sim.Close()
	return sim.Run(ctx)
}

// migrate runs `vidflow migrate` as the owner of the tables.
func (s *session) migrate(ctx context.Context, url string) error {
	cmd := exec.Command(s.binary, "migrate")
	out := s.console.Writer("migrate", len(vidflowProcesses)+2)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = s.vars("migrate").With(envfile.Var{Name: "DATABASE_URL", Value: url}).Environ(inherited(os.Environ()))
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		return err
	}
	select {
	case <-child.Done():
	case <-ctx.Done():
		child.Stop(ctx)
		return ctx.Err()
	}
	if err := child.Wait(); err != nil {
		return fmt.Errorf("vidflow migrate: %w", err)
	}
	return nil
}

// vars are the variables of a process of vidflow, beside what it inherits.
func (s *session) vars(name string) envfile.Vars {
	v := s.servers.Environment().With(
		envfile.Var{Name: "LOG_FORMAT", Value: "json"}, // made readable by the console
		envfile.Var{Name: "SHUTDOWN_TIMEOUT", Value: shutdownTimeout.String()},
		envfile.Var{Name: leftover.Marker, Value: s.dir},
	)
	if name == starterProcess {
		v = v.With(
			envfile.Var{Name: "HOST", Value: "127.0.0.1"},
			envfile.Var{Name: "PORT", Value: strconv.Itoa(s.block.Port(ports.API))})
	}
	if service, ok := opsPort[name]; ok {
		v = v.With(envfile.Var{Name: "OPS_ADDR", Value: s.block.Addr(service)})
	}
	return v
}

var opsPort = map[string]ports.Service{
	workerProcess:  ports.WorkerOps,
	starterProcess: ports.StarterOps,
	bridgeProcess:  ports.BridgeOps,
}

// inherited is what of the developer's own environment the processes get: not what would point them elsewhere.
func inherited(environ []string) []string {
	foreign := []string{"KAFKA_", "SUPABASE_", "TEMPORAL_", "DATABASE_URL", "JWT_", "JWKS_", "HOST=", "PORT=", "OPS_ADDR=", "PG"}
	return slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		return slices.ContainsFunc(foreign, func(prefix string) bool { return strings.HasPrefix(pair, prefix) })
	})
}

// build builds the shipping binary, by itself and not as a part of the workspace, as it is built to be shipped.
func build(ctx context.Context, dir string, say func(string, ...any)) (string, error) {
	binary := filepath.Join(dir, "bin", "vidflow")
	say("building vidflow")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/vidflow")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build vidflow: %w", err)
	}
	return binary, nil
}
