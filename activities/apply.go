package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/workflows"
)

const (
	// prepareTimeout is how much of a claim may pass before the upload begins: reading the record and decoding it.
	prepareTimeout = 15 * time.Second
	// mendPause is how long a try waits that somebody has to mend something for, such as a missing bucket.
	mendPause = time.Minute
)

// StoreTranscript stores a transcript in canonical form and sets its URL, unless something newer is applied. It is
// idempotent: the same result writes the same bytes to the same place. A claim sees to it that of several results, and
// of uploads that land after their client has gone, the newest is what stays; see postgres.Store.Claim for the rules.
//
// Storage that refuses the object for good, as one that is too large, is a final error; everything else is retried.
func (a *Activities) StoreTranscript(ctx context.Context, in workflows.ApplyInput) (workflows.Applied, error) {
	applied, err := a.storeTranscript(ctx, in)
	return a.tried(contract.TranscriptionTrack, in, applied, err)
}

func (a *Activities) storeTranscript(ctx context.Context, in workflows.ApplyInput) (workflows.Applied, error) {
	id, pos := in.VideoID, in.Result.Position
	refer(ctx, in.Result)
	// Before the claim, which would run out while this waits.
	size := min(max(int64(in.Result.Size), 1), a.cfg.InHandBytes)
	if err := a.inHand.Acquire(ctx, size); err != nil {
		return workflows.Applied{}, fmt.Errorf("wait until other transcripts are stored, since only so many fit into memory: %w", err)
	}
	defer a.inHand.Release(size)
	token, sendBy := uuid.New(), time.Now().Add(prepareTimeout)
	claim, err := a.Store.Claim(ctx, id, token, pos, prepareTimeout+a.cfg.UploadTimeout+a.cfg.LateUpload)
	if err != nil {
		return workflows.Applied{}, err
	}
	switch claim.Outcome {
	case postgres.Granted:
	case postgres.Busy:
		return workflows.Applied{}, temporal.NewApplicationErrorWithOptions(
			"another result of this video is being stored", "Busy", temporal.ApplicationErrorOptions{NextRetryDelay: claim.Wait})
	default:
		return a.settled(ctx, id, claim.Outcome)
	}

	body, summary, err := a.transcript(ctx, id, in.Result)
	if errors.Is(err, kafka.ErrGone) {
		a.release(ctx, token)
		a.log.WarnContext(ctx, "Kafka: a result is gone before it was stored", "video_id", id, "topic", in.Result.Topic,
			"partition", in.Result.Partition, "offset", in.Result.Offset, "error", err)
		applied, err2 := a.settled(ctx, id, postgres.Granted)
		applied.Outcome, applied.Reason = workflows.ResultGone, contract.Clip(gone(err), 300)
		return applied, err2
	}
	if err != nil {
		a.release(ctx, token)
		return workflows.Applied{}, a.failed(ctx, id, "The result could not be read yet; it is tried again.", err)
	}
	if time.Now().After(sendBy) {
		a.release(ctx, token)
		return workflows.Applied{}, errors.New("reading the record took too long for its claim; beginning anew")
	}
	if err := a.upload(ctx, id, body); err != nil {
		var refused *supabase.Error
		if errors.As(err, &refused) && !refused.InDoubt() {
			a.release(ctx, token)
		}
		return workflows.Applied{}, a.uploadFailed(ctx, id, err)
	}

	ok, p, err := a.Store.ApplyTranscript(ctx, token, id, pos, a.Transcripts.PublicURL(id.TranscriptPath()), summary)
	if err != nil {
		return workflows.Applied{}, err
	}
	if !ok {
		return workflows.Applied{}, errors.New("the claim ran out, or the video was deleted, before the transcript's URL was set; beginning anew")
	}
	if claim.First {
		a.captioned(p)
	}
	a.log.InfoContext(ctx, "transcript stored and its URL set", "video_id", id, "position", pos.String(), "bytes", len(body),
		"words", summary.Words, "language", summary.Language)
	return workflows.Applied{Snapshot: a.snapshot(p), Outcome: workflows.ResultApplied}, nil
}

// gone says why a record cannot be used, in words that Temporal keeps: none of them are the record's own.
func gone(err error) string {
	if p, ok := errors.AsType[*contract.PoisonError](err); ok {
		return kafka.ErrGone.Error() + ": it is no transcript (" + p.Class + ")"
	}
	return err.Error()
}

// refer has the span of the step, if there is one, refer to the span in which the result was taken from Kafka: services
// need not say which request a result answers, and then that is a trace of its own.
func refer(ctx context.Context, result contract.Reference) {
	if result.Traceparent != "" {
		trace.SpanFromContext(ctx).AddLink(trace.Link{SpanContext: tracing.Parse(result.Traceparent)})
	}
}

// transcript reads the record and brings it to canonical form. A record that is not a transcript of this video, although
// it has the hash, is gone as well: another ask may bring a better one.
func (a *Activities) transcript(ctx context.Context, id contract.VideoID, ref contract.Reference) ([]byte, contract.TranscriptSummary, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	value, err := a.Records.Read(ctx, ref)
	if err != nil {
		return nil, contract.TranscriptSummary{}, err
	}
	result, canonical, err := contract.DecodeToStore([]byte(id), value)
	if err != nil {
		return nil, contract.TranscriptSummary{}, fmt.Errorf("%w: %w", kafka.ErrGone, err)
	}
	if result.VideoID != id {
		return nil, contract.TranscriptSummary{}, fmt.Errorf("%w: it is a transcript of video %s", kafka.ErrGone, result.VideoID)
	}
	return canonical, result.Summary, nil
}

func (a *Activities) upload(ctx context.Context, id contract.VideoID, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.UploadTimeout)
	defer cancel()
	return a.Transcripts.Put(ctx, id.TranscriptPath(), body)
}

func (a *Activities) uploadFailed(ctx context.Context, id contract.VideoID, err error) error {
	var refused *supabase.Error
	if !errors.As(err, &refused) {
		return a.failed(ctx, id, "The transcript could not be stored yet; it is tried again.", err)
	}
	switch {
	case refused.Final():
		return temporal.NewNonRetryableApplicationError(refused.Error(), "RefusedByStorage", nil)
	case refused.Configuration():
		err = temporal.NewApplicationErrorWithOptions(refused.Error(), "StorageSetup", temporal.ApplicationErrorOptions{NextRetryDelay: mendPause})
	}
	return a.failed(ctx, id, "Storage does not take the transcript yet; it is tried again.", err)
}

// SetVideoURL sets the URL of the compressed video, unless something newer is applied. It is idempotent: one statement
// compares positions and writes.
func (a *Activities) SetVideoURL(ctx context.Context, in workflows.ApplyInput) (workflows.Applied, error) {
	applied, err := a.setVideoURL(ctx, in)
	return a.tried(contract.CompressionTrack, in, applied, err)
}

func (a *Activities) setVideoURL(ctx context.Context, in workflows.ApplyInput) (workflows.Applied, error) {
	id, pos := in.VideoID, in.Result.Position
	refer(ctx, in.Result)
	outcome, p, err := a.Store.ApplyCompression(ctx, id, pos, in.Result.URL)
	if err != nil {
		return workflows.Applied{}, err
	}
	if outcome == postgres.Gone {
		return a.settled(ctx, id, outcome)
	}
	a.log.InfoContext(ctx, "URL of the compressed video set", "video_id", id, "position", pos.String(), "outcome", string(outcome))
	return workflows.Applied{Snapshot: a.snapshot(p), Outcome: outcomes[outcome]}, nil
}

var outcomes = map[postgres.Outcome]workflows.Outcome{
	postgres.Applied:    workflows.ResultApplied,
	postgres.Superseded: workflows.ResultSuperseded,
	postgres.Gone:       workflows.VideoMissing,
}

// settled answers for a result that needs no effect.
func (a *Activities) settled(ctx context.Context, id contract.VideoID, outcome postgres.Outcome) (workflows.Applied, error) {
	l, err := a.Store.LoadPipeline(ctx, id)
	if err != nil {
		return workflows.Applied{}, err
	}
	return workflows.Applied{Snapshot: a.loaded(l), Outcome: outcomes[outcome]}, nil
}

// release gives a claim back whose upload was not sent or was refused for certain. If that fails it runs out.
func (a *Activities) release(ctx context.Context, token uuid.UUID) {
	ctx, cancel := aside(ctx)
	defer cancel()
	if err := a.Store.ReleaseClaim(ctx, token); err != nil {
		a.log.WarnContext(ctx, "claim not released: it runs out by itself", "error", err)
	}
}

// failed remembers for callers, in words for them, that the transcription meets trouble, and returns err. The other track
// has no trouble but the database's, which is where this is written.
func (a *Activities) failed(ctx context.Context, id contract.VideoID, message string, err error) error {
	ctx, cancel := aside(ctx)
	defer cancel()
	if err := a.Store.RecordError(ctx, id, contract.TranscriptionTrack, message); err != nil {
		a.log.WarnContext(ctx, "last error not recorded", "video_id", id, "error", err)
	}
	return err
}

// aside is a context for what should be done even though ctx has just ended.
func aside(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
}
