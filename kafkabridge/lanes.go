package kafkabridge

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// Signaller is what the bridge needs of Temporal; a client.Client is one. A call that fails may have had its effect.
type Signaller interface {
	SignalWithStartWorkflow(
		ctx context.Context, workflowID, signalName string, signalArg any,
		options client.StartWorkflowOptions, workflow any, workflowArgs ...any,
	) (client.WorkflowRun, error)
}

// lanes bring results to their workflows: in order and one at a time for each video, many videos at a time. Each video
// with something in hand has a lane, which costs its results and a timer: goroutines there are only for signals that are
// on their way.
type lanes struct {
	cfg       Config
	signaller Signaller
	metrics   *metrics
	spans     *spans
	log       *slog.Logger
	loud      *throttle

	// work is cancelled to give up what is in hand; draining is closed when what fails is no longer tried again.
	work     context.Context
	draining <-chan struct{}

	open    sync.WaitGroup // one for each lane
	mu      sync.Mutex
	lanes   map[contract.VideoID]*lane
	ready   []*lane // to be sent from, oldest first
	workers int     // goroutines that do it, at most MaxSignals
}

// lane is what waits for one video, in the order in which the first record of each parcel came. lanes.mu guards it.
type lane struct {
	video   contract.VideoID
	waiting []*parcel
	// pausing: a timer will make the lane ready.
	pausing bool
	// failures in a row: of the first parcel, which was refused, and is held back.
	failures int
}

// origin is what order is certain within.
type origin struct {
	signal    string
	topicID   uuid.UUID
	partition int32
}

// parcel is a signal to send, with all records that it acknowledges: of one origin the newest is sent, and stands for
// those that waited with it.
type parcel struct {
	origin   origin
	newest   contract.Reference
	receipts []receipt
	// taken is of the newest, merged of the others; nil when nothing is traced.
	taken  *taken
	merged []*taken
}

// absorb merges what has the same origin. Of the same position it keeps the record that was read last: it is kept longest.
func (p *parcel) absorb(q *parcel) {
	older := q.taken
	if q.newest.Position.Compare(p.newest.Position) >= 0 {
		p.newest = q.newest
		p.taken, older = q.taken, p.taken
	}
	p.merged = append(p.merged, q.merged...)
	if older != nil && len(p.merged) < maxLinks {
		p.merged = append(p.merged, older)
	}
	p.receipts = append(p.receipts, q.receipts...)
}

func newLanes(
	work context.Context, draining <-chan struct{}, cfg Config, signaller Signaller, metrics *metrics, log *slog.Logger,
) *lanes {
	return &lanes{
		cfg:       cfg,
		signaller: signaller,
		metrics:   metrics,
		spans:     newSpans(cfg.Kafka.Traces),
		log:       log,
		loud:      newThrottle(log, time.Second),
		work:      work,
		draining:  draining,
		lanes:     make(map[contract.VideoID]*lane),
	}
}

// deliver takes a result in hand and returns at once. The receipt is settled when Temporal has accepted it.
func (l *lanes) deliver(r result, owed receipt) {
	at := r.ref.Position
	in := &parcel{
		origin:   origin{signal: r.signal, topicID: at.TopicID, partition: at.Partition},
		newest:   r.ref,
		receipts: []receipt{owed},
		taken:    r.taken,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ln, ok := l.lanes[r.video]
	if !ok {
		ln = &lane{video: r.video}
		l.lanes[r.video] = ln
		l.open.Add(1)
		l.makeReady(ln)
	}
	if i := ln.find(in.origin); i >= 0 {
		ln.waiting[i].absorb(in)
		return
	}
	ln.waiting = append(ln.waiting, in)
}

func (ln *lane) find(o origin) int {
	return slices.IndexFunc(ln.waiting, func(p *parcel) bool { return p.origin == o })
}

// makeReady queues a lane for sending. It is called with l.mu held, like all that follows down to send.
func (l *lanes) makeReady(ln *lane) {
	l.ready = append(l.ready, ln)
	if l.workers < l.cfg.MaxSignals {
		l.workers++
		go l.sendReady()
	}
}

// pause makes the lane ready after d.
func (l *lanes) pause(ln *lane, d time.Duration) {
	ln.pausing = true
	time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if ln.pausing { // else it was closed meanwhile
			ln.pausing = false
			l.makeReady(ln)
		}
	})
}

func (l *lanes) close(ln *lane) {
	ln.pausing = false
	delete(l.lanes, ln.video)
	l.open.Done()
}

// next takes the next parcel of the lane in hand; nil means that there is none, and the lane is closed.
func (l *lanes) next(ln *lane) *parcel {
	for len(ln.waiting) > 0 {
		p := ln.waiting[0]
		ln.waiting = slices.Delete(ln.waiting, 0, 1)
		if !allLost(p.receipts) {
			return p
		}
	}
	l.close(ln)
	return nil
}

// putBack makes the parcel the next one again, together with what has come of its origin meanwhile.
func (ln *lane) putBack(p *parcel) {
	if i := ln.find(p.origin); i >= 0 {
		p.absorb(ln.waiting[i])
		ln.waiting = slices.Delete(ln.waiting, i, i+1)
	}
	ln.waiting = slices.Insert(ln.waiting, 0, p)
}

// sendReady sends one parcel of each ready lane until none is ready. Between two parcels a lane pauses: the workflow is
// left alone for the interval, or what was refused is held back.
func (l *lanes) sendReady() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ready) > 0 {
		ln := l.ready[0]
		l.ready[0] = nil
		l.ready = l.ready[1:]
		p := l.next(ln)
		if p == nil {
			continue
		}
		l.mu.Unlock()
		err := l.send(ln.video, p)
		if err == nil {
			settle(p.receipts, accepted)
		}
		l.mu.Lock()
		switch {
		case err == nil && len(ln.waiting) == 0 && l.isDraining():
			l.close(ln)
		case err == nil:
			ln.failures = 0
			l.pause(ln, l.cfg.SignalInterval)
		case l.isDraining():
			ln.putBack(p)
			l.abandon(ln)
		default:
			l.holdBack(ln, p, err)
		}
	}
	l.workers--
}

// holdBack has the video tried again later. Nothing that Temporal refuses is the fault of a record, whatever the error
// says: what was decoded fits every limit of a signal.
func (l *lanes) holdBack(ln *lane, p *parcel, err error) {
	class := classify(err)
	l.metrics.heldBack.WithLabelValues(string(class)).Inc()
	ln.failures++
	pause := backoff(l.cfg.RetryInitial, l.cfg.RetryMax, ln.failures)
	l.loud.say(class.level(), "Kafka message held back: Temporal does not take its signal",
		append(attrsOf(ln.video, p.newest), "workflow_id", workflows.WorkflowID(ln.video), "class", string(class),
			"attempt", ln.failures, "retry_in", pause, "error", err)...)
	ln.putBack(p)
	l.pause(ln, pause)
}

func (l *lanes) isDraining() bool {
	select {
	case <-l.draining:
		return true
	default:
		return false
	}
}

// abandon closes the lane without having sent what waits; it comes again, since its offsets are not committed.
func (l *lanes) abandon(ln *lane) {
	for _, p := range ln.waiting {
		settle(p.receipts, abandoned)
	}
	ln.waiting = nil
	l.close(ln)
}

// wait is called once draining is closed, after which nothing is delivered. It abandons what is held back and returns when
// everything else that waits has been sent, or abandoned as well.
func (l *lanes) wait() {
	l.mu.Lock()
	for _, ln := range l.lanes {
		if ln.pausing && (ln.failures > 0 || len(ln.waiting) == 0) {
			l.abandon(ln)
		}
	}
	l.mu.Unlock()
	l.open.Wait()
}

func (l *lanes) send(video contract.VideoID, p *parcel) (err error) {
	ctx, cancel := context.WithTimeout(l.work, l.cfg.SignalTimeout)
	defer cancel()
	ctx, end := l.spans.send(ctx, video, p)
	defer func() { end(err) }()
	id := workflows.WorkflowID(video)
	run, err := l.signaller.SignalWithStartWorkflow(ctx, id, p.origin.signal, p.newest,
		client.StartWorkflowOptions{
			ID:                       id,
			TaskQueue:                workflows.TaskQueue,
			WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
			WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
			// The title is not known here; the run shows it once it has looked.
			StaticSummary: "Started by a result on " + workflows.PlainText(p.newest.Topic),
		},
		workflows.VideoWorkflow, workflows.VideoInput{VideoID: video.String()},
	)
	if err != nil {
		return fmt.Errorf("signal %s: %w", id, err)
	}
	l.metrics.records.WithLabelValues(p.newest.Topic, recordSignalled).Inc()
	l.metrics.records.WithLabelValues(p.newest.Topic, recordMerged).Add(float64(len(p.receipts) - 1))
	attrs := append(attrsOf(video, p.newest), "workflow_id", id, "signal", p.origin.signal, "merged", len(p.receipts)-1)
	if run != nil {
		attrs = append(attrs, "run_id", run.GetRunID())
	}
	l.log.InfoContext(ctx, "workflow signalled", attrs...)
	return nil
}

// backoff doubles the pause with each failure, up to the longest, and takes between half and all of it.
func backoff(initial, longest time.Duration, failures int) time.Duration {
	pause := min(initial<<min(max(failures-1, 0), 30), longest)
	if pause <= 0 { // shifted out
		pause = longest
	}
	return pause/2 + rand.N(pause/2+1)
}

// attrsOf are what every log line about a record has.
func attrsOf(video contract.VideoID, ref contract.Reference) []any {
	return []any{"video_id", video, "topic", ref.Topic, "partition", ref.Partition, "offset", ref.Offset}
}
