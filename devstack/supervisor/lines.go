package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/lmittmann/tint"
)

// Console is where the lines of all children meet. It is safe for concurrent use.
type Console struct {
	out   io.Writer
	color bool
	width int // of the names

	mu sync.Mutex // held for each line
}

// NewConsole writes to out, names padded to width.
func NewConsole(out io.Writer, color bool, width int) *Console {
	return &Console{out: out, color: color, width: width}
}

// colours of the names, in the order in which Writer is called; ANSI.
var colours = []int{36, 33, 35, 32, 34, 31}

// Writer is where the lines of one child go. A line of structured log, JSON as slog writes it, is made readable; any
// other line is passed on. Index chooses the colour of the name.
func (c *Console) Writer(name string, index int) io.Writer {
	prefix := fmt.Sprintf("%-*s │ ", c.width, name)
	if c.color {
		prefix = fmt.Sprintf("\x1b[%dm%s\x1b[0m", colours[index%len(colours)], prefix)
	}
	w := &lineWriter{console: c, prefix: prefix}
	w.log = tint.NewTextHandler(&w.rendered, &tint.Options{Level: slog.LevelDebug, TimeFormat: "15:04:05.000", NoColor: !c.color})
	return w
}

// maxLine bounds what is kept of a line that does not end, in bytes.
const maxLine = 64 << 10

// lineWriter cuts a stream into lines and passes each on whole.
type lineWriter struct {
	console *Console
	prefix  string

	mu       sync.Mutex
	partial  []byte
	rendered bytes.Buffer // where log writes
	log      slog.Handler
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partial = append(w.partial, p...)
	for {
		end := bytes.IndexByte(w.partial, '\n')
		if end < 0 && len(w.partial) < maxLine {
			return len(p), nil
		}
		rest := end + 1
		if end < 0 {
			end, rest = maxLine, maxLine
		}
		if err := w.line(bytes.TrimRight(w.partial[:end], "\r")); err != nil {
			return 0, err
		}
		w.partial = append(w.partial[:0], w.partial[rest:]...)
	}
}

func (w *lineWriter) line(line []byte) error {
	record, err := parse(line)
	if err == nil {
		w.rendered.Reset()
		if err := w.log.Handle(context.Background(), record); err != nil {
			return err
		}
		line = bytes.TrimRight(w.rendered.Bytes(), "\n")
	}
	w.console.mu.Lock()
	defer w.console.mu.Unlock()
	_, err = fmt.Fprintf(w.console.out, "%s%s\n", w.prefix, line)
	return err
}

var errNoRecord = errors.New("not a line of slog's JSON")

// parse reads a line of slog's JSONHandler back into a record, its attributes in their order.
func parse(line []byte) (slog.Record, error) {
	if len(line) == 0 || line[0] != '{' {
		return slog.Record{}, errNoRecord
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if _, err := d.Token(); err != nil { // the brace
		return slog.Record{}, err
	}
	var (
		when    time.Time
		level   slog.Level
		message *string
		attrs   []slog.Attr
	)
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return slog.Record{}, err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return slog.Record{}, err
		}
		name, _ := key.(string)
		switch name {
		case slog.TimeKey:
			err = json.Unmarshal(raw, &when)
		case slog.LevelKey:
			err = json.Unmarshal(raw, &level)
		case slog.MessageKey:
			err = json.Unmarshal(raw, &message)
		default:
			attrs = append(attrs, attr(name, raw))
		}
		if err != nil {
			return slog.Record{}, err
		}
	}
	if message == nil {
		return slog.Record{}, errNoRecord
	}
	record := slog.NewRecord(when, level, *message, 0)
	record.AddAttrs(attrs...)
	return record, nil
}

// durations are the attributes that slog's JSON writes as nanoseconds.
var durations = map[string]bool{"duration": true, "took": true, "pause": true, "delay": true, "age": true}

func attr(name string, raw json.RawMessage) slog.Attr {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if name == "error" {
			return tint.Err(errors.New(text))
		}
		return slog.String(name, text)
	}
	var nanoseconds int64
	if durations[name] && json.Unmarshal(raw, &nanoseconds) == nil {
		return slog.Duration(name, time.Duration(nanoseconds))
	}
	return slog.String(name, string(raw))
}
