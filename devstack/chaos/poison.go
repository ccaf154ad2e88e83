package chaos

import "strings"

// poison is the key and value of a record that can never be understood; ID stands for the id of a video that is there.
type poison struct {
	name       string
	key, value string
	absent     bool // no value at all
}

const id = "{ID}"

// poisonTranscripts are of the topic of transcripts.
var poisonTranscripts = []poison{
	{name: "no value", key: id, absent: true},
	{name: "blank", key: id, value: " \n"},
	{name: "no JSON", key: id, value: `<html>502 Bad Gateway</html>`},
	{name: "cut short", key: id, value: `{"video_id": "` + id + `", "transcription": {"words": [{"te`},
	{name: "followed by something", key: id, value: `{"video_id": "` + id + `", "transcription": {"words": []}} {}`},
	{name: "no object", key: id, value: `["` + id + `"]`},
	{name: "no words", key: id, value: `{"video_id": "` + id + `", "transcription": {"duration": 3}}`},
	{name: "words of a wrong type", key: id, value: `{"video_id": "` + id + `", "transcription": {"words": "hello"}}`},
	{name: "no id", value: `{"transcription": {"words": []}}`},
	{name: "an id that is no UUID", key: "42", value: `{"video_id": "42", "transcription": {"words": []}}`},
	{name: "an id that is a path", key: id, value: `{"video_id": "../../captions/videos/other", "transcription": {"words": []}}`},
	{name: "two ids", key: id, value: `{"video_id": "` + id + `", "videoId": "00000000-0000-4000-8000-000000000000", "words": []}`},
	{name: "a time that is none", key: id, value: `{"video_id": "` + id + `", "transcription": {"words": [{"text": "a", "start": NaN, "end": 1}]}}`},
	{name: "a time without end", key: id, value: `{"video_id": "` + id + `", "transcription": {"words": [{"text": "a", "start": 0, "end": 1e999}]}}`},
	{name: "a word that runs backwards", key: id, value: `{"video_id": "` + id + `", "transcription": {"words": [{"text": "a", "start": 2, "end": 1}]}}`},
	{name: "a language beyond its bound", key: id, value: `{"video_id": "` + id + `", "transcription": {"language": "` + strings.Repeat("x", 36) + `", "words": []}}`},
	{name: "nested a thousand deep", key: id, value: `{"video_id": "` + id + `", "transcription": {"words": [], "x": ` +
		strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}}`},
	{name: "a name twice", key: id, value: `{"video_id": "` + id + `", "transcription": {"words": [], "words": []}}`},
	{name: "bad UTF-8", key: id, value: "{\"video_id\": \"" + id + "\", \"transcription\": {\"words\": [], \"x\": \"\xff\"}}"},
}

// poisonCompressions are of the topic of compressions.
var poisonCompressions = []poison{
	{name: "no value", key: id, absent: true},
	{name: "no key", value: "https://media.example.com/a.mp4"},
	{name: "a key that is no UUID", key: "42", value: "https://media.example.com/a.mp4"},
	{name: "no URL", key: id, value: "somewhere"},
	{name: "another scheme", key: id, value: "javascript:alert(1)"},
	{name: "no host", key: id, value: "https:///a.mp4"},
	{name: "a blank in it", key: id, value: "https://media.example.com/a b.mp4"},
	{name: "beyond its bound", key: id, value: "https://media.example.com/" + strings.Repeat("a", 2048)},
	{name: "no cloudUrl", key: id, value: `{"videoId": "` + id + `"}`},
	{name: "cut short", key: id, value: `{"videoId": "` + id + `", "cloudUrl": "https://med`},
	{name: "cloudUrl of a wrong type", key: id, value: `{"videoId": "` + id + `", "cloudUrl": 42}`},
}

// message is the record's key and value for the poison of a video.
func (p poison) message(video string) (key, value []byte) {
	fill := func(s string) []byte { return []byte(strings.ReplaceAll(s, id, video)) }
	if p.key != "" {
		key = fill(p.key)
	}
	if !p.absent {
		value = fill(p.value)
	}
	return key, value
}
