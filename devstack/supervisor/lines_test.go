package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConsole(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		written []string
		want    string
	}{
		"structured_log": {
			[]string{`{"time":"2026-11-23T10:20:30.456Z","level":"WARN","msg":"Kafka is away","video_id":"a b","offset":12,"took":1500000,"ok":true}` + "\n"},
			"worker  │ 10:20:30.456 WRN Kafka is away video_id=\"a b\" offset=12 took=1.5ms ok=true\n",
		},
		"other_lines":          {[]string{"panic: no\n", "\n", "goroutine 1\n"}, "worker  │ panic: no\nworker  │ \nworker  │ goroutine 1\n"},
		"lines_in_pieces":      {[]string{"on", "e\ntw", "o\nthree"}, "worker  │ one\nworker  │ two\n"},
		"JSON_that_is_no_log":  {[]string{"{\"a\": 1}\n{broken\n"}, "worker  │ {\"a\": 1}\nworker  │ {broken\n"},
		"line_ends_of_windows": {[]string{"one\r\n"}, "worker  │ one\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			w := NewConsole(&out, false, 7).Writer("worker", 0)
			for _, piece := range tt.written {
				if n, err := w.Write([]byte(piece)); err != nil || n != len(piece) {
					t.Fatalf("Write answers %d and %v", n, err)
				}
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConsole_reads_what_slog_writes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(NewConsole(&out, true, 7).Writer("worker", 1), &slog.HandlerOptions{Level: slog.LevelDebug}))
	log.Debug("first", "error", errors.New("it broke"), slog.Group("group", "n", 1), "took", 2*time.Second)
	for _, want := range []string{"\x1b[33m", "DBG", "first", "it broke", "2s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q has no %q", out.String(), want)
		}
	}
}

func TestConsole_cuts_a_line_without_an_end(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := NewConsole(&out, false, 1).Writer("a", 0)
	if _, err := w.Write(bytes.Repeat([]byte("x"), 3*maxLine+1)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "\n"); got != 3 {
		t.Errorf("%d lines, want 3", got)
	}
}

// TestConsole_keeps_lines_whole: children write at the same time.
func TestConsole_keeps_lines_whole(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	console := NewConsole(&out, false, 8)
	var writing sync.WaitGroup
	for i := range 8 {
		w := console.Writer(fmt.Sprintf("child %d", i), i)
		writing.Go(func() {
			for range 100 {
				_, _ = w.Write([]byte("a line of some "))
				_, _ = w.Write([]byte("length\n"))
			}
		})
	}
	writing.Wait()
	for line := range strings.Lines(out.String()) {
		if _, text, _ := strings.Cut(line, "│ "); text != "a line of some length\n" {
			t.Fatalf("a line is %q", line)
		}
	}
}
