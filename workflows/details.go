package workflows

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/contract"
)

// details is what a person who opens the run in the Temporal UI reads, in markdown: which video it is, a small table of
// both tracks, and whatever else there is to know or to do. It costs no event, so it is made anew whenever anything
// changes.
func (v *video) details() string {
	var b strings.Builder
	if v.plan.Title != "" {
		fmt.Fprintf(&b, "**%s**\n\n", PlainText(Line(v.plan.Title, MaxTitleBytes)))
	}
	switch {
	case v.plan.Missing == Deleted:
		b.WriteString("The video was deleted; nothing is left to do.\n")
	case v.plan.Missing == Unknown && v.lookAgain.IsZero():
		b.WriteString("There is no video with this id; what came for it is left alone.\n")
	case v.plan.Missing == Unknown:
		fmt.Fprintf(&b, "There is no video with this id yet. At %s it is looked for once more, then the run ends.\n", stamp(v.lookAgain))
	case !v.begun:
		b.WriteString("The run has just begun: it loads what is known of the video.\n")
	default:
		v.writeTracks(&b)
	}
	for _, t := range v.trouble {
		fmt.Fprintf(&b, "\n**%s: fails since %s** and is tried again until it succeeds. %s First error: %s [Latest error and next try](%s)\n",
			t.what, stamp(t.Since), needs(t.Step), PlainText(sentence(Line(t.Error, maxErrorBytes))), v.address("pending-activities"))
	}
	if v.plan.CourseID != "" {
		fmt.Fprintf(&b, "\n[All videos of the course](namespaces/%s/workflows?query=CourseId%%3D%%22%s%%22)\n",
			v.info().Namespace, v.plan.CourseID)
	}
	return b.String()
}

// maxErrorBytes of an error are shown.
const maxErrorBytes = 300

func (v *video) writeTracks(b *strings.Builder) {
	b.WriteString("| track | state | |\n|---|---|---|\n")
	fmt.Fprintf(b, "| transcription | %s | %s |\n", words(v.plan.Transcription), v.transcriptionNote())
	fmt.Fprintf(b, "| compression | %s | %s |\n", words(v.plan.Compression), v.compressionNote())
	for _, g := range v.gaveUp {
		if v.givenUp(g.Track) {
			fmt.Fprintf(b, "\n%s\n", PlainText(g.Reason))
		}
	}
	if v.plan.Transcription == contract.GivenUp {
		b.WriteString("\nTo ask again: the update `retry`; when the run has ended, start one with the same id and the input " +
			"`{\"videoId\": \"…\", \"retry\": {}}`.\n")
	}
	if v.refused != "" {
		fmt.Fprintf(b, "\nNot asked again: %s\n", PlainText(v.refused))
	}
	if v.stopping {
		b.WriteString("\nThe run was cancelled: it finishes what it has in hand and asks for nothing more. To go on, start another one " +
			"with the same id and input.\n")
	}
}

func (v *video) transcriptionNote() string {
	asked := fmt.Sprintf("asked for %d times", v.plan.Asks)
	switch v.plan.Asks {
	case 0:
		asked = "not asked for"
	case 1:
		asked = "asked for once"
	}
	switch {
	case v.transcript.wanted():
		return asked + "; a result has come and is being stored"
	case v.plan.Transcription == contract.Done && v.plan.TranscriptURL != "":
		return asked + ": [transcript](" + v.plan.TranscriptURL + ")"
	case v.plan.Transcription != contract.Waiting:
		return asked
	case v.plan.AskedAt == nil:
		return fmt.Sprintf("ask %d of %d is due", v.plan.Asks+1, v.plan.AskLimit)
	}
	note := fmt.Sprintf("ask %d of %d at %s", v.plan.Asks, v.plan.AskLimit, stamp(*v.plan.AskedAt))
	switch {
	case v.stopping:
		return note
	case v.plan.Asks < v.plan.AskLimit:
		return note + "; if nothing comes, asked again at " + stamp(v.askDeadline())
	default:
		return note + "; if nothing comes, given up at " + stamp(v.askDeadline())
	}
}

func (v *video) compressionNote() string {
	switch {
	case v.compression.wanted():
		return "a result has come and is being applied"
	case v.plan.Compression == contract.Done && v.compressedURL != "":
		return "[compressed video](<" + v.compressedURL + ">)"
	case v.plan.CompressionSince == nil || v.stopping:
		return ""
	}
	note := "since " + stamp(*v.plan.CompressionSince)
	switch v.plan.Compression {
	case contract.Waiting:
		return note + "; if nothing comes, overdue at " + stamp(v.compressionDeadline())
	case contract.Overdue:
		return note + "; if nothing comes, given up at " + stamp(v.compressionDeadline())
	}
	return ""
}

func words(s contract.TrackState) string { return strings.ReplaceAll(string(s), "_", " ") }

// needs says what to look after when a step fails.
func needs(step string) string {
	switch step {
	case StepAsk:
		return "See that Kafka and the database are there."
	case StepStoreTranscript:
		return "See that the storage, Kafka and the database are there."
	default:
		return "See that the database is there."
	}
}

// address is that of a page of this run, relative to the UI's own.
func (v *video) address(page string) string {
	run := v.info().WorkflowExecution
	return fmt.Sprintf("namespaces/%s/workflows/%s/%s/%s",
		v.info().Namespace, strings.ReplaceAll(run.ID, "/", "%2F"), run.RunID, page)
}

func (v *video) info() *workflow.Info { return workflow.GetInfo(v.steady) }

// Line makes a single line of a text, at most limit bytes long.
func Line(text string, limit int) string {
	line := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(line) <= limit {
		return line
	}
	return contract.Clip(line, limit-len("…"))
}

// PlainText writes a line of text so that the Temporal UI, which takes it for markdown, shows it as it is.
func PlainText(line string) string {
	var b strings.Builder
	for i, r := range line {
		start := i == 0 || (i == strings.IndexFunc(line, notDigit) && strings.ContainsRune(".)", r)) // "1. " begins a list
		if strings.ContainsRune("\\`*_[]<>|~$&", r) || (start && strings.ContainsRune("#+-:.)", r)) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// sentence ends a text with a full stop.
func sentence(text string) string { return strings.TrimRight(text, ". ") + "." }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

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
