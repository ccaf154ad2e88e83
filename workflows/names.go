package workflows

import (
	"github.com/codeendelea/vidflow/internal/contract"
)

// Names under which the rest of the program, operators and recorded histories know the workflow. They are for ever.
const (
	// TaskQueue is polled by the worker.
	TaskQueue = "videos"
	// VideoWorkflow is the type of the one workflow; its id is made by WorkflowID.
	VideoWorkflow = "Video"

	// SignalTranscribed carries a contract.Reference to a transcription result.
	SignalTranscribed = "update_transcribe"
	// SignalCompressed carries a contract.Reference to a compression result, its URL included.
	SignalCompressed = "finish_compress"

	// QueryState answers with a State.
	QueryState = "state"
	// UpdateRetry takes a Retry and answers with a Retried, or fails with an application error of type
	// ErrNothingToRetry or ErrNoVideo.
	UpdateRetry = "retry"
)

// Types of the application errors by which a run, an update or a step fails for good.
const (
	// ErrNothingToRetry refuses a retry; its message is the reason, fit for a caller.
	ErrNothingToRetry = "NothingToRetry"
	// ErrNoVideo refuses a retry of a video that is deleted or unknown.
	ErrNoVideo = "NoVideo"
	// ErrInvalidInput fails a run that was started with something that is no video id, or under another workflow id.
	ErrInvalidInput = "InvalidInput"
	// ErrBusy refuses a retry that a moment later would be taken.
	ErrBusy = "Busy"
	// ErrTranscriptionGivenUp and ErrCompressionGivenUp end a run whose track was given up.
	ErrTranscriptionGivenUp = "TranscriptionGivenUp"
	ErrCompressionGivenUp   = "CompressionGivenUp"
)

// WorkflowID is the id of a video's run; at most one run with it is open at a time.
func WorkflowID(id contract.VideoID) string { return "video/" + string(id) }

// VideoInput starts a run. Every run starts the same way, whoever starts it: with the video's id. It must be in
// canonical form, or at least parse: operators type it into the Temporal UI.
type VideoInput struct {
	VideoID string `json:"videoId"`
	// Retry, for those who cannot send an update with the start, as in the Temporal UI, is the same as that update.
	Retry *Retry `json:"retry,omitempty"`
	// Carried is set by a run that continues as new, and by nobody else.
	Carried *Carried `json:"carried,omitempty"`
}

// Carried is what a run hands to its successor when it continues as new.
type Carried struct {
	// Transcript and Compression are results that were taken from a signal and are not yet applied.
	Transcript  *contract.Reference `json:"transcript,omitempty"`
	Compression *contract.Reference `json:"compression,omitempty"`
	// GaveUp are the tracks that were given up, for the end of the last run.
	GaveUp []GaveUp `json:"gaveUp,omitempty"`
}

// GaveUp says which track was given up and why.
type GaveUp struct {
	Track  contract.Track `json:"track"`
	Reason string         `json:"reason"`
}

// Retry asks for another transcription.
type Retry struct {
	// Force asks again also when the transcript is already stored or an answer is still waited for.
	Force bool `json:"force,omitempty"`
}

// Retried says which ask a retry led to.
type Retried struct {
	Ask int `json:"ask"`
}
