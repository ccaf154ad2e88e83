package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/mattn/go-isatty"
	"golang.org/x/term"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/status"
	"github.com/codeendelea/vidflow/internal/telemetry"
)

type statusCmd struct {
	Video     *string `arg:"" optional:"" help:"Id of a video: where that one is, what it waits for and what to do."`
	Watch     every   `placeholder:"2s" help:"Look again every two seconds, or as often as --watch=10s says, until Ctrl-C."`
	API       string  `name:"api" placeholder:"URL" help:"Ask also whether the API answers there ($$VIDFLOW_API)."`
	JSON      bool    `name:"json" help:"Write a JSON object; with --watch one on each line."`
	toolFlags `embed:""`
}

// every is how often to look again: a flag that may go without its value. Zero: once.
type every time.Duration

// watchEvery is how often --watch looks, and watchLeast the least that it takes.
const (
	watchEvery = 2 * time.Second
	watchLeast = 100 * time.Millisecond
)

// IsBool says to kong that the flag needs no value.
func (*every) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (e *every) Decode(ctx *kong.DecodeContext) error {
	*e = every(watchEvery)
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil
	}
	text := fmt.Sprint(ctx.Scan.Pop().Value)
	d, err := time.ParseDuration(text)
	if err != nil || d < watchLeast {
		return fmt.Errorf("%q is no time to wait; want 2s, 1m", text)
	}
	*e = every(d)
	return nil
}

// Exit codes of vidflow status.
const (
	exitDegraded = 3
	exitBroken   = 4
	exitNoVideo  = 5
)

// Help is shown by "vidflow status --help".
func (statusCmd) Help() string {
	return "Asks Postgres, Temporal, Kafka and the storage side by side, each for five seconds at most, and changes nothing. What is " +
		"away is said, and the rest is shown. It takes the worker's environment, its times (TRANSCRIPTION_ASK_AGAIN_AFTER, …) included: " +
		"by them it tells which videos nobody sees to.\n\n" +
		"Exit codes: 0 all is in order, 3 degraded: it works, and somebody has to see to something, 4 broken: something that every " +
		"video needs is not there, 1 something could not be told, 2 the command line or the configuration cannot be used. Of one video: " +
		"0 done, or waiting in time, 3 late or in trouble, 4 given up, 5 deleted or never known, 1 could not be told.\n\n" +
		"Examples:\n\n  vidflow status\n\n  vidflow status --watch\n\n  vidflow status --json | jq -r '.reasons[].what'\n\n" +
		"  vidflow status 0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01"
}

func (c *statusCmd) run(ctx context.Context, t *toolbox) error {
	var id contract.VideoID
	if c.Video != nil {
		var err error
		if id, err = contract.ParseVideoID(*c.Video); err != nil {
			return err
		}
	}
	sources, opened, err := openStatus(ctx, t)
	defer opened.close()
	if err != nil {
		return err
	}
	sources.API = cmp.Or(c.API, t.env["VIDFLOW_API"])
	look := func(ctx context.Context, w io.Writer) (int, error) {
		var found interface {
			Print(w io.Writer, color bool) error
		}
		var code int
		if id != "" {
			v := status.GatherVideo(ctx, sources, id)
			found, code = v, exitOfVideo(v.Verdict)
		} else {
			r := status.Gather(ctx, sources)
			found, code = r, exitOf(r.Verdict)
		}
		if c.JSON {
			return code, t.jsonTo(w, found)
		}
		return code, found.Print(w, t.colors())
	}
	if c.Watch > 0 {
		return t.watch(ctx, time.Duration(c.Watch), c.JSON, look)
	}
	code, err := look(ctx, t.stdout)
	if err == nil && code != exitOK {
		err = exitCode(code)
	}
	return err
}

func exitOf(l status.Level) int {
	switch l {
	case status.OK:
		return exitOK
	case status.Degraded:
		return exitDegraded
	case status.Broken:
		return exitBroken
	default:
		return exitFailed
	}
}

func exitOfVideo(l status.VideoLevel) int {
	switch l {
	case status.VideoOK:
		return exitOK
	case status.VideoTrouble:
		return exitDegraded
	case status.VideoFailed:
		return exitBroken
	case status.VideoMissing:
		return exitNoVideo
	default:
		return exitFailed
	}
}

// openStatus opens what is asked. None of it connects yet.
func openStatus(ctx context.Context, t *toolbox) (status.Sources, closers, error) {
	var opened closers
	k := t.cfg.Kafka
	s := status.Sources{
		Kafka:           kafkaConfig(k),
		TemporalAddress: t.cfg.Temporal.Address, Namespace: t.cfg.Temporal.Namespace,
		StorageURL:         t.cfg.Supabase.URL,
		TranscriptionTopic: k.ConsumeTopic, TranscriptionGroup: k.TranscriptionGroup,
		CompressionTopic: k.CompressionTopic, CompressionGroup: k.CompressionGroup,
		DeadLetterGroup: k.DeadLetterGroup,
		Deadlines: postgres.Deadlines{
			AskAgainAfter: t.cfg.Pipeline.AskAgainAfter,
			OverdueAfter:  t.cfg.Pipeline.CompressionOverdueAfter,
			GiveUpAfter:   t.cfg.Pipeline.CompressionGiveUpAfter,
		},
		MaxAsks: t.cfg.Pipeline.MaxAsks,
		Redact:  t.cfg.Redactor().Redact,
		Log:     t.log,
	}
	var err error
	if s.Store, err = openPostgres(ctx, t.cfg.Database, telemetry.Instruments{}.For(string(config.Status))); err != nil {
		return s, opened, err
	}
	opened.add(s.Store.Close)
	if s.Temporal, err = dialTemporal(t.cfg.Temporal, telemetry.Instruments{}, t.log); err != nil {
		return s, opened, err
	}
	opened.add(s.Temporal.Close)
	if s.Storage, err = openStorage(t.cfg.Supabase, telemetry.Instruments{}); err != nil {
		return s, opened, err
	}
	opened.add(s.Storage.Close)
	return s, opened, nil
}

// What a terminal is told.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // a screen of its own, without the cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	goHome      = "\x1b[H"
	clearLine   = "\x1b[K"
	clearRest   = "\x1b[J"
)

// watch looks again and again until ctx ends, which is no failure: on a terminal in place, elsewhere one after the other.
func (t *toolbox) watch(ctx context.Context, pause time.Duration, lines bool, look func(context.Context, io.Writer) (int, error)) error {
	inPlace := t.stdoutTerminal() && !lines
	if inPlace {
		_, _ = io.WriteString(t.stdout, enterScreen)
		defer func() { _, _ = io.WriteString(t.stdout, leaveScreen) }()
	}
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		var screen bytes.Buffer
		_, err := look(ctx, &screen)
		if ctx.Err() != nil {
			return nil // what was cut short says nothing
		}
		if err != nil {
			return err
		}
		text := screen.String()
		switch {
		case inPlace:
			text = goHome + strings.ReplaceAll(t.fitting(text), "\n", clearLine+"\n") + clearRest
		case !lines:
			text += "\n"
		}
		if _, err := io.WriteString(t.stdout, text); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// fitting is as much of a text as the terminal has lines for: what comes first is what matters most.
func (t *toolbox) fitting(text string) string {
	file, _ := t.stdout.(*os.File)
	_, height, err := term.GetSize(int(file.Fd()))
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if err != nil || height < 2 || len(lines) < height {
		return text
	}
	return strings.Join(lines[:height-2], "\n") + fmt.Sprintf("\n… and %d lines more\n", len(lines)-height+2)
}

// stdoutTerminal reports whether somebody watches stdout.
func (t *toolbox) stdoutTerminal() bool {
	file, ok := t.stdout.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

func (t *toolbox) colors() bool {
	return t.stdoutTerminal() && t.env["NO_COLOR"] == "" && t.env["TERM"] != "dumb"
}
