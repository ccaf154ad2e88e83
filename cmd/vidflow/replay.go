package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/replay"
	"github.com/codeendelea/vidflow/internal/telemetry"
	"github.com/codeendelea/vidflow/workflows"
)

type replayCmd struct {
	Query     string `placeholder:"QUERY" help:"Which runs of the workflow, as a list filter of Temporal's: those that are open when not given."`
	Sample    string `placeholder:"N|P%" help:"Only so many of them, or such a share, drawn at random: 500, or 5%."`
	Parallel  int    `default:"8" placeholder:"8" help:"How many histories are fetched and replayed at a time."`
	Save      string `placeholder:"DIR" type:"path" help:"Write the histories of incompatible runs into this directory, to replay them in tests. They hold titles of videos."`
	JSON      bool   `name:"json" help:"Write a JSON object for each incompatible run, on a line of its own, and one with the counts at the end."`
	toolFlags `embed:""`
}

// exitIncompatible is the code when runs were found that do not replay.
const exitIncompatible = 3

// Help is shown by "vidflow replay --help".
func (replayCmd) Help() string {
	return "Fetches the histories of runs and replays them against the workflow of this program, as a worker does that takes a run " +
		"up. A run whose history contradicts the code is named: deployed, such a worker could not go on with it. Changes nothing, " +
		"and needs Temporal alone.\n\n" +
		"Exit code 0: all replay. 3: at least one does not. 1: it could not be found out. 2: a command line or a configuration that " +
		"cannot be used. Runs that started in the last second may not be listed yet; one that is removed meanwhile is counted and " +
		"left out.\n\n" +
		"Examples:\n\n  vidflow replay\n\n  vidflow replay --sample 5% --json\n\n" +
		"  vidflow replay --query \"StartTime > '2026-11-24T00:00:00Z'\" --save histories\n\n" +
		"  vidflow replay --query \"WorkflowId = 'video/0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01'\""
}

// Validate implements kong.Validatable.
func (c *replayCmd) Validate() error {
	_, err := c.selection()
	return err
}

func (c *replayCmd) run(ctx context.Context, t *toolbox) error {
	selection, err := c.selection()
	if err != nil {
		return err
	}
	temporal, err := dialTemporal(t.cfg.Temporal, telemetry.Instruments{}, t.log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	// What is away is an error here: a pipeline has a time of its own for trying again.
	if err := ask(ctx, temporalCheck(temporal, t.cfg.Temporal, true)); err != nil {
		return err
	}
	total, err := replay.Count(ctx, temporal, selection)
	if err != nil {
		return err
	}
	if selection.Most > 0 {
		total = min(total, selection.Most)
	} else if selection.Percent > 0 {
		total = 0
	}
	report := replayReport{c: c, t: t, bar: t.progress("replayed", total)}
	err = replay.Check(ctx, temporal, workflows.Video, selection, c.Parallel, report.add)
	report.bar.clear()
	if err = errors.Join(err, report.err); err != nil {
		report.summary(t.note)
		return fmt.Errorf("not all was looked at: %w", err)
	}
	return report.end()
}

// ask asks once whether something is there.
func ask(ctx context.Context, check process.Check) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return check.Probe(ctx)
}

func (c *replayCmd) selection() (s replay.Selection, err error) {
	s.Query = cmp.Or(c.Query, replay.OpenRuns)
	if c.Parallel < 1 {
		return s, fmt.Errorf("--parallel: %d; want at least 1", c.Parallel)
	}
	switch share, ok := strings.CutSuffix(c.Sample, "%"); {
	case c.Sample == "":
	case ok:
		s.Percent, err = strconv.ParseFloat(share, 64)
		if err != nil || !(s.Percent > 0 && s.Percent <= 100) {
			return s, fmt.Errorf("--sample: %q is no share; want more than 0%% and at most 100%%", c.Sample)
		}
	default:
		if s.Most, err = strconv.Atoi(c.Sample); err != nil || s.Most < 1 {
			return s, fmt.Errorf("--sample: %q; want a number such as 500, or a share such as 5%%", c.Sample)
		}
	}
	return s, nil
}

// replayReport says what was found, as it is found.
type replayReport struct {
	c   *replayCmd
	t   *toolbox
	bar *progress

	counts struct {
		Replay       int `json:"replay"`
		Incompatible int `json:"incompatible"`
		NothingYet   int `json:"nothingYet"`
		Deleted      int `json:"deleted"`
	}
	err error // the first that kept a history from being saved
}

type incompatibleRun struct {
	WorkflowID string `json:"workflowId"`
	RunID      string `json:"runId"`
	Status     string `json:"status"`
	Events     int    `json:"events"`
	Event      int64  `json:"event"`
	Problem    string `json:"problem"`
	Look       string `json:"look"`
	Saved      string `json:"saved,omitempty"`
}

func (r *replayReport) add(one replay.Result) {
	r.bar.add()
	switch one.Verdict {
	case replay.Replays:
		r.counts.Replay++
	case replay.NothingYet:
		r.counts.NothingYet++
	case replay.Deleted:
		r.counts.Deleted++
	case replay.Incompatible:
		r.counts.Incompatible++
		r.bar.clear()
		r.incompatible(one)
	}
}

func (r *replayReport) incompatible(one replay.Result) {
	run := incompatibleRun{
		WorkflowID: one.WorkflowID, RunID: one.RunID, Status: statusName(one.Status), Events: one.Events,
		Event: one.Err.EventID, Problem: one.Err.Problem, Look: lookAt(r.t.cfg.Temporal, one),
	}
	if r.c.Save != "" {
		path, err := saveHistory(r.c.Save, one)
		if err != nil && r.err == nil {
			r.err = err
		}
		run.Saved = path
	}
	if r.c.JSON {
		_ = r.t.json(run)
		return
	}
	_, _ = fmt.Fprintf(r.t.stdout, "%s, run %s, %s\n  workflow task of event %d of %d: %s\n  look: %s\n",
		run.WorkflowID, run.RunID, run.Status, run.Event, run.Events, run.Problem, run.Look)
	if run.Saved != "" {
		_, _ = fmt.Fprintf(r.t.stdout, "  history: %s\n", run.Saved)
	}
}

// end says what it all came to.
func (r *replayReport) end() error {
	if r.c.JSON {
		if err := r.t.json(r.counts); err != nil {
			return err
		}
	} else {
		r.summary(func(format string, args ...any) { _, _ = fmt.Fprintf(r.t.stdout, format+"\n", args...) })
	}
	if r.counts.Incompatible == 0 {
		return nil
	}
	r.t.note("Do not deploy this version to workers that take these runs up: they would stand still, and go on when an older version " +
		"does. Guard the change by workflow.GetVersion, so that runs which began before it go the old way, and add a history " +
		"(--save) to workflows/testdata/histories; or keep workers of the old version until these runs have ended.")
	return exitCode(exitIncompatible)
}

func (r *replayReport) summary(say func(format string, args ...any)) {
	line := fmt.Sprintf("%d replay, %d incompatible", r.counts.Replay, r.counts.Incompatible)
	if r.counts.NothingYet > 0 {
		line += fmt.Sprintf(", %d with nothing to replay yet", r.counts.NothingYet)
	}
	if r.counts.Deleted > 0 {
		line += fmt.Sprintf(", %d removed meanwhile", r.counts.Deleted)
	}
	say("%s.", line)
}

func statusName(s enumspb.WorkflowExecutionStatus) string { return strings.ToLower(s.String()) }

// unusual is what neither a shell nor a file system is to see of an id: anybody may have started a run under any.
var unusual = regexp.MustCompile(`[^A-Za-z0-9._/-]`)

// lookAt is a command line that shows the history, in Temporal's own tool.
func lookAt(cfg config.Temporal, one replay.Result) string {
	id := one.WorkflowID
	if unusual.MatchString(id) {
		id = "'" + strings.ReplaceAll(id, "'", `'\''`) + "'"
	}
	return fmt.Sprintf("temporal workflow show --address %s --namespace %s --workflow-id %s --run-id %s",
		cfg.Address, cfg.Namespace, id, one.RunID)
}

// saveHistory writes a history in the form that the replay tests read, for this user alone.
func saveHistory(dir string, one replay.Result) (path string, err error) {
	data, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(&historypb.History{Events: one.History.GetEvents()})
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	name := strings.ReplaceAll(unusual.ReplaceAllString(one.WorkflowID, "-"), "/", "-")
	path = filepath.Join(dir, contract.Clip(name, 100)+"-"+one.RunID+".json")
	if err == nil {
		err = os.WriteFile(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("save the history of %s: %w", one.WorkflowID, err)
	}
	return path, nil
}
