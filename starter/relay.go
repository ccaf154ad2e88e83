package starter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/trace"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/workflows"
)

const (
	// intentLease is how long an instance has for an intent before another may take it up; that both then work on it
	// does no harm, since each step is idempotent.
	intentLease = 30 * time.Second
	// intentTimeout bounds one attempt.
	intentTimeout = 10 * time.Second
	// intentBatch is how many intents an instance leases ahead of its workers.
	intentBatch = 64
	// stopTimeout is what intents in hand have to end when the relay stops: plenty while Temporal answers, and nobody
	// waits longer for one that does not. What is cut off is done again by another instance, or this one's successor.
	stopTimeout = 3 * time.Second
	// Pauses between attempts at one intent: doubled from the first up to the longest, with some jitter.
	firstPause, longestPause = time.Second, 30 * time.Second

	// Bounds of one statement when vanished rows are looked for, and when what has expired is swept.
	vanishedPage = 2000
	sweepBatch   = 1000
	// vanishedPages bounds one look for vanished rows; the next goes on where it ended. So it costs the same however many
	// videos there are, and more than 40,000 take several looks.
	vanishedPages = 20
)

// IntentStore keeps the intents to run and to clean up, and says when a deleted video's object may be removed.
type IntentStore interface {
	// DueIntents leases up to limit intents that are due, none of which another instance has leased.
	DueIntents(ctx context.Context, limit int, lease time.Duration) ([]postgres.Intent, error)
	IntentDone(ctx context.Context, id contract.VideoID, kind postgres.IntentKind) error
	// IntentFailed makes an intent due again after a pause.
	IntentFailed(ctx context.Context, id contract.VideoID, kind postgres.IntentKind, after time.Duration, reason string) error
	// ClaimsUntil is for how long the last claim of the video still stands; 0 when none does.
	ClaimsUntil(ctx context.Context, id contract.VideoID) (time.Duration, error)
	// FindVanished makes intents to clean up for videos whose row is gone, a page of the videos at a time.
	FindVanished(ctx context.Context, after contract.VideoID, limit int) (vanished []contract.VideoID, next contract.VideoID, err error)
	// Sweep removes claims and idempotency keys that have expired.
	Sweep(ctx context.Context, limit int) (removed int, err error)
}

// Objects removes stored transcripts. Removing one that is not there succeeds.
type Objects interface {
	Delete(ctx context.Context, path string) error
}

// Relay carries out intents: it starts the run of each created video, and ends the run and removes the transcript of
// each deleted one. Intents are leased from the database, so that any number of relays may run beside each other, and
// what one leaves behind when it dies, another takes up.
type Relay struct {
	store    IntentStore
	temporal Temporal
	objects  Objects
	metrics  *metrics
	log      *slog.Logger
	tracer   trace.Tracer // nil when nothing is traced

	interval       time.Duration
	houseInterval  time.Duration
	terminateAfter time.Duration
	hideTitles     bool

	wake    chan struct{} // capacity 1: any number of wishes is one look
	workers chan struct{} // capacity: how many intents are carried out at once
}

func newRelay(store IntentStore, temporal Temporal, objects Objects, cfg Config, m *metrics, log *slog.Logger) *Relay {
	r := &Relay{
		store: store, temporal: temporal, objects: objects, metrics: m, log: log,
		interval: cfg.RelayInterval, houseInterval: cfg.HouseInterval, terminateAfter: cfg.TerminateAfter, hideTitles: cfg.HideTitles,
		wake: make(chan struct{}, 1), workers: make(chan struct{}, cfg.RelayWorkers),
	}
	if cfg.Traces != nil {
		r.tracer = cfg.Traces.Tracer(tracing.Scope)
	}
	return r
}

// Wake makes the relay look for intents now. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, then finishes what it has in hand.
func (r *Relay) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { r.keepHouse(ctx); return nil })
	g.Go(func() error { r.work(ctx); return nil })
	return g.Wait()
}

// work leases intents and hands them to goroutines. It looks when it is woken, when an intent that it put off is due
// again, and else at every interval, for what other instances left.
func (r *Relay) work(ctx context.Context) {
	inHand, abandon := lingering(ctx, stopTimeout)
	defer abandon()

	var (
		leased   int
		settled  = make(chan time.Time, intentBatch) // when an intent that was put off is due; zero when it is done
		lastWord = true                              // the last look found fewer than it could take
		next     = time.Now()
	)
	defer func() {
		for ; leased > 0; leased-- {
			<-settled
		}
	}()
	for {
		if ctx.Err() != nil {
			return
		}
		if now := time.Now(); leased <= intentBatch/2 && (!lastWord || !next.After(now)) {
			free := intentBatch - leased
			intents, err := r.store.DueIntents(ctx, free, intentLease)
			if err != nil && ctx.Err() == nil {
				r.log.LogAttrs(ctx, slog.LevelWarn, "intents not read, will be tried again", slog.Any("error", err))
			}
			lastWord = len(intents) < free
			next = now.Add(jitter(r.interval))
			leased += len(intents)
			for _, in := range intents {
				go func() { settled <- r.inTurn(ctx, inHand, in) }()
			}
			if !lastWord {
				continue
			}
		}
		var look <-chan time.Time // none while there is enough in hand
		if leased <= intentBatch/2 {
			look = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
		case <-look:
		case <-r.wake:
			next = time.Now()
		case due := <-settled:
			leased--
			if !due.IsZero() && due.Before(next) {
				next = due
			}
		}
	}
}

// inTurn carries an intent out when a worker is free, or hands it back when the relay stops before.
func (r *Relay) inTurn(ctx, inHand context.Context, in postgres.Intent) time.Time {
	select {
	case r.workers <- struct{}{}:
		defer func() { <-r.workers }()
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		return r.carryOut(inHand, in)
	}
	if err := r.store.IntentFailed(inHand, in.VideoID, in.Kind, 0, "the instance that had it in hand stopped"); err != nil {
		r.log.LogAttrs(inHand, slog.LevelDebug, "intent not handed back, its lease will run out",
			slog.String("video_id", in.VideoID.String()), slog.Any("error", err))
	}
	return time.Time{}
}

// carryOut makes one attempt at an intent. It returns when the intent is due again, or zero when that is not this
// instance's to know.
func (r *Relay) carryOut(ctx context.Context, in postgres.Intent) time.Time {
	ctx, cancel := context.WithTimeout(ctx, intentTimeout)
	defer cancel()
	ctx, end := r.trace(ctx, in)

	var err error
	defer func() { end(err) }()
	switch in.Kind {
	case postgres.IntentRun:
		err = r.start(ctx, in)
	case postgres.IntentCleanup:
		err = r.cleanUp(ctx, in)
	default:
		err = fmt.Errorf("intent of unknown kind %q: made by a newer version", in.Kind)
	}
	if err == nil {
		if err = r.store.IntentDone(ctx, in.VideoID, in.Kind); err == nil {
			r.metrics.intents.WithLabelValues(string(in.Kind), intentDone).Inc()
			return time.Time{}
		}
		err = fmt.Errorf("forget the intent: %w", err)
	}
	return r.putOff(ctx, in, err)
}

// putOff makes an intent due again later: after a pause that grows with each attempt, or when the error says so.
func (r *Relay) putOff(ctx context.Context, in postgres.Intent, cause error) time.Time {
	pause := backoff(in.Attempts)
	level, message := slog.LevelWarn, "intent not carried out, will be tried again"
	var later *notYet
	if errors.As(cause, &later) {
		level, message = slog.LevelDebug, "intent waits"
		if later.pause > 0 {
			pause = later.pause
		}
	} else {
		r.metrics.intents.WithLabelValues(string(in.Kind), intentFailed).Inc()
	}
	r.log.LogAttrs(ctx, level, message, slog.String("video_id", in.VideoID.String()), //nolint:sloglint // one of two constants
		slog.String("workflow_id", workflows.WorkflowID(in.VideoID)), slog.String("intent", string(in.Kind)),
		slog.Int("attempt", in.Attempts), slog.Duration("again_in", pause), slog.Any("error", cause))

	// The attempt's own time may be what ran out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := r.store.IntentFailed(ctx, in.VideoID, in.Kind, pause, cause.Error()); err != nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "intent not put off, its lease will run out",
			slog.String("video_id", in.VideoID.String()), slog.Any("error", err))
		return time.Time{}
	}
	return time.Now().Add(pause)
}

// start starts the video's run; one that is open already, whoever started it, will do. A video that was gone needs none,
// and the run of one that goes meanwhile finds so out.
func (r *Relay) start(ctx context.Context, in postgres.Intent) error {
	if in.Video == nil {
		return nil
	}
	run, err := r.temporal.ExecuteWorkflow(ctx, startOptions(*in.Video, r.hideTitles), workflows.VideoWorkflow,
		workflows.VideoInput{VideoID: in.VideoID.String()})
	if err != nil {
		return fmt.Errorf("start workflow: %w", err)
	}
	r.metrics.runStart.Observe(max(0, time.Since(in.CreatedAt).Seconds()))
	r.log.LogAttrs(ctx, slog.LevelInfo, "workflow started", slog.String("video_id", in.VideoID.String()),
		slog.String("workflow_id", run.GetID()), slog.String("run_id", run.GetRunID()), slog.Int("attempt", in.Attempts))
	return nil
}

// cleanUp ends the run of a deleted video and removes its stored transcript. Each of the two is tried whatever becomes
// of the other, and the intent is carried out when both are done. Nothing that arrives later brings the object back:
// the tombstone refuses every new claim, and those that stood are waited out.
func (r *Relay) cleanUp(ctx context.Context, in postgres.Intent) error {
	if err := errors.Join(r.endRun(ctx, in), r.removeTranscript(ctx, in)); err != nil {
		return err
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, "deleted video cleaned up", slog.String("video_id", in.VideoID.String()),
		slog.String("workflow_id", workflows.WorkflowID(in.VideoID)))
	return nil
}

// endRun cancels the run, so that it may finish what it has in hand, and terminates it when it is still open a while
// after the video was deleted, which happens when no worker is there. Nil means that no run is open.
func (r *Relay) endRun(ctx context.Context, in postgres.Intent) error {
	id := workflows.WorkflowID(in.VideoID)
	var gone *serviceerror.NotFound
	d, err := r.temporal.DescribeWorkflow(ctx, id, "")
	switch {
	case errors.As(err, &gone):
		return nil
	case err != nil:
		return fmt.Errorf("look at the workflow: %w", err)
	case d.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && d.Status != enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED:
		return nil
	}
	if in.Attempts > 1 && time.Since(in.CreatedAt) > r.terminateAfter {
		err := r.temporal.TerminateWorkflow(ctx, id, "", "The video was deleted, and the run did not end when it was cancelled.")
		if err != nil && !errors.As(err, &gone) {
			return fmt.Errorf("terminate workflow: %w", err)
		}
		r.log.LogAttrs(ctx, slog.LevelWarn, "workflow of a deleted video terminated",
			slog.String("video_id", in.VideoID.String()), slog.String("workflow_id", id))
		return nil
	}
	var already *serviceerror.CancellationAlreadyRequested
	if err := r.temporal.CancelWorkflow(ctx, id, ""); err != nil && !errors.As(err, &gone) && !errors.As(err, &already) {
		return fmt.Errorf("cancel workflow: %w", err)
	}
	return &notYet{what: "the workflow is asked to end"}
}

// removeTranscript removes the object once no upload can land any more.
func (r *Relay) removeTranscript(ctx context.Context, in postgres.Intent) error {
	wait, err := r.store.ClaimsUntil(ctx, in.VideoID)
	if err != nil {
		return fmt.Errorf("look for claims: %w", err)
	}
	if wait > 0 {
		return &notYet{what: "an upload may be under way", pause: wait}
	}
	if err := r.objects.Delete(ctx, in.VideoID.TranscriptPath()); err != nil {
		return fmt.Errorf("remove the stored transcript: %w", err)
	}
	return nil
}

// notYet says that nothing is wrong, but something takes its time: pause, or as long as it usually takes.
type notYet struct {
	what  string
	pause time.Duration
}

func (e *notYet) Error() string { return e.what }

// keepHouse finds videos whose row vanished without us (the old server deletes too, and so does the end of a course),
// and sweeps what has expired.
func (r *Relay) keepHouse(ctx context.Context) {
	// Not at once: instances that start together should not all look together.
	timer := time.NewTimer(jitter(r.houseInterval / 4))
	defer timer.Stop()
	var after contract.VideoID
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			after = r.findVanished(ctx, after)
			r.sweep(ctx)
			timer.Reset(jitter(r.houseInterval))
		}
	}
}

// findVanished looks on after the video given, and answers with where to go on; empty for the start.
func (r *Relay) findVanished(ctx context.Context, after contract.VideoID) contract.VideoID {
	for range vanishedPages {
		vanished, next, err := r.store.FindVanished(ctx, after, vanishedPage)
		for _, id := range vanished {
			r.log.LogAttrs(ctx, slog.LevelInfo, "video vanished, it was deleted elsewhere", slog.String("video_id", id.String()))
		}
		if len(vanished) > 0 {
			r.Wake()
		}
		if err != nil && ctx.Err() == nil {
			r.log.LogAttrs(ctx, slog.LevelWarn, "vanished videos not looked for", slog.Any("error", err))
		}
		if err != nil {
			return after
		}
		if after = next; next == "" {
			break
		}
	}
	return after
}

func (r *Relay) sweep(ctx context.Context) {
	for {
		removed, err := r.store.Sweep(ctx, sweepBatch)
		if err != nil && ctx.Err() == nil {
			r.log.LogAttrs(ctx, slog.LevelWarn, "expired claims and keys not swept", slog.Any("error", err))
		}
		if err != nil || removed < sweepBatch {
			return
		}
	}
}

// lingering is a context that outlives ctx by grace, for work in hand.
func lingering(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	inHand, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return inHand, func() { stop(); cancel() }
}

// backoff is the pause after the given number of attempts.
func backoff(attempts int) time.Duration {
	pause := firstPause << min(max(attempts-1, 0), 10)
	return jitter(min(pause, longestPause))
}

// jitter varies d by a fifth, so that instances do not move in step.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*0.4-0.2)*float64(d))
}
