package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/process"
)

// execute runs the commands: migrate first, then the processes, until a signal ends them.
func execute(ctx context.Context, l *commandLine, cfg *config.Config, log *slog.Logger, stdout io.Writer) error {
	ctx, stop := process.WithSignals(ctx, log)
	defer stop()
	if slices.Contains(l.commands, config.Migrate) {
		if err := migrate(ctx, cfg, l.skipTemporal, log, stdout); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	processes := slices.DeleteFunc(slices.Clone(l.commands), func(c config.Command) bool { return c == config.Migrate })
	if len(processes) == 0 {
		return nil
	}
	return serve(ctx, processes, cfg, log)
}

// serve opens what the processes need, runs them together, and closes it.
func serve(ctx context.Context, processes []config.Command, cfg *config.Config, log *slog.Logger) error {
	b := buildInfo()
	log.Info("vidflow starts", "version", b.Version, "revision", b.Revision, "processes", processes)
	ops := process.NewOps(process.OpsOptions{
		Addr:     cfg.Process.OpsAddr,
		Profiles: cfg.Process.PPROF,
		Redact:   cfg.Redactor().Redact,
		Log:      log,
	})
	var parts []process.Part
	for _, command := range processes {
		part, closePart, err := open(ctx, command, cfg, log.With("process", string(command)))
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		defer closePart()
		parts = append(parts, part)
	}
	return process.Run(ctx, process.Options{Log: log, Ops: ops, ShutdownTimeout: cfg.Process.ShutdownTimeout}, parts...)
}

// opened are the clients of a part, to be closed in reverse.
type opened []func()

func (o *opened) add(closeOne func()) { *o = append(*o, closeOne) }

func (o *opened) close() {
	for _, closeOne := range slices.Backward(*o) {
		closeOne()
	}
}
