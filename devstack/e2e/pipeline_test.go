package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/outcome"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/devstack/readiness"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/devstack/supervisor"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/temporaltest"
)

// The processes of vidflow.
const (
	worker  = "worker"
	starter = "starter"
	bridge  = "kafkabridge"
)

var everyProcess = []string{worker, starter, bridge}

// patience is how long anything may take that is not told to be slow: the machine may be small and busy.
const patience = 3 * time.Minute

// pipeline is everything that belongs to one test.
type pipeline struct {
	t         *testing.T
	places    outcome.Places
	db        *postgrestest.DB
	namespace temporaltest.Namespace
	storage   storage.Controller
	kafka     *kgo.Client
	topics    topics
	block     ports.Block
	env       envfile.Vars
	own       map[string]envfile.Vars // of one process alone
	binary    string                  // of the processes and tools
	label     string                  // before the names of processes in the log
	console   *supervisor.Console
	log       func() string               // all that the processes have logged
	processes map[string]*process.Process // those that run
}

type topics struct{ ask, transcribed, compressed string }

func (n topics) all() []string {
	return []string{
		n.ask, n.transcribed, n.compressed, n.transcribed + contract.DeadLetterSuffix, n.compressed + contract.DeadLetterSuffix,
	}
}

// newPipeline makes what belongs to the test; no process runs yet.
func newPipeline(t *testing.T, settings ...envfile.Var) *pipeline {
	t.Helper()
	return newPipelineOn(t, postgrestest.New(t), settings...)
}

// newPipelineOn is newPipeline on a database that has the API server's tables.
func newPipelineOn(t *testing.T, db *postgrestest.DB, settings ...envfile.Var) *pipeline {
	t.Helper()
	id := strings.ToLower(rand.Text()[:10])
	p := &pipeline{
		t:         t,
		db:        db,
		binary:    need(t, "VIDFLOW_TEST_BINARY"),
		namespace: temporaltest.New(t),
		storage:   storage.Controller{URL: need(t, "VIDFLOW_TEST_STORAGE_CONTROL")},
		topics:    topics{ask: "ask-" + id, transcribed: "transcribed-" + id, compressed: "compressed-" + id},
		processes: map[string]*process.Process{},
	}
	p.seed()
	p.makeTopics()
	block, anchor, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	p.block = block
	t.Cleanup(func() { _ = anchor.Close() })

	secret := need(t, "JWT_SECRET")
	p.env = envfile.Vars{
		{Name: "DATABASE_URL", Value: p.db.URL},
		{Name: "DATABASE_LISTEN_URL", Value: p.db.DirectURL},
		{Name: "TEMPORAL_ADDRESS", Value: need(t, "TEMPORAL_ADDRESS")},
		{Name: "TEMPORAL_NAMESPACE", Value: p.namespace.Name},
		{Name: "KAFKA_PRODUCE_TOPIC", Value: p.topics.ask},
		{Name: "KAFKA_CONSUME_TOPIC", Value: p.topics.transcribed},
		{Name: "KAFKA_COMPRESSION_TOPIC", Value: p.topics.compressed},
		{Name: "KAFKA_TRANSCRIPTION_GROUP", Value: "transcription-" + id},
		{Name: "KAFKA_COMPRESSION_GROUP", Value: "compression-" + id},
		{Name: "KAFKA_DEAD_LETTER_GROUP", Value: "dead-letters-" + id},
		{Name: "SUPABASE_URL", Value: need(t, "SUPABASE_URL")},
		{Name: "SUPABASE_SERVICE_KEY", Value: need(t, "SUPABASE_SERVICE_KEY")},
		{Name: "JWT_SECRET", Value: secret},
		{Name: "HOST", Value: "127.0.0.1"},
		{Name: "PORT", Value: strconv.Itoa(block.Port(ports.API))},
		{Name: "RATE_LIMIT", Value: "0"},
		{Name: "LOG_FORMAT", Value: "json"},
		{Name: "SHUTDOWN_TIMEOUT", Value: "20s"},
		{Name: "GORACE", Value: "halt_on_error=1"},
	}.With(brokerEnvironment(t)...).With(settings...)
	p.allow()

	token, err := seed.Token(secret, seed.Lecturer, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p.places = outcome.Places{
		API:      api.Client{URL: block.URL(ports.API), Token: token},
		Database: p.db.Admin,
		Temporal: p.namespace.Client,
		Storage:  need(t, "SUPABASE_URL"),
	}
	p.keepLog()
	t.Cleanup(p.stopAll)
	return p
}

func need(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: this test needs the servers of the development stack and a vidflow binary; run it with `make test`, "+
			"or with `make test-one PKG=./devstack/e2e`", name)
	}
	return value
}

func (p *pipeline) seed() {
	p.t.Helper()
	conn, err := p.db.Admin.Acquire(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Release()
	if err := seed.Apply(p.t.Context(), conn.Conn()); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipeline) makeTopics() {
	p.t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(testBrokers(p.t)...),
		kgo.ProducerBatchMaxBytes(8<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(client.Close)
	p.kafka = client
	const partitions, replicas = 4, 1
	made, err := kadm.NewClient(client).CreateTopics(p.t.Context(), partitions, replicas, nil, p.topics.all()...)
	if err = errors.Join(err, made.Error()); err != nil {
		p.t.Fatalf("make topics: %v", err)
	}
}

// keepLog keeps what the processes log, and shows it when the test fails.
func (p *pipeline) keepLog() {
	var mu sync.Mutex
	var log bytes.Buffer
	p.console = supervisor.NewConsole(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(b)
	}), false, len(bridge))
	p.log = func() string {
		mu.Lock()
		defer mu.Unlock()
		return log.String()
	}
	p.t.Cleanup(func() {
		if !p.t.Failed() {
			return
		}
		const most = 400
		lines := strings.Split(p.log(), "\n")
		p.t.Logf("the last lines of the processes' logs:\n%s", strings.Join(lines[max(0, len(lines)-most):], "\n"))
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// beside is the same pipeline with processes and ports of its own, made from another binary.
func (p *pipeline) beside(label, binary string) *pipeline {
	p.t.Helper()
	block, anchor, err := ports.Free()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = anchor.Close() })
	q := *p
	q.label, q.binary, q.block, q.processes = label, binary, block, map[string]*process.Process{}
	q.env = p.env.With(envfile.Var{Name: "PORT", Value: strconv.Itoa(block.Port(ports.API))})
	q.places.API.URL = block.URL(ports.API)
	p.t.Cleanup(q.stopAll)
	return &q
}

// in is the pipeline for a subtest, whose failures are its own.
func (p *pipeline) in(t *testing.T) *pipeline {
	q := *p
	q.t = t
	return &q
}

// start starts processes and waits until they are ready.
func (p *pipeline) start(names ...string) {
	p.t.Helper()
	for _, name := range names {
		p.launch(name)
	}
	for _, name := range names {
		p.awaitStatus(name, "ready")
	}
}

// launch starts a process and waits for nothing.
func (p *pipeline) launch(name string) {
	p.t.Helper()
	command, _, _ := strings.Cut(name, "-") // "kafkabridge-2" is one of several
	cmd := exec.Command(p.binary, command)
	out := p.console.Writer(p.label+name, slices.Index(everyProcess, command))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = p.env.With(login(p.t, command)...).With(p.own[command]...).With(envfile.Var{Name: "OPS_ADDR", Value: p.block.Addr(opsPort[name])}).
		Environ([]string{"PATH=" + os.Getenv("PATH")})
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.processes[name] = child
}

var opsPort = map[string]ports.Service{
	worker: ports.WorkerOps, starter: ports.StarterOps, bridge: ports.BridgeOps,
	bridges[0]: ports.WorkerOps, bridges[1]: ports.StarterOps, bridges[2]: ports.BridgeOps,
	worker + "-one": ports.TemporalUI, worker + "-two": ports.TemporalGRPC, // where the servers that they are for do not listen
}

// awaitStatus waits until the process says that it is "ready", "degraded" or "not ready".
func (p *pipeline) awaitStatus(name, want string) {
	p.t.Helper()
	p.await(name+" is "+want, func(ctx context.Context) error {
		select {
		case <-p.processes[name].Done():
			p.t.Fatalf("%s ended: %v", name, p.processes[name].Wait())
		default:
		}
		answer, err := readiness.Ask(ctx, p.block.URL(opsPort[name]))
		if err != nil {
			return err
		}
		if answer.Status != want {
			return fmt.Errorf("it is %+v", answer)
		}
		return nil
	})
}

// stop asks a process to end and waits for it; it must exit with 0.
func (p *pipeline) stop(name string) {
	p.t.Helper()
	child := p.processes[name]
	delete(p.processes, name)
	p.end(name, child)
}

func (p *pipeline) end(name string, child *process.Process) {
	p.t.Helper()
	if err := child.Signal(syscall.SIGTERM); err != nil {
		p.t.Errorf("signal %s: %v", name, err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-child.Done():
		if err := child.Wait(); err != nil {
			p.t.Errorf("%s ended with %v on SIGTERM, want exit code 0", name, err)
		}
	case <-timer.C:
		p.t.Errorf("%s does not end on SIGTERM", name)
		child.Stop(context.Background(), process.Step{Signal: syscall.SIGQUIT, Wait: 2 * time.Second}) // which shows what it does
	}
}

// kill ends a process as a crash does.
func (p *pipeline) kill(name string) {
	p.t.Helper()
	child := p.processes[name]
	delete(p.processes, name)
	_ = child.Signal(syscall.SIGKILL)
	<-child.Done()
}

func (p *pipeline) stopAll() {
	var ending sync.WaitGroup
	for name, child := range p.processes {
		ending.Go(func() { p.end(name, child) })
	}
	ending.Wait()
}

// simulate runs the external services until the end of the test.
func (p *pipeline) simulate(b simulator.Behaviour) *simulator.Simulator {
	p.t.Helper()
	return p.simulateTraced(b, nil)
}

// simulateTraced is simulate with services that make spans.
func (p *pipeline) simulateTraced(b simulator.Behaviour, traces trace.TracerProvider) *simulator.Simulator {
	p.t.Helper()
	sim, err := simulator.New(simulator.Config{
		Brokers:      testBrokers(p.t),
		RequestTopic: p.topics.ask, TranscriptionTopic: p.topics.transcribed, CompressionTopic: p.topics.compressed,
		Group:     "simulator-" + p.topics.ask,
		Behaviour: &b,
		Traces:    traces,
		Log:       slog.New(slog.NewJSONHandler(p.console.Writer("simulator", 3), nil)),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running errgroup.Group
	running.Go(func() error { return sim.Run(ctx) })
	p.t.Cleanup(func() {
		cancel()
		if err := running.Wait(); err != nil {
			p.t.Errorf("simulator: %v", err)
		}
		sim.Close()
	})
	return sim
}

// soon answers at once, in the forms of the contract.
func soon() simulator.Behaviour {
	b := simulator.DefaultBehaviour()
	delay := simulator.Range{Min: simulator.Duration(10 * time.Millisecond), Max: simulator.Duration(500 * time.Millisecond)}
	b.TranscriptionDelay, b.CompressionDelay = delay, delay
	return b
}

// create creates a video whose recording has the length.
func (p *pipeline) create(length time.Duration) contract.VideoID {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	v, err := p.places.API.Create(ctx, seed.Courses[0].ID, newVideo(length))
	if err != nil {
		p.t.Fatalf("create a video: %v", err)
	}
	return v.ID
}

func newVideo(length time.Duration) api.NewVideo {
	return api.NewVideo{
		Title:       fmt.Sprintf("End to end [%s]", length),
		Description: "A video of the end-to-end tests.",
		CameraURL:   "https://example.test/lectures/end-to-end.mp4",
		Level:       string(contract.Beginner),
	}
}

// awaitDone waits until both tracks of the videos are done and checks what they left everywhere.
func (p *pipeline) awaitDone(ctx context.Context, b simulator.Behaviour, length time.Duration, ids ...contract.VideoID) {
	p.t.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	for _, id := range ids {
		group.Go(func() error {
			if _, err := p.places.API.Await(ctx, id, api.Video.Done); err != nil {
				return err
			}
			want, err := outcome.Of(id, b, length)
			if err != nil {
				return err
			}
			return p.places.Check(ctx, id, want)
		})
	}
	if err := group.Wait(); err != nil {
		p.t.Fatal(err)
	}
}

// await repeats a look until it answers nil.
func (p *pipeline) await(what string, look func(context.Context) error) {
	p.t.Helper()
	p.awaitFor(patience, what, look)
}

func (p *pipeline) awaitFor(limit time.Duration, what string, look func(context.Context) error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := look(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil { // else it only says that the time is over
			last = err
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("waited in vain until %s: %v", what, last)
		case <-ticker.C:
		}
	}
}

// produce sends a record to a topic.
func (p *pipeline) produce(topic string, key, value []byte) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	err := p.kafka.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: key, Value: value}).FirstErr()
	if err != nil {
		p.t.Fatalf("produce to %s: %v", topic, err)
	}
}

// requests are the records of the topic of requests so far.
func (p *pipeline) requests(ctx context.Context) ([]*kgo.Record, error) {
	ends, err := kadm.NewClient(p.kafka).ListEndOffsets(ctx, p.topics.ask)
	if err != nil {
		return nil, err
	}
	var total int64
	start := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		total += o.Offset
		start[o.Partition] = kgo.NewOffset().AtStart()
	})
	consumer, err := kgo.NewClient(kgo.SeedBrokers(testBrokers(p.t)...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topics.ask: start}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	var records []*kgo.Record
	for int64(len(records)) < total {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, err
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

// awaitAcknowledged waits until the bridge has committed everything up to the ends of the result topics.
func (p *pipeline) awaitAcknowledged() {
	p.t.Helper()
	p.awaitAcknowledgedFor(patience)
}

func (p *pipeline) awaitAcknowledgedFor(limit time.Duration) {
	p.t.Helper()
	admin := kadm.NewClient(p.kafka)
	p.awaitFor(limit, "all results are acknowledged", func(ctx context.Context) error {
		ends, err := admin.ListEndOffsets(ctx, p.topics.transcribed, p.topics.compressed)
		if err != nil {
			return err
		}
		for topic, group := range map[string]string{
			p.topics.transcribed: p.env.Value("KAFKA_TRANSCRIPTION_GROUP"),
			p.topics.compressed:  p.env.Value("KAFKA_COMPRESSION_GROUP"),
		} {
			committed, err := admin.FetchOffsets(ctx, group)
			if err != nil {
				return err
			}
			for partition, end := range ends[topic] {
				at, _ := committed.Lookup(topic, partition)
				if at.At < end.Offset {
					return fmt.Errorf("partition %d of %s is acknowledged to %d of %d", partition, topic, at.At, end.Offset)
				}
			}
		}
		return nil
	})
}
