package simulator_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// videoID is the n-th of an endless list of ids, always the same.
func videoID(n int) contract.VideoID {
	return contract.VideoID(uuid.NewSHA1(uuid.NameSpaceOID, []byte{byte(n >> 8), byte(n)}).String())
}

type transcript struct {
	VideoID       string `json:"video_id"`
	Transcription struct {
		Duration float64
		Language string
		Words    []struct {
			Text       string
			Start, End float64
		}
	}
}

func parse(t *testing.T, value []byte) transcript {
	t.Helper()
	var got transcript
	if err := json.Unmarshal(value, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	languages := map[string]int{}
	minutes := 0
	const videos = 300
	for n := range videos {
		id := videoID(n)
		value := simulator.Transcript(id)
		if n < 20 && !bytes.Equal(value, simulator.Transcript(id)) {
			t.Fatalf("video %s: two transcripts differ", id)
		}
		if !utf8.Valid(value) {
			t.Fatalf("video %s: not UTF-8", id)
		}
		got := parse(t, value)
		checkTimes(t, got)
		length := time.Duration(got.Transcription.Duration * float64(time.Second))
		if length < simulator.MinLength || length > simulator.MaxLength {
			t.Errorf("video %s: length %v", id, length)
		}
		if length >= time.Minute && length <= 30*time.Minute {
			minutes++
		}
		languages[got.Transcription.Language]++
	}
	if len(languages) < 10 {
		t.Errorf("%d videos have only the languages %v", videos, languages)
	}
	if minutes < videos*6/10 {
		t.Errorf("only %d of %d videos are minutes long", minutes, videos)
	}
}

func checkTimes(t *testing.T, got transcript) {
	t.Helper()
	last := 0.0
	for i, w := range got.Transcription.Words {
		if w.Text == "" || w.Start < last || w.End <= w.Start {
			t.Fatalf("video %s: word %d is %+v, after one that ends at %v", got.VideoID, i, w, last)
		}
		last = w.End
	}
	if len(got.Transcription.Words) == 0 || last > got.Transcription.Duration {
		t.Fatalf("video %s: %d words until %v of %v", got.VideoID, len(got.Transcription.Words), last, got.Transcription.Duration)
	}
}

// Sizes are those of the real service: ten minutes 60-90 KB, an hour 400 KB, three hours 1.2 MB, all about.
func TestTranscriptLength(t *testing.T) {
	t.Parallel()
	rows := []struct {
		length   time.Duration
		min, max int
	}{
		{time.Second, 60, 1_000},
		{10 * time.Second, 300, 3_000},
		{10 * time.Minute, 50_000, 110_000},
		{time.Hour, 300_000, 650_000},
		{3 * time.Hour, 1<<20 + 1, 2_000_000},
	}
	for _, row := range rows {
		t.Run(row.length.String(), func(t *testing.T) {
			t.Parallel()
			seen := map[string]bool{}
			for n := 0; len(seen) < 6; n++ { // languages differ in size
				id := videoID(n)
				if language := parse(t, simulator.Transcript(id, simulator.Length(time.Second))).Transcription.Language; seen[language] {
					continue
				}
				value := simulator.Transcript(id, simulator.Length(row.length))
				got := parse(t, value)
				checkTimes(t, got)
				seen[got.Transcription.Language] = true
				if len(value) < row.min || len(value) > row.max {
					t.Errorf("%d bytes of %s, want from %d to %d", len(value), got.Transcription.Language, row.min, row.max)
				}
				if got.Transcription.Duration != row.length.Seconds() {
					t.Errorf("got a duration of %v", got.Transcription.Duration)
				}
			}
		})
	}
}

func TestTake(t *testing.T) {
	t.Parallel()
	id := videoID(1)
	if !bytes.Equal(simulator.Transcript(id), simulator.Transcript(id, simulator.Take(0))) {
		t.Error("take 0 is not the usual recording")
	}
	if bytes.Equal(simulator.Transcript(id), simulator.Transcript(id, simulator.Take(1))) {
		t.Error("take 1 says the same")
	}
	if simulator.CompressedURL(id) == simulator.CompressedURL(id, simulator.Take(1)) {
		t.Error("take 1 is compressed to the same place")
	}
}

// The bridge's decoders take every form, and find the same speech in all.
func TestTranscriptForms(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		id := videoID(n)
		length := simulator.Length(2 * time.Minute)
		want := parse(t, simulator.Transcript(id, length))
		for _, form := range simulator.TranscriptForms() {
			key, value := simulator.TranscriptMessage(id, form, length)
			result, err := contract.DecodeTranscription(key, value)
			if err != nil {
				t.Errorf("form %s: %v", form, err)
				continue
			}
			wantSummary := contract.TranscriptSummary{
				Duration: want.Transcription.Duration, Language: want.Transcription.Language, Words: len(want.Transcription.Words),
			}
			if diff := cmp.Diff(wantSummary, result.Summary); diff != "" || result.VideoID != id || result.KeyMismatch != "" {
				t.Errorf("form %s: video %s, mismatch %q, (-want +got):\n%s", form, result.VideoID, result.KeyMismatch, diff)
			}
			stored, err := simulator.Stored(id, form, length)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, parse(t, stored)); diff != "" {
				t.Errorf("form %s is stored with (-want +got):\n%s", form, diff)
			}
			if hasKey := len(key) > 0; hasKey == (form == simulator.NestedKeyless || form == simulator.NestedWordKeyless ||
				form == simulator.FlatKeyless || form == simulator.FlatTextKeyless) {
				t.Errorf("form %s: has a key: %v", form, hasKey)
			}
		}
	}
}

func TestCompressionForms(t *testing.T) {
	t.Parallel()
	id := videoID(7)
	for _, form := range simulator.CompressionForms() {
		result, err := contract.DecodeCompression(simulator.CompressionMessage(id, form))
		if err != nil {
			t.Errorf("form %s: %v", form, err)
			continue
		}
		if result.VideoID != id || result.URL != simulator.CompressedURL(id) || (result.ValueID != "") != (form == simulator.URLOtherID) {
			t.Errorf("form %s: got %+v", form, result)
		}
	}
}

func BenchmarkTranscript(b *testing.B) {
	for b.Loop() {
		simulator.Transcript(videoID(1), simulator.Length(3*time.Hour))
	}
}
