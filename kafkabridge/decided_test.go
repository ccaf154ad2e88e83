package kafkabridge

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// TestBridge_decides brings every kind of record that docs/results.md has a row for, all of them on one partition of their
// topic: it is signalled to its video, or buried with its class.
func TestBridge_decides(t *testing.T) {
	t.Parallel()
	const signalled = ""
	id := string(videoID(1))
	capitals := strings.ToUpper(id)
	words := func(word string) string {
		return `{"video_id":"` + id + `","transcription":{"words":[` + word + `]}}`
	}
	withLanguage := func(language string) string {
		return `{"video_id":"` + id + `","transcription":{"language":"` + language + `","words":[]}}`
	}
	deep := func(levels int) string {
		return `{"video_id":"` + id + `","transcription":{"words":[]},"x":` + strings.Repeat(`{"x":`, levels) + "1" + strings.Repeat("}", levels) + "}"
	}
	url := func(bytes int) string {
		return "https://x.example/" + strings.Repeat("a", bytes-len("https://x.example/"))
	}

	for _, source := range []struct {
		topic, group, grave, signal string
		rows                        []decided
	}{
		{transcripts, transcriptGroup, transcriptGrave, workflows.SignalTranscribed, []decided{
			{"nested", id, words(`{"text":"a","start":0,"end":1}`), signalled},
			{"flat", id, `{"videoId":"` + id + `","words":[{"word":"a","start":0,"end":1}]}`, signalled},
			{"no key, id in the value", "", words(""), signalled},
			{"id in the key alone", id, `{"words":[]}`, signalled},
			{"id in capitals", "", `{"video_id":"` + capitals + `","words":[]}`, signalled},
			{"key in capitals", capitals, `{"words":[]}`, signalled},
			{"key of another video", string(videoID(2)), words(""), signalled},
			{"words that overlap", id, words(`{"text":"a","start":0,"end":9},{"text":"b","start":1,"end":2}`), signalled},
			{"words in any order", id, words(`{"text":"b","start":5,"end":6},{"text":"a","start":1,"end":2}`), signalled},
			{"language at its bound", id, withLanguage(strings.Repeat("x", 35)), signalled},
			{"nested to its bound", id, deep(14), signalled},

			{"no value", id, "", contract.ClassNoValue},
			{"white space", id, " \n", contract.ClassNoValue},
			{"no id anywhere", "", `{"words":[]}`, contract.ClassVideoID},
			{"id that is no UUID", "", `{"video_id":"42","words":[]}`, contract.ClassVideoID},
			{"id that climbs", "", `{"video_id":"../../etc/passwd/aaaaaaaaaaaaaaaaaaaa","words":[]}`, contract.ClassVideoID},
			{"id in braces", "", `{"video_id":"{` + id + `}","words":[]}`, contract.ClassVideoID},
			{"id without hyphens", "", `{"video_id":"` + strings.ReplaceAll(id, "-", "") + `","words":[]}`, contract.ClassVideoID},
			{"key that is no UUID and no id", "x", `{"words":[]}`, contract.ClassVideoID},
			{"two ids that differ", "", `{"video_id":"` + id + `","videoId":"` + string(videoID(2)) + `","words":[]}`, contract.ClassVideoID},
			{"no JSON", id, "{not json}", contract.ClassJSON},
			{"cut short", id, `{"video_id":"` + id + `","words":[`, contract.ClassJSON},
			{"followed by something", id, words("") + "x", contract.ClassJSON},
			{"a name twice", id, `{"words":[],"words":[]}`, contract.ClassJSON},
			{"bad UTF-8", id, withLanguage("\xff"), contract.ClassJSON},
			{"NaN", id, words(`{"text":"a","start":NaN,"end":1}`), contract.ClassJSON},
			{"Infinity", id, words(`{"text":"a","start":0,"end":Infinity}`), contract.ClassJSON},
			{"a list", id, "[]", contract.ClassSchema},
			{"a text", id, `"words"`, contract.ClassSchema},
			{"words that are no list", id, `{"words":{}}`, contract.ClassSchema},
			{"a time that is text", id, words(`{"text":"a","start":"0","end":1}`), contract.ClassSchema},
			{"id that is a number", id, `{"video_id":7,"words":[]}`, contract.ClassSchema},
			{"beyond a float", id, words(`{"text":"a","start":0,"end":1e999}`), contract.ClassNumbers},
			{"a negative time", id, words(`{"text":"a","start":-1,"end":1}`), contract.ClassNumbers},
			{"a word that runs backwards", id, words(`{"text":"a","start":2,"end":1}`), contract.ClassNumbers},
			{"a duration that is negative", id, `{"duration":-0.5,"words":[]}`, contract.ClassNumbers},
			{"language beyond its bound", id, withLanguage(strings.Repeat("x", 36)), contract.ClassBounds},
			{"nested beyond its bound", id, deep(17), contract.ClassBounds},
			{"nested a thousand deep", id, deep(1000), contract.ClassBounds},
		}},
		{compressions, compressionGroup, compressionGrave, workflows.SignalCompressed, []decided{
			{"a URL", id, "https://x.example/1.mp4", signalled},
			{"a URL in white space", id, " https://x.example/1.mp4\n", signalled},
			{"a URL as JSON", id, `"https://x.example/1.mp4"`, signalled},
			{"an object", id, `{"videoId":"` + id + `","cloudUrl":"http://x.example/1.mp4","more":1}`, signalled},
			{"key in capitals", capitals, "https://x.example/1.mp4", signalled},
			{"another id in the value", id, `{"videoId":"` + string(videoID(2)) + `","cloudUrl":"https://x.example/1.mp4"}`, signalled},
			{"no key, id in the value", "", `{"videoId":"` + id + `","cloudUrl":"https://x.example/1.mp4"}`, signalled},
			{"a URL at its bound", id, url(2048), signalled},

			{"no value", id, "", contract.ClassNoValue},
			{"no key", "", "https://x.example/1.mp4", contract.ClassNoKey},
			{"no key and an object without id", "", `{"cloudUrl":"https://x.example/1.mp4"}`, contract.ClassNoKey},
			{"key that is no UUID", "42", "https://x.example/1.mp4", contract.ClassVideoID},
			{"cut short", id, `{"cloudUrl":"https://x.example/1.mp4"`, contract.ClassJSON},
			{"nested a thousand deep", id, `{"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `,"cloudUrl":"https://x.example/1.mp4"}`, contract.ClassBounds},
			{"no URL in the object", id, `{}`, contract.ClassSchema},
			{"a URL that is a number", id, `{"cloudUrl":1}`, contract.ClassSchema},
			{"another scheme", id, "ftp://x.example/1.mp4", contract.ClassURL},
			{"a script", id, "javascript:alert(1)", contract.ClassURL},
			{"no host", id, "https:///1.mp4", contract.ClassURL},
			{"a path", id, "/1.mp4", contract.ClassURL},
			{"words", id, "it is done", contract.ClassURL},
			{"a blank inside", id, "https://x.example/a b.mp4", contract.ClassURL},
			{"a URL beyond its bound", id, url(2049), contract.ClassBounds},
		}},
	} {
		t.Run(source.topic, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			temporal := newFakeTemporal(nil)
			// One at a time: results of one video that wait together are merged.
			b := r.start(temporal, func(c *Config) { c.MaxRecords, c.SignalInterval = 1, 1 })
			var records []*kgo.Record
			buried := 0
			for _, row := range source.rows {
				rec := &kgo.Record{Value: []byte(row.value)}
				if row.key != "" {
					rec.Key = []byte(row.key)
				}
				if row.value == "" {
					rec.Value = nil
				}
				records = append(records, rec)
				if row.class != signalled {
					buried++
				}
			}
			r.put(source.topic, 0, records...)
			r.eventuallyCommitted(source.group, map[int32]int64{0: int64(len(records))})

			got := make(map[string]string)
			for _, s := range temporal.signals() {
				if s.Name != source.signal || s.Video != videoID(1) {
					t.Errorf("signal %s to %s", s.Name, s.Video)
				}
				got[strconv.FormatInt(s.Ref.Offset, 10)] = "signalled"
			}
			for _, letter := range r.read(source.grave, buried) {
				own := headers(letter)
				got[own[contract.HeaderOriginOffset]] += own[contract.HeaderClass]
			}
			for i, row := range source.rows {
				want := row.class
				if want == signalled {
					want = "signalled"
				}
				if at := strconv.Itoa(i); got[at] != want {
					t.Errorf("%s: %s, want %s", row.what, got[at], want)
				}
			}
			equal(t, "dead letters", b.Stats().DeadLetters, int64(buried))
			equal(t, "problems", fmt.Sprint(temporal.faults()), "[]")
		})
	}
}

// decided is a record and the class of its dead letter, which is empty where it is signalled.
type decided struct{ what, key, value, class string }
