package contract

import (
	"crypto/sha256"

	"github.com/google/uuid"
)

// Bounds of what a Reference carries, in bytes. A result beyond them can never be applied and becomes a dead letter.
const (
	// MaxLanguageBytes is the longest language of a transcript: BCP 47 asks for room for 35 characters.
	MaxLanguageBytes = 35
	// MaxURLBytes is the longest URL of a compressed video.
	MaxURLBytes = 2048
)

// Reference says where the record of a result can be read, and enough about it to act without reading it. Signals carry
// references and never payloads, so that the history of a run stays small whatever the size of a transcript.
type Reference struct {
	// Topic, TopicID, Partition and Offset are where the record is to be read.
	Topic     string    `json:"topic"`
	TopicID   uuid.UUID `json:"topicId"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	// Size is the length of the record's value in bytes, SHA256 its hash: what is read must match both.
	Size   int    `json:"size"`
	SHA256 []byte `json:"sha256"`
	// Position is for order. It differs from where the record is read only for a redriven dead letter.
	Position Position `json:"position"`
	// Transcript is set for a transcription result.
	Transcript *TranscriptSummary `json:"transcript,omitempty"`
	// URL is set for a compression result: the address of the compressed video, at most MaxURLBytes.
	URL string `json:"url,omitempty"`
	// Traceparent is the span in which the bridge took the record, as W3C writes it, for the step that applies the result to
	// refer to; empty when nothing was traced.
	Traceparent string `json:"traceparent,omitempty"`
}

// TranscriptSummary is what the pipeline remembers of a transcript.
type TranscriptSummary struct {
	// Duration of the speech in seconds.
	Duration float64 `json:"duration"`
	// Language as the service named it, at most MaxLanguageBytes; may be empty.
	Language string `json:"language,omitempty"`
	// Words is their number.
	Words int `json:"words"`
}

// Matches reports whether value is the one that the reference was made from.
func (r Reference) Matches(value []byte) bool {
	sum := sha256.Sum256(value)
	return len(value) == r.Size && string(sum[:]) == string(r.SHA256)
}
