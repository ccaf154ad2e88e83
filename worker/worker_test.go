package worker_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/worker"
)

// said closes once something is logged.
type said struct {
	slog.Handler
	once chan struct{}
}

func (s said) Enabled(context.Context, slog.Level) bool { return true }

func (s said) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn {
		select {
		case s.once <- struct{}{}:
		default:
		}
	}
	return nil
}

func TestWorkerWaitsForTemporal(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close() // nobody listens there now
	temporal, err := client.NewLazyClient(client.Options{
		HostPort:          addr,
		Logger:            tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		ConnectionOptions: client.ConnectionOptions{GetSystemInfoTimeout: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(temporal.Close)
	waiting := said{slog.DiscardHandler, make(chan struct{}, 1)}
	w := worker.New(temporal, activities.New(activities.Deps{}, activities.Config{}, slog.New(slog.DiscardHandler)), worker.Config{}, slog.New(waiting))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()

	select {
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	case <-waiting.once:
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("told to stop while it waits: %v", err)
	}
}
