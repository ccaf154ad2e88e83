package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/telemetry"
)

func TestOpen_writes_files(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "logs")
	var console bytes.Buffer
	log, files, err := telemetry.Open(telemetry.Options{
		Console: &console, Format: telemetry.JSON, Dir: dir, Level: slog.LevelInfo,
	})
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("too fine")
	log.Info("Kafka broker connected", "broker", "kafka:9092", "took", 1500*time.Millisecond)
	log.With("video_id", "v1").Error("storage refused", "error", errors.New("no such bucket"))
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}

	info := map[string]any{"level": "INFO", "msg": "Kafka broker connected", "broker": "kafka:9092", "took": "1.5s"}
	failure := map[string]any{"level": "ERROR", "msg": "storage refused", "video_id": "v1", "error": "no such bucket"}
	for name, row := range map[string]struct {
		text []byte
		want []map[string]any
	}{
		"console":      {console.Bytes(), []map[string]any{info, failure}},
		"combined.log": {read(t, dir, "combined.log"), []map[string]any{info, failure}},
		"error.log":    {read(t, dir, "error.log"), []map[string]any{failure}},
	} {
		if diff := cmp.Diff(row.want, lines(t, row.text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOpen_appends_to_what_was_there(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		log, files, err := telemetry.Open(telemetry.Options{Console: new(bytes.Buffer), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		log.Error("again")
		if err := files.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(lines(t, read(t, dir, "error.log"))); got != 2 {
		t.Errorf("lines in error.log: got %d, want 2", got)
	}
}

func TestOpen_refuses_a_directory_that_cannot_be_written_to(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := telemetry.Open(telemetry.Options{Console: new(bytes.Buffer), Dir: filepath.Join(file, "logs")})
	if err == nil || !strings.Contains(err.Error(), "LOG_DIR") {
		t.Errorf("got %v, want an error that names LOG_DIR", err)
	}
}

func TestOpen_formats(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		format string
		json   bool
	}{{telemetry.Auto, true}, {"", true}, {telemetry.JSON, true}, {telemetry.Text, false}} {
		var console bytes.Buffer
		log, _, err := telemetry.Open(telemetry.Options{Console: &console, Format: row.format})
		if err != nil {
			t.Fatal(err)
		}
		log.Info("hello", "n", 1)
		if got := json.Valid(console.Bytes()); got != row.json {
			t.Errorf("format %q without a terminal: JSON is %t, want %t: %s", row.format, got, row.json, console.String())
		}
		if strings.Contains(console.String(), "\x1b") {
			t.Errorf("format %q without a terminal: got colours in %q", row.format, console.String())
		}
	}
}

func TestOpen_redacts(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	for _, format := range []string{telemetry.JSON, telemetry.Text} {
		dir := t.TempDir()
		var console bytes.Buffer
		log, files, err := telemetry.Open(telemetry.Options{
			Console: &console, Format: format, Dir: dir,
			Redact: func(s string) string { return strings.ReplaceAll(s, secret, "[redacted]") },
		})
		if err != nil {
			t.Fatal(err)
		}
		log.With("with", secret).WithGroup("group").Error("message with "+secret,
			"text", "x"+secret, "error", errors.New("login "+secret), "stringer", stringer(secret),
			slog.Group("inner", "text", secret))
		if err := files.Close(); err != nil {
			t.Fatal(err)
		}
		all := console.String() + string(read(t, dir, "combined.log")) + string(read(t, dir, "error.log"))
		if strings.Contains(all, secret) || strings.Count(all, "[redacted]") != 3*6 {
			t.Errorf("%s: got %s, want six redactions in each of three places and no secret", format, all)
		}
	}
}

type stringer string

func (s stringer) String() string { return string(s) }

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// lines parses each line, and takes out the time after looking that there is one.
func lines(t *testing.T, data []byte) []map[string]any {
	t.Helper()
	var list []map[string]any
	for line := range bytes.Lines(data) {
		record := make(map[string]any)
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if _, err := time.Parse(time.RFC3339Nano, record["time"].(string)); err != nil {
			t.Error(err)
		}
		delete(record, "time")
		list = append(list, record)
	}
	return list
}
