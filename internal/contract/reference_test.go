package contract_test

import (
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
)

func TestReference_Matches(t *testing.T) {
	t.Parallel()
	value := []byte("a transcript")
	sum := sha256.Sum256(value)
	whole := contract.Reference{Size: len(value), SHA256: sum[:]}
	tests := map[string]struct {
		reference contract.Reference
		value     string
		want      bool
	}{
		"the same bytes":      {whole, "a transcript", true},
		"other bytes":         {whole, "A transcript", false},
		"fewer bytes":         {whole, "a transcrip", false},
		"no bytes":            {whole, "", false},
		"another size":        {contract.Reference{Size: 1, SHA256: sum[:]}, "a transcript", false},
		"a hash cut short":    {contract.Reference{Size: len(value), SHA256: sum[:16]}, "a transcript", false},
		"a reference of none": {contract.Reference{}, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.reference.Matches([]byte(tt.value)); got != tt.want {
				t.Errorf("Matches(%q) = %v, want %v", tt.value, got, tt.want)
			}
		})
	}
}

// References travel in signals and stand in recorded histories: their JSON is for ever, and small.
func TestReference_JSON(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("x"))
	topic := uuid.MustParse("11111111-2222-4333-8444-555555555555")
	ref := contract.Reference{
		Topic: "update_transcribe", TopicID: topic, Partition: 3, Offset: 42, Size: 1, SHA256: sum[:],
		Position:   contract.NewPosition(topic, 3, 42, time.UnixMilli(1_700_000_000_123), time.UnixMilli(1_700_000_001_000)),
		Transcript: &contract.TranscriptSummary{Duration: 125.5, Language: "en", Words: 1},
	}
	got, err := json.Marshal(ref)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"topic":"update_transcribe","topicId":"11111111-2222-4333-8444-555555555555","partition":3,"offset":42,"size":1,` +
		`"sha256":"LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=",` +
		`"position":{"topicId":"11111111-2222-4333-8444-555555555555","partition":3,"offset":42,"time":"2023-11-14T22:13:20.123Z"},` +
		`"transcript":{"duration":125.5,"language":"en","words":1}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	var back contract.Reference
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ref, back); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
