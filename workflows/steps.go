package workflows

import (
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Names of the steps, which are activities. Each is first tried as a local activity, then as a regular one, so each
// must be idempotent and may be running twice at the same time.
const (
	// StepBegin loads the plan of a video and sends the first ask, if that is due: BeginInput → Plan.
	StepBegin = "Begin"
	// StepAsk publishes one ask and records it: AskInput → Snapshot.
	StepAsk = "AskForTranscription"
	// StepStoreTranscript reads a result from Kafka, stores it and sets its URL: ApplyInput → Applied.
	StepStoreTranscript = "StoreTranscript"
	// StepSetVideoURL sets the URL of the compressed video: ApplyInput → Applied.
	StepSetVideoURL = "SetVideoURL"
	// StepMarkOverdue makes it visible that the compression is late: MarkOverdueInput → Snapshot.
	StepMarkOverdue = "MarkOverdue"
	// StepGiveUp makes it visible that a track is no longer waited for: GiveUpInput → Snapshot.
	StepGiveUp = "GiveUp"
	// StepReopen lets the transcription be asked for again: ReopenInput → Snapshot.
	StepReopen = "Reopen"
)

// Snapshot is what the database says of a video after a step. A run keeps the one of the highest revision.
type Snapshot struct {
	// Missing is set when there is nothing to work on; then all the rest is empty.
	Missing Missing `json:"missing,omitempty"`
	// Revision of the row in pipeline.videos; grows with every change.
	Revision int64 `json:"rev,omitempty"`

	Transcription contract.TrackState `json:"transcription,omitempty"`
	// Asks is how many were recorded; AskedAt when the last was, nil when one is due now; AskLimit after how many the
	// track is given up.
	Asks     int        `json:"asks,omitempty"`
	AskLimit int        `json:"askLimit,omitempty"`
	AskedAt  *time.Time `json:"askedAt,omitempty"`

	Compression contract.TrackState `json:"compression,omitempty"`
	// CompressionSince is when the waiting for the compression began; nil once that is over.
	CompressionSince *time.Time `json:"compressionSince,omitempty"`
}

// Missing says why a video is not there.
type Missing string

const (
	// Deleted says that vidflow has a tombstone of it.
	Deleted Missing = "deleted"
	// Unknown says that there is no row, and never was one that vidflow saw. It may be about to appear.
	Unknown Missing = "unknown"
)

// BeginInput asks for the plan.
type BeginInput struct {
	VideoID contract.VideoID `json:"videoId"`
	// Ask says to send the first ask as well, if one is due. A publish that fails is no error: the plan then says that
	// the ask is still due.
	Ask bool `json:"ask,omitempty"`
}

// Plan is what a run needs to know to begin.
type Plan struct {
	Snapshot
	// Title is on one line, of at most MaxTitleBytes; empty where Temporal is not to learn it.
	Title    string `json:"title,omitempty"`
	CourseID string `json:"courseId,omitempty"`
	// TranscriptURL is the public address of the transcript, once it is stored.
	TranscriptURL string `json:"transcriptUrl,omitempty"`
	// TranscriptPosition and CompressionPosition are those of the results that were applied last.
	TranscriptPosition  *contract.Position `json:"transcriptPosition,omitempty"`
	CompressionPosition *contract.Position `json:"compressionPosition,omitempty"`
	Settings            Settings           `json:"settings"`
}

// Settings are the worker's configuration as far as the workflow depends on it. They reach it in the plan, so that they
// are part of the history and a replay sees the same.
type Settings struct {
	// AskAgainAfter is how long the answer to an ask is waited for before the next one.
	AskAgainAfter time.Duration `json:"askAgainAfter"`
	// OverdueAfter is how long a compression may take before it is shown as overdue, GiveUpAfter how long it is waited
	// for from then on.
	OverdueAfter time.Duration `json:"overdueAfter"`
	GiveUpAfter  time.Duration `json:"giveUpAfter"`
	// UnknownGrace is how long a run waits for the row of an unknown video to appear; left out of other plans.
	UnknownGrace time.Duration `json:"unknownGrace,omitempty"`
	// SearchAttributes says that the server knows the attributes of SearchAttributes; TitleAndTrouble are younger than the
	// others, and are left alone in runs that began before them.
	SearchAttributes bool `json:"searchAttributes,omitempty"`
	TitleAndTrouble  bool `json:"trouble,omitempty"`
}

// AskInput names an ask. Once it is recorded, repeating it does nothing.
type AskInput struct {
	VideoID contract.VideoID `json:"videoId"`
	N       int              `json:"n"`
}

// ApplyInput names a result.
type ApplyInput struct {
	VideoID contract.VideoID   `json:"videoId"`
	Result  contract.Reference `json:"result"`
}

// Outcome is what became of a result.
type Outcome string

// The outcomes of applying a result.
const (
	// ResultApplied: it is what the row and the storage now say (or said already).
	ResultApplied Outcome = "applied"
	// ResultSuperseded: a newer result was applied before.
	ResultSuperseded Outcome = "superseded"
	// ResultGone: the record cannot be read any more, or is another one than was referred to.
	ResultGone Outcome = "gone"
	// VideoMissing: the video is deleted or unknown; the snapshot says which.
	VideoMissing Outcome = "missing"
)

// Applied answers a step that applies a result.
type Applied struct {
	Snapshot
	Outcome Outcome `json:"outcome"`
	// Reason says why a result is gone.
	Reason string `json:"reason,omitempty"`
}

// MarkOverdueInput names the video whose compression is late.
type MarkOverdueInput struct {
	VideoID contract.VideoID `json:"videoId"`
}

// GiveUpInput names the track that is given up and why.
type GiveUpInput struct {
	VideoID contract.VideoID `json:"videoId"`
	Track   contract.Track   `json:"track"`
	// Asks is how many the run knew of: when another was recorded since, the track is not given up.
	Asks   int    `json:"asks,omitempty"`
	Reason string `json:"reason"`
}

// ReopenInput lets a transcription be asked for again.
type ReopenInput struct {
	VideoID contract.VideoID `json:"videoId"`
	// Asks is how many the run knew of: when another was recorded since, nothing is done.
	Asks int `json:"asks"`
}
