package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/workflows"
)

// firstAskTimeout bounds the ask that is part of Begin: below the 5 s of a local activity, so that a broker that is away
// does not keep a run from its plan.
const firstAskTimeout = 2 * time.Second

// Begin loads what a run starts from and, if wanted and due, sends the next ask. It is idempotent as AskForTranscription
// is. That the ask failed is no error: it is still due then, and the workflow takes care of it.
func (a *Activities) Begin(ctx context.Context, in workflows.BeginInput) (workflows.Plan, error) {
	l, err := a.Store.LoadPipeline(ctx, in.VideoID)
	if err != nil {
		return workflows.Plan{}, err
	}
	plan := workflows.Plan{Snapshot: a.loaded(l), Settings: a.cfg.Settings}
	if plan.Missing != workflows.Unknown {
		plan.Settings.UnknownGrace = 0 // every run keeps its plan: what it has no use for is not in it
	}
	if plan.Missing != "" {
		a.cfg.Observer.VideoMissing(plan.Missing)
		return plan, nil
	}
	if !a.cfg.HideTitles {
		plan.Title = workflows.Line(l.Video.Title, workflows.MaxTitleBytes)
	}
	plan.CourseID = l.Video.CourseID
	plan.TranscriptURL = a.Transcripts.PublicURL(in.VideoID.TranscriptPath())
	plan.TranscriptPosition, plan.CompressionPosition = l.Pipeline.Transcription.Position, l.Pipeline.Compression.Position
	if !in.Ask || plan.Transcription != contract.Waiting || plan.AskedAt != nil || plan.Asks >= plan.AskLimit {
		return plan, nil
	}
	ctx, cancel := context.WithTimeout(ctx, firstAskTimeout)
	defer cancel()
	asked, err := a.ask(ctx, l, plan.Asks+1)
	if err != nil {
		a.log.WarnContext(ctx, "Kafka: transcription not asked for yet", "video_id", in.VideoID, "ask", plan.Asks+1, "error", err)
		return plan, nil
	}
	plan.Snapshot = asked
	return plan, nil
}

// AskForTranscription publishes ask n and records it. It is idempotent: an ask that is recorded is not sent again, and
// one that was published and not recorded is sent again with the same key and the same bytes.
func (a *Activities) AskForTranscription(ctx context.Context, in workflows.AskInput) (workflows.Snapshot, error) {
	l, err := a.Store.LoadPipeline(ctx, in.VideoID)
	if err != nil {
		return workflows.Snapshot{}, err
	}
	now := a.loaded(l)
	if now.Missing != "" || now.Asks >= in.N || now.Transcription != contract.Waiting {
		return now, nil
	}
	now, err = a.ask(ctx, l, in.N)
	if err != nil {
		return workflows.Snapshot{}, a.failed(ctx, in.VideoID, "The transcription could not be asked for yet; it is tried again.", err)
	}
	return now, nil
}

func (a *Activities) ask(ctx context.Context, l postgres.Loaded, n int) (workflows.Snapshot, error) {
	v := l.Video
	request, err := json.Marshal(contract.NewRequest(v.ID, v.CameraVideoURL, contract.RequestMetadata{
		Title: v.Title, CourseID: v.CourseID, UserID: l.Pipeline.UserID,
	}))
	if err != nil {
		return workflows.Snapshot{}, fmt.Errorf("encode the request for a transcription of video %s: %w", v.ID, err)
	}
	request, err = a.Store.PrepareAsk(ctx, v.ID, n, request)
	if errors.Is(err, postgres.ErrStale) {
		// Somebody else was faster, or the video has just been deleted.
		l, err := a.Store.LoadPipeline(ctx, v.ID)
		return a.loaded(l), err
	}
	if err != nil {
		return workflows.Snapshot{}, err
	}
	ask := contract.Ask{Video: v.ID, N: n}
	if _, _, err := a.Requests.Publish(ctx, a.cfg.RequestTopic, []byte(v.ID), request,
		header(contract.HeaderContentType, contract.ContentTypeJSON),
		header(contract.HeaderTimestamp, strconv.FormatInt(time.Now().UnixMilli(), 10)),
		header(contract.HeaderIdempotencyKey, ask.Key()),
		header(contract.HeaderTraceparent, ask.Traceparent()),
	); err != nil {
		return workflows.Snapshot{}, fmt.Errorf("ask for a transcription of video %s: %w", v.ID, err)
	}
	p, err := a.Store.RecordAsk(ctx, v.ID, n)
	if err != nil {
		return workflows.Snapshot{}, err
	}
	a.log.InfoContext(ctx, "transcription asked for", "video_id", v.ID, "ask", n)
	return a.snapshot(p), nil
}

func header(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }
