package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// TranscriptionResult is an accepted message of the topic of transcription results.
type TranscriptionResult struct {
	VideoID VideoID
	Summary TranscriptSummary
	// KeyMismatch is the record's key, clipped, when it is not the id that the value names and that counts. Empty when
	// they agree, and when the record has no key.
	KeyMismatch string
}

// DecodeTranscription understands a transcription result in either form, in one pass that builds nothing of its words.
// The nested form is the one with a member "transcription"; else the message is taken for the flat form. The value says
// which video it is about, by "video_id" or "videoId"; the key is used only when the value does not. Every error is a
// *PoisonError. The result keeps nothing of value.
func DecodeTranscription(key, value []byte) (TranscriptionResult, error) {
	r, err := read(key, value, false)
	if err != nil {
		return TranscriptionResult{}, err
	}
	return r.result(key), nil
}

// DecodeToStore is DecodeTranscription for who stores the result: in the same pass it makes the canonical form, which is the
// message in nested form, indented by two spaces, with no newline at its end. Members keep their order and literals their
// spelling. Only this changes:
//
//   - The id becomes "video_id" in lower case, where it stood; first, when the message was flat or had none.
//   - All other members of a flat message move into "transcription".
//   - The text of a word becomes "text". A word with both has its text in "text", and its "word" is a member like any
//     other that vidflow does not know: kept.
//
// Decoding the canonical form gives the same id, the same summary and the same canonical form.
func DecodeToStore(key, value []byte) (result TranscriptionResult, canonical []byte, err error) {
	r, err := read(key, value, true)
	if err != nil {
		return TranscriptionResult{}, nil, err
	}
	return r.result(key), r.indented(), nil
}

func (r *reading) result(key []byte) TranscriptionResult {
	result := TranscriptionResult{VideoID: r.id, Summary: r.transcript().summary()}
	if len(key) > 0 && !strings.EqualFold(string(key), string(r.id)) {
		result.KeyMismatch = strings.ToValidUTF8(Clip(string(key), 64), "\uFFFD")
	}
	return result
}

// MaxStoredBytes bounds a transcript as it is stored, roughly: what becomes larger is poison. Kafka lets nothing through whose
// words would, but a list of many numbers may.
const MaxStoredBytes = 64 << 20

// maxGrowth is more than anything grows when it is indented: a digit and a comma at the deepest level become a line.
const maxGrowth = 32

// indented is the canonical form as it is stored.
func (r *reading) indented() []byte {
	compact := r.canonical()
	// Words grow to two and a half times their length, zeros in nested lists to twenty times: room is made for what it is.
	// Indent itself would make room for twice the length.
	out := bytes.NewBuffer(make([]byte, 0, max(indentedSize(compact), 2*len(compact))))
	if err := json.Indent(out, compact, "", "  "); err != nil {
		panic("contract: canonical form of a transcription result: " + err.Error())
	}
	return out.Bytes()
}

// indentedSize is the length of what json.Indent makes of well-formed JSON, with two spaces a level; more, if there is white
// space in it.
func indentedSize(compact []byte) int {
	size, depth, inString := len(compact), 0, false
	for i := 0; i < len(compact); i++ {
		switch c := compact[i]; {
		case inString:
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{', c == '[':
			depth++
			if next := compact[i+1]; next != '}' && next != ']' {
				size += 1 + 2*depth
			}
		case c == '}', c == ']':
			depth--
			if last := compact[i-1]; last != '{' && last != '[' {
				size += 1 + 2*depth
			}
		case c == ',':
			size += 1 + 2*depth
		case c == ':':
			size++
		}
	}
	return size
}

// reading is one pass over a message: what decoding and storing have in common.
type reading struct {
	scan  *scanner
	value []byte
	id    VideoID

	videoID, videoIDCamel *idMember   // "video_id" and "videoId"
	flat                  transcript  // of the members at the top
	nested                *transcript // of the member "transcription"

	// What storing needs, collected only for it.
	collect bool
	members []member // those at the top
}

type idMember struct {
	id VideoID // empty when null
}

// member is where a member of the message stands: value[start:end], name included.
type member struct {
	kind       memberKind
	start, end int
}

type memberKind int

const (
	otherMember memberKind = iota
	videoIDMember
	videoIDCamelMember
	transcriptionMember
)

// transcript is what was read of the members that a transcription has, wherever they stand.
type transcript struct {
	duration *float64
	language string
	hasWords bool
	words    int
	lastEnd  float64 // the latest end of a word, in seconds

	renames []span // names "word" that become "text"
	// problem is the poison found in it. Members at the top may turn out not to be those of a transcription.
	problem error
}

// span is a part of the message.
type span struct{ start, end int }

func read(key, value []byte, collect bool) (*reading, error) {
	if len(bytes.TrimSpace(value)) == 0 {
		return nil, poison(ClassNoValue, "the record has no value")
	}
	r := &reading{scan: newScanner(value), value: value, collect: collect}
	defer r.scan.release()
	if err := r.scan.object("the message", r.topMember); err != nil {
		return nil, asPoison(err)
	}
	if err := r.scan.end(); err != nil {
		return nil, asPoison(err)
	}
	if err := r.settleID(key); err != nil {
		return nil, err
	}
	t := r.transcript()
	if t.problem != nil {
		return nil, asPoison(t.problem)
	}
	if !t.hasWords {
		if r.nested != nil {
			return nil, poison(ClassSchema, "transcription has no words")
		}
		return nil, poison(ClassSchema, "the message has neither transcription nor words")
	}
	if len(value) > MaxStoredBytes/maxGrowth && indentedSize(value) > MaxStoredBytes {
		return nil, poison(ClassBounds, "indented, to be stored, it would have more than %d MiB", MaxStoredBytes>>20)
	}
	return r, nil
}

func (r *reading) topMember(name []byte, at int) error {
	kind := otherMember
	var err error
	switch string(name) {
	case "video_id":
		kind = videoIDMember
		r.videoID, err = r.idMember("video_id")
	case "videoId":
		kind = videoIDCamelMember
		r.videoIDCamel, err = r.idMember("videoId")
	case "transcription":
		kind = transcriptionMember
		r.nested = new(transcript)
		err = within("transcription", r.scan.object("it", func(name []byte, _ int) error {
			return r.transcriptMember(r.nested, name)
		}))
	default:
		err = r.transcriptMember(&r.flat, name)
		if p, ok := errors.AsType[*PoisonError](err); ok { // of no matter when the message turns out to be nested
			if r.flat.problem == nil {
				r.flat.problem = p
			}
			err = r.scan.finish(1)
		}
	}
	if err == nil && r.collect {
		r.members = append(r.members, member{kind: kind, start: at, end: r.scan.offset()})
	}
	return err
}

func (r *reading) idMember(name string) (*idMember, error) {
	if r.scan.PeekKind() == 'n' {
		return new(idMember), r.scan.skip()
	}
	text, err := r.scan.string(name)
	if err != nil {
		return nil, err
	}
	id, err := ParseVideoID(string(text))
	if err != nil {
		return nil, poison(ClassVideoID, "%s: %v", name, err)
	}
	return &idMember{id: id}, nil
}

// settleID decides which video the message is about.
func (r *reading) settleID(key []byte) error {
	for _, m := range []*idMember{r.videoID, r.videoIDCamel} {
		switch {
		case m == nil || m.id == "":
		case r.id == "":
			r.id = m.id
		case r.id != m.id:
			return poison(ClassVideoID, "video_id is %s and videoId is %s", r.id, m.id)
		}
	}
	if r.id != "" {
		return nil
	}
	if len(key) == 0 {
		return poison(ClassVideoID, "neither the value nor a key says which video it is about")
	}
	id, err := ParseVideoID(string(key))
	if err != nil {
		return poison(ClassVideoID, "the value does not say which video it is about, and the key does not either: %v", err)
	}
	r.id = id
	return nil
}

func (r *reading) transcript() *transcript {
	if r.nested != nil {
		return r.nested
	}
	return &r.flat
}

func (r *reading) transcriptMember(t *transcript, name []byte) error {
	switch string(name) {
	case "duration":
		if r.scan.PeekKind() == 'n' {
			return r.scan.skip()
		}
		duration, err := r.scan.seconds("duration")
		t.duration = &duration
		return err
	case "language":
		return r.language(t)
	case "words":
		return r.words(t)
	}
	return r.scan.skip()
}

func (r *reading) language(t *transcript) error {
	if r.scan.PeekKind() == 'n' {
		return r.scan.skip()
	}
	language, err := r.scan.string("language")
	switch {
	case err != nil:
		return err
	case len(language) > MaxLanguageBytes:
		return poison(ClassBounds, "language has %d bytes, more than %d", len(language), MaxLanguageBytes)
	case bytes.ContainsFunc(language, unicode.IsControl): // Postgres keeps no NUL
		return poison(ClassSchema, "language %q has control characters", language)
	}
	t.language = string(language)
	return nil
}

func (r *reading) words(t *transcript) error {
	if err := r.scan.enter('[', "words"); err != nil {
		return err
	}
	for r.scan.PeekKind() != ']' {
		if err := r.word(t); err != nil {
			return within("word "+strconv.Itoa(t.words+1), err)
		}
		t.words++
	}
	t.hasWords = true
	_, err := r.scan.ReadToken()
	return err
}

// word reads one word. Words may overlap and come in any order; each has a text, and does not end before it starts.
func (r *reading) word(t *transcript) error {
	var (
		hasText, hasStart, hasEnd bool
		start, end                float64
		wordKind                  jsontext.Kind // of the member "word"; 0 when there is none
		wordName                  span
	)
	err := r.scan.object("it", func(name []byte, at int) (err error) {
		switch string(name) {
		case "text":
			hasText = true
			if err = r.scan.expect('"', "text"); err != nil {
				return err
			}
		case "word":
			wordName = span{at, r.scan.offset()}
			wordKind = r.scan.PeekKind()
		case "start":
			hasStart = true
			start, err = r.scan.seconds("start")
			return err
		case "end":
			hasEnd = true
			end, err = r.scan.seconds("end")
			return err
		}
		return r.scan.skip()
	})
	switch {
	case err != nil:
		return err
	case !hasText && wordKind == 0:
		return poison(ClassSchema, "it has no text")
	case !hasText && wordKind != '"':
		return poison(ClassSchema, "word is %s and not a string", kindName(wordKind))
	case !hasStart || !hasEnd:
		return poison(ClassSchema, "it has no start or no end")
	case end < start:
		return poison(ClassNumbers, "it ends at %g, before it starts at %g", end, start)
	}
	if !hasText && r.collect {
		t.renames = append(t.renames, wordName)
	}
	t.lastEnd = max(t.lastEnd, end)
	return nil
}

// summary takes the end of the last word for the duration of a transcript that does not tell it.
func (t *transcript) summary() TranscriptSummary {
	s := TranscriptSummary{Duration: t.lastEnd, Language: t.language, Words: t.words}
	if t.duration != nil {
		s.Duration = *t.duration
	}
	return s
}

// canonical puts the message together again, not yet indented.
func (r *reading) canonical() []byte {
	renames := r.transcript().renames
	out := make([]byte, 0, len(r.value)+128)
	out = append(out, '{')

	idKind := videoIDMember // the member that becomes the id; the other one is like any other
	if r.videoID == nil {
		idKind = videoIDCamelMember
	}
	flat := r.nested == nil
	if flat || r.videoID == nil && r.videoIDCamel == nil {
		out = append(r.appendID(out), ',')
	}
	if flat {
		out = append(out, `"transcription":{`...)
	}
	first := true
	for _, m := range r.members {
		if flat && m.kind == idKind {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		if m.kind == idKind {
			out = r.appendID(out)
			continue
		}
		out, renames = r.appendRenamed(out, m, renames)
	}
	if flat {
		out = append(out, '}')
	}
	return append(out, '}')
}

func (r *reading) appendID(out []byte) []byte {
	return append(append(append(out, `"video_id":"`...), r.id...), '"')
}

// appendRenamed copies a member of the message and renames the words in it. It returns the renames that come later.
func (r *reading) appendRenamed(out []byte, m member, renames []span) ([]byte, []span) {
	at := m.start
	for len(renames) > 0 && renames[0].start < m.end {
		out = append(out, r.value[at:renames[0].start]...)
		out = append(out, `"text"`...)
		at, renames = renames[0].end, renames[1:]
	}
	return append(out, r.value[at:m.end]...), renames
}
