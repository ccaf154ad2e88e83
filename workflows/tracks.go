package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/contract"
)

// transcribe is the track of the transcription: apply the result that came, ask when an ask is due, give up when no
// asks are left.
func (v *video) transcribe(ctx workflow.Context) {
	for v.await(ctx, &v.transcript, v.askDue) {
		switch {
		case v.transcript.pending != nil:
			v.storeTranscript(ctx)
		case v.plan.Asks < v.plan.AskLimit:
			v.ask(ctx)
		default:
			v.giveUp(ctx, contract.TranscriptionTrack, fmt.Sprintf(
				"No transcription came for any of %d asks. See that the transcription service runs, then retry.", v.plan.Asks))
		}
	}
}

// awaitCompression is the track of the compression: apply the result that came, say that it is overdue, give up a while
// later.
func (v *video) awaitCompression(ctx workflow.Context) {
	for v.await(ctx, &v.compression, v.compressionDue) {
		switch {
		case v.compression.pending != nil:
			v.setVideoURL(ctx)
		case v.plan.Compression == contract.Waiting:
			v.snapshotStep(ctx, StepMarkOverdue, "Show that the compression is overdue", MarkOverdueInput{VideoID: v.id})
		default:
			v.giveUp(ctx, contract.CompressionTrack, fmt.Sprintf(
				"The compressed video did not come in %s. See that the compression service runs; a late result is still applied.",
				brief(v.plan.Settings.OverdueAfter+v.plan.Settings.GiveUpAfter)))
		}
	}
}

// await waits for the track's next piece of work, a result or a deadline, and reports false when the run takes up no
// more.
func (v *video) await(ctx workflow.Context, b *inbox, due func() bool) bool {
	v.armTimer()
	err := workflow.Await(ctx, func() bool {
		return !v.leaving && !v.missing() && (b.pending != nil || (!v.stopping && due()))
	})
	return err == nil
}

func (v *video) askDue() bool {
	return v.plan.Transcription == contract.Waiting && v.reached(v.askDeadline())
}

// askDeadline is when the next ask, or giving up, is due. It counts from the recorded time of the last ask, so that a
// run that begins later does not wait longer.
func (v *video) askDeadline() time.Time {
	if v.plan.AskedAt == nil {
		return time.Time{}
	}
	return v.plan.AskedAt.Add(v.plan.Settings.AskAgainAfter)
}

func (v *video) compressionDue() bool {
	return v.plan.Compression.Open() && v.reached(v.compressionDeadline())
}

func (v *video) compressionDeadline() time.Time {
	deadline := v.plan.Settings.OverdueAfter
	if v.plan.Compression == contract.Overdue {
		deadline += v.plan.Settings.GiveUpAfter
	}
	if v.plan.CompressionSince == nil {
		return workflow.Now(v.steady).Add(deadline)
	}
	return v.plan.CompressionSince.Add(deadline)
}

func (v *video) reached(deadline time.Time) bool { return !workflow.Now(v.steady).Before(deadline) }

// armTimer sees to it that a timer fires at the next deadline of either track. One timer serves both and is never
// cancelled, since each timer and each cancellation costs events: one that fires too early finds nothing due, and the
// tracks go on waiting for the next.
func (v *video) armTimer() {
	var next time.Time
	var summary string
	earliest := func(deadline time.Time, what string) {
		if !v.reached(deadline) && (next.IsZero() || deadline.Before(next)) {
			next, summary = deadline, "At "+minute(deadline)+what
		}
	}
	switch {
	case v.plan.Transcription != contract.Waiting:
	case v.plan.Asks < v.plan.AskLimit:
		earliest(v.askDeadline(), fmt.Sprintf(": ask for the transcription again (%d of %d), unless it has come", v.plan.Asks+1, v.plan.AskLimit))
	default:
		earliest(v.askDeadline(), ": give the transcription up, unless it has come")
	}
	switch v.plan.Compression {
	case contract.Waiting:
		earliest(v.compressionDeadline(), ": the compression is overdue, unless it has come")
	case contract.Overdue:
		earliest(v.compressionDeadline(), ": give the compression up, unless it has come")
	}
	if next.IsZero() || (!v.reached(v.timer) && !next.Before(v.timer)) {
		return
	}
	v.timer = next
	fired := workflow.NewTimerWithOptions(v.steady, next.Sub(workflow.Now(v.steady)), workflow.TimerOptions{
		Summary: summary,
	})
	workflow.Go(v.steady, func(ctx workflow.Context) {
		_ = fired.Get(ctx, nil) // never cancelled
		if !v.askDue() && !v.compressionDue() {
			v.armTimer() // a track that has something due arms it when that is done
		}
	})
}

func (v *video) storeTranscript(ctx workflow.Context) {
	result := v.transcript.next()
	words := ""
	if t := result.Transcript; t != nil {
		words = fmt.Sprintf(" (%d words, %s)", t.Words, brief(time.Duration(t.Duration)*time.Second))
	}
	applied, ok := v.apply(ctx, StepStoreTranscript, "Store the transcript"+words, contract.TranscriptionTrack, result, &v.transcript)
	if ok && applied.Outcome == ResultGone && v.plan.Transcription == contract.Waiting {
		v.plan.AskedAt = nil // ask again at once
	}
}

func (v *video) setVideoURL(ctx workflow.Context) {
	result := v.compression.next()
	applied, ok := v.apply(ctx, StepSetVideoURL, "Set the URL of the compressed video", contract.CompressionTrack, result, &v.compression)
	if ok && applied.Outcome == ResultApplied {
		v.compressedURL = result.URL
		v.show()
	}
}

// apply runs the step that applies a result. One that fails for good gives the track up; one that is given up because
// the run leaves keeps the result for the successor.
func (v *video) apply(ctx workflow.Context, step, summary string, track contract.Track, result contract.Reference, b *inbox) (Applied, bool) {
	var applied Applied
	v.tell()
	err := v.step(ctx, step, summary, ApplyInput{VideoID: v.id, Result: result}, &applied, func() bool { return v.leaving })
	switch {
	case temporal.IsCanceledError(err):
		b.putBack()
		return Applied{}, false
	case err != nil:
		b.done(false)
		v.giveUp(ctx, track, "The result cannot be applied: "+sentence(reason(err))+" "+refused(track))
		return Applied{}, false
	}
	b.done(applied.Outcome == ResultApplied)
	v.take(applied.Snapshot)
	v.show()
	return applied, true
}

// refused says what to do about a result that can never be applied.
func refused(track contract.Track) string {
	if track == contract.CompressionTrack {
		return "Have the compression service send another."
	}
	return "When that is mended, retry."
}

// ask sends the next ask. While that is not possible, a result that comes all the same has precedence.
func (v *video) ask(ctx workflow.Context) {
	n := v.plan.Asks + 1
	var s Snapshot
	err := v.step(ctx, StepAsk, fmt.Sprintf("Ask for a transcription (%d of %d)", n, v.plan.AskLimit), AskInput{VideoID: v.id, N: n}, &s,
		func() bool { return v.leaving || v.stopping || v.transcript.pending != nil })
	switch {
	case temporal.IsCanceledError(err):
	case err != nil:
		v.giveUp(ctx, contract.TranscriptionTrack, "The transcription cannot be asked for: "+sentence(reason(err))+" When that is mended, retry.")
	default:
		v.take(s)
		v.show()
	}
}

func (v *video) giveUp(ctx workflow.Context, track contract.Track, why string) {
	if v.snapshotStep(ctx, StepGiveUp, "Give up the "+string(track), GiveUpInput{VideoID: v.id, Track: track, Asks: v.plan.Asks, Reason: why}) && v.givenUp(track) {
		v.gaveUp = append(v.gaveUp, GaveUp{Track: track, Reason: why})
		v.show()
	}
}

// snapshotStep runs a step that only writes state. It reports false when the run leaves before the step is done.
func (v *video) snapshotStep(ctx workflow.Context, step, summary string, in any) bool {
	var s Snapshot
	if err := v.step(ctx, step, summary, in, &s, func() bool { return v.leaving }); err != nil {
		return false
	}
	v.take(s)
	v.show()
	return true
}

// retry is the update by which a person asks for another transcription.
func (v *video) retry(ctx workflow.Context, in Retry) (Retried, error) {
	if err := workflow.Await(ctx, func() bool { return v.begun }); err != nil {
		return Retried{}, err
	}
	if v.missing() {
		return Retried{}, temporal.NewNonRetryableApplicationError("There is no such video.", ErrNoVideo, nil)
	}
	p := &v.plan
	switch {
	case in.Force:
	case p.Transcription == contract.Waiting && p.AskedAt == nil:
		return Retried{Ask: p.Asks + 1}, nil // an ask is about to be sent
	case p.Transcription == contract.Waiting:
		return Retried{}, nothingToRetry("The answer to ask %d of %d is still waited for, until %s.",
			p.Asks, p.AskLimit, v.askDeadline().UTC().Format(time.RFC3339))
	case p.Transcription == contract.Done:
		return Retried{}, nothingToRetry("The transcript is stored already.")
	}
	if !v.snapshotStep(ctx, StepReopen, "Retry the transcription", ReopenInput{VideoID: v.id, Asks: p.Asks}) {
		return Retried{}, temporal.NewApplicationError("The run is about to be continued by another; try again.", ErrBusy, nil)
	}
	if v.missing() {
		return Retried{}, temporal.NewNonRetryableApplicationError("There is no such video.", ErrNoVideo, nil)
	}
	return Retried{Ask: p.Asks + 1}, nil
}

// retryAtStart is a retry that came with the start of the run. A refusal ends nothing: the run does what is left to do.
func (v *video) retryAtStart(ctx workflow.Context, in Retry) {
	if _, err := v.retry(ctx, in); err != nil {
		v.refused = reason(err)
		v.show()
	}
}

func nothingToRetry(format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(
		fmt.Sprintf(format, args...)+` To ask again all the same, use "force".`, ErrNothingToRetry, nil)
}
