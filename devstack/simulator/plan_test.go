package simulator

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
)

// plans draws what becomes of requests that are a second apart.
func plans(b Behaviour, seed uint64, n int) (all [][]answer) {
	start := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	for i := range n {
		r := &kgo.Record{Topic: "Transcribe", Offset: int64(i), Timestamp: start.Add(time.Duration(i) * time.Second)}
		request := contract.Request{VideoID: "0b4d3c1e-6f5a-4c1b-9a57-1f2e3d4c5b6a"}
		all = append(all, b.plan(seed, r, request, start.Add(time.Hour)))
	}
	return all
}

var answers = cmp.Options{cmp.AllowUnexported(answer{}), cmpopts.IgnoreFields(answer{}, "opts", "request")}

func TestPlan(t *testing.T) {
	t.Parallel()
	count := func(all [][]answer, transcription bool) (n int) {
		for _, plan := range all {
			for _, a := range plan {
				if a.transcription == transcription {
					n++
				}
			}
		}
		return n
	}
	overtaken := func(all [][]answer) (n int) {
		var last time.Time
		for _, plan := range all {
			for _, a := range plan {
				if a.transcription {
					if a.due.Before(last) {
						n++
					}
					last = a.due
				}
			}
		}
		return n
	}
	still := DefaultBehaviour()
	still.TranscriptionDelay, still.CompressionDelay = Range{}, Range{}

	t.Run("is the same for the same seed and offset", func(t *testing.T) {
		t.Parallel()
		if diff := cmp.Diff(plans(DefaultBehaviour(), 3, 50), plans(DefaultBehaviour(), 3, 50), answers); diff != "" {
			t.Error(diff)
		}
		if cmp.Equal(plans(DefaultBehaviour(), 3, 50), plans(DefaultBehaviour(), 4, 50), answers) {
			t.Error("another seed draws the same")
		}
	})
	t.Run("keeps delays in their range", func(t *testing.T) {
		t.Parallel()
		b := still
		b.TranscriptionDelay = Range{Min: Duration(2 * time.Second), Max: Duration(4 * time.Second)}
		for i, plan := range plans(b, 1, 200) {
			asked := time.Date(2026, 11, 1, 9, 0, i, 0, time.UTC)
			for _, a := range plan {
				if delay := a.due.Sub(asked); a.transcription && (delay < 2*time.Second || delay > 4*time.Second) {
					t.Fatalf("a delay of %v", delay)
				}
			}
		}
	})
	t.Run("counts a delay from now when the request's clock runs ahead", func(t *testing.T) {
		t.Parallel()
		now := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
		r := &kgo.Record{Timestamp: now.Add(time.Hour)}
		for _, a := range still.plan(1, r, contract.Request{}, now) {
			if !a.due.Equal(now) {
				t.Errorf("due at %v, want %v", a.due, now)
			}
		}
	})
	t.Run("is silent for about the fraction told", func(t *testing.T) {
		t.Parallel()
		b := still
		b.SilentTranscriptions = 0.3
		all := plans(b, 1, 1000)
		if n := count(all, true); n < 600 || n > 800 {
			t.Errorf("%d of 1000 transcriptions", n)
		}
		if n := count(all, false); n != 1000 {
			t.Errorf("%d of 1000 compressions", n)
		}
	})
	t.Run("repeats about the fraction told", func(t *testing.T) {
		t.Parallel()
		b := still
		b.Repeats = 0.3
		if n := count(plans(b, 1, 1000), true); n < 1200 || n > 1400 {
			t.Errorf("%d transcriptions of 1000 requests", n)
		}
	})
	t.Run("reorders only when told", func(t *testing.T) {
		t.Parallel()
		if n := overtaken(plans(still, 1, 1000)); n != 0 {
			t.Errorf("%d answers were overtaken", n)
		}
		b := still
		b.Reorders = 0.3
		if n := overtaken(plans(b, 1, 1000)); n < 50 {
			t.Errorf("only %d answers were overtaken", n)
		}
	})
}

func TestHint(t *testing.T) {
	t.Parallel()
	rows := map[string]time.Duration{
		"":                  0,
		"Sorting":           0,
		"Sorting [3h]":      3 * time.Hour,
		"[1h30m] Sorting":   90 * time.Minute,
		"Sorting [10s][3h]": 10 * time.Second,
		"Sorting [2]":       0,
		"Sorting [999h]":    0,
		"Sorting [0s]":      0,
		"Sorting [part 2]":  0,
	}
	for title, want := range rows {
		got, ok := hinted(title)
		if ok != (want > 0) || ok && got != want {
			t.Errorf("%q: got %v, %v, want %v", title, got, ok, want)
		}
	}
}
