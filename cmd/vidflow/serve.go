package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/telemetry"
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

// openers make a part of each process; none connects yet. The closers are to be used with an error too.
var openers = map[config.Command]func(
	context.Context, *config.Config, telemetry.Instruments, *slog.Logger,
) (process.Part, closers, error){
	config.Worker:      openWorker,
	config.Starter:     openStarter,
	config.KafkaBridge: openBridge,
}

// flushTimeout bounds the sending of the last telemetry at the end.
const flushTimeout = 3 * time.Second

// serve opens what the processes need, runs them together, and closes it.
func serve(ctx context.Context, processes []config.Command, cfg *config.Config, log *slog.Logger) error {
	b := buildInfo()
	log.Info("vidflow starts", "version", b.Version, "revision", b.Revision, "processes", processes)
	metrics := newMetrics(b)
	instruments, flush, err := telemetry.NewInstruments(metrics)
	if err != nil {
		return err
	}
	defer func() {
		inTime, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := flush(inTime); err != nil {
			log.Warn("telemetry not sent to the end", "error", err)
		}
	}()
	if cfg.Traces.On() {
		traces, flushTraces, err := telemetry.OpenTraces(ctx, traceOptions(processes, cfg, log))
		if err != nil {
			return err
		}
		instruments.Traces = traces
		flush = inOrder(flush, flushTraces)
	}
	ops, err := process.NewOps(ctx, process.OpsOptions{
		Addr:     cfg.Process.OpsAddr,
		Profiles: cfg.Process.PPROF,
		Metrics:  metrics,
		Redact:   cfg.Redactor().Redact,
		Log:      log,
	})
	if err != nil {
		return err
	}
	defer ops.Close()
	var all closers
	var parts []process.Part
	for _, command := range processes {
		// The clients outlive ctx: they serve what is in hand when it is cancelled.
		part, opened, err := openers[command](context.WithoutCancel(ctx), cfg, instruments.For(string(command)), log.With("process", string(command)))
		all = append(all, opened...)
		if err != nil {
			all.close()
			return fmt.Errorf("%s: %w", command, err)
		}
		parts = append(parts, part)
	}
	err = process.Run(ctx, process.Options{Log: log, Ops: ops, ShutdownTimeout: cfg.Process.ShutdownTimeout}, parts...)
	if !errors.Is(err, process.ErrLeftBehind) { // else closing would wait for what did not end
		all.close()
	}
	return err
}

// inOrder calls one after the other, whether or not the first fails.
func inOrder(first, second func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error { return errors.Join(first(ctx), second(ctx)) }
}

// newMetrics is the registry of this operating-system process: all parts that run in it register here what they count.
func newMetrics(b build) *prometheus.Registry {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "vidflow_build_info", Help: "Always 1; the labels say what runs.",
			ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision},
		}, func() float64 { return 1 }),
	)
	return metrics
}

// closers close what was opened, the last first.
type closers []func()

func (c *closers) add(closeOne func()) { *c = append(*c, closeOne) }

func (c closers) close() {
	for _, closeOne := range slices.Backward(c) {
		closeOne()
	}
}
