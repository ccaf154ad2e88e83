package simulator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Emission orders results for a video, whether or not anybody has asked for them.
type Emission struct {
	VideoID string `json:"video_id"`
	// Transcription and Compression say which results; both when neither is set.
	Transcription bool `json:"transcription,omitempty"`
	Compression   bool `json:"compression,omitempty"`
	// TranscriptForm and CompressionForm default to those of the behaviour.
	TranscriptForm  TranscriptForm  `json:"transcript_form,omitempty"`
	CompressionForm CompressionForm `json:"compression_form,omitempty"`
	// Length and Take say which recording; see the options of the same names.
	Length Duration `json:"length,omitempty"`
	Take   int      `json:"take,omitempty"`
}

// Sent is a result that is on its topic.
type Sent struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Bytes     int    `json:"bytes"`
	Form      string `json:"form"`
}

// Emit sends results right away and returns once they are on their topics.
func (s *Simulator) Emit(ctx context.Context, e Emission) ([]Sent, error) {
	id, err := contract.ParseVideoID(e.VideoID)
	if err != nil {
		return nil, err
	}
	b := s.Behaviour()
	if e.TranscriptForm != "" {
		b.TranscriptForms = []TranscriptForm{e.TranscriptForm}
	}
	if e.CompressionForm != "" {
		b.CompressionForms = []CompressionForm{e.CompressionForm}
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	if e.Length < 0 {
		return nil, errors.New("length must not be negative")
	}
	if e.Length > 0 {
		b.Length = e.Length
	}
	opts := []Option{Length(time.Duration(b.Length)), Take(e.Take)}
	var sent []Sent
	for _, a := range []answer{
		{transcription: true, form: string(b.TranscriptForm(id)), opts: opts},
		{transcription: false, form: string(b.CompressionForm(id)), opts: opts},
	} {
		wanted := e.Transcription == e.Compression || a.transcription == e.Transcription
		if !wanted {
			continue
		}
		one, err := s.send(ctx, id, a)
		if err != nil {
			return sent, fmt.Errorf("emit results of video %s: %w", id, err)
		}
		sent = append(sent, one)
	}
	return sent, nil
}
