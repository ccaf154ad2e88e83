package kafkatool_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafkatool"
)

const videoID = "0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01"

var topics = kafkatool.Topics{Requests: "Transcribe", Transcripts: "update_transcribe", Compressions: "finish_compress"}

func TestRead(t *testing.T) {
	t.Parallel()
	origin := []kgo.RecordHeader{
		{Key: contract.HeaderOriginTopic, Value: []byte("update_transcribe")},
		{Key: contract.HeaderOriginTopicID, Value: []byte("0f0e0d0c-0b0a-4900-8807-060504030201")},
		{Key: contract.HeaderOriginPartition, Value: []byte("1")},
		{Key: contract.HeaderOriginOffset, Value: []byte("7")},
		{Key: contract.HeaderOriginTime, Value: []byte("1795521600000")},
	}
	with := func(more ...kgo.RecordHeader) []kgo.RecordHeader { return append(origin[:5:5], more...) }
	const transcript = `{"video_id":"` + videoID + `","transcription":{"duration":2.5,"words":[{"text":"a","start":0,"end":1}]}}`
	for name, row := range map[string]struct {
		rec        kgo.Record
		id         contract.VideoID
		says       string
		understood bool
	}{
		"a request": {
			kgo.Record{Topic: "Transcribe", Value: []byte(`{"video_id":"` + videoID + `","video_url":"https://x/1.mp4"}`)},
			videoID, "request for a transcription of https://x/1.mp4", true,
		},
		"no request": {
			kgo.Record{Topic: "Transcribe", Value: []byte(`[]`)},
			"",
			"cannot be understood: no request: json: cannot unmarshal array into Go value of type contract.Request", false,
		},
		"a transcript": {
			kgo.Record{Topic: "update_transcribe", Value: []byte(transcript)}, videoID, "transcript: 2.5 s, no language, 1 word", true,
		},
		"a transcript that was sent back": {
			kgo.Record{Topic: "update_transcribe", Value: []byte(transcript), Headers: origin},
			videoID,
			"transcript: 2.5 s, no language, 1 word, sent back from the dead letters", true,
		},
		"poison": {
			kgo.Record{Topic: "update_transcribe", Key: []byte(videoID), Value: []byte(`{`)},
			videoID,
			"cannot be understood: not JSON: it ends too early", false,
		},
		"a compression": {
			kgo.Record{Topic: "finish_compress", Key: []byte(videoID), Value: []byte(`https://x/2.mp4`)},
			videoID,
			"compressed video: https://x/2.mp4", true,
		},
		"a dead letter": {
			kgo.Record{Topic: "update_transcribe.dlq", Key: []byte(videoID), Headers: with(
				kgo.RecordHeader{Key: contract.HeaderClass, Value: []byte("json")},
				kgo.RecordHeader{Key: contract.HeaderReason, Value: []byte("not JSON")})},
			videoID,
			"dead letter of update_transcribe/1@7, json: not JSON", true,
		},
		"a dead letter without its value": {
			kgo.Record{Topic: "update_transcribe.dlq", Headers: with(
				kgo.RecordHeader{Key: contract.HeaderClass, Value: []byte("json")},
				kgo.RecordHeader{Key: contract.HeaderReason, Value: []byte("not JSON")},
				kgo.RecordHeader{Key: contract.HeaderSize, Value: []byte("12")})},
			"",
			"dead letter of update_transcribe/1@7, json: not JSON; without its value of 12 bytes", true,
		},
		"a receipt": {
			kgo.Record{Topic: "update_transcribe.dlq", Headers: with(
				kgo.RecordHeader{Key: contract.HeaderRedriven, Value: []byte("0/1 0/5")},
				kgo.RecordHeader{Key: contract.HeaderRedrivenTo, Value: []byte("2@9")})},
			"",
			"receipt: letter 0/1, 0/5 was sent back to 2@9", true,
		},
		"what a check wrote": {
			kgo.Record{Topic: "update_transcribe.dlq", Headers: []kgo.RecordHeader{{Key: contract.HeaderCheck}}}, "", "written by a check", true,
		},
		"another topic": {kgo.Record{Topic: "other", Value: []byte("1234")}, "", "4 bytes", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := topics.Read(&row.rec, false)
			if got.VideoID != row.id || got.Says != row.says || got.Understood != row.understood {
				t.Errorf("got %q of video %q, understood: %t; want %q of %q, %t", got.Says, got.VideoID, got.Understood, row.says, row.id,
					row.understood)
			}
		})
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	rec := &kgo.Record{
		Topic: "finish_compress", Partition: 1, Offset: 9, Key: []byte("\x1b[31m"), Value: []byte("\xff"), Timestamp: time.UnixMilli(1795521600123),
	}
	m := topics.Read(rec, true)
	if got, want := m.Line(), "2026-11-24 12:00:00.123Z  finish_compress/1@9  -  "+kafkatool.Printable(m.Says)+" (1 bytes)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	encoded, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(encoded, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"topic": "finish_compress", "partition": 1.0, "offset": 9.0, "time": "2026-11-24T12:00:00.123Z", "key": "\x1b[31m",
		"headers": []any{}, "size": 1.0, "says": m.Says, "understood": false, "value_base64": "/w==",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.Time = time.UnixMilli(1 << 60)
	if _, err := json.Marshal(m); err != nil {
		t.Error(err)
	}
	if got := kafkatool.Printable("a\x1b[2J\u009b\xff\tb\n"); got != "a\uFFFD[2J\uFFFD\uFFFD\tb\n" {
		t.Errorf("got %q", got)
	}
}
