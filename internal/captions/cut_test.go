package captions_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/captions"
)

func TestWithoutWords(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]string{
		"no words":    `{"video_id": "x", "transcription": {"words": []}}`,
		"null":        `{"transcription": {"words": null}}`,
		"empty words": `{"transcription": {"words": [{"text": "", "start": 0, "end": 1}, {"text": " \u0000\n", "start": 1, "end": 1}]}}`,
	} {
		got, err := captions.FromTranscript([]byte(stored))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("WEBVTT\n\n", string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, stored := range []string{"", "[]", "{}", `{"transcription": 1}`, `{"transcription": {"words": "none"}}`} {
		if _, err := captions.FromTranscript([]byte(stored)); err == nil {
			t.Errorf("%q: no error", stored)
		}
	}
}
