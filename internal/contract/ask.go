package contract

import (
	"crypto/sha256"
	"fmt"
)

// Ask is the n-th request for a transcription of a video, counted from 1 over the video's whole life.
type Ask struct {
	Video VideoID
	N     int
}

// Key is the ask's idempotency key. It is made of video and n alone, so that a repeat of the same ask, by whichever
// run or process, is the same request to the transcription service.
func (a Ask) Key() string { return fmt.Sprintf("%s/transcribe/%d", a.Video, a.N) }

// Traceparent is a W3C trace context (https://www.w3.org/TR/trace-context/) of version 00 that is the same for every
// repeat of the ask. Its flag says "not sampled". Whoever traces the sending puts its own trace in the place of this one,
// and keeps the span.
func (a Ask) Traceparent() string {
	sum := sha256.Sum256([]byte(a.Key()))
	return fmt.Sprintf("00-%x-%x-00", sum[:16], sum[16:24])
}

// Request is the message on the topic of transcription requests.
type Request struct {
	VideoID  VideoID          `json:"video_id"`
	VideoURL string           `json:"video_url"`
	Metadata *RequestMetadata `json:"metadata,omitempty"`
}

// RequestMetadata is what else the transcription service may want to know; empty members are left out.
type RequestMetadata struct {
	Title    string `json:"title,omitempty"`
	CourseID string `json:"courseId,omitempty"`
	UserID   string `json:"userId,omitempty"`
}

// NewRequest leaves the metadata out when all of it is empty.
func NewRequest(id VideoID, url string, m RequestMetadata) Request {
	r := Request{VideoID: id, VideoURL: url}
	if m != (RequestMetadata{}) {
		r.Metadata = &m
	}
	return r
}
