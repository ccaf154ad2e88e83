package starter

import (
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

// VideoAnswer is the body of a success that is about one video.
type VideoAnswer struct {
	Success bool      `json:"success" doc:"Always true."`
	Message string    `json:"message,omitempty"`
	Data    VideoView `json:"data"`
}

// CourseAnswer is a page of a course's videos.
type CourseAnswer struct {
	Success    bool        `json:"success" doc:"Always true."`
	Data       []VideoView `json:"data" nullable:"false"`
	NextCursor *string     `json:"next_cursor" doc:"For the next page; null on the last."`
}

// VideoView is a video as callers see it: the columns of its row under their own names, and its pipeline.
type VideoView struct {
	ID             string         `json:"id" format:"uuid"`
	CourseID       string         `json:"course_id" format:"uuid"`
	Title          string         `json:"title"`
	Description    string         `json:"description"`
	CameraVideoURL string         `json:"camera_video_url" format:"uri"`
	ThumbnailURL   *string        `json:"thumbnail_url"`
	SnapshotURL    *string        `json:"snapshot_url"`
	EventURL       *string        `json:"event_url"`
	TranscriptURL  *string        `json:"transcript_url" doc:"Where the stored transcript can be read."`
	Level          contract.Level `json:"level" enum:"beginner,intermediate,advanced"`
	IsPublic       bool           `json:"ispublic"`
	CreatedAt      time.Time      `json:"created_at"`
	Pipeline       PipelineView   `json:"pipeline"`
}

// PipelineView is how far a video is.
type PipelineView struct {
	State         postgres.State    `json:"state" enum:"failed,overdue,working,done,untracked" doc:"Both tracks together; the first that fits: a track was given up, the compression is overdue, a result is waited for, all there is to wait for came, created elsewhere and nothing came yet."`
	Revision      int64             `json:"revision" doc:"Grows with every change."`
	UpdatedAt     *time.Time        `json:"updated_at" doc:"When anything last changed; null for a video that was created elsewhere and that no result has come for."`
	Transcription TranscriptionView `json:"transcription"`
	Compression   CompressionView   `json:"compression"`
	DeadLetters   DeadLettersView   `json:"dead_letters" doc:"Results that came for the video and could not be understood."`
}

// TranscriptionView is the track that asks for a transcript and stores it.
type TranscriptionView struct {
	State       contract.TrackState `json:"state" enum:"untracked,waiting,done,given_up"`
	Asks        int                 `json:"asks" doc:"How often a transcription was asked for."`
	AskedAt     *time.Time          `json:"asked_at" doc:"When it last was; null while an ask is due."`
	DoneAt      *time.Time          `json:"done_at"`
	Language    string              `json:"language,omitempty"`
	Duration    *float64            `json:"duration,omitempty" doc:"Of the speech, in seconds."`
	Words       *int                `json:"words,omitempty" doc:"Their number."`
	LastError   *string             `json:"last_error" doc:"What last went wrong; null when the last step succeeded."`
	LastErrorAt *time.Time          `json:"last_error_at"`
}

// CompressionView is the track that waits for the address of the compressed video.
type CompressionView struct {
	State       contract.TrackState `json:"state" enum:"untracked,waiting,overdue,done,given_up"`
	Since       *time.Time          `json:"since" doc:"When the waiting began."`
	DoneAt      *time.Time          `json:"done_at"`
	LastError   *string             `json:"last_error"`
	LastErrorAt *time.Time          `json:"last_error_at"`
}

// DeadLettersView says that results came which could not be understood.
type DeadLettersView struct {
	Count  int                   `json:"count" doc:"How many, of the last 90 days; 1000 stands for more too."`
	Open   int                   `json:"open" doc:"How many of them were neither sent back to be tried again nor overtaken by a result that was applied."`
	Latest *LatestDeadLetterView `json:"latest" doc:"The last one; null when there is none."`
}

// LatestDeadLetterView is the last result that could not be understood.
type LatestDeadLetterView struct {
	Track  contract.Track `json:"track" enum:"transcription,compression"`
	Class  string         `json:"class" doc:"no_value, no_key, video_id, json, schema, numbers, bounds or url."`
	Reason string         `json:"reason" doc:"A sentence."`
	At     time.Time      `json:"at" doc:"When it was found out."`
}

// viewVideo shows a video whose row is there.
func viewVideo(l postgres.Loaded) VideoView {
	v := l.Video
	return VideoView{
		ID: v.ID.String(), CourseID: v.CourseID, Title: v.Title, Description: v.Description,
		CameraVideoURL: v.CameraVideoURL, ThumbnailURL: v.ThumbnailURL, SnapshotURL: v.SnapshotURL,
		EventURL: v.EventURL, TranscriptURL: v.TranscriptURL, Level: v.Level, IsPublic: v.IsPublic,
		CreatedAt: v.CreatedAt.UTC(), Pipeline: viewPipeline(l),
	}
}

// viewPipeline shows a video that was created elsewhere and of which nothing is known as untracked.
func viewPipeline(l postgres.Loaded) PipelineView {
	p := l.Pipeline
	if p == nil {
		return PipelineView{
			State:         postgres.StateOf(nil),
			Transcription: TranscriptionView{State: contract.Untracked},
			Compression:   CompressionView{State: contract.Untracked},
			DeadLetters:   viewDeadLetters(l.DeadLetters),
		}
	}
	view := PipelineView{
		State: postgres.StateOf(p), Revision: p.Revision, UpdatedAt: utc(&p.UpdatedAt),
		Transcription: TranscriptionView{
			State: p.Transcription.State, Asks: p.Transcription.Asks, AskedAt: utc(p.Transcription.AskedAt),
			DoneAt: utc(p.Transcription.DoneAt), LastError: p.Transcription.LastError,
			LastErrorAt: utc(p.Transcription.LastErrorAt),
		},
		Compression: CompressionView{
			State: p.Compression.State, Since: utc(&p.Compression.Since), DoneAt: utc(p.Compression.DoneAt),
			LastError: p.Compression.LastError, LastErrorAt: utc(p.Compression.LastErrorAt),
		},
		DeadLetters: viewDeadLetters(l.DeadLetters),
	}
	if s := p.Transcription.Summary; s != nil {
		view.Transcription.Language, view.Transcription.Duration, view.Transcription.Words = s.Language, &s.Duration, &s.Words
	}
	return view
}

func viewDeadLetters(d postgres.DeadLetters) DeadLettersView {
	view := DeadLettersView{Count: d.Count, Open: d.Open}
	if l := d.Latest; l != nil {
		view.Latest = &LatestDeadLetterView{Track: l.Track, Class: l.Class, Reason: l.Reason, At: l.DiedAt.UTC()}
	}
	return view
}

// utc shows times in one zone, and none for a time that is not known.
func utc(t *time.Time) *time.Time {
	if t == nil || t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}
