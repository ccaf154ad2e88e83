package contract_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/codeendelea/vidflow/internal/contract"
)

const (
	video = "3f0c1a52-7d6e-4b7a-9a55-0d2f3c9b8e11"
	other = "00000000-0000-4000-8000-000000000001"
)

func TestDecodeTranscription_accepts(t *testing.T) {
	t.Parallel()
	upper := strings.ToUpper(video)
	tests := map[string]struct {
		key, value string
		summary    contract.TranscriptSummary
		mismatch   string
		canonical  string // compact
	}{
		"nested": {
			value: `{"video_id": "` + video + `", "transcription": {"duration": 125.5, "language": "en",
				"words": [{"text": "hello", "start": 0.0, "end": 0.5}]}}`,
			summary: contract.TranscriptSummary{Duration: 125.5, Language: "en", Words: 1},
			canonical: `{"video_id":"` + video + `","transcription":{"duration":125.5,"language":"en",` +
				`"words":[{"text":"hello","start":0.0,"end":0.5}]}}`,
		},
		"flat, with what it has besides": {
			value: `{"videoId": "` + video + `", "duration": 120.5, "language": "en",
				"words": [{"word": "hello", "start": 0.0, "end": 0.5, "confidence": 0.98}], "fullText": "hello"}`,
			summary: contract.TranscriptSummary{Duration: 120.5, Language: "en", Words: 1},
			canonical: `{"video_id":"` + video + `","transcription":{"duration":120.5,"language":"en",` +
				`"words":[{"text":"hello","start":0.0,"end":0.5,"confidence":0.98}],"fullText":"hello"}}`,
		},
		"nested, with the names of the flat form": {
			value:     `{"videoId":"` + video + `","transcription":{"words":[{"word":"a","start":1,"end":2}]}}`,
			summary:   contract.TranscriptSummary{Duration: 2, Words: 1},
			canonical: `{"video_id":"` + video + `","transcription":{"words":[{"text":"a","start":1,"end":2}]}}`,
		},
		"flat, with the names of the nested form": {
			value:     `{"words":[{"text":"a","start":1,"end":2}],"video_id":"` + video + `"}`,
			summary:   contract.TranscriptSummary{Duration: 2, Words: 1},
			canonical: `{"video_id":"` + video + `","transcription":{"words":[{"text":"a","start":1,"end":2}]}}`,
		},
		"unknown members at every level, in order": {
			value: `{"z":1,"transcription":{"model":{"name":"w","v":[1,{"a":null}]},"words":[{"speaker":{"id":7},"text":"a","start":1,"end":2}],"a":[]},` +
				`"video_id":"` + video + `","a":{}}`,
			summary: contract.TranscriptSummary{Duration: 2, Words: 1},
			canonical: `{"z":1,"transcription":{"model":{"name":"w","v":[1,{"a":null}]},"words":[{"speaker":{"id":7},"text":"a","start":1,"end":2}],"a":[]},` +
				`"video_id":"` + video + `","a":{}}`,
		},
		"no words": {
			value:     `{"video_id":"` + video + `","transcription":{"duration":0,"words":[]}}`,
			canonical: `{"video_id":"` + video + `","transcription":{"duration":0,"words":[]}}`,
		},
		"duration and language null": {
			value:     `{"video_id":"` + video + `","transcription":{"duration":null,"language":null,"words":[{"text":"a","start":1,"end":2}]}}`,
			summary:   contract.TranscriptSummary{Duration: 2, Words: 1},
			canonical: `{"video_id":"` + video + `","transcription":{"duration":null,"language":null,"words":[{"text":"a","start":1,"end":2}]}}`,
		},
		"the end of the last word for a duration that is not told": {
			value: `{"video_id":"` + video + `","transcription":{"words":[{"text":"a","start":1,"end":9},{"text":"b","start":2,"end":3}]}}`,
			summary: contract.TranscriptSummary{
				Duration: 9, Words: 2,
			},
			canonical: `{"video_id":"` + video + `","transcription":{"words":[{"text":"a","start":1,"end":9},{"text":"b","start":2,"end":3}]}}`,
		},
		"literals as they came": {
			value: `{"video_id":"` + video + `","transcription":{"duration":1.50e1,"words":[{"text":"\u00e9\/é\ud83d\ude00","start":-0,"end":0.30000000000000004440892098500626}],` +
				`"big":123456789012345678901234567890,"huge":1e999}}`,
			summary: contract.TranscriptSummary{Duration: 15, Words: 1},
			canonical: `{"video_id":"` + video + `","transcription":{"duration":1.50e1,"words":[{"text":"\u00e9\/é\ud83d\ude00","start":-0,"end":0.30000000000000004440892098500626}],` +
				`"big":123456789012345678901234567890,"huge":1e999}}`,
		},
		"text wins over word, which stays": {
			value:     `{"video_id":"` + video + `","transcription":{"words":[{"word":1,"text":"a","start":1,"end":2},{"text":"b","word":"B","start":1,"end":2}]}}`,
			summary:   contract.TranscriptSummary{Duration: 2, Words: 2},
			canonical: `{"video_id":"` + video + `","transcription":{"words":[{"word":1,"text":"a","start":1,"end":2},{"text":"b","word":"B","start":1,"end":2}]}}`,
		},
		"only the words of a word are renamed": {
			value: `{"video_id":"` + video + `","word":"x","transcription":{"word":"y","words":[{"word":"word","start":1,"end":2,"alternatives":[{"word":"z"}]}]}}`,
			summary: contract.TranscriptSummary{
				Duration: 2, Words: 1,
			},
			canonical: `{"video_id":"` + video + `","word":"x","transcription":{"word":"y","words":[{"text":"word","start":1,"end":2,"alternatives":[{"word":"z"}]}]}}`,
		},
		"escaped names": {
			value:     `{"video\u005fid":"` + video + `","tr\u0061nscription":{"words":[{"w\u006frd":"a","st\u0061rt":1,"end":2}]}}`,
			summary:   contract.TranscriptSummary{Duration: 2, Words: 1},
			canonical: `{"video_id":"` + video + `","tr\u0061nscription":{"words":[{"text":"a","st\u0061rt":1,"end":2}]}}`,
		},
		"an id in capitals": {
			key:       video,
			value:     `{"a":1,"video_id":"` + upper + `","transcription":{"words":[]}}`,
			canonical: `{"a":1,"video_id":"` + video + `","transcription":{"words":[]}}`,
		},
		"the same id twice": {
			value:     `{"videoId":"` + upper + `","video_id":"` + video + `","transcription":{"words":[]}}`,
			canonical: `{"videoId":"` + upper + `","video_id":"` + video + `","transcription":{"words":[]}}`,
		},
		"the same id twice, flat": {
			value:     `{"videoId":"` + upper + `","video_id":"` + video + `","words":[]}`,
			canonical: `{"video_id":"` + video + `","transcription":{"videoId":"` + upper + `","words":[]}}`,
		},
		"a key in capitals is no other key": {
			key:       upper,
			value:     `{"video_id":"` + video + `","transcription":{"words":[]}}`,
			canonical: `{"video_id":"` + video + `","transcription":{"words":[]}}`,
		},
		"another key": {
			key:       other,
			value:     `{"video_id":"` + video + `","transcription":{"words":[]}}`,
			mismatch:  other,
			canonical: `{"video_id":"` + video + `","transcription":{"words":[]}}`,
		},
		"a key that is no id": {
			key:       "partition-7\xff",
			value:     `{"video_id":"` + video + `","transcription":{"words":[]}}`,
			mismatch:  "partition-7\uFFFD",
			canonical: `{"video_id":"` + video + `","transcription":{"words":[]}}`,
		},
		"the id only in the key": {
			key:       upper,
			value:     `{"transcription":{"words":[]},"n":1}`,
			canonical: `{"video_id":"` + video + `","transcription":{"words":[]},"n":1}`,
		},
		"the id only in the key, flat": {
			key:       video,
			value:     `{"words":[]}`,
			canonical: `{"video_id":"` + video + `","transcription":{"words":[]}}`,
		},
		"the id null": {
			key:       video,
			value:     `{"n":1,"video_id":null,"transcription":{"words":[]}}`,
			canonical: `{"n":1,"video_id":"` + video + `","transcription":{"words":[]}}`,
		},
		"nested, with members at the top that only look like a transcript's": {
			value: `{"video_id":"` + video + `","duration":"2 s","words":[{"word":"a"},2],"language":[1,[2]],"transcription":{"words":[{"word":"a","start":1,"end":2}]}}`,
			summary: contract.TranscriptSummary{
				Duration: 2, Words: 1,
			},
			canonical: `{"video_id":"` + video + `","duration":"2 s","words":[{"word":"a"},2],"language":[1,[2]],"transcription":{"words":[{"text":"a","start":1,"end":2}]}}`,
		},
		"nested, with a transcript at the top besides, which is not the one that counts": {
			value: `{"video_id":"` + video + `","words":[{"word":"b","start":1,"end":7}],"transcription":{"words":[{"word":"a","start":1,"end":2}]}}`,
			summary: contract.TranscriptSummary{
				Duration: 2, Words: 1,
			},
			canonical: `{"video_id":"` + video + `","words":[{"word":"b","start":1,"end":7}],"transcription":{"words":[{"text":"a","start":1,"end":2}]}}`,
		},
		"overlapping words, in any order, some of no length": {
			value: `{"video_id":"` + video + `","transcription":{"words":[{"text":"","start":5,"end":5},{"text":"b","start":1,"end":7},{"text":"c","start":0,"end":2}]}}`,
			summary: contract.TranscriptSummary{
				Duration: 7, Words: 3,
			},
			canonical: `{"video_id":"` + video + `","transcription":{"words":[{"text":"","start":5,"end":5},{"text":"b","start":1,"end":7},{"text":"c","start":0,"end":2}]}}`,
		},
		"the longest language": {
			value:     `{"video_id":"` + video + `","transcription":{"language":"` + strings.Repeat("x", 35) + `","words":[]}}`,
			summary:   contract.TranscriptSummary{Language: strings.Repeat("x", 35)},
			canonical: `{"video_id":"` + video + `","transcription":{"language":"` + strings.Repeat("x", 35) + `","words":[]}}`,
		},
		"the deepest unknown member": {
			value:     `{"words":[{"text":"a","start":1,"end":2,"x":` + nest(16) + `}],"y":` + nest(16) + `,"video_id":"` + video + `"}`,
			summary:   contract.TranscriptSummary{Duration: 2, Words: 1},
			canonical: `{"video_id":"` + video + `","transcription":{"words":[{"text":"a","start":1,"end":2,"x":` + nest(16) + `}],"y":` + nest(16) + `}}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, stored, err := contract.DecodeToStore([]byte(tt.key), []byte(tt.value))
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := contract.DecodeTranscription([]byte(tt.key), []byte(tt.value)); err != nil || plain != got {
				t.Errorf("not to be stored it is read as %+v (%v), else as %+v", plain, err, got)
			}
			if got.VideoID != video {
				t.Errorf("VideoID = %q, want %q", got.VideoID, video)
			}
			if diff := cmp.Diff(tt.summary, got.Summary); diff != "" {
				t.Errorf("Summary (-want +got):\n%s", diff)
			}
			if got.KeyMismatch != tt.mismatch {
				t.Errorf("KeyMismatch = %q, want %q", got.KeyMismatch, tt.mismatch)
			}
			if diff := cmp.Diff(indented(t, tt.canonical), string(stored)); diff != "" {
				t.Errorf("stored form (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeTranscription_refuses(t *testing.T) {
	t.Parallel()
	nested := func(members string) string {
		return `{"video_id":"` + video + `","transcription":{` + members + `}}`
	}
	word := func(members string) string {
		return nested(`"words":[{"text":"a","start":1,"end":2},{` + members + `}]`)
	}
	tests := map[string]struct {
		key, value string
		class      string
		reason     string // what the reason must contain
	}{
		"a tombstone":            {value: "", class: contract.ClassNoValue},
		"white space":            {value: " \r\n\t", class: contract.ClassNoValue},
		"text":                   {value: "hello", class: contract.ClassJSON},
		"a byte order mark":      {value: "\ufeff" + nested(`"words":[]`), class: contract.ClassJSON},
		"an array":               {value: `[]`, class: contract.ClassSchema, reason: "an array and not an object"},
		"null":                   {value: `null`, class: contract.ClassSchema},
		"half a message":         {value: nested(`"words":[]`)[:40], class: contract.ClassJSON, reason: "too early"},
		"two messages":           {value: nested(`"words":[]`) + nested(`"words":[]`), class: contract.ClassJSON, reason: "follows"},
		"bytes after it":         {value: nested(`"words":[]`) + "\x00", class: contract.ClassJSON},
		"a comma too many":       {value: nested(`"words":[],`), class: contract.ClassJSON},
		"a comma in the words":   {value: nested(`"words":[,]`), class: contract.ClassJSON},
		"no value of a member":   {value: `{"duration"}`, class: contract.ClassJSON},
		"an array not closed":    {value: nested(`"words":[}`), class: contract.ClassJSON},
		"bad UTF-8":              {value: word("\"text\":\"\xff\",\"start\":1,\"end\":2"), class: contract.ClassJSON},
		"half a surrogate":       {value: word(`"text":"\ud83d","start":1,"end":2`), class: contract.ClassJSON},
		"a member twice":         {value: nested(`"words":[],"words":[]`), class: contract.ClassJSON, reason: "words"},
		"a time twice":           {value: word(`"text":"a","start":1,"start":1,"end":2`), class: contract.ClassJSON},
		"an unknown twice":       {value: nested(`"words":[],"x":{"a":1,"a":2}`), class: contract.ClassJSON},
		"a member twice, hidden": {value: nested(`"words":[],"w\u006frds":[]`), class: contract.ClassJSON},
		"NaN":                    {value: word(`"text":"a","start":NaN,"end":2`), class: contract.ClassJSON},
		"Infinity":               {value: nested(`"duration":Infinity,"words":[]`), class: contract.ClassJSON},

		"no id":                  {value: `{"transcription":{"words":[]}}`, class: contract.ClassVideoID},
		"a key that is no id":    {key: "7", value: `{"transcription":{"words":[]}}`, class: contract.ClassVideoID, reason: `"7"`},
		"an id that is no UUID":  {key: video, value: `{"video_id":"../../etc","words":[]}`, class: contract.ClassVideoID, reason: "etc"},
		"an empty id":            {key: video, value: `{"video_id":"","words":[]}`, class: contract.ClassVideoID},
		"an id in braces":        {value: `{"video_id":"{` + video + `}","words":[]}`, class: contract.ClassVideoID},
		"an id without hyphens":  {value: `{"video_id":"` + strings.ReplaceAll(video, "-", "") + `","words":[]}`, class: contract.ClassVideoID},
		"two ids":                {value: `{"video_id":"` + video + `","videoId":"` + other + `","words":[]}`, class: contract.ClassVideoID, reason: other},
		"an id that is a number": {key: video, value: `{"video_id":7,"words":[]}`, class: contract.ClassSchema},
		"an id only in the transcript": {
			value: `{"transcription":{"video_id":"` + video + `","words":[]}}`, class: contract.ClassVideoID,
		},

		"no words":                  {value: nested(`"duration":1`), class: contract.ClassSchema, reason: "no words"},
		"neither form":              {value: `{"video_id":"` + video + `","text":"a"}`, class: contract.ClassSchema, reason: "neither"},
		"words null":                {value: nested(`"words":null`), class: contract.ClassSchema},
		"words an object":           {value: nested(`"words":{}`), class: contract.ClassSchema},
		"flat words a string":       {value: `{"video_id":"` + video + `","words":"a"}`, class: contract.ClassSchema},
		"transcription a string":    {value: `{"video_id":"` + video + `","transcription":"a","words":[]}`, class: contract.ClassSchema},
		"transcription null":        {value: `{"video_id":"` + video + `","transcription":null,"words":[]}`, class: contract.ClassSchema},
		"a word a string":           {value: nested(`"words":["a"]`), class: contract.ClassSchema, reason: "word 1"},
		"a word without text":       {value: word(`"start":1,"end":2`), class: contract.ClassSchema, reason: "transcription: word 2: it has no text"},
		"a word whose text is null": {value: word(`"text":null,"word":"a","start":1,"end":2`), class: contract.ClassSchema},
		"a word that is a number":   {value: word(`"word":1,"start":1,"end":2`), class: contract.ClassSchema},
		"a word without start":      {value: word(`"text":"a","end":2`), class: contract.ClassSchema},
		"a word without end":        {value: word(`"text":"a","start":2`), class: contract.ClassSchema},
		"a time that is a string":   {value: word(`"text":"a","start":"1","end":2`), class: contract.ClassSchema},
		"a time that is null":       {value: word(`"text":"a","start":null,"end":2`), class: contract.ClassSchema},
		"a duration in a string":    {value: nested(`"duration":"1","words":[]`), class: contract.ClassSchema},
		"a language in an array":    {value: nested(`"language":["en"],"words":[]`), class: contract.ClassSchema},
		"a language with a NUL":     {value: nested(`"language":"e\u0000n","words":[]`), class: contract.ClassSchema},
		"flat, a bad language":      {value: `{"video_id":"` + video + `","language":7,"words":[]}`, class: contract.ClassSchema, reason: "language"},
		"flat, the first of two":    {value: `{"video_id":"` + video + `","language":7,"words":[1]}`, class: contract.ClassSchema, reason: "language"},

		"a time beyond float64":     {value: word(`"text":"a","start":1,"end":1e309`), class: contract.ClassNumbers},
		"a negative time":           {value: word(`"text":"a","start":-0.1,"end":2`), class: contract.ClassNumbers},
		"a word that runs back":     {value: word(`"text":"a","start":2,"end":1.9`), class: contract.ClassNumbers, reason: "before it starts"},
		"a negative duration":       {value: nested(`"duration":-1,"words":[]`), class: contract.ClassNumbers},
		"a duration beyond float64": {value: nested(`"duration":1e400,"words":[]`), class: contract.ClassNumbers},

		"a language too long":    {value: nested(`"language":"` + strings.Repeat("x", 36) + `","words":[]`), class: contract.ClassBounds},
		"nested too deep":        {value: nested(`"words":[],"x":` + nest(17)), class: contract.ClassBounds},
		"nested a thousand deep": {value: nested(`"words":[],"x":` + nest(1000)), class: contract.ClassBounds},
		"nested a million deep":  {value: strings.Repeat(`{"a":`, 1_000_000), class: contract.ClassBounds},
		"opened a million times": {value: `{"x":` + strings.Repeat(`[`, 1_000_000), class: contract.ClassBounds},
		"deep in what is no transcript": {
			value: `{"words":[1,` + nest(1000) + `],"transcription":{"words":[]}}`, class: contract.ClassBounds,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := contract.DecodeTranscription([]byte(tt.key), []byte(tt.value))
			checkPoison(t, err, tt.class, tt.reason)
		})
	}
}

// A reason travels in a header and in the log; what a record holds must not make it long or unreadable.
func TestPoisonError_has_a_bounded_reason(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 1<<20)
	for name, value := range map[string]string{
		"a long name":    `{"` + long + `":{"a":1,"a":2}}`,
		"a long id":      `{"video_id":"` + long + `","words":[]}`,
		"a long number":  `{"duration":1` + strings.Repeat("0", 1<<20) + `,"words":[],"video_id":"` + video + `"}`,
		"a name of 0xff": "{\"" + strings.Repeat("\xff", 1000) + "\":1}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := contract.DecodeTranscription([]byte(long), []byte(value))
			checkPoison(t, err, "", "")
		})
	}
}

// Flat and nested messages of the same content are stored as the same bytes.
func TestDecodeToStore_is_the_same_for_both_forms(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		id := rapid.SampledFrom([]string{video, strings.ToUpper(video), other}).Draw(t, "id")
		textName := rapid.SampledFrom([]string{"text", "word"})
		render := func() string {
			var b strings.Builder
			for i, m := range members {
				if i > 0 {
					b.WriteString(", ")
				}
				b.WriteString(strings.ReplaceAll(m, "TEXT", textName.Draw(t, "text name")))
			}
			return b.String()
		}
		nested, nestedStored := decodeToStore(t, `{"video_id": "`+id+`", "transcription": {`+render()+`}}`)
		flat, flatStored := decodeToStore(t, `{"videoId":"`+strings.ToLower(id)+`",`+render()+"}")
		if diff := cmp.Diff(string(nestedStored), string(flatStored)); diff != "" {
			t.Fatalf("stored forms differ (-nested +flat):\n%s", diff)
		}
		if diff := cmp.Diff(nested.Summary, flat.Summary); diff != "" {
			t.Fatalf("summaries differ (-nested +flat):\n%s", diff)
		}
		checkStored(t, flat, flatStored)
	})
}

// drawMembers draws the members of a transcript, words among them; TEXT stands for the name of a word's text.
func drawMembers(t *rapid.T) []string {
	word := rapid.Custom(func(t *rapid.T) string {
		text, _ := json.Marshal(rapid.StringN(0, 8, -1).Draw(t, "text"))
		start := rapid.Float64Range(0, 1e4).Draw(t, "start")
		end := start + rapid.Float64Range(0, 5).Draw(t, "length")
		w := fmt.Sprintf(`"TEXT":%s,"start":%v,"end":%v`, text, start, end)
		if rapid.Bool().Draw(t, "confidence") {
			w += `,"confidence":0.980`
		}
		return "{" + w + "}"
	})
	members := []string{`"words":[` + strings.Join(rapid.SliceOfN(word, 0, 5).Draw(t, "words"), ",") + "]"}
	for _, optional := range []string{`"duration":1.20e2`, `"language":"pt-BR"`, `"fullText":"word: \u00e9"`, `"x":{"word":[{}]}`} {
		if rapid.Bool().Draw(t, optional) {
			members = append(members, optional)
		}
	}
	return rapid.Permutation(members).Draw(t, "order")
}

// fataler is what a test, a fuzz run and a property have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func decodeToStore(t fataler, value string) (contract.TranscriptionResult, []byte) {
	t.Helper()
	result, stored, err := contract.DecodeToStore(nil, []byte(value))
	if err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return result, stored
}

// checkStored checks what holds of the stored form of every result that was accepted.
func checkStored(t fataler, result contract.TranscriptionResult, stored []byte) {
	t.Helper()
	if !json.Valid(stored) {
		t.Fatalf("stored form is not JSON:\n%s", stored)
	}
	again, restored, err := contract.DecodeToStore(nil, stored)
	if err != nil {
		t.Fatalf("stored form is refused: %v\n%s", err, stored)
	}
	if again.VideoID != result.VideoID {
		t.Fatalf("stored form has id %s, want %s", again.VideoID, result.VideoID)
	}
	if diff := cmp.Diff(result.Summary, again.Summary); diff != "" {
		t.Fatalf("summary of the stored form (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(string(stored), string(restored)); diff != "" {
		t.Fatalf("stored form of the stored form (-want +got):\n%s", diff)
	}
}

func FuzzDecodeTranscription(f *testing.F) {
	f.Fuzz(func(t *testing.T, key, value []byte) {
		before := bytes.Clone(value)
		result, err := contract.DecodeTranscription(key, value)
		if err != nil {
			checkPoison(t, err, "", "")
			return
		}
		if _, err := contract.ParseVideoID(string(result.VideoID)); err != nil {
			t.Fatal(err)
		}
		toStore, stored, err := contract.DecodeToStore(key, value)
		if err != nil || toStore != result {
			t.Fatalf("to be stored it is read as %+v (%v), else as %+v", toStore, err, result)
		}
		checkStored(t, result, stored)
		if !bytes.Equal(before, value) {
			t.Fatal("the value was changed")
		}
	})
}

func checkPoison(t *testing.T, err error, class, reason string) {
	t.Helper()
	var p *contract.PoisonError
	switch {
	case !errors.As(err, &p):
		t.Fatalf("got error %v, want a PoisonError of class %q", err, class)
	case class != "" && p.Class != class:
		t.Errorf("class = %q, want %q (%s)", p.Class, class, p.Reason)
	case !strings.Contains(p.Reason, reason):
		t.Errorf("reason %q does not contain %q", p.Reason, reason)
	case len(p.Reason) > 500 || p.Reason != strings.ToValidUTF8(p.Reason, "") || p.Class == "":
		t.Errorf("reason of class %q is not fit for a header: %q", p.Class, p.Reason)
	}
}

func indented(t *testing.T, compact string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(compact), "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDecodeToStore_makes_room_for_what_it_makes, and hardly more: what is stored is held in memory, several of them at a time.
func TestDecodeToStore_makes_room_for_what_it_makes(t *testing.T) {
	t.Parallel()
	word := `{"text":"a","start":1,"end":2}`
	words := strings.Repeat(word+",", 20_000) + word
	deep := strings.Repeat("[", 15) + strings.Repeat("0,", 300_000) + "0" + strings.Repeat("]", 15)
	for name, compact := range map[string]string{
		"words":          `{"video_id":"` + video + `","transcription":{"words":[` + words + `]}}`,
		"escaped quotes": `{"video_id":"` + video + `","transcription":{"words":[]},"x":"` + strings.Repeat(`\"[,`, 100_000) + `"}`,
		"nested zeros":   `{"video_id":"` + video + `","transcription":{"words":[]},"x":` + deep + `}`,
	} {
		_, stored, err := contract.DecodeToStore(nil, []byte(compact))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := indented(t, compact); string(stored) != want {
			t.Errorf("%s: %d bytes became %d, want %d", name, len(compact), len(stored), len(want))
		}
		if most := max(len(stored), 2*len(compact)); cap(stored) > most+most/8 {
			t.Errorf("%s: %d bytes take %d", name, len(stored), cap(stored))
		}
	}
}

// TestDecode_bounds_what_is_stored: a record that would fill a worker's memory when it is indented is no transcript, for the bridge
// as well; one of as many bytes in words is.
func TestDecode_bounds_what_is_stored(t *testing.T) {
	t.Parallel()
	const size = 5 << 20
	zeros := strings.Repeat("[", 15) + strings.Repeat("0,", size/2) + "0" + strings.Repeat("]", 15)
	word := `{"text":"a","start":1,"end":2},`
	for name, tt := range map[string]struct {
		value string
		class string
	}{
		"zeros": {`{"video_id":"` + video + `","words":[],"x":` + zeros + `}`, contract.ClassBounds},
		"words": {`{"video_id":"` + video + `","words":[` + strings.TrimSuffix(strings.Repeat(word, size/len(word)), ",") + `]}`, ""},
	} {
		_, err := contract.DecodeTranscription(nil, []byte(tt.value))
		_, _, err2 := contract.DecodeToStore(nil, []byte(tt.value))
		for _, err := range []error{err, err2} {
			class := ""
			if p, ok := errors.AsType[*contract.PoisonError](err); ok {
				class = p.Class
			}
			if class != tt.class || (err == nil) != (tt.class == "") {
				t.Errorf("%s: got %v, want class %q", name, err, tt.class)
			}
		}
	}
}

// nest is an array nested so deep.
func nest(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
