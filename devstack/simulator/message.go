package simulator

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
)

// TranscriptForm is a form of a transcription result; all are in the wild.
type TranscriptForm string

// The forms of a transcription result. Those with "-keyless" come in a record without a key.
const (
	Nested            TranscriptForm = "nested" // canonical: "video_id", "transcription", words with "text"
	NestedWord        TranscriptForm = "nested-word"
	NestedKeyless     TranscriptForm = "nested-keyless"
	NestedWordKeyless TranscriptForm = "nested-word-keyless"
	Flat              TranscriptForm = "flat" // "videoId", words with "word" and "confidence", "fullText"
	FlatText          TranscriptForm = "flat-text"
	FlatKeyless       TranscriptForm = "flat-keyless"
	FlatTextKeyless   TranscriptForm = "flat-text-keyless"
)

// TranscriptForms are all forms.
func TranscriptForms() []TranscriptForm {
	return []TranscriptForm{
		Nested, NestedWord, NestedKeyless, NestedWordKeyless, Flat, FlatText, FlatKeyless, FlatTextKeyless,
	}
}

// CompressionForm is a form of a compression result.
type CompressionForm string

// The forms of a compression result.
const (
	URL CompressionForm = "url" // the bare URL
	// URLObject is {"videoId": …, "cloudUrl": …}.
	URLObject CompressionForm = "object"
	// URLOtherID is an object whose id is not the key's; the key is right.
	URLOtherID CompressionForm = "object-other-id"
)

// CompressionForms are all forms.
func CompressionForms() []CompressionForm { return []CompressionForm{URL, URLObject, URLOtherID} }

// Transcript is the transcription result of a video in canonical form, as it travels: compact.
func Transcript(id contract.VideoID, opts ...Option) []byte {
	_, value := TranscriptMessage(id, Nested, opts...)
	return value
}

// Stored is what has to be in storage after a transcription result of that form.
func Stored(id contract.VideoID, form TranscriptForm, opts ...Option) ([]byte, error) {
	_, stored, err := contract.DecodeToStore(TranscriptMessage(id, form, opts...))
	if err != nil {
		return nil, fmt.Errorf("transcript of video %s: %w", id, err)
	}
	return stored, nil
}

// CompressedURL is where the compressed video is said to be.
func CompressedURL(id contract.VideoID, opts ...Option) string {
	random := record(id, opts).random("compression")
	return fmt.Sprintf("https://media.example.com/compressed/%s/%08x.mp4", id, random.Uint32())
}

// TranscriptMessage is the record of a transcription result; the key is nil in the forms without one.
func TranscriptMessage(id contract.VideoID, form TranscriptForm, opts ...Option) (key, value []byte) {
	s := record(id, opts).speak()
	t := transcription{Duration: seconds(s.length), Language: s.language.tag}
	flat, byWord, keyless := false, false, false
	switch form {
	case Flat, FlatKeyless:
		flat, byWord = true, true
	case FlatText, FlatTextKeyless:
		flat = true
	case NestedWord, NestedWordKeyless:
		byWord = true
	}
	switch form {
	case NestedKeyless, NestedWordKeyless, FlatKeyless, FlatTextKeyless:
		keyless = true
	}
	words := make([]any, len(s.words))
	for i, w := range s.words {
		start, end, confidence := seconds(w.start), seconds(w.end), float64(w.confidence)/1000
		switch {
		case byWord && flat:
			words[i] = wordWithConfidence{w.text, start, end, confidence}
		case byWord:
			words[i] = wordByWord{w.text, start, end}
		default:
			words[i] = wordByText{w.text, start, end}
		}
	}
	t.Words = words
	var message any = nestedMessage{VideoID: id, Transcription: t}
	if flat {
		message = flatMessage{VideoID: id, transcription: t, FullText: s.text()}
	}
	value, err := json.Marshal(message)
	if err != nil {
		panic(err) // strings and numbers that this package made
	}
	if !keyless {
		key = []byte(id)
	}
	return key, value
}

// CompressionMessage is the record of a compression result.
func CompressionMessage(id contract.VideoID, form CompressionForm, opts ...Option) (key, value []byte) {
	address := CompressedURL(id, opts...)
	said := id
	switch form {
	case URLOtherID:
		said = contract.VideoID(uuid.NewSHA1(uuid.NameSpaceURL, []byte(id)).String())
	case URLObject:
	default:
		return []byte(id), []byte(address)
	}
	value, err := json.Marshal(struct {
		VideoID  contract.VideoID `json:"videoId"`
		CloudURL string           `json:"cloudUrl"`
	}{said, address})
	if err != nil {
		panic(err)
	}
	return []byte(id), value
}

type nestedMessage struct {
	VideoID       contract.VideoID `json:"video_id"`
	Transcription transcription    `json:"transcription"`
}

type flatMessage struct {
	VideoID contract.VideoID `json:"videoId"`
	transcription
	FullText string `json:"fullText"`
}

type transcription struct {
	Duration float64 `json:"duration"`
	Language string  `json:"language"`
	Words    []any   `json:"words"`
}

type wordByText struct {
	Text  string  `json:"text"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

type wordByWord struct {
	Word  string  `json:"word"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

type wordWithConfidence struct {
	Word       string  `json:"word"`
	Start      float64 `json:"start"`
	End        float64 `json:"end"`
	Confidence float64 `json:"confidence"`
}

func seconds(hundredths int64) float64 { return float64(hundredths) / 100 }

// choose picks one of several forms, always the same for a video.
func choose[F ~string](id contract.VideoID, forms []F) F {
	forms = slices.Compact(slices.Sorted(slices.Values(forms)))
	return forms[record(id, nil).random("form").IntN(len(forms))]
}
