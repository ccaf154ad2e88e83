package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"

	"github.com/codeendelea/vidflow/devstack/chaos/audit"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/storage"
)

// Config says what a run does.
type Config struct {
	World
	Plan Plan
	// Topics and Namespace of the pipeline.
	Topics    audit.Topics
	Namespace string
	// RestTimeout is how long everything may take to come to rest once it is healed.
	RestTimeout time.Duration
}

// Run carries out a plan and audits what came of it. An error means that there is nothing to audit.
func Run(ctx context.Context, cfg Config) (Result, error) {
	w, err := cfg.build()
	if err != nil {
		return Result{}, err
	}
	defer w.close(context.WithoutCancel(ctx))
	log, err := w.logFile("chaos")
	if err != nil {
		return Result{}, err
	}
	r := &run{world: w, cfg: cfg, log: log}
	cfg.Say("starting the servers and %d processes", instances[worker]+instances[starter]+instances[bridge])
	if err := w.start(ctx); err != nil {
		return Result{}, err
	}
	if err := r.watch(ctx); err != nil {
		return Result{}, err
	}
	return r.all(ctx)
}

type run struct {
	*world
	cfg      Config
	started  time.Time
	healedAt time.Time

	mu  sync.Mutex
	log io.Writer
}

// note writes a line to the run's own log.
func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(r.log, "%s [%6.2fs] %s\n", time.Now().UTC().Format("15:04:05.000"), time.Since(r.started).Seconds(), fmt.Sprintf(format, args...))
}

func (r *run) watch(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, r.Postgres.URL(r.Database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return audit.Watch(ctx, conn)
}

// behaviour of the services while things go wrong: some requests are never answered, many answers come twice or late.
// Their own answers carry a key: those without come from the load, which minds that the order is never left open.
func behaviour() simulator.Behaviour {
	b := simulator.DefaultBehaviour()
	b.TranscriptionDelay = simulator.Range{Min: simulator.Duration(100 * time.Millisecond), Max: simulator.Duration(4 * time.Second)}
	b.CompressionDelay = b.TranscriptionDelay
	b.SilentTranscriptions = 0.15
	b.Repeats, b.Reorders = 0.3, 0.2
	b.TranscriptForms = []simulator.TranscriptForm{simulator.Nested, simulator.NestedWord, simulator.Flat, simulator.FlatText}
	b.CompressionForms = simulator.CompressionForms()
	return b
}

func (r *run) all(ctx context.Context) (Result, error) {
	b := behaviour()
	services, err := simulator.New(simulator.Config{
		Brokers: []string{r.proxied[kafka]}, Seed: r.cfg.Plan.Seed, Behaviour: &b,
		Log: slog.New(slog.NewTextHandler(simulatorLog{r}, nil)),
	})
	if err != nil {
		return Result{}, err
	}
	defer services.Close()
	r.started = time.Now()
	l, err := newLoad(r.world, r.cfg.Plan, r.cfg.Topics, r.note)
	if err != nil {
		return Result{}, err
	}

	serving, stopServices := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer stopServices()
	background.Go(func() {
		if err := services.Run(serving); err != nil {
			r.note("simulator: %v", err)
		}
	})

	loading, stopLoad := context.WithCancelCause(ctx)
	defer stopLoad(nil)
	loaded := make(chan error, 1)
	background.Go(func() { loaded <- l.run(loading, r.started) })

	r.Say("%d faults in %s, while %d videos are created", len(r.cfg.Plan.Faults), r.cfg.Plan.End, len(r.cfg.Plan.Videos))
	fs := &faults{world: r.world, note: r.note, done: map[string]int{}}
	fs.run(ctx, r.started, r.cfg.Plan.Faults)
	if !sleepUntil(ctx, r.started.Add(r.cfg.Plan.End)) {
		return Result{}, ctx.Err()
	}
	r.Say("healing everything")
	if err := r.heal(ctx); err != nil {
		return Result{}, fmt.Errorf("heal: %w", err)
	}
	r.healedAt = time.Now()
	r.note("healed")
	b.SilentTranscriptions = 0
	if err := services.Behave(b); err != nil {
		return Result{}, err
	}

	timer := time.AfterFunc(r.cfg.RestTimeout, func() { stopLoad(errNoAnswer) })
	defer timer.Stop()
	if err := <-loaded; err != nil {
		return Result{}, fmt.Errorf("the load: %w", errors.Join(err, context.Cause(loading)))
	}
	return r.audit(ctx, l, fs, services)
}

var errNoAnswer = errors.New("a call was not answered although everything is healed")

// simulatorLog notes the lines of the simulator.
type simulatorLog struct{ r *run }

func (s simulatorLog) Write(line []byte) (int, error) {
	s.r.note("simulator: %s", strings.TrimSpace(string(line)))
	return len(line), nil
}

func (r *run) audit(ctx context.Context, l *load, fs *faults, services *simulator.Simulator) (Result, error) {
	temporalClient, err := client.NewLazyClient(client.Options{
		HostPort: r.proxied[temporal], Namespace: r.cfg.Namespace, Logger: tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return Result{}, err
	}
	defer temporalClient.Close()
	servers := audit.Servers{
		Database: r.Postgres.URL(r.Database), Brokers: []string{r.proxied[kafka]}, Topics: r.cfg.Topics,
		Storage: "http://" + r.proxied[store], Temporal: temporalClient, Namespace: r.cfg.Namespace,
	}
	r.Say("waiting until everything has come to rest")
	rested, err := r.rest(ctx, servers, services)
	if err != nil {
		return Result{}, err
	}
	r.Say("auditing")
	evidence, err := servers.Gather(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("gather the evidence: %w", err)
	}
	evidence.Retries, evidence.Accepted, evidence.AskAgainAfter = l.retries, l.accepted, AskAgainAfter
	result := Result{
		Seed: r.cfg.Plan.Seed, Videos: len(r.cfg.Plan.Videos), Records: len(evidence.Records) + len(evidence.Asks),
		Faults: maps.Clone(fs.done), Verdict: audit.Judge(evidence), Recovery: recoveries(evidence, r.healedAt), Rest: rested,
	}
	for _, list := range r.processes {
		for _, c := range list {
			result.Ended += c.ended()
			if err := panicked(filepath.Join(r.Logs, c.name+".log")); err != nil {
				result.Panics = append(result.Panics, err.Error())
			}
		}
	}
	return result, nil
}

// rest waits until nothing is under way, and answers how long that took; at the end of its patience too.
func (r *run) rest(ctx context.Context, servers audit.Servers, services *simulator.Simulator) (time.Duration, error) {
	const every, inARow = time.Second, 3
	deadline := time.Now().Add(r.cfg.RestTimeout)
	quiet, last := 0, ""
	for quiet < inARow {
		unrest, err := servers.Unrest(ctx)
		if err != nil {
			unrest = []string{"cannot be looked at: " + err.Error()}
		}
		if n := services.Stats().Pending; n > 0 {
			unrest = append(unrest, fmt.Sprintf("%d requests have yet to be answered", n))
		}
		for _, state := range []storage.State{storage.Received, storage.Held} {
			if late, err := r.storage().Uploads(ctx, "", state, 0, 0); err != nil || len(late) > 0 {
				unrest = append(unrest, fmt.Sprintf("%d uploads have yet to land (%v)", len(late), err))
			}
		}
		if text := strings.Join(unrest, "; "); text != last {
			r.note("unrest: %s", text)
			last = text
		}
		if quiet++; len(unrest) > 0 {
			quiet = 0
		}
		if time.Now().After(deadline) {
			r.Say("still not at rest after %s: %.300s", r.cfg.RestTimeout, last)
			break
		}
		if !sleep(ctx, every) {
			return 0, ctx.Err()
		}
	}
	return time.Since(r.healedAt), nil
}

// recoveries are, for each video that was behind when everything was healed, how long it took from then until its last
// effect; sorted.
func recoveries(e *audit.Evidence, healed time.Time) []time.Duration {
	last := map[string]time.Duration{}
	for _, effect := range e.Effects {
		if after := effect.At.Sub(healed); after > 0 {
			last[effect.Video] = max(last[effect.Video], after)
		}
	}
	return slices.Sorted(maps.Values(last))
}

// panicked says whether a process has written that it panicked, or that two goroutines raced.
func panicked(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, "DATA RACE") {
			return fmt.Errorf("%s: %s", filepath.Base(path), strings.TrimSpace(line))
		}
	}
	return nil
}
