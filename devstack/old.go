package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/control"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/stack"
)

type oldCmd struct {
	State    string `help:"Folder of the state, which begins anew each time." default:".dev/old" type:"path" placeholder:"DIR"`
	PortBase int    `help:"First of the ports." default:"8000" env:"PORT_BASE" placeholder:"PORT"`
}

// Run serves until it is told to end. What the API server itself does is left to devstack/kafkajs.
func (c *oldCmd) Run(sig *interrupts) (err error) {
	started := time.Now()
	say := sayer(started)
	block := ports.Block{Base: c.PortBase}
	if err := c.begin(); err != nil {
		return err
	}
	unlock, err := lock(c.State)
	if err != nil {
		return err
	}
	defer unlock()
	if err := block.Check(); err != nil {
		return err
	}
	anchor, err := net.Listen("tcp", block.Addr(ports.Control))
	if err != nil {
		return err
	}
	defer func() { _ = anchor.Close() }()
	log, err := os.Create(filepath.Join(c.State, "log", "servers.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	servers, err := stack.New(stack.Config{
		Dir: c.State, Ports: block, Disposable: true, Old: true, Log: log, Note: func(message string) { say("%s", message) },
	})
	if err != nil {
		return err
	}
	say("starting Apache Kafka, Postgres, the storage, and a Temporal that nobody uses yet")
	if err := servers.Start(sig.asked); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopAll(sig.insisted, servers)) }()
	if err := servers.PrepareOldDatabase(sig.asked, migrate); err != nil {
		return err
	}
	group, running := errgroup.WithContext(sig.asked)
	group.Go(func() error { return control.Serve(running, anchor, servers) })
	group.Go(func() error { return services(running, servers, log) })
	group.Go(func() error { return c.welcome(servers) })
	return group.Wait()
}

// begin leaves an empty folder, unless a stack works on it.
func (c *oldCmd) begin() error {
	logs := filepath.Join(c.State, "log")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	unlock, err := lock(c.State)
	if err != nil {
		return err
	}
	defer unlock()
	if err := stack.Remove(c.State); err != nil {
		return err
	}
	return os.MkdirAll(logs, 0o755)
}

// services are the external ones, in a hurry.
func services(ctx context.Context, servers *stack.Stack, log *os.File) error {
	behaviour := simulator.DefaultBehaviour()
	soon := simulator.Range{Min: simulator.Duration(200 * time.Millisecond), Max: simulator.Duration(time.Second)}
	behaviour.TranscriptionDelay, behaviour.CompressionDelay = soon, soon
	sim, err := simulator.New(simulator.Config{
		Brokers: servers.OldBrokers(), Behaviour: &behaviour, Log: slog.New(slog.NewJSONHandler(log, nil)),
	})
	if err != nil {
		return fmt.Errorf("start the external services: %w", err)
	}
	defer sim.Close()
	return sim.Run(ctx)
}

func (c *oldCmd) welcome(servers *stack.Stack) error {
	token, err := seed.Token(stack.JWTSecret, seed.Lecturer, time.Now(), tokenValidity)
	if err != nil {
		return fmt.Errorf("make a token: %w", err)
	}
	file := filepath.Join(c.State, "env")
	env := servers.OldEnvironment().With(
		envfile.Var{Name: "VIDFLOW_COURSE", Value: seed.Courses[0].ID, Note: "A course, and a token of the lecturer who owns it"},
		envfile.Var{Name: "VIDFLOW_TOKEN", Value: token},
	)
	if err := env.Write(file, "The platform before vidflow: source it in a POSIX shell."); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	fmt.Printf("The platform runs, without vidflow. Its environment is in %s; Ctrl-C stops it.\n", file)
	return nil
}
