package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// member of a JSON object, its value as it was written.
type member struct {
	name  string
	value json.RawMessage
}

// members reads an object and keeps the order of its members and the spelling of their values.
func members(object []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not an object: %.40q", object)
	}
	var list []member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: t.(string)} //nolint:forcetypeassert // a name is always a string
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func write(list []member) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.name) // a string
		b.Write(name)
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// Transcript is what a transcription result demands: which video it is of, and the bytes to be stored. It understands
// what well-behaved services send, in every form; it is no judge of poison.
func Transcript(key, value []byte) (video string, stored []byte, err error) {
	top, err := members(value)
	if err != nil {
		return "", nil, err
	}
	var inner []member
	nested := false
	for _, m := range top {
		if m.name == "transcription" {
			nested = true
			if inner, err = members(m.value); err != nil {
				return "", nil, err
			}
		}
	}
	var outer []member
	for _, m := range top {
		switch {
		case m.name == "video_id" || m.name == "videoId":
			if video == "" {
				if err := json.Unmarshal(m.value, &video); err != nil {
					return "", nil, err
				}
			}
		case nested:
			outer = append(outer, m)
		default:
			inner = append(inner, m)
		}
	}
	if video == "" {
		video = string(key)
	}
	video = strings.ToLower(video)
	if len(video) != 36 {
		return "", nil, errors.New("no id of a video")
	}
	for i, m := range inner {
		if m.name == "words" {
			if inner[i].value, err = textWords(m.value); err != nil {
				return "", nil, err
			}
		}
	}
	id, _ := json.Marshal(video) // a string
	whole := []member{{"video_id", id}}
	if nested {
		for _, m := range outer {
			if m.name == "transcription" {
				m.value = write(inner)
			}
			whole = append(whole, m)
		}
	} else {
		whole = append(whole, member{"transcription", write(inner)})
	}
	var b bytes.Buffer
	err = json.Indent(&b, write(whole), "", "  ")
	return video, b.Bytes(), err
}

// textWords renames "word" of each word to "text".
func textWords(array json.RawMessage) (json.RawMessage, error) {
	var words []json.RawMessage
	if err := json.Unmarshal(array, &words); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteByte('[')
	for i, word := range words {
		list, err := members(word)
		if err != nil {
			return nil, err
		}
		for j := range list {
			if list[j].name == "word" {
				list[j].name = "text"
			}
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(write(list))
	}
	b.WriteByte(']')
	return b.Bytes(), nil
}

// Compression is what a compression result demands: which video it is of, and the URL to be set.
func Compression(key, value []byte) (video, url string, err error) {
	text := strings.TrimSpace(string(value))
	var object struct{ VideoID, CloudURL string }
	switch {
	case strings.HasPrefix(text, "{"):
		if err := json.Unmarshal(value, &object); err != nil {
			return "", "", err
		}
		url = object.CloudURL
	case strings.HasPrefix(text, `"`):
		if err := json.Unmarshal(value, &url); err != nil {
			return "", "", err
		}
	default:
		url = text
	}
	if video = string(key); video == "" {
		video = object.VideoID
	}
	if len(video) != 36 || url == "" {
		return "", "", errors.New("no id of a video, or no URL")
	}
	return strings.ToLower(video), url, nil
}
