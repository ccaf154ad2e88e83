package contract_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/internal/contract"
)

// hour is a transcription result of about an hour of speech, 400 KB, in compact canonical form but for its spelling.
func hour() []byte {
	var b strings.Builder
	b.WriteString(`{"video_id":"3f0c1a52-7d6e-4b7a-9a55-0d2f3c9b8e11","transcription":{"duration":3600.5,"language":"en","words":[`)
	words := []string{"hello", "the", "orchestration", "of", "a", "durable", "workflow", "Überraschung", "été", "and"}
	for i := range 8000 {
		if i > 0 {
			b.WriteByte(',')
		}
		start := float64(i) * 0.45
		fmt.Fprintf(&b, `{"text":%q,"start":%.3f,"end":%.3f}`, words[i%len(words)], start, start+0.4)
	}
	b.WriteString(`]}}`)
	return []byte(b.String())
}

// BenchmarkDecodeTranscription is what the bridge does with a record; BenchmarkFloor is the least that it could do.
func BenchmarkDecodeTranscription(b *testing.B) {
	value := hour()
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := contract.DecodeTranscription(nil, value); err != nil {
			b.Fatal(err)
		}
		sha256.Sum256(value)
	}
}

func BenchmarkFloor(b *testing.B) {
	value := hour()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if !json.Valid(value) {
			b.Fatal("not JSON")
		}
		sha256.Sum256(value)
	}
}

// BenchmarkDecodeToStore is what the worker does with a record.
func BenchmarkDecodeToStore(b *testing.B) {
	value := hour()
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := contract.DecodeToStore(nil, value); err != nil {
			b.Fatal(err)
		}
	}
}
