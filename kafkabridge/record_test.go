package kafkabridge

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
)

func TestPosition_of_a_record(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(2_000)
	topicID, old := uuid.New(), uuid.New()
	own := contract.Position{TopicID: topicID, Partition: 3, Offset: 4, Time: time.UnixMilli(1_000).UTC()}
	for name, tc := range map[string]struct {
		change func(map[string]string)
		want   contract.Position
		fails  bool
	}{
		"no headers":         {func(h map[string]string) { clear(h) }, own, false},
		"headers of others":  {func(h map[string]string) { clear(h); h["traceparent"] = "x" }, own, false},
		"redriven":           {func(map[string]string) {}, contract.Position{TopicID: old, Partition: 5, Offset: 6, Time: time.UnixMilli(500).UTC()}, false},
		"from the future":    {func(h map[string]string) { h[contract.HeaderOriginTime] = "9000" }, contract.Position{TopicID: old, Partition: 5, Offset: 6, Time: now.UTC()}, false},
		"of another topic":   {func(h map[string]string) { h[contract.HeaderOriginTopic] = "other" }, own, true},
		"no topic":           {func(h map[string]string) { delete(h, contract.HeaderOriginTopic) }, own, true},
		"no topic id":        {func(h map[string]string) { delete(h, contract.HeaderOriginTopicID) }, own, true},
		"no UUID":            {func(h map[string]string) { h[contract.HeaderOriginTopicID] = "x" }, own, true},
		"negative partition": {func(h map[string]string) { h[contract.HeaderOriginPartition] = "-1" }, own, true},
		"huge partition":     {func(h map[string]string) { h[contract.HeaderOriginPartition] = "4294967296" }, own, true},
		"negative offset":    {func(h map[string]string) { h[contract.HeaderOriginOffset] = "-1" }, own, true},
		"no offset":          {func(h map[string]string) { h[contract.HeaderOriginOffset] = "" }, own, true},
		"no time":            {func(h map[string]string) { h[contract.HeaderOriginTime] = "now" }, own, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			headers := map[string]string{
				contract.HeaderOriginTopic:     "t",
				contract.HeaderOriginTopicID:   old.String(),
				contract.HeaderOriginPartition: "5",
				contract.HeaderOriginOffset:    "6",
				contract.HeaderOriginTime:      "500",
			}
			tc.change(headers)
			rec := &kgo.Record{Topic: "t", Partition: 3, Offset: 4, Timestamp: time.UnixMilli(1_000)}
			for key, value := range headers {
				rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
			}
			got, err := position(rec, topicID, now)
			equal(t, "position", got, tc.want)
			if (err != nil) != tc.fails {
				t.Errorf("got error %v, want one: %t", err, tc.fails)
			}
		})
	}
}

// TestUnderstand_keeps_nothing_of_the_record: what waits for Temporal must not keep the batch that it came in.
func TestUnderstand_keeps_nothing_of_the_record(t *testing.T) {
	t.Parallel()
	id := string(videoID(1))
	padding := strings.Repeat(" ", 1<<20)
	for name, tt := range map[string]struct {
		decode     decoder
		key, value string
	}{
		"transcript":                   {decodeTranscription, strings.ToUpper(id), string(small(1).Value) + padding},
		"transcript of another's key":  {decodeTranscription, string(videoID(2)), string(small(1).Value) + padding},
		"transcript without a key":     {decodeTranscription, "", string(small(1).Value) + padding},
		"compression":                  {decodeCompression, id, "https://cdn.example.com/1.mp4" + padding},
		"compression, as JSON":         {decodeCompression, id, `{"videoId":"other","cloudUrl":"https://cdn.example.com/1.mp4"}` + padding},
		"compression, spaces in JSON":  {decodeCompression, id, `"https://cdn.example.com/1.mp4` + padding + `"`},
		"compression by its value":     {decodeCompression, "", `{"videoId":"` + id + `","cloudUrl":"https://cdn.example.com/1.mp4"}` + padding},
		"compression with a long id":   {decodeCompression, id, `{"videoId":"` + padding + `","cloudUrl":"https://cdn.example.com/1.mp4"}`},
		"transcript in another's name": {decodeTranscription, padding, string(small(1).Value)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			freed := make(chan struct{})
			record := func() *kgo.Record {
				buffer := []byte(tt.key + tt.value)
				runtime.AddCleanup(&buffer[0], func(done chan struct{}) { close(done) }, freed)
				return &kgo.Record{Topic: transcripts, Key: buffer[:len(tt.key):len(tt.key)], Value: buffer[len(tt.key):]}
			}
			r, err := understand(tt.decode, record(), uuid.New(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
				runtime.GC()
				select {
				case <-freed:
					runtime.KeepAlive(&r)
					if n := len(r.video) + len(r.mismatch) + len(r.ref.URL); n > 1000 {
						t.Errorf("it keeps %d bytes", n)
					}
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
			t.Errorf("the record is kept in memory by what was made of it: %+v", r)
		})
	}
}
