package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/telemetry"
	"github.com/codeendelea/vidflow/starter"
)

type adoptCmd struct {
	State     []string `placeholder:"STATE" enum:"failed,untracked,waiting,overdue" default:"waiting,overdue" help:"What the videos are: waiting, overdue, untracked or failed; several are separated by commas. Waiting and overdue when not given."`
	Course    string   `placeholder:"ID" help:"Only videos of this course."`
	Since     string   `placeholder:"TIME" help:"Only videos created since then: 2026-11-24T12:00:00Z, 2026-11-24, or how long ago: 90m, 2h, 3d."`
	Until     string   `placeholder:"TIME" help:"Only videos created before then."`
	Rate      float64  `default:"10" placeholder:"10" help:"How many runs are started, or asked again, a second; 0 is as many as it takes."`
	Limit     int      `placeholder:"N" help:"How many are started, or asked again, at most: to try it with a few."`
	DryRun    bool     `help:"Show what would be done, and do nothing."`
	JSON      bool     `name:"json" help:"Write a JSON object for each video, on a line of its own, and one with the counts at the end."`
	toolFlags `embed:""`
}

// Help is shown by "vidflow adopt --help".
func (adoptCmd) Help() string {
	return "Sees to it that videos that are not finished come to an end. What is done depends on their state:\n\n" +
		"* waiting, overdue: a result is waited for, so there should be a run. One is started where none is open; nobody is asked " +
		"before the time that was recorded.\n\n" +
		"* untracked: created elsewhere, without a transcript, and nobody here has asked for one. It is asked for.\n\n" +
		"* failed: the transcription was given up. It is asked for again, as often as for a new video, as by a retry. (Nobody can be " +
		"asked for a compression; a late one is applied without.)\n\n" +
		"Without --state it does what can never be too much: runs are started, and nobody is asked who would not have been. " +
		"untracked and failed cost a transcription each; look with --dry-run, and keep --rate below what the service does, " +
		"for what is not answered in time is asked for again.\n\n" +
		"It may be stopped at any moment, by kill -9 too, and started again: no video gets a second run or is asked for twice. " +
		"What is away is waited for; asking needs a worker, starting does not. A video that fails is named, and the others go on. " +
		"Exit code 1: at least one failed.\n\n" +
		"Examples:\n\n" +
		"After Temporal's namespace was lost, or another is used:\n\n  vidflow adopt --rate 100\n\n" +
		"After the transcription service was away for longer than its three asks:\n\n  vidflow adopt --state failed --since 3d\n\n" +
		"For what the old system lost, but not what it may be working on:\n\n" +
		"  vidflow adopt --state untracked --until 2d --dry-run\n\n  vidflow adopt --state untracked --until 2d --rate 1"
}

// Validate implements kong.Validatable.
func (c *adoptCmd) Validate() error {
	if c.Rate < 0 || c.Limit < 0 {
		return errors.New("--rate and --limit: want 0 or more")
	}
	return nil
}

func (c *adoptCmd) run(ctx context.Context, t *toolbox) error {
	query, err := c.query(t)
	if err != nil {
		return err
	}
	store, err := openPostgres(ctx, t.cfg.Database, telemetry.Instruments{}.For(string(config.Adopt)))
	if err != nil {
		return err
	}
	defer store.Close()
	temporal, err := dialTemporal(t.cfg.Temporal, telemetry.Instruments{}, t.log)
	if err != nil {
		return err
	}
	defer temporal.Close()

	report := &adoptReport{c: c, t: t}
	for _, check := range []process.Check{postgresCheck(store), temporalCheck(temporal, t.cfg.Temporal, true)} {
		if err := report.await(ctx, check); err != nil {
			return err
		}
	}
	adopter := &starter.Adopter{
		Store: store, Temporal: temporal, Query: query, Most: c.Limit, Rate: c.Rate, DryRun: c.DryRun, Waits: report.waits,
		HideTitles: !t.cfg.Temporal.Titles,
	}
	found, err := adopter.Count(ctx)
	if err != nil {
		return explainAdopt(err, t.cfg.Temporal)
	}
	report.begin(found)
	err = adopter.Run(ctx, report.add)
	report.end()
	switch {
	case err != nil && ctx.Err() != nil:
		t.note("Stopped; the same command goes on with the rest.")
		return errSaid
	case err != nil:
		return fmt.Errorf("%w; the same command goes on with the rest", explainAdopt(err, t.cfg.Temporal))
	case report.counts.Failed > 0:
		return errSaid
	}
	return nil
}

func (c *adoptCmd) query(t *toolbox) (q postgres.UnfinishedQuery, err error) {
	for _, state := range c.State {
		q.Lacks = append(q.Lacks, postgres.Lack(state))
	}
	if c.Course != "" {
		id, err := contract.ParseVideoID(c.Course) // an id of the same kind
		if err != nil {
			return q, fmt.Errorf("--course: %q is no id of a course", c.Course)
		}
		q.CourseID = id.String()
	}
	for _, bound := range []struct {
		flag, text string
		at         *time.Time
	}{{"--since", c.Since, &q.Since}, {"--until", c.Until, &q.Until}} {
		if bound.text == "" {
			continue
		}
		if *bound.at, err = parseWhen(bound.text, t.now); err != nil {
			return q, fmt.Errorf("%s: %w", bound.flag, err)
		}
	}
	return q, nil
}

func explainAdopt(err error, cfg config.Temporal) error {
	if never := explainTemporal(err, cfg); process.CanNeverWork(never) {
		return never
	}
	return err
}

// adoptReport says what becomes of the videos.
type adoptReport struct {
	c   *adoptCmd
	t   *toolbox
	bar *progress // nil until it begins

	counts struct {
		Started int `json:"started"`
		Asked   int `json:"asked"`
		Open    int `json:"open"`
		Nothing int `json:"nothing"`
		Failed  int `json:"failed"`
	}

	mu       sync.Mutex
	saidWait time.Time
}

type adoptedVideo struct {
	VideoID       contract.VideoID     `json:"videoId"`
	CourseID      string               `json:"courseId"`
	CreatedAt     time.Time            `json:"createdAt"`
	State         postgres.Lack        `json:"state"`
	Transcription contract.TrackState  `json:"transcription"`
	Compression   contract.TrackState  `json:"compression"`
	Outcome       starter.AdoptOutcome `json:"outcome"`
	DryRun        bool                 `json:"dryRun,omitempty"`
	Ask           int                  `json:"ask,omitempty"`
	Error         string               `json:"error,omitempty"`
}

// await waits for something that is needed to begin.
func (r *adoptReport) await(ctx context.Context, check process.Check) error {
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		err := ask(ctx, check)
		switch {
		case err == nil:
			return nil
		case process.CanNeverWork(err):
			return err
		case ctx.Err() != nil:
			r.t.note("Stopped.")
			return errSaid
		}
		r.waits(fmt.Errorf("%s: %w", check.Name, err), pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// waits says what is waited for, and says it again now and then.
func (r *adoptReport) waits(err error, again time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.saidWait) < progressEvery {
		return
	}
	r.saidWait = time.Now()
	if r.bar != nil {
		r.bar.clear()
	}
	r.t.note("Waiting, will try again in %s and go on: %s", again.Round(100*time.Millisecond), r.t.cfg.Redactor().Redact(err.Error()))
}

// begin says what was found.
func (r *adoptReport) begin(found map[postgres.Lack]int) {
	total := 0
	var words []string
	for _, lack := range postgres.Lacks() {
		if n := found[lack]; n > 0 {
			total += n
			words = append(words, fmt.Sprintf("%d %s", n, lack))
		}
	}
	if total == 0 {
		r.t.note("No such video.")
	} else {
		r.t.note("Videos: %s.", strings.Join(words, ", "))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bar = r.t.progress("seen to", total)
}

func (r *adoptReport) add(a starter.Adoption) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bar.add()
	switch a.Outcome {
	case starter.RunStarted:
		r.counts.Started++
	case starter.AskedAgain:
		r.counts.Asked++
	case starter.RunOpen:
		r.counts.Open++
	case starter.NothingToDo:
		r.counts.Nothing++
	case starter.AdoptFailed:
		r.counts.Failed++
	}
	r.tell(a)
}

// tell names a video whose outcome somebody wants to know: all in JSON, those that failed, and in a dry run those that
// something would be done for.
func (r *adoptReport) tell(a starter.Adoption) {
	would := r.c.DryRun && (a.Outcome == starter.RunStarted || a.Outcome == starter.AskedAgain)
	if !r.c.JSON && !would && a.Err == nil {
		return
	}
	r.bar.clear()
	switch {
	case r.c.JSON:
		one := adoptedVideo{
			VideoID: a.Video.ID, CourseID: a.Video.CourseID, CreatedAt: a.Video.CreatedAt, State: a.Lack,
			Transcription: a.Transcription, Compression: a.Compression, Outcome: a.Outcome, DryRun: r.c.DryRun, Ask: a.Ask,
		}
		if a.Err != nil {
			one.Error = r.t.cfg.Redactor().Redact(a.Err.Error())
		}
		_ = r.t.json(one)
	case a.Err != nil:
		_, _ = fmt.Fprintf(r.t.stdout, "%s  failed: %s\n", a.Video.ID, r.t.cfg.Redactor().Redact(a.Err.Error()))
	default:
		what := "a run would be started"
		if a.Outcome == starter.AskedAgain {
			what = fmt.Sprintf("ask %d would be sent", a.Ask)
		}
		_, _ = fmt.Fprintf(r.t.stdout, "%s  %s  course %s  %-9s  %s\n", a.Video.ID, a.Video.CreatedAt.Format(time.DateTime), a.Video.CourseID, a.Lack, what)
	}
}

// end says what it all came to.
func (r *adoptReport) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bar.clear()
	if r.c.JSON {
		_ = r.t.json(r.counts)
		return
	}
	started, asked := "runs started", "asked for again"
	if r.c.DryRun {
		started, asked = "runs would be started", "would be asked for"
	}
	line := fmt.Sprintf("%d %s, %d %s, %d have an open run", r.counts.Started, started, r.counts.Asked, asked, r.counts.Open)
	if r.counts.Nothing > 0 {
		line += fmt.Sprintf(", %d need nothing any more", r.counts.Nothing)
	}
	if r.counts.Failed > 0 {
		line += fmt.Sprintf(", %d failed", r.counts.Failed)
	}
	_, _ = fmt.Fprintln(r.t.stdout, line+".")
}
