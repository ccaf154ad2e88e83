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
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Dev   devCmd   `cmd:"" help:"Run the whole pipeline in the foreground: servers, simulator, and the processes of vidflow."`
	Old   oldCmd   `cmd:"" help:"Run the platform as it is before vidflow, for the rehearsal of docs/take-over.md: servers, Apache Kafka, the external services."`
	Smoke smokeCmd `cmd:"" help:"Send videos through a whole pipeline of its own, unattended, and look at what came of them."`
	Clean cleanCmd `cmd:"" help:"Remove the state of dev."`
	Exec  execCmd  `cmd:"" help:"Run a command, such as go test, with servers of its own that are gone when it has ended."`
	Chaos chaosCmd `cmd:"" help:"Kill, cut, freeze and poison a whole pipeline of its own, and look at what came of every result."`
	Bench benchCmd `cmd:"" help:"Measure the binary that ships against the least that has to be done."`
	Serve serveCmd `cmd:"" hidden:"" help:"Run one server of a stack."`
}

// exitCode ends the program with the code of a child, with nothing more to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() {
	var app cli
	parsed := kong.Parse(&app,
		kong.Name("devstack"),
		kong.Description("The development stack of vidflow."),
		kong.UsageOnError(),
	)
	err := parsed.Run(catchInterrupts())
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

// interrupts are what the user wants by SIGINT or SIGTERM.
type interrupts struct {
	// asked is cancelled by the first one: end in good order.
	asked context.Context
	// insisted is cancelled by the second one, or when the end takes too long: end at once.
	insisted context.Context
}

const (
	// stopWithin is how long the end in good order may take.
	stopWithin = 9 * time.Second
	// killAfter is how long the end at once may take.
	killAfter = 500 * time.Millisecond
)

// catchInterrupts waits for signals for the rest of the program. Once the user insists the children are killed; should
// the program still be there a moment later, it is killed too, and the kernel ends what is left of them.
func catchInterrupts() *interrupts {
	asked, ask := context.WithCancel(context.Background())
	insisted, insist := context.WithCancel(context.Background())
	received := make(chan os.Signal, 2) // the first asks, the second insists
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-received
		ask()
		select {
		case <-received:
		case <-time.After(stopWithin):
			note(fmt.Sprintf("not stopped after %s: ending what is left by force", stopWithin))
		}
		insist()
		<-time.After(killAfter)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}()
	return &interrupts{asked: asked, insisted: insisted}
}
