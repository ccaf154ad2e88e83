package contract

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// VideoID is the id of a video in canonical form: a UUID of 36 characters, in lower case. It is made by ParseVideoID
// alone, so that a VideoID is always safe as a workflow id, a record key or a part of a path.
type VideoID string

// ParseVideoID brings a UUID of 8-4-4-4-12 hexadecimal digits, in either case, to its canonical form. Every other
// notation of a UUID (braces, urn:, no hyphens) and everything else is refused.
func ParseVideoID(s string) (VideoID, error) {
	if len(s) != 36 {
		return "", fmt.Errorf("video id %q is not a UUID of 36 characters", Clip(s, 64))
	}
	if err := uuid.Validate(s); err != nil {
		return "", fmt.Errorf("video id %q is not a UUID", Clip(s, 64))
	}
	return VideoID(strings.ToLower(s)), nil
}

// String returns the canonical form.
func (id VideoID) String() string { return string(id) }

// TranscriptPath is the path of the video's transcript inside the bucket of captions.
func (id VideoID) TranscriptPath() string { return "videos/" + string(id) + ".json" }

// Clip shortens s to at most limit bytes for a message, without cutting a character in two, and says so with "…".
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
