// Command floors holds what vidflow is measured against: the least that has to be done, written as simply as it can be, on
// the public client libraries alone. Each floor is a process of its own, as vidflow's are, prints a line when it serves,
// checks that it did what it claims, prints its result, and ends when it is told to.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
)

type cli struct {
	Signals signals   `cmd:"" help:"Signals that start runs."`
	Latency latency   `cmd:"" help:"Signals that are answered by a local activity."`
	Bare    bareCmd   `cmd:"" help:"Runs that wait for two signals and end: the workflow without its effects."`
	Create  createCmd `cmd:"" help:"Insert the rows of new videos."`
}

// dial connects to Temporal as the environment says. What is sent is small; to compress it, as the SDK does by default, would
// be the slower way.
func dial(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{
		HostPort: os.Getenv("TEMPORAL_ADDRESS"), Namespace: os.Getenv("TEMPORAL_NAMESPACE"),
		Logger:            tlog.NewStructuredLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))),
		ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}},
	})
}

// tell prints what a floor came to, and waits until what it cost has been looked at.
func tell(ctx context.Context, result any) error {
	err := json.NewEncoder(os.Stdout).Encode(result)
	<-ctx.Done()
	return err
}

func main() {
	var app cli
	parsed := kong.Parse(&app, kong.Name("floors"), kong.Description("The least that has to be done."), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	parsed.BindTo(ctx, (*context.Context)(nil))
	err := parsed.Run()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "floors:", err)
		os.Exit(1)
	}
}
