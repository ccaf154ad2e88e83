package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Search attributes of a run, made by `vidflow migrate`. A server that has none of them is served all the same.
var (
	AttributeCourse        = temporal.NewSearchAttributeKeyKeyword("CourseId")
	AttributeTranscription = temporal.NewSearchAttributeKeyKeyword("Transcription")
	AttributeCompression   = temporal.NewSearchAttributeKeyKeyword("Compression")
	AttributeAsks          = temporal.NewSearchAttributeKeyInt64("Asks")
)

// SearchAttributes are all that the workflow sets.
func SearchAttributes() []temporal.SearchAttributeKey {
	return []temporal.SearchAttributeKey{AttributeCourse, AttributeTranscription, AttributeCompression, AttributeAsks}
}

// State answers the query of that name.
type State struct {
	VideoID       contract.VideoID    `json:"videoId"`
	Missing       Missing             `json:"missing,omitempty"`
	Transcription contract.TrackState `json:"transcription,omitempty"`
	Asks          int                 `json:"asks"`
	AskLimit      int                 `json:"askLimit"`
	AskedAt       *time.Time          `json:"askedAt,omitempty"`
	Compression   contract.TrackState `json:"compression,omitempty"`
	// GaveUp are the tracks that this run gave up.
	GaveUp []GaveUp `json:"gaveUp,omitempty"`
}

func (v *video) state() State {
	return State{
		VideoID: v.id, Missing: v.plan.Missing,
		Transcription: v.plan.Transcription, Asks: v.plan.Asks, AskLimit: v.plan.AskLimit, AskedAt: v.plan.AskedAt,
		Compression: v.plan.Compression, GaveUp: v.gaveUp,
	}
}

// attributes are the values of the search attributes.
type attributes struct {
	course                     string
	transcription, compression contract.TrackState
	asks                       int
}

// show makes the state visible in the Temporal UI: as current details, which cost nothing, and as search attributes
// where they changed, which cost an event.
func (v *video) show() {
	workflow.SetCurrentDetails(v.steady, v.details())
	now := attributes{v.plan.CourseID, v.plan.Transcription, v.plan.Compression, v.plan.Asks}
	if now == v.shown || v.missing() || !v.plan.Settings.SearchAttributes {
		return
	}
	var changed []temporal.SearchAttributeUpdate
	if now.course != v.shown.course {
		changed = append(changed, AttributeCourse.ValueSet(now.course))
	}
	if now.transcription != v.shown.transcription {
		changed = append(changed, AttributeTranscription.ValueSet(string(now.transcription)))
	}
	if now.compression != v.shown.compression {
		changed = append(changed, AttributeCompression.ValueSet(string(now.compression)))
	}
	if now.asks != v.shown.asks {
		changed = append(changed, AttributeAsks.ValueSet(int64(now.asks)))
	}
	v.shown = now
	if err := workflow.UpsertTypedSearchAttributes(v.steady, changed...); err != nil {
		workflow.GetLogger(v.steady).Error("search attributes not set", "error", err)
	}
}

// details is a small table of both tracks in markdown.
func (v *video) details() string {
	var b strings.Builder
	if v.plan.Title != "" {
		fmt.Fprintf(&b, "**%s**\n\n", v.plan.Title)
	}
	switch v.plan.Missing {
	case Deleted:
		b.WriteString("The video was deleted; nothing is left to do.\n")
		return b.String()
	case Unknown:
		b.WriteString("There is no video with this id (yet).\n")
		return b.String()
	}
	b.WriteString("| track | state | |\n|---|---|---|\n")
	fmt.Fprintf(&b, "| transcription | %s | %s |\n", v.plan.Transcription, v.transcriptionNote())
	fmt.Fprintf(&b, "| compression | %s | %s |\n", v.plan.Compression, v.compressionNote())
	for _, g := range v.gaveUp {
		if v.givenUp(g.Track) {
			fmt.Fprintf(&b, "\n%s\n", g.Reason)
		}
	}
	return b.String()
}

func (v *video) transcriptionNote() string {
	switch {
	case v.plan.Transcription != contract.Waiting && v.plan.Asks == 1:
		return "asked for once"
	case v.plan.Transcription != contract.Waiting:
		return fmt.Sprintf("asked for %d times", v.plan.Asks)
	case v.plan.AskedAt == nil:
		return fmt.Sprintf("ask %d of %d is due", v.plan.Asks+1, v.plan.AskLimit)
	default:
		return fmt.Sprintf("ask %d of %d at %s, answer awaited until %s",
			v.plan.Asks, v.plan.AskLimit, stamp(*v.plan.AskedAt), stamp(v.askDeadline()))
	}
}

func (v *video) compressionNote() string {
	switch v.plan.Compression {
	case contract.Waiting:
		return "overdue from " + stamp(v.compressionDeadline())
	case contract.Overdue:
		return "given up at " + stamp(v.compressionDeadline())
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// brief writes a duration without the zeros: 48h, 1h30m, 10s.
func brief(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
