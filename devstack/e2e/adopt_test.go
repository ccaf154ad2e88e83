package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// addVideos adds rows as the old server does.
func (p *pipeline) addVideos(n int) []contract.VideoID {
	p.t.Helper()
	rows, err := p.db.Admin.Query(p.t.Context(), `
		insert into public.videos (course_id, title, description, camera_video_url, level)
		select $1, 'Lecture ' || n || ' [10s]', 'A video of the old server', 'https://example.test/lectures/old.mp4', 'beginner'
		from generate_series(1, $2::int) n returning id::text`, seed.Courses[0].ID, n)
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	var ids []contract.VideoID
	for rows.Next() {
		var id contract.VideoID
		if err := rows.Scan(&id); err != nil {
			p.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
	return ids
}

// addWaiting adds videos whose first ask was recorded so long ago, and that have no run: their namespace is gone.
func (p *pipeline) addWaiting(n int, askedAgo time.Duration) []contract.VideoID {
	p.t.Helper()
	ids := p.addVideos(n)
	text := make([]string, n)
	for i, id := range ids {
		text[i] = string(id)
	}
	p.db.Exec(p.t, `
		insert into pipeline.videos (video_id, course_id, transcription_state, compression_state, asks, asked_at)
		select id, course_id, 'waiting', 'waiting', 1, now() - make_interval(secs => $2)
		from public.videos where id::text = any($1)`, text, askedAgo.Seconds())
	return ids
}

// runs are all runs of the workflow in the namespace, by video; it waits until at least so many are listed.
func (p *pipeline) runs(atLeast int) map[contract.VideoID][]*workflow.WorkflowExecutionInfo {
	p.t.Helper()
	var runs map[contract.VideoID][]*workflow.WorkflowExecutionInfo
	p.await(fmt.Sprintf("%d runs are listed", atLeast), func(ctx context.Context) error {
		runs = map[contract.VideoID][]*workflow.WorkflowExecutionInfo{}
		request := &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowType = '" + workflows.VideoWorkflow + "'", PageSize: 1000}
		for n := 0; ; {
			page, err := p.namespace.Client.ListWorkflow(ctx, request)
			if err != nil {
				return err
			}
			for _, run := range page.GetExecutions() {
				id := contract.VideoID(strings.TrimPrefix(run.GetExecution().GetWorkflowId(), "video/"))
				runs[id] = append(runs[id], run)
				n++
			}
			if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
				if n < atLeast {
					return fmt.Errorf("there are %d", n)
				}
				return nil
			}
		}
	})
	return runs
}

// checkOneRun sees that each of the videos has exactly one run, and no other video any.
func (p *pipeline) checkOneRun(ids []contract.VideoID) map[contract.VideoID][]*workflow.WorkflowExecutionInfo {
	p.t.Helper()
	runs := p.runs(len(ids))
	for id, of := range runs {
		if !slices.Contains(ids, id) || len(of) != 1 {
			p.t.Errorf("video %s has %d runs, and %t should have one", id, len(of), slices.Contains(ids, id))
		}
	}
	if len(runs) != len(ids) {
		p.t.Errorf("%d videos have a run, want %d", len(runs), len(ids))
	}
	return runs
}

// checkAsks sees that exactly the asks of these numbers went out, whatever the order.
func (p *pipeline) checkAsks(want map[contract.VideoID]int) {
	p.t.Helper()
	var keys []string
	for id, n := range want {
		keys = append(keys, contract.Ask{Video: id, N: n}.Key())
	}
	slices.Sort(keys)
	if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(p.awaitAsks(len(want))))); diff != "" {
		p.t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func each(ids []contract.VideoID, n int) map[contract.VideoID]int {
	asks := map[contract.VideoID]int{}
	for _, id := range ids {
		asks[id] = n
	}
	return asks
}

// TestAdopt_what_the_old_system_lost: videos without a transcript are asked for, once, those with one are left alone, and
// a dry run changes nothing.
func TestAdopt_what_the_old_system_lost(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	lost := p.addVideos(3)
	finished := p.addVideos(2)
	for _, id := range finished {
		p.db.Exec(t, `update public.videos set transcript_url = 'https://old.example.test/1.json' where id = $1`, string(id))
	}
	p.start(worker, bridge)
	before := p.state()

	got := p.tool("adopt", "--state", "untracked,failed,waiting,overdue", "--dry-run")
	for _, id := range lost {
		if !strings.Contains(got, string(id)) {
			t.Errorf("video %s is not named by a dry run:\n%s", id, got)
		}
	}
	if want := "0 runs would be started, 3 would be asked for, 0 have an open run.\n"; !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 5 {
		t.Errorf("got %q", got)
	}
	if got := p.tool("adopt"); got != "No such video.\n0 runs started, 0 asked for again, 0 have an open run.\n" {
		t.Errorf("without a state, which costs nobody anything: got %q", got)
	}
	if diff := cmp.Diff(before, p.state()); diff != "" {
		t.Errorf("a dry run changed something (-before +after):\n%s", diff)
	}

	if got := p.tool("adopt", "--state", "untracked", "--limit", "1"); !strings.HasSuffix(got, "0 runs started, 1 asked for again, 0 have an open run.\n") {
		t.Errorf("one of them: got %q", got)
	}
	if got := p.tool("adopt", "--state", "untracked"); !strings.HasSuffix(got, "0 runs started, 2 asked for again, 0 have an open run.\n") {
		t.Errorf("the others: got %q", got)
	}
	p.checkAsks(each(lost, 1))
	if got := p.tool("adopt", "--state", "untracked"); got != "No such video.\n0 runs started, 0 asked for again, 0 have an open run.\n" {
		t.Errorf("again: got %q", got)
	}
	for _, id := range lost {
		p.transcribeTiny(id)
		p.awaitRun(id, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	}
	p.checkOneRun(lost)
	p.checkAsks(each(lost, 1))
}

// TestAdopt_failed_after_an_outage: a transcription that was given up is asked for again, in the run that is still open
// for the compression, and in a new one where none is.
func TestAdopt_failed_after_an_outage(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, envfile.Var{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: "1s"}, envfile.Var{Name: "TRANSCRIPTION_MAX_ASKS", Value: "2"})
	p.start(everyProcess...)
	open, ended := p.create(10*time.Second), p.create(10*time.Second)
	for _, id := range []contract.VideoID{open, ended} {
		if _, err := p.places.API.Await(t.Context(), id, func(v api.Video) bool { return v.Pipeline.Transcription.State == contract.GivenUp }); err != nil {
			t.Fatal(err)
		}
	}
	p.compress(ended)
	p.awaitRun(ended, enums.WORKFLOW_EXECUTION_STATUS_FAILED)
	first := p.latest(open)
	p.stop(worker)
	p.env = p.env.With(envfile.Var{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: "1h"})
	p.start(worker)

	if got := p.tool("adopt", "--state", "failed", "--json"); !strings.HasSuffix(got, `{"started":0,"asked":2,"open":0,"nothing":0,"failed":0}`+"\n") ||
		!strings.Contains(got, `"outcome":"asked","ask":3`) {
		t.Errorf("got %s", got)
	}
	for _, id := range []contract.VideoID{open, ended} {
		if _, err := p.places.API.Await(t.Context(), id, func(v api.Video) bool { return v.Pipeline.Transcription.Asks >= 3 }); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.latest(open); got != first {
		t.Errorf("the open run %s was not used: %s is the latest", first, got)
	}
	for _, id := range []contract.VideoID{open, ended} {
		p.transcribeTiny(id)
		if _, err := p.places.API.Await(t.Context(), id, transcribed); err != nil {
			t.Fatal(err)
		}
		if id == open {
			p.compress(id)
		}
		p.awaitRun(id, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	}
	if got := p.tool("adopt", "--state", "failed"); !strings.HasPrefix(got, "No such video.\n") {
		t.Errorf("again: got %s", got)
	}
	for id, n := range map[contract.VideoID]int{open: 1, ended: 2} {
		if got := len(p.runs(3)[id]); got != n {
			t.Errorf("video %s has %d runs, want %d", id, got, n)
		}
	}
	// The open run asks every second still, as it began, so there may be one more of it.
	asks := p.awaitAsks(6)
	for n := 1; n <= 4; n++ {
		if asks[contract.Ask{Video: open, N: n}.Key()] == nil && n != 4 {
			t.Errorf("ask %d of the open run did not go out", n)
		}
		if got := asks[contract.Ask{Video: ended, N: n}.Key()] != nil; got != (n <= 3) {
			t.Errorf("ask %d of the ended run went out: %t", n, got)
		}
	}
}

// TestAdopt_after_a_lost_namespace: a thousand videos wait, and Temporal knows of none. All get a run, and none is asked for
// before its time, which counts from the recorded ask. It is killed twice on the way.
func TestAdopt_after_a_lost_namespace(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	patient, late := p.addWaiting(970, time.Hour), p.addWaiting(10, 7*time.Hour)
	overdue := p.addWaiting(20, time.Hour)
	for _, id := range overdue {
		p.db.Exec(t, `update pipeline.videos set compression_state = 'overdue', compression_since = now() - interval '30 hours' where video_id = $1`, string(id))
	}
	all := slices.Concat(patient, late, overdue)
	p.start(worker)
	for range 2 {
		p.killed(p.toolCommand("adopt", "--rate", "0", "--json"), 100)
	}
	began := p.runs(100)
	got := p.tool("adopt", "--rate", "0")
	started, open := figures(t, got)
	if started+open != len(all) || open < len(began) || started < 1 {
		t.Errorf("got %s", got)
	}
	ended := p.checkOneRun(all)
	for id, runs := range began {
		if ended[id][0].GetExecution().GetRunId() != runs[0].GetExecution().GetRunId() {
			t.Errorf("the open run of %s was not left alone", id)
		}
	}
	p.awaitFor(2*patience, "the late ones are asked for again", func(ctx context.Context) error {
		var asked int
		err := p.db.Admin.QueryRow(ctx, `select count(*) from pipeline.videos where asks = 2`).Scan(&asked)
		if err == nil && asked != len(late) {
			err = fmt.Errorf("there are %d", asked)
		}
		return err
	})
	// Each run has its plan, so each that was to ask at once has done so.
	begin := maps.Clone(ended) // those that are not known to have
	p.awaitFor(2*patience, "every run has begun", func(ctx context.Context) error {
		for id := range begin {
			d, err := p.namespace.Client.DescribeWorkflowExecution(ctx, workflows.WorkflowID(id), "")
			if err != nil {
				return err
			}
			if d.GetPendingWorkflowTask() != nil || d.GetWorkflowExecutionInfo().GetHistoryLength() < 5 {
				return fmt.Errorf("%s has %d events", id, d.GetWorkflowExecutionInfo().GetHistoryLength())
			}
			delete(begin, id)
		}
		return nil
	})
	p.checkAsks(each(late, 2))
	if got := p.tool("adopt", "--rate", "0"); !strings.HasSuffix(got, "0 runs started, 0 asked for again, 1000 have an open run.\n") {
		t.Errorf("once more: got %s", got)
	}
	for id, runs := range ended {
		if got, want := p.latest(id), runs[0].GetExecution().GetRunId(); got != want {
			t.Errorf("once more: %s has the run %s, want the one that it had, %s", id, got, want)
		}
	}
}

// TestAdopt_killed: it is killed in the middle of asking, twice, and run again: every video has one run and one ask.
func TestAdopt_killed(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	lost := p.addVideos(300)
	p.start(worker)
	for range 2 {
		p.killed(p.toolCommand("adopt", "--state", "untracked", "--rate", "0", "--json"), 50)
	}
	got := p.tool("adopt", "--state", "untracked", "--rate", "0")
	if !strings.HasSuffix(got, "0 have an open run.\n") && !strings.Contains(got, "need nothing any more") {
		t.Errorf("got %s", got)
	}
	p.checkAsks(each(lost, 1))
	p.checkOneRun(lost)
}

// TestAdopt_keeps_the_rate: so many a second, and no faster. The server may get a start late, and never before its turn.
func TestAdopt_keeps_the_rate(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	const n, rate = 61, 20
	waiting := p.addWaiting(n, time.Hour)
	began := time.Now()
	p.tool("adopt", "--rate", strconv.Itoa(rate))
	t.Logf("%d runs started in %s", n, time.Since(began))
	var starts []time.Time
	for _, runs := range p.checkOneRun(waiting) {
		starts = append(starts, runs[0].GetStartTime().AsTime())
	}
	slices.SortFunc(starts, time.Time.Compare)
	for before, at := range starts {
		if least := time.Duration(before) * time.Second / rate; at.Sub(began) < least {
			t.Errorf("%d runs had started after %s, want that to take at least %s", before+1, at.Sub(began), least)
		}
	}
}

// TestAdopt_waits_for_what_is_away: Postgres and Temporal are away at the start and again in the middle.
func TestAdopt_waits_for_what_is_away(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	waiting := p.addWaiting(200, time.Hour)
	database, err := url.Parse(p.env.Value("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	postgres, temporal := newLink(t, database.Host), newLink(t, p.env.Value("TEMPORAL_ADDRESS"))
	database.Host = postgres.addr
	p.env = p.env.With(envfile.Var{Name: "DATABASE_URL", Value: database.String()}, envfile.Var{Name: "TEMPORAL_ADDRESS", Value: temporal.addr})

	run := p.inBackground("adopt", "--rate", "20", "--json") // which leaves the test ten seconds to take something away
	run.awaitText("Waiting, will try again in")
	run.awaitText("Postgres")
	postgres.up()
	temporal.up()
	run.awaitText(`"outcome":"started"`)
	temporal.cut()
	run.awaitText("go on: Temporal: ")
	temporal.up()
	n := run.count(`"outcome":"started"`)
	run.await("it goes on", func() bool { return run.count(`"outcome":"started"`) > n })
	postgres.cut()
	postgres.up()
	if err := run.wait(); err != nil {
		t.Errorf("it ended with %v:\n%s", err, run.text())
	}
	if got := run.text(); !strings.HasSuffix(got, `"nothing":0,"failed":0}`+"\n") {
		t.Errorf("got %s", got)
	}
	p.checkOneRun(waiting)
}

// TestAdopt_goes_on_when_one_fails: a run that does not answer, which nobody's worker takes, is named, and the others are
// adopted. And without any worker, all wait.
func TestAdopt_goes_on_when_one_fails(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	lost := p.addVideos(3)
	if _, err := p.namespace.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: workflows.WorkflowID(lost[1]), TaskQueue: "nobody-polls-it",
	}, workflows.VideoWorkflow, workflows.VideoInput{VideoID: string(lost[1])}); err != nil {
		t.Fatal(err)
	}
	run := p.inBackground("adopt", "--state", "untracked", "--json")
	run.awaitText("no worker polls the task queue videos")
	p.start(worker)
	var exit *exec.ExitError
	if err := run.wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit code 1\n%s", err, run.text())
	}
	got := run.text()
	// An ask that was sent before a worker was there may have been answered by the time it is tried again.
	if !regexp.MustCompile(`\{"started":0,"asked":(2|1|0),"open":0,"nothing":(0|1|2),"failed":1\}\n$`).MatchString(got) {
		t.Errorf("got %s", got)
	}
	for line := range strings.Lines(got) {
		var one struct {
			VideoID contract.VideoID
			Outcome string
			Error   string
		}
		if json.Unmarshal([]byte(line), &one) == nil && one.VideoID != "" && (one.Outcome == "failed") != (one.VideoID == lost[1]) {
			t.Errorf("got %s", line)
		}
	}
	p.checkAsks(each([]contract.VideoID{lost[0], lost[2]}, 1))
}

// state is what a dry run must leave as it is.
func (p *pipeline) state() map[string]string {
	p.t.Helper()
	state := map[string]string{"runs": strconv.Itoa(len(p.runs(0)))}
	for _, table := range []string{"public.videos", "pipeline.videos", "pipeline.intents"} {
		var rows string
		if err := p.db.Admin.QueryRow(p.t.Context(), `select coalesce(string_agg(x::text, E'\n' order by x::text), '') from `+table+` x`).Scan(&rows); err != nil {
			p.t.Fatal(err)
		}
		state[table] = rows
	}
	return state
}

func (p *pipeline) latest(id contract.VideoID) (runID string) {
	p.t.Helper()
	d, err := p.namespace.Client.DescribeWorkflowExecution(p.t.Context(), workflows.WorkflowID(id), "")
	if err != nil {
		p.t.Fatal(err)
	}
	return d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
}

func (p *pipeline) transcribeTiny(id contract.VideoID) {
	p.t.Helper()
	p.produce(p.topics.transcribed, []byte(id), tiny(id, 1))
}

// killed runs a tool until it has said so many lines, and kills it.
func (p *pipeline) killed(cmd *exec.Cmd, lines int) {
	p.t.Helper()
	out := startNarrow(p.t, cmd)
	buffer, said := make([]byte, 4096), 0
	for said < lines {
		n, err := out.Read(buffer)
		if err != nil {
			p.t.Fatalf("it ended before it could be killed: %v", err)
		}
		said += bytes.Count(buffer[:n], []byte("\n"))
	}
	if err := cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

// startNarrow starts a command whose output waits for its reader: a pipe holds 64 KiB, which can be all that it has to say
// before a busy machine lets anybody read. Where the pipe cannot be made smaller it stays as it is.
func startNarrow(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	const setPipeSize = 1031 // F_SETPIPE_SZ of Linux
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, in.Fd(), setPipeSize, 4096)
	cmd.Stdout = in
	err = cmd.Start()
	_ = in.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// figures are how many runs were started and how many were open.
func figures(t *testing.T, said string) (started, open int) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(said), "\n")
	var asked int
	if _, err := fmt.Sscanf(lines[len(lines)-1], "%d runs started, %d asked for again, %d have an open run.", &started, &asked, &open); err != nil {
		t.Fatalf("%v in %s", err, said)
	}
	return started, open
}

// link is a way to a server that can be cut.
type link struct {
	t        *testing.T
	upstream string
	addr     string
	server   *toxiproxy.ApiServer
	proxy    *toxiproxy.Proxy // nil while it is cut
}

// newLink is cut yet.
func newLink(t *testing.T, upstream string) *link {
	t.Helper()
	port, err := ports.Unused(1)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{
		t: t, upstream: upstream, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop()),
	}
	t.Cleanup(l.cut)
	return l
}

func (l *link) up() {
	l.t.Helper()
	l.proxy = toxiproxy.NewProxy(l.server, l.addr, l.addr, l.upstream)
	if err := l.proxy.Start(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *link) cut() {
	if l.proxy != nil {
		l.proxy.Stop()
		l.proxy = nil
	}
}

// background is a tool that runs.
type background struct {
	p     *pipeline
	cmd   *exec.Cmd
	ended chan error

	mu  sync.Mutex
	out bytes.Buffer
}

func (b *background) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(text)
}

func (b *background) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

func (b *background) count(text string) int { return strings.Count(b.text(), text) }

func (p *pipeline) inBackground(args ...string) *background {
	p.t.Helper()
	b := &background{p: p, cmd: p.toolCommand(args...), ended: make(chan error, 1)}
	b.cmd.Stdout, b.cmd.Stderr = b, b
	if err := b.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { b.ended <- b.cmd.Wait() }()
	return b
}

func (b *background) awaitText(text string) {
	b.p.t.Helper()
	b.await("it says "+text, func() bool { return b.count(text) > 0 })
}

func (b *background) await(what string, condition func() bool) {
	b.p.t.Helper()
	b.p.await(what, func(context.Context) error {
		if condition() {
			return nil
		}
		return errors.New(b.text())
	})
}

func (b *background) wait() error {
	b.p.t.Helper()
	select {
	case err := <-b.ended:
		return err
	case <-time.After(patience):
		b.p.t.Fatalf("it does not end:\n%s", b.text())
		return nil
	}
}
