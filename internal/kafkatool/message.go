package kafkatool

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/deadletter"
)

// Topics are the names of vidflow's topics, by which records are understood.
type Topics struct {
	Requests, Transcripts, Compressions string
}

// Header of a Message.
type Header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Message is a record and what it says.
type Message struct {
	Topic     string           `json:"topic"`
	Partition int32            `json:"partition"`
	Offset    int64            `json:"offset"`
	Time      time.Time        `json:"time"`
	Key       *string          `json:"key"`
	Headers   []Header         `json:"headers"`
	Size      int              `json:"size"` // of the value, in bytes
	VideoID   contract.VideoID `json:"video_id,omitempty"`
	// Says is a sentence; Understood is false when the bridge would make it a dead letter.
	Says       string `json:"says"`
	Understood bool   `json:"understood"`
	// Value is the whole value as text, ValueBase64 the same where it is none. They are there when they were asked for.
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

// Read says what a record of one of the topics says, or of their dead letters. It keeps the value when it is wanted.
func (t Topics) Read(rec *kgo.Record, value bool) Message {
	m := Message{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp.UTC(), Headers: []Header{},
		Size: len(rec.Value), VideoID: contract.GuessVideoID(rec.Key, rec.Value), Understood: true,
	}
	if rec.Key != nil {
		key := string(rec.Key)
		m.Key = &key
	}
	for _, h := range rec.Headers {
		m.Headers = append(m.Headers, Header{h.Key, string(h.Value)})
	}
	if value && rec.Value != nil {
		if utf8.Valid(rec.Value) {
			text := string(rec.Value)
			m.Value = &text
		} else {
			m.ValueBase64 = append([]byte{}, rec.Value...)
		}
	}
	if says, ok := deadletter.Describe(rec); ok {
		m.Says = says
		return m
	}
	for _, h := range rec.Headers {
		if h.Key == contract.HeaderCheck {
			m.Says = "written by a check"
			return m
		}
	}
	id, says, err := t.decode(rec)
	if err != nil {
		m.Says, m.Understood = "cannot be understood: "+err.Error(), false
		return m
	}
	if id != "" {
		m.VideoID = id
	}
	m.Says = says
	for _, h := range rec.Headers {
		if h.Key == contract.HeaderOriginOffset {
			m.Says += ", sent back from the dead letters"
		}
	}
	return m
}

// decode uses the decoders of the bridge.
func (t Topics) decode(rec *kgo.Record) (id contract.VideoID, says string, err error) {
	switch rec.Topic {
	case t.Transcripts:
		r, err := contract.DecodeTranscription(rec.Key, rec.Value)
		if err != nil {
			return "", "", err
		}
		language := r.Summary.Language
		if language == "" {
			language = "no language"
		}
		return r.VideoID, fmt.Sprintf("transcript: %.1f s, %s, %s", r.Summary.Duration, language, plural(r.Summary.Words, "word")), nil
	case t.Compressions:
		r, err := contract.DecodeCompression(rec.Key, rec.Value)
		if err != nil {
			return "", "", err
		}
		return r.VideoID, "compressed video: " + r.URL, nil
	case t.Requests:
		var r contract.Request
		if err := json.Unmarshal(rec.Value, &r); err != nil {
			return "", "", fmt.Errorf("no request: %w", err)
		}
		return "", "request for a transcription of " + r.VideoURL, nil
	default:
		return "", fmt.Sprintf("%d bytes", len(rec.Value)), nil
	}
}

// MarshalJSON writes the zero time for one that JSON cannot hold: a record may claim any.
func (m Message) MarshalJSON() ([]byte, error) {
	type plain Message
	if m.Time.Year() < 0 || m.Time.Year() > 9999 {
		m.Time = time.Time{}
	}
	return json.Marshal(plain(m))
}

// Line is the message for people, on one line, without its value.
func (m Message) Line() string {
	id := string(m.VideoID)
	if id == "" {
		id = "-"
	}
	return fmt.Sprintf("%s  %s/%d@%d  %s  %s (%d bytes)", m.Time.Format("2006-01-02 15:04:05.000Z"), m.Topic, m.Partition, m.Offset,
		id, Printable(m.Says), m.Size)
}

// Printable replaces what a terminal would act on.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
