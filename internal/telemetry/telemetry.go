// Package telemetry sets up what a process says about itself: the structured log, on the console and in files, metrics and
// traces.
//
// It imports none of vidflow's other packages but tracing, and keeps no global state: the logger is handed down. What is logged, and
// with which keys, is the business of who logs.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
	"go.opentelemetry.io/otel/trace"
	"gopkg.in/natefinch/lumberjack.v2"
)

// Formats of the console.
const (
	Auto = "auto" // Text on a terminal, else JSON
	Text = "text"
	JSON = "json"
)

// Rotation of the files: at 50 MB (megabytes, lumberjack's unit), five old ones are kept, compressed, for 30 days.
const (
	maxFileMB   = 50
	maxOldFiles = 5
	maxDays     = 30
)

// Names of the files in Options.Dir.
const (
	combinedFile = "combined.log"
	errorFile    = "error.log"
)

// Options say where the log goes.
type Options struct {
	// Console gets every record of at least Level. Usually os.Stderr.
	Console io.Writer
	// Format of the console; empty is Auto.
	Format string
	// NoColor switches colours off in Text. They are off too where the console is no terminal.
	NoColor bool
	// Level is the least that is logged.
	Level slog.Level
	// Dir gets combined.log with every record and error.log with errors alone, in JSON. It is made when it does not
	// exist, and belongs to one process: two would rotate each other's files away. Empty: no files.
	Dir string
	// Redact takes secrets out of messages, strings and errors; nil takes out none.
	Redact func(string) string
}

// Open makes the logger. Close the closer when nothing is logged any more.
func Open(o Options) (*slog.Logger, io.Closer, error) {
	handlers := []slog.Handler{o.console()}
	var files closers
	if o.Dir != "" {
		if err := prepare(o.Dir); err != nil {
			return nil, nil, fmt.Errorf("LOG_DIR %q cannot be written to: %w", o.Dir, err)
		}
		combined, failures := rotated(o.Dir, combinedFile), rotated(o.Dir, errorFile)
		files = closers{combined, failures}
		handlers = append(handlers,
			slog.NewJSONHandler(combined, o.handler(o.Level)),
			slog.NewJSONHandler(failures, o.handler(max(o.Level, slog.LevelError))),
		)
	}
	return slog.New(traced{slog.NewMultiHandler(handlers...)}), files, nil
}

func (o Options) console() slog.Handler {
	file, ok := o.Console.(*os.File)
	terminal := ok && isatty.IsTerminal(file.Fd())
	if o.Format == JSON || o.Format != Text && !terminal {
		return slog.NewJSONHandler(o.Console, o.handler(o.Level))
	}
	return tint.NewTextHandler(o.Console, &tint.Options{
		Level:       o.Level,
		ReplaceAttr: o.replaceAttr,
		TimeFormat:  "15:04:05.000",
		NoColor:     o.NoColor || !terminal,
	})
}

func (o Options) handler(level slog.Level) *slog.HandlerOptions {
	return &slog.HandlerOptions{Level: level, ReplaceAttr: o.replaceAttr}
}

// replaceAttr redacts, and writes durations as people do in JSON too: "1.5s" and not 1500000000. Redacting is the second
// line of defence: secrets are of a type that hides itself, but libraries put what they were given into their errors.
func (o Options) replaceAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(o.redact(a.Value.String()))
	case slog.KindDuration:
		a.Value = slog.StringValue(a.Value.Duration().String())
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			a.Value = slog.StringValue(o.redact(v.Error()))
		case slog.Level, *slog.Source: // what the handlers themselves write
		case fmt.Stringer:
			a.Value = slog.StringValue(o.redact(v.String()))
		}
	}
	return a
}

func (o Options) redact(s string) string {
	if o.Redact == nil {
		return s
	}
	return o.Redact(s)
}

// prepare makes the directory and finds out whether it can be written to: the files are opened only at the first record,
// when it is too late to refuse.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, combinedFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}

func rotated(dir, name string) *lumberjack.Logger {
	return &lumberjack.Logger{
		Filename:   filepath.Join(dir, name),
		MaxSize:    maxFileMB,
		MaxBackups: maxOldFiles,
		MaxAge:     maxDays,
		Compress:   true,
	}
}

type closers []io.Closer

// Close closes all.
func (c closers) Close() error {
	var errs []error
	for _, closer := range c {
		errs = append(errs, closer.Close())
	}
	return errors.Join(errs...)
}

// traced adds the id of the trace that a record was logged in, if there is one.
type traced struct{ slog.Handler }

// Handle implements slog.Handler.
func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()))
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (t traced) WithGroup(name string) slog.Handler { return traced{t.Handler.WithGroup(name)} }
