package contract_test

import (
	"encoding/json"
	"testing"

	"github.com/codeendelea/vidflow/internal/contract"
)

// The values are for ever: a service that remembers a key must know it again after an upgrade.
func TestAsk(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		ask         contract.Ask
		key         string
		traceparent string
	}{
		"first": {
			contract.Ask{Video: video, N: 1},
			"3f0c1a52-7d6e-4b7a-9a55-0d2f3c9b8e11/transcribe/1",
			"00-5867936d14d5887ee95414a66c53acbe-3856c7654572f6e9-00",
		},
		"twelfth": {
			contract.Ask{Video: video, N: 12},
			"3f0c1a52-7d6e-4b7a-9a55-0d2f3c9b8e11/transcribe/12",
			"00-5d2e6178a85abc58a0934406d943a9ce-d070b6ea4f82ed0d-00",
		},
		"of another video": {
			contract.Ask{Video: other, N: 1},
			"00000000-0000-4000-8000-000000000001/transcribe/1",
			"00-af033b6b957e0d6f32279fc506fcd9c0-c47765fb7e5eac25-00",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.ask.Key(); got != tt.key {
				t.Errorf("Key() = %q, want %q", got, tt.key)
			}
			if got := tt.ask.Traceparent(); got != tt.traceparent {
				t.Errorf("Traceparent() = %q, want %q", got, tt.traceparent)
			}
		})
	}
}

func TestNewRequest(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		metadata contract.RequestMetadata
		want     string
	}{
		"whole": {
			contract.RequestMetadata{Title: "Go, in an hour", CourseID: "c1", UserID: "u1"},
			`{"video_id":"` + video + `","video_url":"https://example.org/v.mp4",` +
				`"metadata":{"title":"Go, in an hour","courseId":"c1","userId":"u1"}}`,
		},
		"without a user": {
			contract.RequestMetadata{Title: "Go, in an hour", CourseID: "c1"},
			`{"video_id":"` + video + `","video_url":"https://example.org/v.mp4","metadata":{"title":"Go, in an hour","courseId":"c1"}}`,
		},
		"without metadata": {
			contract.RequestMetadata{},
			`{"video_id":"` + video + `","video_url":"https://example.org/v.mp4"}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := json.Marshal(contract.NewRequest(video, "https://example.org/v.mp4", tt.metadata))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
