package worker_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/worker"
	"github.com/codeendelea/vidflow/workflows"
)

const (
	requests    = "Transcribe"
	transcripts = "update_transcribe"
	compressed  = "finish_compress"
	deadline    = 3 * time.Minute
	title       = "Loops and ranges"
	build       = "a-build"
)

// bench is a worker with real activities on a real Temporal server, a real database and Kafka's protocol; the storage
// alone is in memory. It belongs to one video.
type bench struct {
	t         *testing.T
	ctx       context.Context
	id        contract.VideoID
	course    string
	db        *postgrestest.DB
	temporal  client.Client
	namespace string
	storage   *storage
	publish   *publisher
	records   *kgo.Client
	topicIDs  map[string]uuid.UUID
	cfg       activities.Config
	steps     *activities.Activities
	stop      func()
}

// storage is a Supabase Storage that keeps objects in memory and refuses them when told to.
type storage struct {
	mu      sync.Mutex
	objects map[string]string // by path below the bucket
	// status, when not 0, is what every upload is answered with.
	status int
}

func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if s.status != 0 {
		w.WriteHeader(s.status)
		fmt.Fprintf(w, `{"statusCode":"%d","error":"refused","message":"refused by the test"}`, s.status)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/storage/v1/object/captions/")
	s.objects[path] = string(body)
	fmt.Fprintf(w, `{"Key":"captions/%s","Id":"1"}`, path)
}

func (s *storage) fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *storage) object(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[path]
}

// publisher publishes for real, unless it is told that the broker is away.
type publisher struct {
	*kafka.Producer

	mu   sync.Mutex
	down bool
}

func (p *publisher) away(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *publisher) Publish(ctx context.Context, topic string, key, value []byte, headers ...kafka.Header) (int32, int64, error) {
	p.mu.Lock()
	down := p.down
	p.mu.Unlock()
	if down {
		return 0, 0, errors.New("no broker answers")
	}
	return p.Producer.Publish(ctx, topic, key, value, headers...)
}

func newBench(t *testing.T, ns temporaltest.Namespace, settings workflows.Settings) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b := &bench{
		t: t, ctx: t.Context(), id: postgrestest.NewVideoID(), db: postgrestest.New(t), temporal: ns.Client, namespace: ns.Name,
		storage: &storage{objects: map[string]string{}}, topicIDs: map[string]uuid.UUID{},
	}
	var user string
	b.course, user = b.db.Course(t)
	_, err := b.db.Store.CreateVideo(t.Context(), postgres.NewVideo{UserID: user, Video: contract.Video{
		ID: b.id, CourseID: b.course, Title: title, Description: "What a loop is good for",
		CameraVideoURL: "https://cdn.example.org/raw.mp4", Level: contract.Beginner,
	}})
	if err != nil {
		t.Fatal(err)
	}

	cluster := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, requests, transcripts, compressed))
	t.Cleanup(cluster.Close)
	conf := kafka.Config{Brokers: cluster.ListenAddrs()}
	producer, err := kafka.NewProducer(conf, log, "worker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	reader, err := kafka.NewReader(conf, log, "worker", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	b.records, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.records.Close)
	topics, err := kadm.NewClient(b.records).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, topic := range topics {
		b.topicIDs[name] = uuid.UUID(topic.ID)
	}

	served := httptest.NewServer(b.storage)
	t.Cleanup(served.Close)
	bucket, err := supabase.New(supabase.Config{URL: served.URL, ServiceKey: "sb_secret_test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bucket.Close)

	b.publish = &publisher{Producer: producer}
	b.cfg = activities.Config{RequestTopic: requests, Settings: settings, MaxAsks: 3}
	b.steps = activities.New(activities.Deps{Store: b.db.Store, Records: reader, Transcripts: bucket, Requests: b.publish}, b.cfg, log)
	b.startWorker()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bench) startWorker() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.ctx))
	done := make(chan error, 1)
	w := worker.New(b.temporal, b.steps, worker.Config{Build: build, StopTimeout: time.Minute}, slog.New(slog.DiscardHandler))
	go func() { done <- w.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("worker: %v", err)
		}
	})
}

func (b *bench) options() client.StartWorkflowOptions {
	options := client.StartWorkflowOptions{
		ID: workflows.WorkflowID(b.id), TaskQueue: workflows.TaskQueue, StaticSummary: title,
		StaticDetails:            "created 2026-11-25 13:14 UTC, [recording](<https://cdn.example.org/recordings/" + string(b.id) + ".mp4>)",
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}
	if b.cfg.HideTitles {
		options.StaticSummary, options.StaticDetails = "", "created 2026-11-25 13:14 UTC"
	}
	return options
}

// hideTitle has whoever starts a run, and the worker that is started next, keep the title from Temporal.
func (b *bench) hideTitle() {
	b.cfg.HideTitles = true
	b.steps = activities.New(b.steps.Deps, b.cfg, slog.New(slog.DiscardHandler))
}

func (b *bench) input() workflows.VideoInput { return workflows.VideoInput{VideoID: string(b.id)} }

// start starts the run, as the relay does.
func (b *bench) start() client.WorkflowRun {
	b.t.Helper()
	run, err := b.temporal.ExecuteWorkflow(b.ctx, b.options(), workflows.VideoWorkflow, b.input())
	if err != nil {
		b.t.Fatal(err)
	}
	return run
}

// append puts a record on a topic and returns the reference that the bridge would make of it.
func (b *bench) append(topic, value string) contract.Reference {
	b.t.Helper()
	r, err := b.records.ProduceSync(b.ctx, &kgo.Record{Topic: topic, Key: []byte(b.id), Value: []byte(value)}).First()
	if err != nil {
		b.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(value))
	return contract.Reference{
		Topic: topic, TopicID: b.topicIDs[topic], Partition: r.Partition, Offset: r.Offset, Size: len(value), SHA256: sum[:],
		Position: contract.NewPosition(b.topicIDs[topic], r.Partition, r.Offset, r.Timestamp, time.Now()),
	}
}

// transcript is a transcription result that says text, as its service sends it and as it must be stored.
func (b *bench) transcript(text string) (value, stored string) {
	value = fmt.Sprintf(`{"video_id":%q,"transcription":{"duration":1.5,"language":"en","words":[{"text":%q,"start":0,"end":1.5}]}}`, b.id, text)
	_, canonical, err := contract.DecodeToStore(nil, []byte(value))
	if err != nil {
		b.t.Fatal(err)
	}
	return value, string(canonical)
}

// transcribed delivers a transcription result, as the bridge does, and returns what must be stored.
func (b *bench) transcribed(text string) (ref contract.Reference, stored string) {
	b.t.Helper()
	value, stored := b.transcript(text)
	ref = b.append(transcripts, value)
	ref.Transcript = &contract.TranscriptSummary{Duration: 1.5, Language: "en", Words: 1}
	b.signal(workflows.SignalTranscribed, ref)
	return ref, stored
}

// compressed delivers a compression result.
func (b *bench) compressed(url string) {
	b.t.Helper()
	ref := b.append(compressed, url)
	ref.URL = url
	b.signal(workflows.SignalCompressed, ref)
}

func (b *bench) signal(name string, ref contract.Reference) {
	b.t.Helper()
	id := workflows.WorkflowID(b.id)
	if _, err := b.temporal.SignalWithStartWorkflow(b.ctx, id, name, ref, b.options(), workflows.VideoWorkflow, b.input()); err != nil {
		b.t.Fatal(err)
	}
}

// pipeline waits until the database says what is wanted of the video.
func (b *bench) pipeline(what string, wanted func(contract.Pipeline) bool) contract.Pipeline {
	b.t.Helper()
	var got contract.Pipeline
	b.wait(what, func() bool {
		l, err := b.db.Store.Video(b.ctx, b.id)
		if err != nil {
			b.t.Fatal(err)
		}
		if l.Pipeline != nil {
			got = *l.Pipeline
		}
		return l.Pipeline != nil && wanted(got)
	})
	return got
}

func (b *bench) wait(what string, condition func() bool) {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); !condition(); {
		if time.Now().After(end) {
			b.t.Fatalf("waited %s in vain for: %s", deadline, what)
		}
		<-tick.C
	}
}

// asks are the records on the topic of requests, in order.
func (b *bench) asks() []*kgo.Record {
	b.t.Helper()
	ends, err := kadm.NewClient(b.records).ListEndOffsets(b.ctx, requests)
	if err != nil {
		b.t.Fatal(err)
	}
	end, _ := ends.Lookup(requests, 0)
	if end.Offset == 0 {
		return nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.records.OptValue(kgo.SeedBrokers).([]string)...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{requests: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		b.t.Fatal(err)
	}
	defer cl.Close()
	var got []*kgo.Record
	for int64(len(got)) < end.Offset {
		fetches := cl.PollFetches(b.ctx)
		if err := fetches.Err(); err != nil {
			b.t.Fatal(err)
		}
		got = append(got, fetches.Records()...)
	}
	return got
}

// end waits for the run to end and returns its result or error.
func (b *bench) end(run client.WorkflowRun) (workflows.VideoResult, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, deadline)
	defer cancel()
	var r workflows.VideoResult
	err := run.Get(ctx, &r)
	if ctx.Err() != nil {
		b.t.Fatalf("the run has not ended in %s", deadline)
	}
	return r, err
}

// current is the latest run of the video.
func (b *bench) current() client.WorkflowRun {
	return b.temporal.GetWorkflow(b.ctx, workflows.WorkflowID(b.id), "")
}

func hours(h int) time.Duration { return time.Duration(h) * time.Hour }

// patient settings are those of production; nothing runs out within a test.
func patient() workflows.Settings {
	return workflows.Settings{AskAgainAfter: hours(6), OverdueAfter: hours(24), GiveUpAfter: hours(24), SearchAttributes: true, TitleAndTrouble: true}
}

// reset goes back to the first workflow task of a run.
func (b *bench) reset(run client.WorkflowRun) {
	b.t.Helper()
	var first int64
	for _, event := range b.history(run) {
		if event.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			first = event.GetEventId()
			break
		}
	}
	_, err := b.temporal.ResetWorkflowExecution(b.ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace:                 b.namespace,
		WorkflowExecution:         &commonpb.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()},
		Reason:                    "test",
		RequestId:                 uuid.NewString(),
		WorkflowTaskFinishEventId: first,
	})
	if err != nil {
		b.t.Fatal(err)
	}
}
