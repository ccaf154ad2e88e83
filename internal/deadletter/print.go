package deadletter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
)

// reasonWidth is how much of a reason a list shows, and valueBytes how much of a value Print does.
const (
	reasonWidth = 100
	valueBytes  = 4000
)

// PrintList writes a table, or a sentence when there is nothing to list.
func PrintList(w io.Writer, entries []Entry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(w, "No dead letters.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "LETTER\tDIED\tCLASS\tVIDEO\tSTATE\tREASON")
	for _, e := range entries {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Place, stamp(e.DiedAt), orDash(oneLine(e.Class)), orDash(string(e.VideoID)),
			e.state(), orDash(oneLine(e.Reason)))
	}
	return table.Flush()
}

// state says in a word or two what can be done with it.
func (e *Entry) state() string {
	switch {
	case e.Redriven():
		return "sent back"
	case e.WithoutValue:
		return "without value"
	case e.Letters > 1:
		return fmt.Sprintf("open, %d letters", e.Letters)
	default:
		return "open"
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// oneLine keeps control characters, which a record may have brought, from a terminal.
func oneLine(s string) string {
	quoted := fmt.Sprintf("%+q", contract.Clip(s, reasonWidth))
	if utf8.ValidString(s) {
		quoted = fmt.Sprintf("%q", contract.Clip(s, reasonWidth))
	}
	quoted = quoted[1 : len(quoted)-1]
	return strings.ReplaceAll(quoted, `\"`, `"`)
}

// Print writes all that a letter says. Of the value it writes the beginning, unless whole.
func Print(w io.Writer, l Letter, whole bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { _, _ = fmt.Fprintf(table, name+"\t"+format+"\n", args...) }
	row("letter", "%s", l.Place)
	row("died", "%s", stamp(l.DiedAt))
	row("class", "%s", orDash(oneLine(l.Class)))
	row("reason", "%s", orDash(oneLine(l.Reason)))
	row("video", "%s", orDash(string(l.VideoID)))
	row("origin", "%s/%d@%d", oneLine(l.OriginTopic), l.Origin.Partition, l.Origin.Offset)
	row("", "topic id %s", l.Origin.TopicID)
	row("", "time %s", stamp(l.Origin.Time))
	row("given up by", "vidflow %s on %s", orDash(oneLine(l.Version)), orDash(oneLine(l.Host)))
	row("key", "%s", orDash(oneLine(string(l.Key))))
	for _, h := range l.Headers {
		row("header", "%s: %s", oneLine(h.Key), oneLine(string(h.Value)))
	}
	switch {
	case l.WithoutValue:
		row("value", "was %d bytes, SHA-256 %s: too large for the dead-letter topic, so it is not here and cannot be sent back",
			l.Size, oneLine(l.SHA256))
	case l.Value == nil:
		row("value", "none")
	default:
		row("value", "%d bytes, SHA-256 %s", l.Size, l.SHA256)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(l.Value) == 0 {
		return nil
	}
	return printValue(w, l.Value, whole)
}

func printValue(w io.Writer, value []byte, whole bool) error {
	cut := 0
	if !whole && len(value) > valueBytes {
		value, cut = value[:valueBytes], len(value)-valueBytes
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, value, "", "  ") == nil {
		value = pretty.Bytes()
	}
	shown := bytes.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD' // what a terminal would act on
		}
		return r
	}, value)
	_, _ = fmt.Fprintf(w, "\n%s\n", shown)
	if cut > 0 {
		_, _ = fmt.Fprintf(w, "… and %d bytes more (--whole)\n", cut)
	}
	return nil
}

// originView, letterView and entryView are the JSON of --json.
type originView struct {
	Place
	TopicID string    `json:"topic_id"`
	Time    time.Time `json:"time"`
}

type letterView struct {
	Letter       string           `json:"letter"`
	DiedAt       time.Time        `json:"died_at"`
	VideoID      contract.VideoID `json:"video_id,omitempty"`
	Class        string           `json:"class"`
	Reason       string           `json:"reason"`
	Origin       originView       `json:"origin"`
	Version      string           `json:"version,omitempty"`
	Host         string           `json:"host,omitempty"`
	Size         int              `json:"size"`
	WithoutValue bool             `json:"without_value"`
}

type entryView struct {
	letterView
	Letters    int        `json:"letters"`
	RedrivenAt *time.Time `json:"redriven_at"`
	RedrivenTo string     `json:"redriven_to,omitempty"`
}

type headerView struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type wholeView struct {
	letterView
	SHA256  string       `json:"sha256,omitempty"`
	Key     *string      `json:"key"`
	Headers []headerView `json:"headers"`
	// Value is a text where the value is one, else ValueBase64 has it; both are null when there is none.
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

func viewOf(l Letter) letterView {
	return letterView{
		Letter: l.String(), DiedAt: encodable(l.DiedAt), VideoID: l.VideoID, Class: l.Class, Reason: l.Reason,
		Origin: originView{
			Place:   Place{l.OriginTopic, l.Origin.Partition, l.Origin.Offset},
			TopicID: l.Origin.TopicID.String(), Time: encodable(l.Origin.Time),
		},
		Version: l.Version, Host: l.Host, Size: l.Size, WithoutValue: l.WithoutValue,
	}
}

// encodable is the zero time for one that JSON cannot hold: a record may claim any.
func encodable(t time.Time) time.Time {
	if t.Year() < 0 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// MarshalJSON is the entry for scripts.
func (e Entry) MarshalJSON() ([]byte, error) {
	v := entryView{letterView: viewOf(e.Letter), Letters: e.Letters, RedrivenTo: e.RedrivenTo}
	if e.Redriven() {
		v.RedrivenAt = &e.RedrivenAt
	}
	return json.Marshal(v)
}

// MarshalJSON is the letter for scripts, value included.
func (l Letter) MarshalJSON() ([]byte, error) {
	v := wholeView{letterView: viewOf(l), SHA256: l.SHA256, Headers: []headerView{}}
	if l.Key != nil {
		key := string(l.Key)
		v.Key = &key
	}
	for _, h := range l.Headers {
		v.Headers = append(v.Headers, headerView{h.Key, string(h.Value)})
	}
	switch {
	case l.Value == nil:
	case utf8.Valid(l.Value):
		value := string(l.Value)
		v.Value = &value
	default:
		v.ValueBase64 = l.Value
	}
	return json.Marshal(v)
}

// MarshalJSON is what became of an entry, for scripts.
func (r Redriven) MarshalJSON() ([]byte, error) {
	v := struct {
		Letter string  `json:"letter"`
		Topic  string  `json:"topic"`
		To     string  `json:"to,omitempty"`
		Error  *string `json:"error"`
	}{Letter: r.Entry.String(), Topic: r.Entry.OriginTopic, To: r.To}
	if r.Err != nil {
		text := r.Err.Error()
		v.Error = &text
	}
	return json.Marshal(v)
}

// Describe says in a sentence what a record of a dead-letter topic is; false when it is neither a letter nor a receipt. A
// record that was sent back to its topic is neither.
func Describe(rec *kgo.Record) (string, bool) {
	if !strings.HasSuffix(rec.Topic, contract.DeadLetterSuffix) {
		return "", false
	}
	l, r := parse(rec)
	switch {
	case l != nil && l.WithoutValue:
		return fmt.Sprintf("dead letter of %s/%d@%d, %s: %s; without its value of %d bytes", oneLine(l.OriginTopic), l.Origin.Partition,
			l.Origin.Offset, oneLine(l.Class), oneLine(l.Reason), l.Size), true
	case l != nil:
		return fmt.Sprintf("dead letter of %s/%d@%d, %s: %s", oneLine(l.OriginTopic), l.Origin.Partition, l.Origin.Offset,
			oneLine(l.Class), oneLine(l.Reason)), true
	case r != nil:
		return fmt.Sprintf("receipt: letter %s was sent back to %s", oneLine(strings.Join(r.letters, ", ")), oneLine(r.to)), true
	default:
		return "", false
	}
}
