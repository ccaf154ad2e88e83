package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/grafana"
	"github.com/codeendelea/vidflow/devstack/oncall"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// The rules of this test are the committed ones, with hours for minutes: windows divided by 60, ages by 12.
const quickWindows, quickLimits = 60, 12

// unitTestedOnly are alerts that nothing here can raise: they have promtool's tests alone.
var unitTestedOnly = []string{
	"VidflowTasksWait", // workers that are too few for ten minutes, and not gone
}

// troubleOfAny are panels of trouble with a server, which not every process has to meet while that is away.
var troubleOfAny = []string{"Requests that fail", "Connections that fail"}

// TestAlerts raises the alerts of deploy/prometheus with real faults, and sees those that page go when the fault is gone. On
// the way it holds the rules, the dashboards and the runbook's commands against the running processes. It is not parallel:
// it takes servers away from everybody.
func TestAlerts(t *testing.T) {
	oncall.NeedPrometheus(t)
	rules, err := oncall.LoadRules("../..")
	if err != nil {
		t.Fatal(err)
	}
	w := watchPipeline(t, rules)

	t.Run("nothing is scraped", func(t *testing.T) { w.in(t).nothingScraped(rules) })
	t.Run("nothing fires while all is well", w.quiet)
	t.Run("the runbook's commands work", w.runbook)
	t.Run("services that are silent or talk nonsense, a storage that fails, a topic that is away", w.inside)
	t.Run("groups throw their members out", w.thrownOut)
	t.Run("Temporal is away", w.temporalAway)
	t.Run("processes are gone, a topic is made anew, results are gone or too large", w.processesGone)
	t.Run("Postgres is away, or locked", w.postgresAway)
	t.Run("Kafka is away", w.kafkaAway)

	t.Run("each alert has fired", func(t *testing.T) {
		w := w.in(t)
		fired := slices.Clone(unitTestedOnly)
		series, err := w.prometheus.Query(t.Context(), `count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[1h]))`)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range series {
			fired = append(fired, s.Labels["alertname"])
		}
		for _, alert := range rules.Alerts() {
			if !slices.Contains(fired, alert.Alert) {
				t.Errorf("%s has not fired", alert.Alert)
			}
		}
	})
	t.Run("rules name metrics and labels that exist", func(t *testing.T) {
		for _, rule := range rules.All() {
			w.in(t).exist(rule.Alert+rule.Record, rule.Expr)
		}
	})
	t.Run("dashboards name metrics and labels that exist, and show something", func(t *testing.T) {
		w := w.in(t)
		for _, e := range grafana.Expressions("10s") {
			where := e.Board + ", " + e.Panel
			if slices.Contains(troubleOfAny, e.Panel) {
				e.Expr = strings.ReplaceAll(e.Expr, `job="`+e.Board+`"`, `job=~"vidflow.*"`)
			}
			w.exist(where, e.Expr)
			if n, err := w.prometheus.Ever(t.Context(), e.Expr, w.began); err != nil || n == 0 {
				t.Errorf("%s: %s had %d series in all this time (%v)", where, e.Expr, n, err)
			}
		}
	})
}

func (w *watched) quiet(t *testing.T) {
	w = w.in(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var ids []contract.VideoID
	for range 5 {
		ids = append(ids, w.create(time.Minute))
	}
	w.awaitDone(ctx, soon(), time.Minute, ids...)
	w.awaitKept()
	firing, err := w.prometheus.Firing(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(firing) > 0 {
		t.Errorf("got %v", firing)
	}
}

// runbook runs every command of the runbook, those that change something last.
func (w *watched) runbook(t *testing.T) {
	w = w.in(t)
	blocks, err := oncall.RunbookCommands("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	binary, err := filepath.Abs(need(t, "VIDFLOW_TEST_BINARY"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(bin, "vidflow")); err != nil {
		t.Fatal(err)
	}
	id := w.create(time.Minute)
	if _, err := w.places.API.Await(t.Context(), id, api.Video.Done); err != nil {
		t.Fatal(err)
	}
	w.produce(w.topics.transcribed, []byte(id), []byte("{"))
	w.awaitLetters(id, 1, 1)
	env := w.env.With(
		envfile.Var{Name: "VIDEO", Value: string(id)},
		envfile.Var{Name: "PROMETHEUS", Value: w.prometheus.URL},
		envfile.Var{Name: "VIDFLOW_WORKER_OPS", Value: w.block.URL(ports.WorkerOps)},
		envfile.Var{Name: "VIDFLOW_STARTER_OPS", Value: w.block.URL(ports.StarterOps)},
		envfile.Var{Name: "VIDFLOW_KAFKABRIDGE_OPS", Value: w.block.URL(ports.BridgeOps)},
		envfile.Var{Name: "VIDFLOW_API", Value: w.places.API.URL},
		envfile.Var{Name: "VIDFLOW_TOKEN", Value: w.places.API.Token},
	).Environ([]string{"PATH=" + bin + ":" + os.Getenv("PATH")})
	ran := map[string]bool{}
	for _, change := range []bool{false, true} {
		for _, block := range blocks {
			for line := range strings.Lines(block.Lines) {
				if block.Changes != change || ran[line] {
					continue
				}
				ran[line] = true
				cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", line)
				cmd.Env = env
				out, err := cmd.CombinedOutput()
				if strings.HasPrefix(line, "vidflow status") && process.ExitCode(err) == degraded {
					err = nil
				}
				if err != nil {
					t.Errorf("%s: %s%v\n%s", block.Paragraph, line, err, out)
				}
			}
		}
	}
	if len(ran) < len(blocks) {
		t.Errorf("%d commands are in %d blocks", len(ran), len(blocks))
	}
}

// degraded is what vidflow status exits with while there are dead letters.
const degraded = 3

// inside is what goes wrong while every server and process is there.
func (w *watched) inside(t *testing.T) {
	w = w.in(t)
	const all = 1_000_000
	for _, f := range []storage.Fault{
		{Kind: storage.InternalError, Op: storage.OpUpload, Count: all}, {Kind: storage.InternalError, Op: storage.OpDelete, Count: all},
	} {
		if err := w.storage.Order(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	mend := sync.OnceFunc(func() {
		if err := w.storage.Clear(context.Background()); err != nil {
			t.Error(err)
		}
	})
	defer mend()
	for range 25 { // whose transcripts cannot be stored
		w.create(time.Minute)
	}
	w.await("all are answered", func(context.Context) error {
		if stats := w.simulator.Stats(); stats.Pending > 0 || stats.Transcriptions < 25 {
			return fmt.Errorf("%+v", stats)
		}
		return nil
	})
	silent := soon()
	silent.SilentTranscriptions, silent.SilentCompressions = 1, 1
	if err := w.simulator.Behave(silent); err != nil {
		t.Fatal(err)
	}
	var unanswered []contract.VideoID
	for range 3 {
		unanswered = append(unanswered, w.create(time.Minute))
	}
	deleted := w.create(time.Minute)
	if err := w.places.API.Delete(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	// As if it had been asked for, and deleted, long ago.
	w.db.Exec(t, `update pipeline.videos set created_at = created_at - interval '8 hours' where video_id = $1`, string(unanswered[0]))
	w.db.Exec(t, `update pipeline.intents set created_at = created_at - interval '1 hour' where kind = 'cleanup'`)
	for range 30 {
		w.produce(w.topics.transcribed, []byte(uuid.NewString()), []byte("{"))
	}
	// A workflow that no worker knows.
	for i := range 4 {
		run, err := w.places.Temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: fmt.Sprintf("unknown-%d", i), TaskQueue: workflows.TaskQueue,
		}, "NoSuchWorkflow")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = w.places.Temporal.TerminateWorkflow(context.Background(), run.GetID(), "", "the test is over")
		}()
	}
	// A dead-letter topic that is away, and more and more records for it.
	letters := w.topics.compressed + contract.DeadLetterSuffix
	w.deleteTopic(letters)
	flooding, stop := context.WithCancel(t.Context())
	defer stop()
	var flood sync.WaitGroup
	flood.Go(func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for flooding.Err() == nil {
			for range 6 {
				w.kafka.Produce(flooding, &kgo.Record{Topic: w.topics.compressed, Key: []byte(uuid.NewString()), Value: []byte("nonsense")}, nil)
			}
			<-ticker.C
		}
	})
	w.awaitFiring("VidflowDeadLettersOpen", "VidflowDeadLettersGrowing", "VidflowDeadLettersRefused", "VidflowBridgeFallsBehind",
		"VidflowStepsFailing", "VidflowResultsNotApplied", "VidflowCleanupStuck", "VidflowTranscriptionsSlow", "VidflowCompressionsOverdue",
		"VidflowVideosGivenUp", "VidflowWorkflowTasksFailing")
	stop()
	flood.Wait()
	w.makeTopic(letters)
	mend()
	w.compress(unanswered[1]) // so that its run can fail
	if err := w.simulator.Behave(soon()); err != nil {
		t.Fatal(err)
	}
	w.awaitKept()
}

// thrownOut has the group forget its members again and again: until they have heard of it, the broker refuses what they commit.
func (w *watched) thrownOut(t *testing.T) {
	w = w.in(t)
	id := w.create(time.Minute)
	if _, err := w.places.API.Await(t.Context(), id, api.Video.Done); err != nil {
		t.Fatal(err)
	}
	key, value := simulator.CompressionMessage(id, simulator.URL)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var throwing sync.WaitGroup
	throwing.Go(func() {
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			w.kafka.Produce(ctx, &kgo.Record{Topic: w.topics.compressed, Key: key, Value: value}, nil) // so that there is something to commit
			w.throwOut(ctx, w.env.Value("KAFKA_COMPRESSION_GROUP"))
			<-ticker.C
		}
	})
	w.awaitFiring("VidflowCommitsRefused")
	stop()
	throwing.Wait()
	w.awaitKept()
}

// throwOut has all members leave a group, without their knowing.
func (w *watched) throwOut(ctx context.Context, group string) {
	groups, err := kadm.NewClient(w.kafka).DescribeGroups(ctx, group)
	if err != nil {
		return // it is looked at again
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = group
	for _, member := range groups[group].Members {
		one := kmsg.NewLeaveGroupRequestMember()
		one.MemberID = member.MemberID
		leave.Members = append(leave.Members, one)
	}
	if len(leave.Members) > 0 {
		_, _ = leave.RequestWith(ctx, w.kafka)
	}
}

func (w *watched) deleteTopic(topic string) {
	w.t.Helper()
	deleted, err := kadm.NewClient(w.kafka).DeleteTopics(w.t.Context(), topic)
	if err = errors.Join(err, deleted.Error()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) makeTopic(topic string) {
	w.t.Helper()
	w.await("the topic can be made anew", func(ctx context.Context) error {
		made, err := kadm.NewClient(w.kafka).CreateTopics(ctx, 4, 1, nil, topic)
		return errors.Join(err, made.Error())
	})
	w.kafka.PurgeTopicsFromClient(topic)
}

// away stops a server and returns what starts it again.
func (w *watched) away(server string) (back func()) {
	w.t.Helper()
	if err := w.servers.StopServer(w.t.Context(), server); err != nil {
		w.t.Fatal(err)
	}
	back = sync.OnceFunc(func() {
		if err := w.servers.StartServer(context.Background(), server); err != nil {
			w.t.Errorf("start %s for those who come after: %v", server, err)
		}
	})
	w.t.Cleanup(back)
	return back
}

func (w *watched) temporalAway(t *testing.T) {
	w = w.in(t)
	back := w.away("temporal")
	w.create(time.Minute)
	for range 40 {
		w.transcribe(contract.VideoID(uuid.NewString()), simulator.Take(1))
	}
	w.awaitBroken(resultsLate)
	w.awaitFiring("VidflowCreationsNotStarted", "VidflowSignalsHeldBack", "VidflowTemporalRequestsFailing")
	back()
	w.awaitNoPage()
}

func (w *watched) processesGone(t *testing.T) {
	w = w.in(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	silent := soon()
	silent.SilentTranscriptions, silent.SilentCompressions = 1, 1
	if err := w.simulator.Behave(silent); err != nil {
		t.Fatal(err)
	}
	gone, large := w.create(time.Minute), w.create(time.Minute)
	for _, id := range []contract.VideoID{gone, large} {
		if _, err := w.places.API.Await(ctx, id, asked); err != nil {
			t.Fatal(err)
		}
	}
	w.stop(worker)
	w.transcribe(gone, simulator.Take(1))
	w.awaitAcknowledged()
	w.deleteRecords()
	w.limitBucket(100)
	defer w.limitBucket(50 << 20)
	w.transcribe(large, simulator.Take(1))
	w.awaitFiring("VidflowTargetDown", "VidflowResultsNotApplied") // for lack of a worker: no page was left
	w.start(worker)
	w.awaitFiring("VidflowResultsGone", "VidflowResultsRefused")

	w.deleteTopic(w.topics.compressed)
	w.makeTopic(w.topics.compressed)
	w.awaitFiring("VidflowTopicRemade")
	for i := range 4 {
		w.kill(starter)
		w.launch(starter)
		w.await("it has been scraped since", func(ctx context.Context) error {
			starts, err := w.prometheus.Query(ctx, fmt.Sprintf(`changes(process_start_time_seconds{job="vidflow-starter"}[1m]) > %d`, i))
			if err == nil && len(starts) == 0 {
				err = errors.New("it has not")
			}
			return err
		})
	}
	w.awaitFiring("VidflowRestarting")
	w.awaitStatus(starter, "ready")
	w.awaitKept()
}

// deleteRecords has retention take all that there is of the transcripts.
func (w *watched) deleteRecords() {
	w.t.Helper()
	admin := kadm.NewClient(w.kafka)
	ends, err := admin.ListEndOffsets(w.t.Context(), w.topics.transcribed)
	if err != nil {
		w.t.Fatal(err)
	}
	deleted, err := admin.DeleteRecords(w.t.Context(), ends.Offsets())
	if err = errors.Join(err, deleted.Error()); err != nil {
		w.t.Fatal(err)
	}
}

// limitBucket sets the largest object that the storage takes.
func (w *watched) limitBucket(size int) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPut, w.places.Storage+"/storage/v1/bucket/captions",
		strings.NewReader(fmt.Sprintf(`{"public": true, "file_size_limit": %d}`, size)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.env.Value("SUPABASE_SERVICE_KEY"))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		var answer bytes.Buffer
		_, _ = answer.ReadFrom(resp.Body)
		w.t.Fatalf("limit the bucket: %s: %s", resp.Status, answer.String())
	}
}

// callers read a video over and over until the function that is returned has them stop.
func (w *watched) callers(n int, id contract.VideoID) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var calling sync.WaitGroup
	for range n {
		calling.Go(func() {
			ticker := time.NewTicker(50 * time.Millisecond)
			defer ticker.Stop()
			for ctx.Err() == nil {
				_, _ = w.places.API.Pipeline(ctx, id)
				<-ticker.C
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); calling.Wait() })
}

func (w *watched) postgresAway(t *testing.T) {
	w = w.in(t)
	id := w.create(time.Minute)
	back := w.away("postgres")
	stop := w.callers(2, id)
	w.awaitBroken(creationsLate)
	w.awaitFiring("VidflowAPIErrors", "VidflowDatabaseUnread", "VidflowEventsPolling")
	stop()
	back()
	for _, name := range []string{worker, starter} {
		w.awaitStatus(name, "ready")
	}

	conn, err := pgx.Connect(t.Context(), w.db.Admin.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }() // which ends the lock
	stop = w.callers(40, id)
	defer stop()
	lock := func() {
		if _, err := conn.Exec(t.Context(), "begin; lock table pipeline.videos in access exclusive mode"); err != nil {
			t.Fatal(err)
		}
	}
	unlock := func() {
		if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
			t.Fatal(err)
		}
	}
	lock()
	w.awaitFiring("VidflowDatabasePoolExhausted")
	unlock()
	// From here on every call takes three seconds, and is answered.
	var slow sync.WaitGroup
	slowly, quick := context.WithCancel(t.Context())
	slow.Go(func() {
		for slowly.Err() == nil {
			if _, err := conn.Exec(t.Context(), "begin; lock table pipeline.videos in access exclusive mode; select pg_sleep(3); rollback"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	w.awaitFiring("VidflowAPISlow")
	quick()
	slow.Wait()
	stop()
	w.awaitKept()
}

func (w *watched) kafkaAway(t *testing.T) {
	w = w.in(t)
	back := w.away("kafka")
	w.create(time.Minute) // which the worker has to ask for
	w.awaitBroken(resultsLate)
	w.awaitFiring("VidflowKafkaUnreachable")
	w.await("each process has failed to connect", func(ctx context.Context) error {
		jobs, err := w.prometheus.Query(ctx, "sum by (job) (rate(kafka_connect_errors_total[10s])) > 0")
		if err == nil && len(jobs) < len(everyProcess) {
			err = fmt.Errorf("%d did", len(jobs))
		}
		return err
	})
	back()
	w.awaitKept()
	// And it all works still.
	if err := w.simulator.Behave(soon()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := w.places.API.Await(ctx, w.create(time.Minute), api.Video.Done); err != nil {
		t.Error(err)
	}
}
