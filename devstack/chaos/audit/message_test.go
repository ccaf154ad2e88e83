package audit_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/devstack/chaos/audit"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

const video = contract.VideoID("0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d")

// The audit's own decoder and the pipeline's must agree on what well-behaved services send.
func TestTranscript_agrees_with_the_contract(t *testing.T) {
	t.Parallel()
	for _, form := range simulator.TranscriptForms() {
		t.Run(string(form), func(t *testing.T) {
			t.Parallel()
			opts := []simulator.Option{simulator.Length(time.Minute), simulator.Take(2)}
			want, err := simulator.Stored(video, form, opts...)
			if err != nil {
				t.Fatal(err)
			}
			id, got, err := audit.Transcript(simulator.TranscriptMessage(video, form, opts...))
			if err != nil || id != string(video) {
				t.Fatalf("video %q, %v", id, err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-contract +audit:\n%s", diff)
			}
		})
	}
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ key, value, want string }{
		"unknown members stay, numbers and strings keep their spelling": {
			value: `{"a": 1.50, "videoId": "0A1B2C3D-4E5F-4A6B-8C7D-9E0F1A2B3C4D", "words": [{"word": "\u0041", "start": 0e0, "end": 1.0, "x": {}}]}`,
			want: `{
  "video_id": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
  "transcription": {
    "a": 1.50,
    "words": [
      {
        "text": "\u0041",
        "start": 0e0,
        "end": 1.0,
        "x": {}
      }
    ]
  }
}`,
		},
		"the key says it": {
			key:   string(video),
			value: `{"transcription": {"words": []}}`,
			want: `{
  "video_id": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
  "transcription": {
    "words": []
  }
}`,
		},
	}
	for name, tt := range tests {
		id, got, err := audit.Transcript([]byte(tt.key), []byte(tt.value))
		if err != nil || id != string(video) {
			t.Errorf("%s: video %q, %v", name, id, err)
		}
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestCompression_agrees_with_the_contract(t *testing.T) {
	t.Parallel()
	for _, form := range simulator.CompressionForms() {
		key, value := simulator.CompressionMessage(video, form)
		want, err := contract.DecodeCompression(key, value)
		if err != nil {
			t.Fatal(err)
		}
		id, url, err := audit.Compression(key, value)
		if err != nil || id != string(want.VideoID) || url != want.URL {
			t.Errorf("%s: got %s, %s, %v, want %s, %s", form, id, url, err, want.VideoID, want.URL)
		}
	}
}
