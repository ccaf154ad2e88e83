package deadletter

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
)

// FuzzParse: anybody can write to a dead-letter topic. Whatever is there is a letter, a receipt or neither, and a letter
// can be shown, in words and as JSON, without telling the terminal anything.
func FuzzParse(f *testing.F) {
	const id = "0b5a2f1e-9c1d-4a53-8f0e-1d2c3b4a5968"
	f.Add("update_transcribe", id, "0", "7", "1700000000000", "json", "not JSON", contract.HeaderSize, "12", []byte(id), []byte("{"))
	f.Add("\x1b[2J", id, "0", "7", "9223372036854775807", "\x1b[2J", "\x1b[2J", contract.HeaderRedriven, "0/1 0/2", []byte(nil), []byte(nil))
	f.Add("", "", "", "", "", "", "", "", "", []byte("\x1b]0;x\x07"), []byte("\x9b"))
	f.Fuzz(func(t *testing.T, topic, topicID, partition, offset, millis, class, reason, name, header string, key, value []byte) {
		rec := &kgo.Record{Topic: "update_transcribe.dlq", Offset: 3, Timestamp: time.Unix(1_700_000_000, 0), Key: key, Value: value}
		for _, h := range [][2]string{
			{contract.HeaderOriginTopic, topic},
			{contract.HeaderOriginTopicID, topicID},
			{contract.HeaderOriginPartition, partition},
			{contract.HeaderOriginOffset, offset},
			{contract.HeaderOriginTime, millis},
			{contract.HeaderClass, class},
			{contract.HeaderReason, reason},
			{name, header},
		} {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
		letter, receipt := parse(rec)
		if letter != nil && receipt != nil {
			t.Error("it is a letter and a receipt")
		}
		if letter == nil {
			return
		}
		var out strings.Builder
		if err := Print(&out, *letter, true); err != nil {
			t.Errorf("print: %v", err)
		}
		if err := PrintList(&out, []Entry{{Letter: *letter}}); err != nil {
			t.Errorf("print the list: %v", err)
		}
		if described, ok := Describe(rec); ok {
			out.WriteString(described)
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 }); i >= 0 {
			t.Errorf("a terminal would be told %q", out.String()[i:min(i+20, out.Len())])
		}
		if _, err := json.Marshal(Entry{Letter: *letter}); err != nil {
			t.Errorf("as JSON: %v", err)
		}
	})
}

func FuzzParsePlace(f *testing.F) {
	f.Add("update_transcribe.dlq/0@12")
	f.Add("a/-1@x")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlace(s)
		if err != nil {
			return
		}
		if again, err := ParsePlace(p.String()); err != nil || again != p {
			t.Errorf("%q is %v, which is %v: %v", s, p, again, err)
		}
	})
}
