package activities

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// Observer is told what happens, for metrics. Its methods are called concurrently and must not block.
type Observer interface {
	// VideoMissing: a run looked for its video and found none.
	VideoMissing(workflows.Missing)
	// ResultTried: a step tried to apply a result.
	ResultTried(Try)
	// Captioned: a video that was asked for got its first transcript, so long after the first ask.
	Captioned(after time.Duration)
}

// Try is one attempt to apply a result.
type Try struct {
	Track   contract.Track
	VideoID contract.VideoID
	// RecordTime is when the result was written, as of contract.Position.
	RecordTime time.Time
	// Outcome is what became of it; empty when the attempt failed.
	Outcome workflows.Outcome
	// Refused says that it failed for good, so that no other attempt is made.
	Refused bool
}

// tried tells the observer of an attempt that has ended, and passes its answer on.
func (a *Activities) tried(track contract.Track, in workflows.ApplyInput, out workflows.Applied, err error) (workflows.Applied, error) {
	try := Try{Track: track, VideoID: in.VideoID, RecordTime: in.Result.Position.Time}
	var final *temporal.ApplicationError
	switch {
	case err == nil:
		try.Outcome = out.Outcome
	case errors.As(err, &final):
		try.Refused = final.NonRetryable()
	}
	a.cfg.Observer.ResultTried(try)
	return out, err
}

// captioned tells the observer of the first transcript of a video. Only the time of the last ask is kept: a video that was
// asked for more than once counts from when it was taken up here, which is when it is first asked for unless Kafka is away.
func (a *Activities) captioned(p contract.Pipeline) {
	since := p.CreatedAt
	switch t := p.Transcription; {
	case t.DoneAt == nil || t.Asks == 0:
		return
	case t.Asks == 1 && t.AskedAt != nil:
		since = *t.AskedAt
	}
	a.cfg.Observer.Captioned(p.Transcription.DoneAt.Sub(since))
}

type nobody struct{}

func (nobody) VideoMissing(workflows.Missing) {}
func (nobody) ResultTried(Try)                {}
func (nobody) Captioned(time.Duration)        {}
