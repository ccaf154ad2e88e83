package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Video sees one video through the pipeline: it asks for a transcription, waits for the results of transcription and
// compression, and has them applied. It completes when both tracks are done, or when there is nothing left to do, and
// fails with a typed error when it gave a track up and no late result or retry came before the other track was settled.
//
// Whoever starts it, and however often, it does what is left to do and repeats no effect.
func Video(ctx workflow.Context, in VideoInput) (VideoResult, error) {
	v, err := newVideo(ctx, in)
	if err != nil {
		return VideoResult{}, err
	}
	if err := v.begin(ctx); err != nil {
		return VideoResult{}, err
	}
	if in.Retry != nil {
		v.retryAtStart(ctx, *in.Retry)
	}
	workflow.Go(v.steady, v.transcribe)
	workflow.Go(v.steady, v.awaitCompression)
	return v.untilSettled(ctx)
}

// VideoResult is what a run came to.
type VideoResult struct {
	// Missing is set when the video turned out to be deleted or unknown.
	Missing       Missing             `json:"missing,omitempty"`
	Transcription contract.TrackState `json:"transcription,omitempty"`
	Compression   contract.TrackState `json:"compression,omitempty"`
	// NotRetried says why a run that was started with a retry did not ask again.
	NotRetried string `json:"notRetried,omitempty"`
}

// video is one run. Its coroutines are the two tracks, a receiver for each signal, and the main one, which decides when
// the run ends.
type video struct {
	id contract.VideoID
	// steady is the run's context without its cancellation: what is in hand is finished before a cancelled run ends.
	steady workflow.Context

	plan Plan
	// begun is set once the plan is loaded.
	begun bool
	// leaving is set once a successor is to go on: the run takes up no more work. stopping is set once the run was
	// cancelled: it applies the results it has, and asks for nothing more.
	leaving, stopping bool
	// steps counts those in progress.
	steps int
	// timer is when the latest armed timer fires.
	timer time.Time

	transcripts, compressions workflow.ReceiveChannel
	transcript, compression   inbox
	gaveUp                    []GaveUp

	// What people are shown beside the plan: the search attributes as they are set, the steps that are being tried again,
	// when an unknown video is looked for again, why a retry was refused, and the URL of the compression of this run.
	shown         attributes
	trouble       []*Trouble
	lookAgain     time.Time
	refused       string
	compressedURL string
}

func newVideo(ctx workflow.Context, in VideoInput) (*video, error) {
	id, err := contract.ParseVideoID(in.VideoID)
	if err != nil {
		return nil, temporal.NewNonRetryableApplicationError(
			err.Error()+`; start the run with {"videoId": "…"}`, ErrInvalidInput, nil)
	}
	if got, want := workflow.GetInfo(ctx).WorkflowExecution.ID, WorkflowID(id); got != want {
		return nil, temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("the run of video %s has the workflow id %q; start it as %q", id, contract.Clip(got, 100), want), ErrInvalidInput, nil)
	}
	v := &video{id: id}
	v.steady, _ = workflow.NewDisconnectedContext(ctx)
	v.tell()
	if in.Carried != nil {
		v.transcript.pending, v.compression.pending, v.gaveUp = in.Carried.Transcript, in.Carried.Compression, in.Carried.GaveUp
	}
	v.transcripts = workflow.GetSignalChannelWithOptions(ctx, SignalTranscribed, workflow.SignalChannelOptions{
		Description: "A transcription result arrived: where its record can be read. Sent by the Kafka bridge.",
	})
	v.compressions = workflow.GetSignalChannelWithOptions(ctx, SignalCompressed, workflow.SignalChannelOptions{
		Description: "A compression result arrived: the address of the compressed video. Sent by the Kafka bridge.",
	})
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryState, func() (State, error) { return v.state(), nil }, workflow.QueryHandlerOptions{
		Description: "Both tracks as the run sees them; the database is what counts.",
	}); err != nil {
		return nil, err
	}
	return v, workflow.SetUpdateHandlerWithOptions(ctx, UpdateRetry, v.retry, workflow.UpdateHandlerOptions{
		Description: `Ask for another transcription. {"force": true} asks also when one is stored or still waited for.`,
	})
}

// begin loads the plan, which includes the first ask when no result is in hand yet, and waits a while for the row of a
// video that is unknown. After it, the run is ready to take up work or knows that there is none.
func (v *video) begin(ctx workflow.Context) error {
	v.drain()
	for waited := false; ; waited = true {
		var plan Plan
		err := v.step(v.steady, StepBegin, "Load the plan, ask for a transcription", BeginInput{VideoID: v.id, Ask: v.transcript.pending == nil}, &plan, nil)
		if err != nil {
			return err
		}
		v.plan, v.lookAgain = plan, time.Time{}
		v.transcript.applied, v.compression.applied = v.plan.TranscriptPosition, v.plan.CompressionPosition
		v.begun = true
		if v.plan.Missing != Unknown || waited {
			break
		}
		v.lookAgain = workflow.Now(ctx).Add(v.plan.Settings.UnknownGrace)
		v.show()
		err = workflow.NewTimerWithOptions(ctx, v.plan.Settings.UnknownGrace, workflow.TimerOptions{
			Summary: "No such video yet. At " + minute(v.lookAgain) + ": look once more, then end",
		}).Get(ctx, nil)
		if err != nil && !temporal.IsCanceledError(err) {
			return err
		}
		v.drain()
	}
	v.show()
	workflow.Go(v.steady, func(ctx workflow.Context) { receive(ctx, v.transcripts, &v.transcript) })
	workflow.Go(v.steady, func(ctx workflow.Context) { receive(ctx, v.compressions, &v.compression) })
	return nil
}

// untilSettled waits until nothing is left to do, or until the history has grown so long that a successor must go on.
// Nothing that was taken from a signal is left behind: it is applied, or handed to the successor.
func (v *video) untilSettled(ctx workflow.Context) (VideoResult, error) {
	settled := func() bool { return v.quiet() && (v.missing() || v.settled()) }
	var cancelled bool
	for {
		err := workflow.Await(ctx, func() bool { return settled() || workflow.GetInfo(ctx).GetContinueAsNewSuggested() })
		if cancelled = err != nil; cancelled {
			// Asked to stop, by a person or because the video was deleted: finish what is in hand.
			v.stopping = true
			v.show()
			if err := workflow.Await(v.steady, v.quiet); err != nil {
				return VideoResult{}, err
			}
		} else if !settled() {
			v.leaving = true
			if err := workflow.Await(v.steady, func() bool { return v.steps == 0 && workflow.AllHandlersFinished(v.steady) }); err != nil {
				return VideoResult{}, err
			}
			v.drain()
			return VideoResult{}, workflow.NewContinueAsNewError(ctx, VideoWorkflow, VideoInput{VideoID: string(v.id), Carried: v.carried()})
		}
		if v.missing() || !v.drain() {
			break
		}
	}
	if cancelled {
		return v.stopped(ctx)
	}
	v.show()
	return v.result()
}

// stopped ends a cancelled run: as completed when the video turns out to be deleted, which is how a deletion stops it.
func (v *video) stopped(ctx workflow.Context) (VideoResult, error) {
	if !v.missing() {
		var plan Plan
		if err := v.step(v.steady, StepBegin, "Look whether the video was deleted", BeginInput{VideoID: v.id}, &plan, nil); err != nil {
			return VideoResult{}, err
		}
		v.take(plan.Snapshot)
	}
	v.show()
	if v.missing() {
		return v.result()
	}
	return VideoResult{}, ctx.Err()
}

func (v *video) result() (VideoResult, error) {
	var reasons []string
	kind := ErrCompressionGivenUp
	for _, g := range v.gaveUp {
		if v.missing() || !v.givenUp(g.Track) {
			continue // deleted, or answered after all
		}
		reasons = append(reasons, g.Reason)
		if g.Track == contract.TranscriptionTrack {
			kind = ErrTranscriptionGivenUp
		}
	}
	if len(reasons) > 0 {
		return VideoResult{}, temporal.NewNonRetryableApplicationError(strings.Join(reasons, " "), kind, nil, v.state())
	}
	return VideoResult{Missing: v.plan.Missing, Transcription: v.plan.Transcription, Compression: v.plan.Compression, NotRetried: v.refused}, nil
}

// givenUp reports whether the track is still given up: a late result may have come since.
func (v *video) givenUp(t contract.Track) bool {
	if t == contract.CompressionTrack {
		return v.plan.Compression == contract.GivenUp
	}
	return v.plan.Transcription == contract.GivenUp
}

// quiet reports whether nothing is in hand; results for a video that is not there are not.
func (v *video) quiet() bool {
	wanted := v.transcript.wanted() || v.compression.wanted()
	return v.steps == 0 && (v.missing() || !wanted) && workflow.AllHandlersFinished(v.steady)
}

func (v *video) missing() bool { return v.plan.Missing != "" }

func (v *video) settled() bool { return !v.plan.Transcription.Open() && !v.plan.Compression.Open() }

func (v *video) carried() *Carried {
	return &Carried{Transcript: v.transcript.pending, Compression: v.compression.pending, GaveUp: v.gaveUp}
}

// take adopts what a step says the database says. Steps of the two tracks and of a retry run side by side, so one that
// ends later may have looked earlier.
func (v *video) take(s Snapshot) {
	if s.Missing != "" || s.Revision >= v.plan.Revision {
		v.plan.Snapshot = s
	}
}
