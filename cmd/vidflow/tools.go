package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/mattn/go-isatty"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/telemetry"
)

// tool is a command for people at a terminal, and for their scripts: what was asked for goes to stdout, everything else to
// stderr, and it ends by itself or at a signal.
type tool interface {
	run(ctx context.Context, t *toolbox) error
}

// toolFlags are the flags of every tool.
type toolFlags struct {
	Variables kong.Plugins `embed:""`
}

// tools returns the flags of each.
func (g *grammar) tools() []*toolFlags {
	return []*toolFlags{
		&g.Dlq.List.toolFlags, &g.Dlq.Show.toolFlags, &g.Dlq.Redrive.toolFlags,
		&g.Kafka.Check.toolFlags, &g.Kafka.SendTestVideo.toolFlags, &g.Kafka.Tail.toolFlags, &g.Kafka.Produce.toolFlags,
		&g.Status.toolFlags,
	}
}

// toolbox is what a tool works with.
type toolbox struct {
	cfg    *config.Config
	env    map[string]string
	log    *slog.Logger
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	now    time.Time
}

// exitCode is the code that a command ends with, after it has said all that there is to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// errSaid is an error that people were told of already.
var errSaid = errors.New("see above")

// silent is a level that nothing is logged at: a tool says itself what is wrong.
const silent = slog.LevelError + 1

// runTool runs a tool. It has no log unless LOG_LEVEL asks for one, which goes to no file.
func (l *commandLine) runTool(
	ctx context.Context, cfg *config.Config, env map[string]string, stdin io.Reader, stdout, stderr io.Writer,
) error {
	level := cfg.Process.LogLevel
	if l.flags["LOG_LEVEL"] == "" && env["LOG_LEVEL"] == "" {
		level = silent
	}
	log, files, err := telemetry.Open(telemetry.Options{
		Console: stderr, Format: cfg.Process.LogFormat, NoColor: env["NO_COLOR"] != "", Level: level, Redact: cfg.Redactor().Redact,
	})
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	ctx, stop := process.WithSignals(ctx, log)
	defer stop()
	err = l.tool.run(ctx, &toolbox{
		cfg: cfg, env: env, log: log, stdin: stdin, stdout: stdout, stderr: stderr, now: time.Now(),
	})
	if code := exitCode(0); errors.As(err, &code) {
		return err
	}
	if err != nil && !errors.Is(err, errSaid) {
		return errors.New("vidflow: " + cfg.Redactor().Redact(err.Error()))
	}
	return err
}

// note tells people something that is no part of what was asked for.
func (t *toolbox) note(format string, args ...any) {
	_, _ = fmt.Fprintf(t.stderr, format+"\n", args...)
}

// json writes one line of JSON.
func (t *toolbox) json(v any) error { return t.jsonTo(t.stdout, v) }

func (*toolbox) jsonTo(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// terminal reports whether somebody watches stderr.
func (t *toolbox) terminal() bool {
	file, ok := t.stderr.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// progress shows a count: on a terminal on one line that changes, elsewhere every so often on a line of its own.
type progress struct {
	t        *toolbox
	what     string // "sent back"
	total    int
	done     int
	terminal bool
	told     time.Time
}

// progressEvery is how often a line is written where nobody watches.
const progressEvery = 10 * time.Second

func (t *toolbox) progress(what string, total int) *progress {
	return &progress{t: t, what: what, total: total, terminal: t.terminal(), told: time.Now()}
}

func (p *progress) add() {
	p.done++
	switch {
	case p.terminal:
		_, _ = fmt.Fprintf(p.t.stderr, "\r%d of %d %s", p.done, p.total, p.what)
	case time.Since(p.told) >= progressEvery:
		p.told = time.Now()
		p.t.note("%d of %d %s", p.done, p.total, p.what)
	}
}

// clear makes room for a line of something else.
func (p *progress) clear() {
	if p.terminal {
		_, _ = io.WriteString(p.t.stderr, "\r\033[K")
	}
}

// parseWhen reads a time (2026-11-24T12:00:00Z), a day (2026-11-24, UTC) or how long ago it was (90m, 2h, 3d).
func parseWhen(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time; want 2026-11-24T12:00:00Z, 2026-11-24, or how long ago: 90m, 2h, 3d", text)
}
