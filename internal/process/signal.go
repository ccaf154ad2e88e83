package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// exitImpatient is the exit code after a second signal: what a shell reports for a program that SIGINT killed.
const exitImpatient = 130

// WithSignals returns a context that the first SIGINT or SIGTERM cancels, with a cause that names it. A second one ends
// the program at once. stop gives the signals back.
func WithSignals(ctx context.Context, log *slog.Logger) (signalled context.Context, stop func()) {
	signalled, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2) // two signals matter, and neither may be lost while the first is handled
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			log.Info("stopping", "signal", s.String())
			cancel(fmt.Errorf("received %s", s))
		case <-done:
			return
		}
		select {
		case s := <-signals:
			log.Warn("stopping at once", "signal", s.String())
			os.Exit(exitImpatient)
		case <-done:
		}
	}()
	return signalled, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}
