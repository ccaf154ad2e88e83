package simulator

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
)

// answer is one record to send.
type answer struct {
	due           time.Time
	transcription bool // else compression
	form          string
	opts          []Option
	request       *kgo.Record // that it answers; nil when nobody asked
	traced        bool        // carry the request's trace context
}

// plan draws what becomes of a request. It draws everything whatever the behaviour, so that one setting changes no
// other draw.
func (b Behaviour) plan(seed uint64, r *kgo.Record, request contract.Request, now time.Time) []answer {
	random := rand.New(rand.NewChaCha8(sha256.Sum256(
		fmt.Appendf(nil, "%d/%s/%d/%d/%s", seed, r.Topic, r.Partition, r.Offset, request.VideoID))))
	asked := r.Timestamp
	if asked.After(now) {
		asked = now
	}
	opts := b.recording(request)
	var answers []answer
	draw := func(transcription bool, form string, delay Range, silent float64) {
		due := asked.Add(delay.at(random.Float64()))
		isSilent := random.Float64() < silent
		reorder, reorderBy := random.Float64() < b.Reorders, random.Float64()
		repeat, repeatBy := random.Float64() < b.Repeats, random.Float64()
		if isSilent {
			return
		}
		if reorder {
			due = due.Add(time.Duration(reorderBy * float64(b.ReorderWithin)))
		}
		a := answer{due: due, transcription: transcription, form: form, opts: opts, request: r, traced: b.Traceparent}
		answers = append(answers, a)
		if repeat {
			a.due = due.Add(time.Duration(repeatBy * float64(b.RepeatWithin)))
			answers = append(answers, a)
		}
	}
	draw(true, string(b.TranscriptForm(request.VideoID)), b.TranscriptionDelay, b.SilentTranscriptions)
	draw(false, string(b.CompressionForm(request.VideoID)), b.CompressionDelay, b.SilentCompressions)
	slices.SortStableFunc(answers, func(a, b answer) int { return a.due.Compare(b.due) })
	return answers
}

// TranscriptForm is the form in which the video's transcript comes.
func (b Behaviour) TranscriptForm(id contract.VideoID) TranscriptForm {
	return choose(id, b.TranscriptForms)
}

// CompressionForm is the form in which the video's compression comes.
func (b Behaviour) CompressionForm(id contract.VideoID) CompressionForm {
	return choose(id, b.CompressionForms)
}

// hint is a duration in brackets in a title.
var hint = regexp.MustCompile(`\[(\d[0-9.hmsu]*)\]`)

// recording is which recording the request gets.
func (b Behaviour) recording(request contract.Request) []Option {
	if request.Metadata != nil {
		if d, ok := hinted(request.Metadata.Title); ok {
			return []Option{Length(d)}
		}
	}
	if b.Length > 0 {
		return []Option{Length(time.Duration(b.Length))}
	}
	return nil
}

// hinted is the length that a title asks for, at most a day.
func hinted(title string) (time.Duration, bool) {
	m := hint.FindStringSubmatch(title)
	if m == nil {
		return 0, false
	}
	d, err := time.ParseDuration(m[1])
	return d, err == nil && d > 0 && d <= 24*time.Hour
}
