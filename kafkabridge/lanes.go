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
// with something in hand has a goroutine, its lane.
type lanes struct {
	cfg       Config
	signaller Signaller
	counters  *counters
	log       *slog.Logger
	loud      *throttle

	// slots bounds the signals on their way: its capacity is MaxSignals.
	slots chan struct{}
	// work is cancelled to give up what is in hand; draining is closed when what fails is no longer tried again.
	work     context.Context
	draining <-chan struct{}

	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[contract.VideoID]*lane
}

// lane is what waits for one video, in the order in which the first record of each parcel came. lanes.mu guards it.
type lane struct {
	video   contract.VideoID
	waiting []*parcel
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
}

// absorb merges what has the same origin. Of the same position it keeps the record that was read last: it is kept longest.
func (p *parcel) absorb(q *parcel) {
	if q.newest.Position.Compare(p.newest.Position) >= 0 {
		p.newest = q.newest
	}
	p.receipts = append(p.receipts, q.receipts...)
}

func newLanes(
	work context.Context, draining <-chan struct{}, cfg Config, signaller Signaller, counters *counters, log *slog.Logger,
) *lanes {
	return &lanes{
		cfg:       cfg,
		signaller: signaller,
		counters:  counters,
		log:       log,
		loud:      newThrottle(log, time.Second),
		slots:     make(chan struct{}, cfg.MaxSignals),
		work:      work,
		draining:  draining,
		open:      make(map[contract.VideoID]*lane),
	}
}

// deliver takes a result in hand and returns at once. The receipt is settled when Temporal has accepted it.
func (l *lanes) deliver(r result, owed receipt) {
	at := r.ref.Position
	in := &parcel{
		origin:   origin{signal: r.signal, topicID: at.TopicID, partition: at.Partition},
		newest:   r.ref,
		receipts: []receipt{owed},
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ln, ok := l.open[r.video]
	if !ok {
		ln = &lane{video: r.video}
		l.open[r.video] = ln
		l.wg.Go(func() { l.run(ln) })
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

// wait returns when every lane is empty.
func (l *lanes) wait() { l.wg.Wait() }

// run sends what waits for one video, and ends when nothing has come for a whole interval.
func (l *lanes) run(ln *lane) {
	failures := 0
	for p := l.next(ln); p != nil; p = l.next(ln) {
		err := l.send(ln.video, p)
		if err == nil {
			failures = 0
			settle(p.receipts, accepted)
			l.rest(ln)
			continue
		}
		failures++
		refused := p.newest // p may change once it is back
		l.putBack(ln, p)
		if !l.holdBack(ln.video, refused, failures, err) {
			l.abandon(ln)
			return
		}
	}
}

// next takes the next parcel of the lane in hand; nil means that there is none, and the lane is closed.
func (l *lanes) next(ln *lane) *parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(ln.waiting) > 0 {
		p := ln.waiting[0]
		ln.waiting = slices.Delete(ln.waiting, 0, 1)
		if !allLost(p.receipts) {
			return p
		}
	}
	delete(l.open, ln.video)
	return nil
}

// putBack makes the parcel the next one again, together with what has come of its origin meanwhile.
func (l *lanes) putBack(ln *lane, p *parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := ln.find(p.origin); i >= 0 {
		p.absorb(ln.waiting[i])
		ln.waiting = slices.Delete(ln.waiting, i, i+1)
	}
	ln.waiting = slices.Insert(ln.waiting, 0, p)
}

func (l *lanes) send(video contract.VideoID, p *parcel) error {
	select {
	case l.slots <- struct{}{}:
	case <-l.work.Done():
		return context.Cause(l.work)
	}
	defer func() { <-l.slots }()
	ctx, cancel := context.WithTimeout(l.work, l.cfg.SignalTimeout)
	defer cancel()
	id := workflows.WorkflowID(video)
	run, err := l.signaller.SignalWithStartWorkflow(ctx, id, p.origin.signal, p.newest,
		client.StartWorkflowOptions{
			ID:                       id,
			TaskQueue:                workflows.TaskQueue,
			WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
			WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		},
		workflows.VideoWorkflow, workflows.VideoInput{VideoID: video.String()},
	)
	if err != nil {
		return fmt.Errorf("signal %s: %w", id, err)
	}
	l.counters.signals.Add(1)
	l.counters.accepted.Add(int64(len(p.receipts)))
	attrs := append(attrsOf(video, p.newest), "workflow_id", id, "signal", p.origin.signal, "merged", len(p.receipts)-1)
	if run != nil {
		attrs = append(attrs, "run_id", run.GetRunID())
	}
	l.log.Info("workflow signalled", attrs...)
	return nil
}

// holdBack waits until the video may be tried again, and reports whether it is to be. Nothing that Temporal refuses is
// the fault of a record, whatever the error says: what was decoded fits every limit of a signal.
func (l *lanes) holdBack(video contract.VideoID, refused contract.Reference, failures int, err error) bool {
	select {
	case <-l.draining:
		return false
	default:
	}
	l.counters.retries.Add(1)
	pause := backoff(l.cfg.RetryInitial, l.cfg.RetryMax, failures)
	l.loud.say(slog.LevelWarn, "Kafka message held back: Temporal does not take its signal", append(attrsOf(video, refused),
		"workflow_id", workflows.WorkflowID(video), "attempt", failures, "retry_in", pause, "error", err)...)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.draining:
		return false
	case <-l.work.Done():
		return false
	}
}

// rest leaves the workflow alone for the interval. At the end of the process only what still waits needs that.
func (l *lanes) rest(ln *lane) {
	timer := time.NewTimer(l.cfg.SignalInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return
	case <-l.work.Done():
		return
	case <-l.draining:
	}
	l.mu.Lock()
	empty := len(ln.waiting) == 0
	l.mu.Unlock()
	if empty {
		return
	}
	select {
	case <-timer.C:
	case <-l.work.Done():
	}
}

// abandon closes the lane without having sent what waits; it comes again, since its offsets are not committed.
func (l *lanes) abandon(ln *lane) {
	l.mu.Lock()
	left := ln.waiting
	ln.waiting = nil
	delete(l.open, ln.video)
	l.mu.Unlock()
	for _, p := range left {
		settle(p.receipts, abandoned)
	}
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
