package starter

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

// newVideo is the body of a request to create a video. Members it does not know are ignored: old clients may send more.
type newVideo struct {
	_ struct{} `json:"-" additionalProperties:"true"`

	Title          string         `json:"title" minLength:"3" maxLength:"255" example:"Graphs, part 1" doc:"In characters, not bytes."`
	Description    string         `json:"description" minLength:"10" maxLength:"2000" example:"Paths, cycles and trees."`
	CameraVideoURL string         `json:"camera_video_url" format:"uri" example:"https://cdn.example.com/raw/graphs-1.mp4" doc:"The recording, http(s)."`
	Level          contract.Level `json:"level" enum:"beginner,intermediate,advanced"`
	ThumbnailURL   *string        `json:"thumbnail_url,omitempty" nullable:"true" format:"uri"`
	SnapshotURL    *string        `json:"snapshot_url,omitempty" nullable:"true" format:"uri"`
	EventURL       *string        `json:"event_url,omitempty" nullable:"true" format:"uri"`
	TranscriptURL  *string        `json:"transcript_url,omitempty" nullable:"true" format:"uri" doc:"A transcription is asked for all the same."`
	IsPublic       *bool          `json:"ispublic,omitempty" nullable:"true" default:"false"`
}

// Resolve checks what the schema cannot say. A wrong member is complained about once.
func (v *newVideo) Resolve(huma.Context) []error {
	errs := append(checkText("body.title", v.Title), checkText("body.description", v.Description)...)
	for _, u := range []struct {
		name    string
		address *string
	}{
		{"camera_video_url", &v.CameraVideoURL},
		{"thumbnail_url", v.ThumbnailURL},
		{"snapshot_url", v.SnapshotURL},
		{"event_url", v.EventURL},
		{"transcript_url", v.TranscriptURL},
	} {
		if u.address != nil {
			errs = append(errs, checkURL("body."+u.name, *u.address)...)
		}
	}
	return errs
}

type createInput struct {
	CourseID       courseIDParam `path:"courseId" doc:"The course, which must be your own."`
	IdempotencyKey string        `header:"Idempotency-Key" maxLength:"255" doc:"Any string of your own, new for each video: a repeat of the request with the same key within a day creates nothing and is answered the same. With another body it is refused."`
	Body           newVideo
}

type createOutput struct {
	Location string `header:"Location" doc:"Where the video's pipeline can be followed."`
	Replayed string `header:"Idempotency-Replayed" doc:"true when an earlier request with the same key created the video."`
	Body     VideoAnswer
}

// create commits the row, its pipeline and the intent to run in one transaction, and needs nothing but Postgres.
func (s *Starter) create(ctx context.Context, in *createInput) (*createOutput, error) {
	if !utf8.ValidString(in.IdempotencyKey) {
		return nil, invalid(FieldProblem{Location: "header." + headerIdempotencyKey, Message: "is not UTF-8"})
	}
	caller := callerOf(ctx)
	if err := s.ownCourse(ctx, caller, in.CourseID.id); err != nil {
		return nil, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("make the id of a video: %w", err)
	}
	hash, err := in.hash()
	if err != nil {
		return nil, fmt.Errorf("hash a request: %w", err)
	}
	b := in.Body
	created, err := s.store.CreateVideo(ctx, postgres.NewVideo{
		Video: contract.Video{
			ID: contract.VideoID(id.String()), CourseID: in.CourseID.id, Title: b.Title, Description: b.Description,
			CameraVideoURL: b.CameraVideoURL, ThumbnailURL: b.ThumbnailURL, SnapshotURL: b.SnapshotURL,
			EventURL: b.EventURL, TranscriptURL: b.TranscriptURL, Level: b.Level,
			IsPublic: b.IsPublic != nil && *b.IsPublic,
		},
		UserID: caller.UserID, IdempotencyKey: in.IdempotencyKey, BodyHash: hash,
	})
	switch {
	case errors.Is(err, postgres.ErrNoCourse): // it was deleted since we looked
		return nil, noCourse()
	case errors.Is(err, postgres.ErrKeyReused):
		return nil, problem(http.StatusUnprocessableEntity, "idempotency_key_reused",
			"This Idempotency-Key was used for another request.").
			field("header."+headerIdempotencyKey, "was used for another request")
	case err != nil:
		return nil, storeProblem(err)
	case created.Gone():
		return nil, problem(http.StatusGone, "video_deleted", "The video that this Idempotency-Key created was deleted since.")
	}
	s.relay.Wake()
	return s.created(ctx, created), nil
}

func (s *Starter) created(ctx context.Context, c postgres.Created) *createOutput {
	out := &createOutput{Location: pipelinePath(c.VideoID)}
	out.Body = VideoAnswer{Success: true, Message: "Video created. Its transcription is asked for.", Data: viewVideo(c.Loaded)}
	if c.Replayed {
		out.Replayed = "true"
		return out
	}
	s.metrics.created.Inc()
	s.log.LogAttrs(ctx, slog.LevelInfo, "video created", slog.String("video_id", c.VideoID.String()),
		slog.String("course_id", c.Video.CourseID), slog.String("user_id", callerOf(ctx).UserID),
		slog.String("request_id", requestID(ctx)))
	return out
}

// hash is of what the request asks for, so that white space, the order of members and members that are ignored do not
// make two requests different.
func (in *createInput) hash() ([]byte, error) {
	body, err := json.Marshal(struct {
		Course string
		Body   newVideo
	}{in.CourseID.id, in.Body})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return sum[:], nil
}
