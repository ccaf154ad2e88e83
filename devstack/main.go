// Command devstack runs everything that vidflow needs on one machine: real servers, embedded, and the processes of
// vidflow beside them. `make dev` and the tests are its users; nothing that ships imports it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type cli struct {
	Exec execCmd `cmd:"" help:"Run a command, such as go test, with servers of its own that are gone when it has ended."`
}

// exitCode ends the program with the code of a child, with nothing more to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() {
	ctx, stop := signals()
	defer stop()
	var app cli
	parsed := kong.Parse(&app,
		kong.Name("devstack"),
		kong.Description("The development stack of vidflow."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	err := parsed.Run()
	var code exitCode
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	default:
		fmt.Fprintf(os.Stderr, "devstack: %v\n", err)
		os.Exit(1)
	}
}

// signals cancels the context at the first SIGINT or SIGTERM. The second one ends the program at once; the kernel then
// ends its children.
func signals() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	received := make(chan os.Signal, 2) // the first asks, the second insists
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-received
		cancel()
		<-received
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}()
	return ctx, cancel
}
