package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/leftover"
	"github.com/codeendelea/vidflow/devstack/outcome"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/stack"
	"github.com/codeendelea/vidflow/devstack/supervisor"
	"github.com/codeendelea/vidflow/internal/contract"
)

type smokeCmd struct {
	Binary  string        `help:"The vidflow binary; built when not given." type:"existingfile" placeholder:"PATH"`
	Timeout time.Duration `help:"For all videos together." default:"90s"`
	Logs    bool          `help:"Show what everything logs; without it, only when the test fails."`
}

// smokeLengths are those of the recordings: from ten seconds to three hours, whose transcript is beyond a megabyte.
var smokeLengths = []time.Duration{10 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 3 * time.Hour}

// Run brings the whole pipeline up on free ports in a new folder, sends videos through it, looks at what came of them,
// takes everything down and makes sure that nothing is left.
func (c *smokeCmd) Run(sig *interrupts) (err error) {
	started := time.Now()
	say := sayer(started)
	dir, err := scratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Remove(dir)) }()
	logs, finish, err := c.logs(dir)
	if err != nil {
		return err
	}
	defer func() { finish(err != nil) }()
	if c.Binary == "" {
		if c.Binary, err = build(sig.asked, dir, say); err != nil {
			return err
		}
	}
	block, anchor, err := ports.Free()
	if err != nil {
		return err
	}
	behaviour := eager()
	s := &session{
		dir:       dir,
		block:     block,
		binary:    c.Binary,
		control:   anchor,
		console:   supervisor.NewConsole(logs, c.Logs && colourful(os.Stdout), len(bridgeProcess)),
		say:       say,
		insist:    sig.insisted,
		disposed:  true,
		simulator: simulator.Config{Behaviour: &behaviour},
	}
	err = s.run(sig.asked, func(ctx context.Context) error {
		say("everything is ready")
		ctx, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		return c.videos(ctx, s, behaviour)
	})
	if err == nil && sig.asked.Err() != nil {
		return errors.New("interrupted")
	}
	if err == nil {
		say("everything is stopped")
	}
	if left := leftover.Check(dir, block); left != nil {
		return errors.Join(err, left)
	}
	if err == nil {
		say("no process and no port is left: the smoke test passed")
	}
	return err
}

// eager answers soon, in every form, and repeats itself.
func eager() simulator.Behaviour {
	b := simulator.DefaultBehaviour()
	soon := simulator.Range{Min: simulator.Duration(50 * time.Millisecond), Max: simulator.Duration(time.Second)}
	b.TranscriptionDelay, b.CompressionDelay = soon, soon
	b.Repeats, b.RepeatWithin = 0.5, simulator.Duration(500*time.Millisecond)
	b.TranscriptForms, b.CompressionForms = simulator.TranscriptForms(), simulator.CompressionForms()
	return b
}

// logs is where the log of everything goes. Without --logs it is kept back, and shown when the test has failed.
func (c *smokeCmd) logs(dir string) (logs io.Writer, finish func(failed bool), err error) {
	if c.Logs {
		return os.Stdout, func(bool) {}, nil
	}
	file, err := os.Create(filepath.Join(dir, "all.log"))
	if err != nil {
		return nil, nil, err
	}
	return file, func(failed bool) {
		if failed {
			if content, err := os.ReadFile(file.Name()); err == nil {
				_, _ = os.Stderr.Write(content)
			}
		}
		_ = file.Close()
	}, nil
}

// smoked is one video on its way through the test.
type smoked struct {
	length time.Duration
	id     contract.VideoID
	form   simulator.TranscriptForm
	bytes  int
	took   time.Duration
	err    error
}

func (c *smokeCmd) videos(ctx context.Context, s *session, b simulator.Behaviour) error {
	places, closePlaces, err := s.places(ctx)
	if err != nil {
		return err
	}
	defer closePlaces()
	videos := make([]smoked, len(smokeLengths))
	var group errgroup.Group
	for i, length := range smokeLengths {
		group.Go(func() error {
			v := &videos[i]
			v.length = length
			v.err = v.run(ctx, places, b)
			return v.err
		})
	}
	err = group.Wait()
	printVideos(os.Stdout, videos)
	return err
}

func (v *smoked) run(ctx context.Context, places outcome.Places, b simulator.Behaviour) error {
	started := time.Now()
	created, err := places.API.Create(ctx, seed.Courses[0].ID, api.NewVideo{
		Title:       fmt.Sprintf("Smoke test [%s]", v.length),
		Description: "A video of the smoke test, to be transcribed and compressed.",
		CameraURL:   "https://example.test/lectures/smoke.mp4",
		Level:       string(contract.Beginner),
	})
	if err != nil {
		return err
	}
	v.id, v.form = created.ID, b.TranscriptForm(created.ID)
	if _, err := places.API.Await(ctx, v.id, api.Video.Done); err != nil {
		return err
	}
	v.took = time.Since(started)
	want, err := outcome.Of(v.id, b, v.length)
	if err != nil {
		return err
	}
	v.bytes = len(want.Stored)
	return places.Check(ctx, v.id, want)
}

func printVideos(out io.Writer, videos []smoked) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "video\tspeech\tform of the result\tstored\ttook\toutcome")
	for _, v := range videos {
		result := "as it must be: bytes, columns, answer, run"
		if v.err != nil {
			result = "WRONG"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d B\t%.1f s\t%s\n", v.id, v.length, v.form, v.bytes, v.took.Seconds(), result)
	}
	_ = w.Flush()
	_, _ = fmt.Fprintf(out, "\n%s\n", b.String())
}

// places opens what a video leaves its marks in.
func (s *session) places(ctx context.Context) (outcome.Places, func(), error) {
	token, err := seed.Token(stack.JWTSecret, seed.Lecturer, time.Now(), time.Hour)
	if err != nil {
		return outcome.Places{}, nil, err
	}
	pool, err := pgxpool.New(ctx, postgres.URL(s.block.Port(ports.Postgres), postgres.Superuser, postgres.Password, stack.Database))
	if err != nil {
		return outcome.Places{}, nil, err
	}
	temporal, err := client.DialContext(ctx, client.Options{
		HostPort: s.block.Addr(ports.TemporalGRPC), Namespace: stack.Namespace, Logger: tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		pool.Close()
		return outcome.Places{}, nil, fmt.Errorf("connect to Temporal: %w", err)
	}
	return outcome.Places{
		API:      api.Client{URL: s.block.URL(ports.API), Token: token},
		Database: pool,
		Temporal: temporal,
		Storage:  s.block.URL(ports.Storage),
	}, func() {
		temporal.Close()
		pool.Close()
	}, nil
}
