package contract

import "time"

// TrackState is how far one of the two tracks of a video is. It never moves backwards but for a retry that a person
// asks for.
type TrackState string

// The states of a track.
const (
	// Untracked: the video was created elsewhere and nobody asked vidflow to see to it; a result that comes is applied.
	Untracked TrackState = "untracked"
	// Waiting for the result.
	Waiting TrackState = "waiting"
	// Overdue: the compression has not come in time; still waited for.
	Overdue TrackState = "overdue"
	// Done: a result was applied.
	Done TrackState = "done"
	// GivenUp: no longer waited for; a result that comes all the same is applied, and a retry starts again.
	GivenUp TrackState = "given_up"
)

// Open reports whether a run has something to wait for.
func (s TrackState) Open() bool { return s == Waiting || s == Overdue }

// Pipeline is what the schema "pipeline" remembers of a video.
type Pipeline struct {
	VideoID  VideoID
	CourseID string // empty when unknown
	UserID   string // who created the video here; empty for one created elsewhere

	Transcription Transcription
	Compression   Compression

	// Revision grows with every change.
	Revision  int64
	CreatedAt time.Time
	UpdatedAt time.Time
	// DeletedAt is set on the tombstone of a deleted video.
	DeletedAt *time.Time
}

// Transcription is the track that asks for a transcript and stores it.
type Transcription struct {
	State TrackState
	// Asks is how many asks are recorded as published, AskedAt when the last one was. AskedAt is nil when an ask is due
	// now: before the first, and after a retry.
	Asks    int
	AskedAt *time.Time
	// AskLimit is the number of asks after which the track is given up; nil means the configured number, a retry
	// raises it.
	AskLimit *int
	// Position and Summary are those of the transcript that is stored.
	Position *Position
	Summary  *TranscriptSummary
	DoneAt   *time.Time
	// LastError is a sentence about the last thing that failed, nil when the last step succeeded.
	LastError   *string
	LastErrorAt *time.Time
}

// Compression is the track that waits for the address of the compressed video.
type Compression struct {
	State TrackState
	// Since is when the waiting began.
	Since       time.Time
	Position    *Position
	DoneAt      *time.Time
	LastError   *string
	LastErrorAt *time.Time
}

// Track names one of the two tracks.
type Track string

// The two tracks.
const (
	TranscriptionTrack Track = "transcription"
	CompressionTrack   Track = "compression"
)

// Level is how hard a video is.
type Level string

// The levels that the table of videos knows.
const (
	Beginner     Level = "beginner"
	Intermediate Level = "intermediate"
	Advanced     Level = "advanced"
)

// Video is a row of the table that the API server owns, as far as vidflow reads and writes it.
type Video struct {
	ID             VideoID
	CourseID       string
	Title          string
	Description    string
	ThumbnailURL   *string
	CameraVideoURL string
	SnapshotURL    *string
	EventURL       *string
	TranscriptURL  *string
	Level          Level
	IsPublic       bool
	CreatedAt      time.Time
}
