package simulator

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Duration is written as "1.5s" in JSON.
type Duration time.Duration

// MarshalText writes it as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Range of time, both ends included.
type Range struct {
	Min Duration `json:"min"`
	Max Duration `json:"max"`
}

func (r Range) at(fraction float64) time.Duration {
	return time.Duration(r.Min) + time.Duration(fraction*float64(r.Max-r.Min))
}

// Behaviour says how requests are answered. Fractions are from 0 to 1. What happens to one request is drawn when it is
// received, from the seed and the request's offset, so that a restart draws the same.
type Behaviour struct {
	// TranscriptionDelay and CompressionDelay are counted from the time of the request.
	TranscriptionDelay Range `json:"transcription_delay"`
	CompressionDelay   Range `json:"compression_delay"`
	// SilentTranscriptions and SilentCompressions are the fractions of requests that never get that answer.
	SilentTranscriptions float64 `json:"silent_transcriptions"`
	SilentCompressions   float64 `json:"silent_compressions"`
	// Repeats is the fraction of answers that are sent a second time, the same bytes, up to RepeatWithin later.
	Repeats      float64  `json:"repeats"`
	RepeatWithin Duration `json:"repeat_within"`
	// Reorders is the fraction of answers that are held back for up to ReorderWithin, so that later ones overtake them.
	Reorders      float64  `json:"reorders"`
	ReorderWithin Duration `json:"reorder_within"`
	// TranscriptForms and CompressionForms are those in use; a video always gets the same of them.
	TranscriptForms  []TranscriptForm  `json:"transcript_forms"`
	CompressionForms []CompressionForm `json:"compression_forms"`
	// Length of all speech from now on; that of the video's own when zero. A title that has a duration in brackets,
	// such as "Sorting [3h]", goes before both.
	Length Duration `json:"length"`
	// Traceparent has results carry the trace context of their requests. The services promise no headers.
	Traceparent bool `json:"traceparent"`
}

// DefaultBehaviour answers once, after a few seconds, in the canonical forms.
func DefaultBehaviour() Behaviour {
	return Behaviour{
		TranscriptionDelay: Range{Min: Duration(time.Second), Max: Duration(5 * time.Second)},
		CompressionDelay:   Range{Min: Duration(time.Second), Max: Duration(8 * time.Second)},
		RepeatWithin:       Duration(5 * time.Second),
		ReorderWithin:      Duration(3 * time.Second),
		TranscriptForms:    []TranscriptForm{Nested},
		CompressionForms:   []CompressionForm{URL},
	}
}

// clone shares nothing with b.
func (b Behaviour) clone() Behaviour {
	b.TranscriptForms = slices.Clone(b.TranscriptForms)
	b.CompressionForms = slices.Clone(b.CompressionForms)
	return b
}

// check says everything that is wrong.
func (b Behaviour) check() error {
	var errs []error
	for name, r := range map[string]Range{"transcription_delay": b.TranscriptionDelay, "compression_delay": b.CompressionDelay} {
		if r.Min < 0 || r.Max < r.Min {
			errs = append(errs, fmt.Errorf("%s must have 0 <= min <= max", name))
		}
	}
	for name, fraction := range map[string]float64{
		"silent_transcriptions": b.SilentTranscriptions, "silent_compressions": b.SilentCompressions,
		"repeats": b.Repeats, "reorders": b.Reorders,
	} {
		if !(fraction >= 0 && fraction <= 1) {
			errs = append(errs, fmt.Errorf("%s must be from 0 to 1", name))
		}
	}
	for name, d := range map[string]Duration{"repeat_within": b.RepeatWithin, "reorder_within": b.ReorderWithin, "length": b.Length} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s must not be negative", name))
		}
	}
	if len(b.TranscriptForms) == 0 || len(b.CompressionForms) == 0 {
		errs = append(errs, errors.New("transcript_forms and compression_forms must name at least one form each"))
	}
	for _, f := range b.TranscriptForms {
		if !slices.Contains(TranscriptForms(), f) {
			errs = append(errs, fmt.Errorf("transcript_forms has %q, which is none of %v", f, TranscriptForms()))
		}
	}
	for _, f := range b.CompressionForms {
		if !slices.Contains(CompressionForms(), f) {
			errs = append(errs, fmt.Errorf("compression_forms has %q, which is none of %v", f, CompressionForms()))
		}
	}
	return errors.Join(errs...)
}
