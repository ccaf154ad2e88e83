package status_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/status"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/worker"
	"github.com/codeendelea/vidflow/workflows"
)

const (
	transcripts, compressions = "update_transcribe", "finish_compress"
	patience                  = 2 * time.Minute // which only a failure meets
)

// rig is servers of which nothing of vidflow runs yet.
type rig struct {
	t         *testing.T
	db        *postgrestest.DB
	namespace temporaltest.Namespace
	kafka     *kgo.Client
	sources   status.Sources
}

func newRig(t *testing.T) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, transcripts, compressions,
		transcripts+contract.DeadLetterSuffix, compressions+contract.DeadLetterSuffix))
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	t.Cleanup(cluster.Close)
	r := &rig{t: t, db: postgrestest.New(t), namespace: temporaltest.New(t)}
	r.kafka = r.client(cluster.ListenAddrs())
	storage, err := supabase.New(supabase.Config{URL: need(t, "SUPABASE_URL"), ServiceKey: need(t, "SUPABASE_SERVICE_KEY")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(storage.Close)
	r.sources = status.Sources{
		Store: r.db.Store, Temporal: r.namespace.Client, Storage: storage, Kafka: kafka.Config{Brokers: cluster.ListenAddrs()},
		TemporalAddress: need(t, temporaltest.Variable), Namespace: r.namespace.Name, StorageURL: need(t, "SUPABASE_URL"),
		TranscriptionTopic: transcripts, TranscriptionGroup: "transcription", CompressionTopic: compressions, CompressionGroup: "compression",
		DeadLetterGroup: "letters", MaxAsks: 3,
		Deadlines: postgres.Deadlines{AskAgainAfter: 6 * time.Hour, OverdueAfter: 24 * time.Hour, GiveUpAfter: 24 * time.Hour},
		Redact:    func(s string) string { return s }, Log: slog.New(slog.DiscardHandler),
	}
	return r
}

func need(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: this test needs servers; run it with `make test`, or with `bin/devstack exec -- go test ./internal/status`", name)
	}
	return value
}

func (r *rig) client(brokers []string, opts ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.ClientID("codeendelea-api-server")}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cl.Close)
	return cl
}

// start has somebody poll, consume and be connected as the three processes are.
func (r *rig) start() (stopWorker func()) {
	r.t.Helper()
	polling := sdk.New(r.namespace.Client, workflows.TaskQueue, sdk.Options{Identity: "the worker"})
	worker.Register(polling, nil)
	if err := polling.Start(); err != nil {
		r.t.Fatal(err)
	}
	stopWorker = sync.OnceFunc(polling.Stop)
	r.t.Cleanup(stopWorker)
	for group, topics := range map[string][]string{
		"transcription": {transcripts}, "compression": {compressions},
		"letters": {transcripts + contract.DeadLetterSuffix, compressions + contract.DeadLetterSuffix},
	} {
		r.client(r.sources.Kafka.Brokers, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.DisableAutoCommit())
	}
	starter := postgrestest.Open(r.t, r.db.URL, postgres.WithApplicationName("vidflow starter"))
	if err := starter.Ping(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return stopWorker
}

func (r *rig) produce(topic string, partition int32, at time.Time, value string) {
	r.t.Helper()
	cl := r.client(r.sources.Kafka.Brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.ProduceSync(r.t.Context(), &kgo.Record{Topic: topic, Partition: partition, Timestamp: at, Value: []byte(value)}).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// awaitReport looks until the report is as wanted.
func (r *rig) awaitReport(what string, wanted func(status.Report) bool) status.Report {
	r.t.Helper()
	return r.awaitReportFor(patience, what, wanted)
}

func (r *rig) awaitReportFor(limit time.Duration, what string, wanted func(status.Report) bool) status.Report {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		report := status.Gather(ctx, r.sources)
		if wanted(report) {
			return report
		}
		select {
		case <-ctx.Done():
			var b strings.Builder
			_ = report.Print(&b, false)
			r.t.Fatalf("waited in vain until %s:\n%s", what, b.String())
		case <-ticker.C:
		}
	}
}

// awaitVideo looks until a video is as wanted: on a busy machine an answer may come too late for one look.
func (r *rig) awaitVideo(id contract.VideoID, wanted func(status.Video) bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		v := status.GatherVideo(r.t.Context(), r.sources, id)
		if wanted(v) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("got %+v", v)
		}
	}
}

func says(r status.Report) []string {
	var all []string
	for _, reason := range r.Reasons {
		all = append(all, reason.What)
	}
	return all
}

func TestGather(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want := []string{
		`No worker polls task queue "videos": no run goes on, and nothing is applied.`,
		"No kafkabridge consumes update_transcribe: results are not applied.",
		"No kafkabridge consumes finish_compress: results are not applied.",
		"No starter is connected to Postgres: the API is away, and created videos get no run.",
		"No starter reads update_transcribe.dlq and finish_compress.dlq: the count of dead letters is not kept.",
	}
	r.awaitReport("it says "+strings.Join(want, " "), func(nothing status.Report) bool {
		if nothing.Starter.Pooled {
			return nothing.Verdict == status.Broken && slices.Equal(says(nothing), slices.Delete(slices.Clone(want), 3, 4))
		}
		return nothing.Verdict == status.Broken && slices.Equal(says(nothing), want)
	})

	stopWorker := r.start()
	report := r.awaitReport("all is in order", func(r status.Report) bool { return r.Verdict == status.OK })
	if p := report.Worker.Pollers; len(p) != 1 || p[0].Identity != "the worker" || p[0].Silent || p[0].Stopped {
		t.Errorf("pollers: %+v", p)
	}
	wantGroup := status.Group{
		Name: "transcription", Topics: []string{transcripts}, State: "Stable", Protocol: "cooperative-sticky",
		Members: []status.Member{{ClientID: "codeendelea-api-server", Partitions: 2}},
	}
	if diff := cmp.Diff(wantGroup, report.Kafka.Groups[0], cmpopts.IgnoreFields(status.Member{}, "Host")); diff != "" {
		t.Errorf("group (-want +got):\n%s", diff)
	}
	if report.Postgres.Schema == 0 || report.Postgres.Schema != report.Postgres.SchemaWanted || len(report.Temporal.MissingAttributes) > 0 || report.Temporal.MissingAttributes == nil {
		t.Errorf("got %+v, %+v", report.Postgres, report.Temporal)
	}
	stopWorker()
	r.awaitReport("it says that the worker was stopped", func(r status.Report) bool {
		return r.Verdict == status.Broken && strings.HasPrefix(r.Reasons[0].What, "No worker polls") && len(r.Worker.Pollers) > 0 && r.Worker.Pollers[0].Stopped
	})
}

// TestGather_lag: nothing is committed in one partition, and something in the other; the oldest of what is unread tells how
// long the bridge is behind.
func TestGather_lag(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	r.awaitReport("all is in order", func(r status.Report) bool { return r.Verdict == status.OK })
	hourAgo, now := time.Now().Add(-time.Hour).Truncate(time.Millisecond), time.Now().Truncate(time.Millisecond)
	r.produce(transcripts, 0, hourAgo.Add(-time.Hour), "read")
	r.produce(transcripts, 0, hourAgo, "not read")
	r.produce(transcripts, 0, now, "nor this")
	r.produce(transcripts, 1, now, "nor that")
	offsets := make(kadm.Offsets)
	offsets.AddOffset(transcripts, 0, 1, -1)
	// A group that has members takes commits of theirs alone.
	r.sources.TranscriptionGroup = "nobody is in it"
	if err := kadm.NewClient(r.kafka).CommitAllOffsets(t.Context(), r.sources.TranscriptionGroup, offsets); err != nil {
		t.Fatal(err)
	}
	report := r.awaitReport("the group is looked at", func(r status.Report) bool {
		return r.Kafka.Error == "" && len(r.Kafka.Groups) > 0 && r.Kafka.Groups[0].Oldest != nil
	})
	got := report.Kafka.Groups[0]
	if got.Lag != 3 || got.Oldest == nil || !got.Oldest.Equal(hourAgo) || got.LagSeconds == nil || *got.LagSeconds < 3600 || *got.LagSeconds > 3600+patience.Seconds() {
		t.Errorf("got %+v, want three records behind, the oldest of %s", got, hourAgo)
	}
	if got.State != "Empty" || len(got.Members) > 0 {
		t.Errorf("got %+v, want nobody in it", got)
	}
}

func TestGather_counts_runs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	start := func(id contract.VideoID) {
		t.Helper()
		_, err := r.namespace.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.WorkflowID(id), TaskQueue: workflows.TaskQueue},
			workflows.VideoWorkflow, workflows.VideoInput{VideoID: string(id)})
		if err != nil {
			t.Fatal(err)
		}
	}
	ended := postgrestest.NewVideoID()
	start(postgrestest.NewVideoID())
	start(ended)
	if err := r.namespace.Client.TerminateWorkflow(t.Context(), workflows.WorkflowID(ended), "", "of the test"); err != nil {
		t.Fatal(err)
	}
	r.db.Exec(t, `
		insert into pipeline.videos (video_id, transcription_state, compression_state)
		select gen_random_uuid(), 'waiting', 'waiting' from generate_series(1, 11)`)
	report := r.awaitReport("both runs are counted, and a task waits", func(r status.Report) bool {
		return r.Temporal.OpenRuns == 1 && r.Temporal.FailedLately == 1 && r.Worker.Backlog > 0
	})
	if want := "About 10 of 11 unfinished videos have no run in namespace " + r.namespace.Name + "."; !slices.Contains(says(report), want) {
		t.Errorf("got %q, want %q", says(report), want)
	}
}

// TestGather_finds_runs_that_cannot_go_on: Temporal reports a run whose workflow task failed a few times.
func TestGather_finds_runs_that_cannot_go_on(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	broken := sdk.New(r.namespace.Client, workflows.TaskQueue, sdk.Options{})
	broken.RegisterWorkflowWithOptions(func(workflow.Context, workflows.VideoInput) error { panic("of the test") },
		workflow.RegisterOptions{Name: workflows.VideoWorkflow})
	if err := broken.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broken.Stop)
	id := postgrestest.NewVideoID()
	if _, err := r.namespace.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.WorkflowID(id), TaskQueue: workflows.TaskQueue},
		workflows.VideoWorkflow, workflows.VideoInput{VideoID: string(id)}); err != nil {
		t.Fatal(err)
	}
	// After five failures, with pauses that grow: about a minute.
	report := r.awaitReportFor(4*time.Minute, "the run is reported", func(r status.Report) bool { return r.Temporal.StuckRuns == 1 })
	if want := "1 run cannot go on: workflow tasks fail."; !slices.Contains(says(report), want) {
		t.Errorf("got %q, want %q", says(report), want)
	}
	r.db.Exec(t, `insert into pipeline.videos (video_id, transcription_state, compression_state) values ($1, 'waiting', 'waiting')`, string(id))
	course, _ := r.db.Course(t)
	r.db.Exec(t, `
		insert into public.videos (id, course_id, title, description, camera_video_url, level)
		values ($1, $2, 'A video', 'A video of a test', 'https://example.org/raw.mp4', 'beginner')`, string(id), course)
	r.awaitVideo(id, func(v status.Video) bool {
		return v.Verdict == status.VideoTrouble && len(v.Says) > 0 && strings.HasPrefix(v.Says[0], "Its run cannot go on: its workflow task fails, tried ")
	})
}

// TestGatherVideo_asks_a_run_in_vain: a run that nobody answers for in time is no matter of the connection.
func TestGatherVideo_asks_a_run_in_vain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	polling := sdk.New(r.namespace.Client, workflows.TaskQueue, sdk.Options{})
	begun := make(chan struct{})
	polling.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ workflows.VideoInput) error {
		if err := workflow.SetQueryHandler(ctx, workflows.QueryState, func() (workflows.State, error) { return workflows.State{}, nil }); err != nil {
			return err
		}
		if !workflow.IsReplaying(ctx) {
			close(begun)
		}
		return workflow.Await(ctx, func() bool { return false })
	}, workflow.RegisterOptions{Name: workflows.VideoWorkflow})
	if err := polling.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(polling.Stop)
	t.Cleanup(stop)
	id := postgrestest.NewVideoID()
	if _, err := r.namespace.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.WorkflowID(id), TaskQueue: workflows.TaskQueue},
		workflows.VideoWorkflow, workflows.VideoInput{VideoID: string(id)}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-begun:
	case <-time.After(patience):
		t.Fatal("the run does not begin")
	}
	stop() // when it has ended its task
	r.awaitVideo(id, func(v status.Video) bool {
		return v.Runs.QueryError == "no worker has answered in time: none runs, or one has a step of this run in hand"
	})
}

// TestGather_in_an_outage: whatever is away, the rest is there, and within seconds. One of the servers takes connections
// and never answers.
func TestGather_in_an_outage(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	away := silent.Addr().String()
	for name, row := range map[string]struct {
		take   func(t *testing.T, r *rig)
		reason string
		gone   func(status.Report) []string // the errors of what is away
	}{
		"Kafka": {
			func(_ *testing.T, r *rig) { r.sources.Kafka.Brokers = []string{away} }, "Kafka cannot be used",
			func(r status.Report) []string { return []string{r.Kafka.Error} },
		},
		"Postgres": {
			func(t *testing.T, r *rig) {
				r.sources.Store = postgrestest.Open(t, "postgres://vidflow:of-nobody@"+away+"/postgres?sslmode=disable")
			}, "Postgres cannot be used",
			func(r status.Report) []string {
				return []string{r.Postgres.Error, r.Starter.Error, r.Videos.Error, r.Outbox.Error, r.DeadLetters.Error}
			},
		},
		"Temporal": {
			func(t *testing.T, r *rig) {
				temporal, err := client.NewLazyClient(client.Options{HostPort: away})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(temporal.Close)
				r.sources.Temporal = temporal
			}, "Temporal cannot be used",
			func(r status.Report) []string { return []string{r.Temporal.Error, r.Worker.Error} },
		},
		"storage": {
			func(t *testing.T, r *rig) {
				storage, err := supabase.New(supabase.Config{URL: "http://" + away, ServiceKey: "sb_secret_of_nobody"})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(storage.Close)
				r.sources.Storage = storage
			}, "The storage cannot be used",
			func(r status.Report) []string { return []string{r.Storage.Error} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			row.take(t, r)
			failed := func(report status.Report) (errs int) {
				for _, e := range []string{
					report.Kafka.Error, report.Postgres.Error, report.Starter.Error, report.Videos.Error, report.Outbox.Error, report.DeadLetters.Error,
					report.Temporal.Error, report.Worker.Error, report.Storage.Error,
				} {
					if e != "" {
						errs++
					}
				}
				return errs
			}
			quickest := patience // of a few looks, as on a busy machine one may be late, and what is there may seem away
			report := r.awaitReport("nothing else has an error", func(report status.Report) bool {
				quickest = min(quickest, time.Duration(report.Milliseconds)*time.Millisecond)
				return failed(report) == len(row.gone(report)) && quickest <= 10*time.Second
			})
			if report.Verdict != status.Broken || !slices.ContainsFunc(says(report), func(s string) bool { return strings.HasPrefix(s, row.reason) }) {
				t.Errorf("got %s, %q", report.Verdict, says(report))
			}
			gone := row.gone(report)
			if slices.Contains(gone, "") {
				t.Errorf("the errors of what is away are %q", gone)
			}
		})
	}
}

func TestGatherVideo_of_one_that_is_not_there(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.awaitVideo(postgrestest.NewVideoID(), func(v status.Video) bool {
		return v.Verdict == status.VideoMissing && v.State == "unknown" && v.Row == nil && v.Runs.Error == "" && v.Object.Error == "" && !v.Object.Exists
	})
}
