package workflows

import (
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
	// AttributeTitle tells people which video it is, and AttributeTrouble which steps are being tried again: unset when none.
	AttributeTitle   = temporal.NewSearchAttributeKeyKeyword("Title")
	AttributeTrouble = temporal.NewSearchAttributeKeyKeywordList("Trouble")
)

// SearchAttributes are all that the workflow sets.
func SearchAttributes() []temporal.SearchAttributeKey {
	return []temporal.SearchAttributeKey{
		AttributeCourse, AttributeTranscription, AttributeCompression, AttributeAsks, AttributeTitle, AttributeTrouble,
	}
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
	// Trouble is what is being tried again.
	Trouble []Trouble `json:"trouble,omitempty"`
}

// Trouble is a step that did not succeed at once and is tried again until it does.
type Trouble struct {
	Step  string    `json:"step"`
	Since time.Time `json:"since"`
	// Error is that of the first try; the latest is that of the pending activity.
	Error string `json:"error"`
	// what the step does, in words.
	what string
}

func (v *video) state() State {
	return State{
		VideoID: v.id, Missing: v.plan.Missing,
		Transcription: v.plan.Transcription, Asks: v.plan.Asks, AskLimit: v.plan.AskLimit, AskedAt: v.plan.AskedAt,
		Compression: v.plan.Compression, GaveUp: v.gaveUp, Trouble: v.troubles(),
	}
}

// attributes are the values of the search attributes.
type attributes struct {
	course                     string
	transcription, compression contract.TrackState
	asks                       int
	title                      string
	trouble                    string // names of steps, with spaces between
}

// MaxTitleBytes keeps a title to what every store of search attributes takes, and to a line of the UI.
const MaxTitleBytes = 200

// show makes the state visible in the Temporal UI: as current details, which cost nothing, and as search attributes
// where they changed, which cost an event.
func (v *video) show() {
	v.tell()
	if !v.plan.Settings.SearchAttributes {
		return
	}
	now := v.shown
	if !v.missing() {
		now.course, now.transcription, now.compression, now.asks = v.plan.CourseID, v.plan.Transcription, v.plan.Compression, v.plan.Asks
	}
	if v.plan.Settings.TitleAndTrouble {
		now.title = Line(v.plan.Title, MaxTitleBytes)
		now.trouble = v.troubled()
	}
	if now == v.shown {
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
	if now.title != v.shown.title {
		changed = append(changed, AttributeTitle.ValueSet(now.title))
	}
	switch now.trouble {
	case v.shown.trouble:
	case "":
		changed = append(changed, AttributeTrouble.ValueUnset())
	default:
		changed = append(changed, AttributeTrouble.ValueSet(strings.Fields(now.trouble)))
	}
	v.shown = now
	if err := workflow.UpsertTypedSearchAttributes(v.steady, changed...); err != nil {
		workflow.GetLogger(v.steady).Error("search attributes not set", "error", err)
	}
}

// tell makes the current details anew.
func (v *video) tell() { workflow.SetCurrentDetails(v.steady, v.details()) }

func (v *video) troubles() []Trouble {
	var list []Trouble
	for _, t := range v.trouble {
		list = append(list, *t)
	}
	return list
}

func (v *video) troubled() string {
	var names []string
	for _, t := range v.trouble {
		names = append(names, t.Step)
	}
	return strings.Join(names, " ")
}
