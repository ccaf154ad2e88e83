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
		&g.Status.toolFlags, &g.Adopt.toolFlags, &g.Replay.toolFlags,
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

// progress shows a count, with the rate and the time that is left: on a terminal on one line that changes, elsewhere every
// so often on a line of its own.
type progress struct {
	t        *toolbox
	what     string // "sent back"
	total    int    // 0 when nobody knows
	done     int
	terminal bool
	began    time.Time
	told     time.Time
}

// progressEvery is how often a line is written where nobody watches, and progressAtOnce where somebody does.
const (
	progressEvery  = 10 * time.Second
	progressAtOnce = 100 * time.Millisecond
)

func (t *toolbox) progress(what string, total int) *progress {
	return &progress{t: t, what: what, total: total, terminal: t.terminal(), began: time.Now(), told: time.Now()}
}

func (p *progress) add() {
	p.done++
	now := time.Now()
	switch {
	case p.terminal && (now.Sub(p.told) >= progressAtOnce || p.done == 1 || p.done == p.total):
		p.told = now
		_, _ = fmt.Fprintf(p.t.stderr, "\r\033[K%s", p.line(now))
	case !p.terminal && now.Sub(p.told) >= progressEvery:
		p.told = now
		p.t.note("%s", p.line(now))
	}
}

// line is "120 of 4000 sent back, 12/s, 5m23s left".
func (p *progress) line(now time.Time) string {
	line := fmt.Sprintf("%d %s", p.done, p.what)
	if p.total > 0 {
		line = fmt.Sprintf("%d of %d %s", p.done, max(p.total, p.done), p.what)
	}
	took := now.Sub(p.began)
	if took < time.Second {
		return line
	}
	rate := float64(p.done) / took.Seconds()
	line += fmt.Sprintf(", %.3g/s", rate)
	if left := p.total - p.done; left > 0 {
		line += fmt.Sprintf(", %s left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	return line
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
