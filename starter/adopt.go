package starter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/workflows"
)

const (
	// adoptPage is how many videos, finished or not, the database looks at in a statement.
	adoptPage = 2000
	// adoptAtOnce is how many videos are in hand at the same time.
	adoptAtOnce = 32
	// lookRate is how often a second Temporal is asked at most whether a video has an open run: a fraction of what a
	// frontend allows a namespace.
	lookRate = 200
	// adoptTimeout bounds one call of Temporal, and adoptTries how often it is made for a video while everything else
	// answers.
	adoptTimeout = 10 * time.Second
	adoptTries   = 3
)

// UnfinishedStore knows which videos are not finished.
type UnfinishedStore interface {
	Unfinished(ctx context.Context, q postgres.UnfinishedQuery, after contract.VideoID, limit int) (
		list []postgres.Unfinished, next contract.VideoID, err error)
	StillUnfinished(ctx context.Context, q postgres.UnfinishedQuery, id contract.VideoID) (*postgres.Unfinished, error)
}

// AdoptTemporal is what adopting needs of a Temporal client.
type AdoptTemporal interface {
	Temporal
	DescribeTaskQueue(ctx context.Context, queue string, kind enumspb.TaskQueueType) (*workflowservice.DescribeTaskQueueResponse, error)
}

// Adopter sees to it that unfinished videos have what they need to be finished: a run, and another ask where nobody was
// asked or nobody answered. It keeps nothing of its own, so that it may be stopped at any moment and started again: what
// is done is found done.
type Adopter struct {
	Store    UnfinishedStore
	Temporal AdoptTemporal
	// Query selects the videos.
	Query postgres.UnfinishedQuery
	// Most is how many videos to adopt at most, those left out that need nothing; 0: all.
	Most int
	// Rate is how many runs are started or asked to retry a second; 0: as many as it takes.
	Rate float64
	// DryRun finds out what would be done, and does none of it.
	DryRun bool
	// HideTitles keeps the titles of videos from Temporal.
	HideTitles bool
	// Waits is told of what is away, each time before it is tried again. It may be called by several at once.
	Waits func(err error, again time.Duration)
}

// Adoption is what became of a video.
type Adoption struct {
	postgres.Unfinished
	Outcome AdoptOutcome
	// Ask is the number of the ask that it led to; 0 when it led to none.
	Ask int
	// Err says why it failed.
	Err error
}

// AdoptOutcome is what became of a video.
type AdoptOutcome string

// The outcomes. In a dry run they say what would become of it.
const (
	// RunStarted: it had no open run, and has one now.
	RunStarted AdoptOutcome = "started"
	// AskedAgain: its transcription is asked for.
	AskedAgain AdoptOutcome = "asked"
	// RunOpen: it has an open run, which was left alone.
	RunOpen AdoptOutcome = "open"
	// NothingToDo: it was finished or deleted meanwhile, or somebody else was faster.
	NothingToDo AdoptOutcome = "nothing"
	// AdoptFailed: nothing was done for it, Err says why. The others go on.
	AdoptFailed AdoptOutcome = "failed"
)

// Count counts the selected videos, by what they lack.
func (a *Adopter) Count(ctx context.Context) (map[postgres.Lack]int, error) {
	counts := make(map[postgres.Lack]int)
	err := a.each(ctx, func(u postgres.Unfinished) { counts[u.Lack]++ })
	return counts, err
}

// errEnough ends a run that has adopted as many videos as it was to.
var errEnough = errors.New("enough")

// Run adopts the videos and hands each outcome to report, one after the other. What is away it waits for. It ends with an
// error when ctx does, after what it has in hand, and when waiting will not help.
func (a *Adopter) Run(ctx context.Context, report func(Adoption)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	inHand, abandon := lingering(ctx, adoptTimeout)
	defer abandon()
	w := &adopting{Adopter: a, inHand: inHand, looks: rate.NewLimiter(lookRate, 1), acts: rate.NewLimiter(rate.Inf, 1)}
	if a.Rate > 0 {
		w.acts.SetLimit(rate.Limit(a.Rate))
	}
	var group errgroup.Group
	group.SetLimit(adoptAtOnce)
	var reporting sync.Mutex
	err := a.each(ctx, func(u postgres.Unfinished) {
		group.Go(func() error {
			became, err := w.adopt(ctx, u)
			if err != nil {
				stop(err)
				return nil
			}
			reporting.Lock()
			defer reporting.Unlock()
			report(became)
			return nil
		})
	})
	_ = group.Wait() // each stops the rest by itself
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// each hands on the selected videos, page by page, until ctx ends.
func (a *Adopter) each(ctx context.Context, next func(postgres.Unfinished)) error {
	var after contract.VideoID
	for pause := firstPause; ; {
		list, goOn, err := a.Store.Unfinished(ctx, a.Query, after, adoptPage)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && hopeless(err):
			return err
		case err != nil:
			if err := a.wait(ctx, err, &pause); err != nil {
				return err
			}
			continue
		}
		pause = firstPause
		for _, u := range list {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			next(u)
		}
		if goOn == "" {
			return nil
		}
		after = goOn
	}
}

// wait waits before something that is away is tried again, longer each time.
func (a *Adopter) wait(ctx context.Context, err error, pause *time.Duration) error {
	d := jitter(*pause)
	*pause = min(2**pause, longestPause)
	a.Waits(err, d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// adopting is one run of an Adopter.
type adopting struct {
	*Adopter
	inHand      context.Context // outlives the run by as long as one call may take
	looks, acts *rate.Limiter
	acted       atomic.Int64
}

// adopt adopts a video, in as many tries as it takes while something is away. An error ends the whole run.
func (w *adopting) adopt(ctx context.Context, u postgres.Unfinished) (Adoption, error) {
	began := time.Now()
	tries := 0
	for pause := firstPause; ; {
		became, err := w.once(ctx, u)
		switch {
		case err == nil:
			return became, nil
		case ctx.Err() != nil:
			return Adoption{}, context.Cause(ctx)
		case errors.Is(err, errEnough), hopeless(err):
			return Adoption{}, err
		}
		away := w.away(err, began)
		if away == nil {
			if tries++; tries == adoptTries {
				return Adoption{Unfinished: u, Outcome: AdoptFailed, Err: err}, nil
			}
		} else {
			err = away
		}
		if err := w.wait(ctx, err, &pause); err != nil {
			return Adoption{}, err
		}
	}
}

// once makes one try. It looks at the video again, which may have been listed a while ago.
func (w *adopting) once(ctx context.Context, u postgres.Unfinished) (Adoption, error) {
	still, err := w.Store.StillUnfinished(w.inHand, w.Query, u.Video.ID)
	if err != nil {
		return Adoption{}, &storeError{err}
	}
	if still == nil {
		return Adoption{Unfinished: u, Outcome: NothingToDo}, nil
	}
	became := Adoption{Unfinished: *still}
	switch still.Lack {
	case postgres.LackFailed, postgres.LackUntracked:
		became.Outcome, became.Ask, err = w.ask(ctx, *still)
	default:
		became.Outcome, err = w.start(ctx, *still)
	}
	return became, err
}

// start starts the run of a video that has none open.
func (w *adopting) start(ctx context.Context, u postgres.Unfinished) (AdoptOutcome, error) {
	if err := w.looks.Wait(ctx); err != nil {
		return "", err
	}
	open, err := w.hasOpenRun(u.Video.ID)
	if err != nil || open {
		return RunOpen, err
	}
	return RunStarted, w.act(ctx, func(ctx context.Context) error {
		_, err := w.Temporal.ExecuteWorkflow(ctx, startOptions(u.Video, w.HideTitles), workflows.VideoWorkflow, workflows.VideoInput{VideoID: u.Video.ID.String()})
		return err
	})
}

func (w *adopting) hasOpenRun(id contract.VideoID) (bool, error) {
	open := false
	err := w.call(func(ctx context.Context) error {
		d, err := w.Temporal.DescribeWorkflow(ctx, workflows.WorkflowID(id), "")
		if err == nil {
			open = d.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING || d.Status == enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED
		}
		return err
	})
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return false, nil
	}
	return open, err
}

// ask has the video's run ask for a transcription again, as a retry does: in the run that is open, if there is one.
func (w *adopting) ask(ctx context.Context, u postgres.Unfinished) (outcome AdoptOutcome, ask int, err error) {
	err = w.act(ctx, func(ctx context.Context) error {
		// The same for each try after as many asks, also of an adopter that was killed.
		updateID := fmt.Sprintf("adopt-after-%d", u.Asks)
		retried, err := sendRetry(ctx, w.Temporal, startOptions(u.Video, w.HideTitles), u.Video.ID, workflows.Retry{}, updateID)
		ask = retried.Ask
		return err
	})
	var refused *temporal.ApplicationError
	if errors.As(err, &refused) && (refused.Type() == workflows.ErrNothingToRetry || refused.Type() == workflows.ErrNoVideo) {
		return NothingToDo, 0, nil
	}
	if w.DryRun {
		ask = u.Asks + 1
	}
	return AskedAgain, ask, err
}

// act does something to a video when its turn has come, unless this is a dry run.
func (w *adopting) act(ctx context.Context, do func(context.Context) error) error {
	if n := w.acted.Add(1); w.Most > 0 && n > int64(w.Most) {
		return errEnough
	}
	if w.DryRun {
		return nil
	}
	err := w.acts.Wait(ctx)
	if err == nil {
		err = w.call(do)
	}
	if err != nil {
		w.acted.Add(-1)
	}
	return err
}

// call makes one call of Temporal.
func (w *adopting) call(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(w.inHand, adoptTimeout)
	defer cancel()
	err := do(ctx)
	var (
		late   *serviceerror.DeadlineExceeded
		update *client.WorkflowUpdateServiceTimeoutOrCanceledError
	)
	// The server and the SDK keep the time too, and are now and then the first to say that it has run out.
	if err != nil && (ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) || errors.As(err, &update)) {
		return &lateError{err}
	}
	return err
}

// away says what is away, and will be waited for; nil when something is wrong with the one video.
func (w *adopting) away(err error, began time.Time) error {
	var (
		store       *storeError
		unavailable *serviceerror.Unavailable
		exhausted   *serviceerror.ResourceExhausted
		late        *lateError
	)
	switch {
	case errors.As(err, &store):
		return &awayError{"Postgres", err}
	case errors.As(err, &exhausted) && (exhausted.Cause == enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW ||
		exhausted.Cause == enumspb.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT):
		return nil // a limit of this one run
	case errors.As(err, &unavailable), errors.As(err, &exhausted):
		return &awayError{"Temporal", err}
	case errors.As(err, &late):
		return w.whoIsLate(err, began)
	default:
		return nil
	}
}

// whoIsLate finds out whom a call waited for: Temporal, a worker, or this one run, which answers nil.
func (w *adopting) whoIsLate(err error, began time.Time) error {
	var queue *workflowservice.DescribeTaskQueueResponse
	asked := w.call(func(ctx context.Context) (err error) {
		queue, err = w.Temporal.DescribeTaskQueue(ctx, workflows.TaskQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
		return err
	})
	if asked != nil {
		return &awayError{"Temporal", asked}
	}
	for _, p := range queue.GetPollers() {
		if p.GetLastAccessTime().AsTime().After(began) {
			return nil
		}
	}
	return fmt.Errorf("no worker polls the task queue %s: %w", workflows.TaskQueue, err)
}

// hopeless reports whether waiting will not help.
func hopeless(err error) bool {
	var (
		setup     *postgres.SetupError
		namespace *serviceerror.NamespaceNotFound
		denied    *serviceerror.PermissionDenied
	)
	return errors.As(err, &setup) || errors.Is(err, postgres.ErrNoCourse) || errors.As(err, &namespace) || errors.As(err, &denied) ||
		status.Code(err) == codes.Unauthenticated
}

// storeError is one of the database.
type storeError struct{ error }

func (e *storeError) Unwrap() error { return e.error }

// awayError says who is away.
type awayError struct {
	who string
	err error
}

func (e *awayError) Error() string { return e.who + ": " + e.err.Error() }
func (e *awayError) Unwrap() error { return e.err }

// lateError is that of a call whose time ran out.
type lateError struct{ error }

func (e *lateError) Unwrap() error { return e.error }
