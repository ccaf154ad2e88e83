package captions

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// Version of the rules by which cues are cut and written. It is raised with each change after which the same transcript
// gives another file, since it is part of what tells a cached file from a newer one.
const Version = 1

// Word is a word of a transcript, or whatever the service takes for one: a syllable, a phrase.
type Word struct {
	Text string `json:"text"`
	// Start and End are in seconds from the start of the video. Any number will do.
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

// Cue is a text and when it is shown.
type Cue struct {
	// Start and End are in milliseconds; End is later than Start, and not later than the next cue's Start.
	Start, End int64
	// Lines are one or two, none of them empty.
	Lines []string
}

// FromTranscript makes a WebVTT file of a stored transcript.
func FromTranscript(stored io.Reader) ([]byte, error) {
	words, err := Words(stored)
	if err != nil {
		return nil, err
	}
	return WebVTT(Cut(words)), nil
}

// Words reads a transcript as it is stored: in nested form. Other members are skipped. Of what is stored next to nothing is
// held in memory beside the words.
func Words(stored io.Reader) ([]Word, error) {
	var message struct {
		Transcription *struct {
			Words []Word `json:"words"`
		} `json:"transcription"`
	}
	if err := json.UnmarshalRead(stored, &message, jsonv1.DefaultOptionsV1(), jsonv1.ReportErrorsWithLegacySemantics(false)); err != nil {
		return nil, fmt.Errorf("read a stored transcript: %w", err)
	}
	if message.Transcription == nil {
		return nil, errors.New("read a stored transcript: it has no member transcription")
	}
	return message.Transcription.Words, nil
}

// Cut makes cues of words, in the order of their starts.
func Cut(words []Word) []Cue {
	tokens, style := prepare(words)
	return style.cues(tokens)
}
