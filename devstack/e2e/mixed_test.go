package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/chaos/audit"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/workflows"
)

// mixedVariable is set by `make test-mixed`: the test needs git, and a minute and a half.
const mixedVariable = "VIDFLOW_TEST_MIXED"

// TestMixed upgrades from each previous version to this one and back, under load: the schema first, then one process at a
// time, through every combination of versions that there is. Both versions of a process run side by side at each change. And
// once, also from a version of long ago, with all of the old ones stopped before the first new one starts.
func TestMixed(t *testing.T) {
	if os.Getenv(mixedVariable) == "" {
		t.Skipf("%s is not set: make test-mixed", mixedVariable)
	}
	for _, v := range previousVersions(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			if !v.skips {
				t.Run("one by one", func(t *testing.T) {
					t.Parallel()
					newMixed(t, v).walk()
				})
			}
			t.Run("all at once", func(t *testing.T) {
				t.Parallel()
				newMixed(t, v).atOnce()
			})
		})
	}
}

// side is one of the two versions.
type side int

const (
	older side = iota
	newer
)

func (s side) other() side { return 1 - s }

func (s side) String() string {
	switch s {
	case older:
		return "old"
	case newer:
		return "new"
	}
	return "neither"
}

// combination says which version each process is of.
type combination map[string]side

func (c combination) String() string {
	return fmt.Sprintf("worker %s, bridge %s, starter %s", c[worker], c[bridge], c[starter])
}

// changes of one process each lead from all old through every combination and back. The worker changes twice, and once when
// there is no way back; see oneWay.
var changes = []string{bridge, starter, bridge, worker, bridge, starter, bridge, worker}

// mixed are both versions on one set of servers.
type mixed struct {
	*pipeline
	version previous
	sides   [2]*pipeline
	runs    combination     // what runs now
	who     map[string]side // by the number of a process, which is where the names of Temporal's clients begin
	// oneWay is set when the workflow of this version has changes that it guards by workflow.GetVersion: it goes on with runs of
	// the previous version, which in turn cannot go on with runs of this one. So no two workers run side by side, and
	// there is no way back.
	oneWay bool
	load   *load
	pure   map[string]contract.VideoID // the video that went through each combination, by its name
}

func newMixed(t *testing.T, v previous) *mixed {
	t.Helper()
	db := v.database(t)
	p := newPipelineOn(t, db, envfile.Var{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: askAgainAfter.String()},
		envfile.Var{Name: "TRANSCRIPTION_MAX_ASKS", Value: "20"})
	m := &mixed{
		pipeline: p, version: v, runs: combination{}, who: map[string]side{}, pure: map[string]contract.VideoID{},
		sides: [2]*pipeline{older: p.beside("old ", v.binary), newer: p.beside("new ", p.binary)},
	}
	before := guards(t, v.source)
	for change := range guards(t, root) {
		if !before[change] {
			m.oneWay = true
			t.Logf("THERE IS NO WAY BACK from this version to %s: runs that go the way of the guarded change %s are beyond the older "+
				"worker. Workers of both versions do not run side by side here, nor may they in production without Worker Versioning.", v.name, change)
		}
	}
	m.load = newLoad(p)
	return m
}

// askAgainAfter is short, so that some videos are asked for by one version and again by the other.
const askAgainAfter = 5 * time.Second

// database makes one with the schema and the role of the previous version.
func (v previous) database(t *testing.T) *postgrestest.DB {
	t.Helper()
	db := postgrestest.NewEmpty(t)
	v.migrate(t, v.binary, db)
	db.Role = "mixed_" + strings.ToLower(rand.Text()[:10])
	grant(t, v.binary, db)
	t.Cleanup(func() {
		if _, err := db.Admin.Exec(context.Background(), fmt.Sprintf("drop owned by %[1]s; drop role %[1]s", db.Role)); err != nil {
			t.Error(err)
		}
	})
	db.URL = db.As(t, db.Role, rolePassword)
	direct, err := url.Parse(db.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	direct.User = url.UserPassword(db.Role, rolePassword)
	db.DirectURL = direct.String()
	return db
}

const rolePassword = "secret"

// grant makes the role of the binary's version, or gives it what that version needs more.
func grant(t *testing.T, binary string, db *postgrestest.DB) {
	t.Helper()
	sql, err := exec.CommandContext(t.Context(), binary, "migrate", "--print-role-sql").Output()
	if err != nil {
		t.Fatal(err)
	}
	db.Exec(t, strings.NewReplacer(`"vidflow"`, `"`+db.Role+`"`, `"vidflow `, `"`+db.Role+` `, `'vidflow'`, `'`+db.Role+`'`,
		"change-me", rolePassword).Replace(string(sql)))
}

// migrate brings the database to the version of the binary, and answers what it said.
func (v previous) migrate(t *testing.T, binary string, db *postgrestest.DB) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "migrate", "--skip-temporal")
	cmd.Env = []string{"DATABASE_URL=" + db.AdminURL, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("vidflow migrate: %v\n%s", err, out)
	}
	return string(out)
}

func (m *mixed) walk() {
	m.t.Helper()
	m.watch()
	b := soon()
	b.SilentTranscriptions, b.Repeats, b.Reorders = 0.08, 0.2, 0.2
	b.RepeatWithin, b.ReorderWithin = simulator.Duration(3*time.Second), simulator.Duration(3*time.Second)
	b.TranscriptForms = []simulator.TranscriptForm{simulator.Nested, simulator.NestedWord, simulator.Flat, simulator.FlatText}
	b.CompressionForms = simulator.CompressionForms()
	services := m.simulate(b)
	for _, name := range everyProcess {
		m.begin(older, name)
		m.runs[name] = older
	}
	m.goThrough() // which also waits until Temporal knows the namespace that was just made
	m.load.to(m.sides[older].places.API)
	m.load.start()
	m.load.await(4)

	m.version.migrate(m.t, m.binary, m.db)
	m.db.Store = postgrestest.Open(m.t, m.db.URL)
	for _, name := range changes {
		if name == worker && m.oneWay && m.runs[worker] == newer {
			continue
		}
		m.change(name)
		m.goThrough()
	}
	m.load.stop()
	b.SilentTranscriptions = 0
	if err := services.Behave(b); err != nil {
		m.t.Fatal(err)
	}
	m.checkHistories(m.judge(m.load, services))
	m.readEachOther()
	if m.t.Failed() {
		return
	}
	m.checkErrors()
}

// watch keeps for judge what is written to the database.
func (p *pipeline) watch() {
	p.t.Helper()
	conn, err := p.db.Admin.Acquire(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Release()
	if err := audit.Watch(p.t.Context(), conn.Conn()); err != nil {
		p.t.Fatal(err)
	}
}

// begin starts a process of one version and remembers its number.
func (m *mixed) begin(s side, name string) {
	m.t.Helper()
	p := m.sides[s]
	p.start(name)
	m.who[strconv.Itoa(p.processes[name].PID())] = s
}

// change replaces a process by that of the other version. Both run side by side for a while.
func (m *mixed) change(name string) {
	m.t.Helper()
	from := m.runs[name]
	to := from.other()
	if name == worker && m.oneWay {
		m.sides[from].stop(name)
		m.begin(to, name)
		m.runs[name] = to
		return
	}
	m.begin(to, name)
	switch name {
	case bridge:
		m.awaitShared(2)
	case starter:
		m.load.to(m.sides[from].places.API, m.sides[to].places.API)
		m.answerTheSame()
	case worker:
		for _, p := range m.sides {
			p.tool("replay") // the runs that are open now
		}
	}
	m.load.await(8)
	if name == starter {
		m.load.to(m.sides[to].places.API)
	}
	m.sides[from].stop(name)
	m.runs[name] = to
}

// goThrough has one video go through nothing but the processes that run now, and follows its events.
func (m *mixed) goThrough() {
	m.t.Helper()
	c := m.runs
	name := c.String()
	if m.pure[name] != "" {
		name += ", again" // all old, at first and in the end
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	s := m.sides[c[starter]]
	v, err := s.places.API.Create(ctx, seed.Courses[0].ID, titled(name))
	if err != nil {
		m.t.Fatalf("%s: %v", c, err)
	}
	events := s.listen(eventsOf(v.ID), "")
	if _, err := s.places.API.Await(ctx, v.ID, api.Video.Done); err != nil {
		m.t.Fatalf("%s: %v", c, err)
	}
	var revision int
	if err := m.db.Admin.QueryRow(ctx, `select revision from pipeline.videos where video_id = $1`, string(v.ID)).Scan(&revision); err != nil {
		m.t.Fatal(err)
	}
	events.awaitRevision(revision)
	m.pure[name] = v.ID
	m.t.Logf("%s: %d videos so far", c, m.load.created.Load())
}

// answerTheSame holds what both versions of the API say of finished videos against each other. The newer may say more.
func (m *mixed) answerTheSame() {
	m.t.Helper()
	for name, id := range m.pure {
		m.await("both APIs say the same of the video of "+name, func(ctx context.Context) error { // it may change in between
			var answers [2]any
			for s, p := range m.sides {
				status, body, err := call(ctx, p.places.API, http.MethodGet, "/api/videos/"+string(id)+"/pipeline", nil)
				if err != nil || status != http.StatusOK {
					return fmt.Errorf("the %s API answers %d: %s, %w", side(s), status, body, err)
				}
				if err := json.Unmarshal(body, &answers[s]); err != nil {
					return err
				}
			}
			if missing := lacks("", answers[newer], answers[older]); missing != "" {
				return errors.New("the new one does not say what the old one does: " + missing)
			}
			return nil
		})
	}
}

// lacks names something in want that got does not have; empty when there is nothing.
func lacks(path string, got, want any) string {
	object, ok := want.(map[string]any)
	if !ok {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Sprintf("%s is %v, not %v", path, got, want)
		}
		return ""
	}
	there, _ := got.(map[string]any)
	for name, value := range object {
		if missing := lacks(path+"."+name, there[name], value); missing != "" {
			return missing
		}
	}
	return ""
}

// judge waits until everything has come to rest and has it audited, from outside. It answers the runs of each video.
func (p *pipeline) judge(l *load, services *simulator.Simulator) map[string][]audit.Run {
	p.t.Helper()
	servers := audit.Servers{
		Database: p.db.AdminURL, Brokers: testBrokers(p.t), Storage: need(p.t, "SUPABASE_URL"),
		Topics: audit.Topics{
			Asks: p.topics.ask, Transcriptions: p.topics.transcribed, Compressions: p.topics.compressed,
			TranscriptionGroup: p.env.Value("KAFKA_TRANSCRIPTION_GROUP"), CompressionGroup: p.env.Value("KAFKA_COMPRESSION_GROUP"),
		},
		Temporal: p.namespace.Client, Namespace: p.namespace.Name,
	}
	quiet := 0
	p.awaitFor(2*patience, "everything is at rest", func(ctx context.Context) error {
		unrest, err := servers.Unrest(ctx)
		if pending := services.Stats().Pending; pending > 0 {
			unrest = append(unrest, fmt.Sprintf("%d requests have yet to be answered", pending))
		}
		if quiet++; err != nil || len(unrest) > 0 {
			quiet = 0
			return errors.Join(err, errors.New(strings.Join(unrest, "; ")))
		}
		if quiet < 5 {
			return errors.New("not for long enough")
		}
		return nil
	})
	evidence, err := servers.Gather(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	evidence.Retries, evidence.Accepted, evidence.AskAgainAfter = l.retries, l.accepted, askAgainAfter
	verdict := audit.Judge(evidence)
	for kind, findings := range map[string][]string{
		"lost": verdict.Lost, "doubled": verdict.Doubled, "stuck": verdict.Stuck, "flawed": verdict.Flawed,
	} {
		for _, finding := range findings {
			p.t.Errorf("%s: %s", kind, finding)
		}
	}
	return evidence.Runs
}

// mixture counts what one version has taken over from the other; the index says from which.
type mixture struct {
	started  [2]int // runs that this one has started and the other one has begun to work on
	signals  [2]int // references that this one has signalled and the other one has worked on
	replayed [2]int // times that the other one has gone on with a run that this one had worked on
	runs     int
}

// checkHistories finds out from the histories of all runs who has done what, and that no worker has failed on one.
func (m *mixed) checkHistories(runs map[string][]audit.Run) {
	m.t.Helper()
	var total mixture
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(8)
	for video, list := range runs {
		for _, run := range list {
			group.Go(func() error {
				events, err := m.events(workflows.WorkflowID(contract.VideoID(video)), run.ID)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				total.runs++
				return total.add(events, m.who)
			})
		}
	}
	if err := group.Wait(); err != nil {
		m.t.Error(err)
	}
	m.t.Logf("of %d runs, begun by old and worked on by new %d, the reverse %d; signals of old worked on by new %d, the reverse %d; "+
		"runs of old gone on with by new %d, the reverse %d", total.runs, total.started[older], total.started[newer],
		total.signals[older], total.signals[newer], total.replayed[older], total.replayed[newer])
	for s := range m.sides {
		if m.oneWay && side(s) == newer {
			continue
		}
		if total.started[s] == 0 || total.signals[s] == 0 || total.replayed[s] == 0 {
			m.t.Errorf("of what the %s version did, the other has not read everything: %+v", side(s), total)
		}
	}
	m.checkPure(runs)
}

func (p *pipeline) events(workflowID, runID string) (events []*historypb.HistoryEvent, err error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	it := p.namespace.Client.GetWorkflowHistory(ctx, workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for it.HasNext() {
		event, err := it.Next()
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	return events, nil
}

// innocent are the causes of a task's failure that are none of the worker's.
var innocent = map[enumspb.WorkflowTaskFailedCause]bool{
	enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND:     true, // a signal came while it was at work
	enumspb.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES: true, // part of the server has yet to learn of those just made
}

// add counts what is in one history.
func (t *mixture) add(events []*historypb.HistoryEvent, who map[string]side) error {
	var started side
	var signals []side // that no task has followed yet
	last := side(-1)   // who did the last task
	for _, e := range events {
		if a := e.GetWorkflowExecutionStartedEventAttributes(); a != nil {
			started = by(who, a.GetIdentity())
		}
		if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
			signals = append(signals, by(who, a.GetIdentity()))
		}
		if a := e.GetWorkflowTaskFailedEventAttributes(); a != nil && !innocent[a.GetCause()] {
			return fmt.Errorf("run %s: a task of the %s worker failed: %s: %s", events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowId(),
				by(who, a.GetIdentity()), a.GetCause(), a.GetFailure().GetMessage())
		}
		a := e.GetWorkflowTaskCompletedEventAttributes()
		if a == nil {
			continue
		}
		now := by(who, a.GetIdentity())
		if (a.GetBinaryChecksum() == previousBuild || a.GetWorkerVersion().GetBuildId() == previousBuild) && now != older { //nolint:staticcheck // where servers note it
			return fmt.Errorf("a task of the %s worker is noted as of the old one's build", now)
		}
		if last < 0 && started == now.other() {
			t.started[started]++
		}
		if last == now.other() {
			t.replayed[last]++
		}
		for _, s := range signals {
			if s == now.other() {
				t.signals[s]++
			}
		}
		signals, last = nil, now
	}
	return nil
}

// by says whose process has that name; one that is of neither version, such as the server, is answered as -1.
func by(who map[string]side, identity string) side {
	pid, _, _ := strings.Cut(identity, "@")
	if s, ok := who[pid]; ok {
		return s
	}
	return -1
}

// checkPure sees that there was a video for every combination, and that nothing but it has worked on that.
func (m *mixed) checkPure(runs map[string][]audit.Run) {
	m.t.Helper()
	want := 9
	if m.oneWay {
		want = 8
	}
	if len(m.pure) != want {
		m.t.Errorf("%d combinations were gone through, want %d", len(m.pure), want)
	}
	for name, id := range m.pure {
		events, err := m.events(workflows.WorkflowID(id), runs[string(id)][0].ID) // repeated results may have started more
		if err != nil {
			m.t.Error(err)
			continue
		}
		found := map[string]map[side]bool{worker: {}, bridge: {}, starter: {}}
		for _, e := range events {
			if a := e.GetWorkflowExecutionStartedEventAttributes(); a != nil {
				found[starter][by(m.who, a.GetIdentity())] = true
			}
			if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
				found[bridge][by(m.who, a.GetIdentity())] = true
			}
			if a := e.GetWorkflowTaskCompletedEventAttributes(); a != nil {
				found[worker][by(m.who, a.GetIdentity())] = true
			}
		}
		got := combination{}
		for process, sides := range found {
			got[process] = -1
			if len(sides) == 1 {
				for s := range sides {
					got[process] = s
				}
			}
		}
		if !strings.HasPrefix(name, got.String()) {
			m.t.Errorf("the video of %q was worked on by %v", name, found)
		}
	}
}

// checkErrors: an error is what somebody must act on, and nobody has to.
func (m *mixed) checkErrors() {
	m.t.Helper()
	for line := range strings.Lines(m.log()) {
		if strings.Contains(line, " ERR ") || strings.Contains(line, "panic:") || strings.Contains(line, "DATA RACE") {
			m.t.Errorf("logged: %s", line)
		}
	}
}
