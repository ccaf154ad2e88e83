package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/devstack/readiness"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// patience is how long anything may take: the machine may be small and busy.
const patience = 90 * time.Second

// world is a pipeline in which the test itself is the external services.
type world struct {
	t        *testing.T
	db       *postgrestest.DB
	temporal client.Client
	storage  storage.Controller
	kafka    *kgo.Client
	topics   topics
	block    ports.Block
	env      envfile.Vars
	log      *process.Output
	running  map[string]*process.Process
}

type topics struct{ ask, transcribed, compressed string }

// newWorld makes a pipeline in a Temporal namespace; no process runs yet. Names are fixed: people look at them.
func newWorld(t *testing.T, name, namespace string) *world {
	t.Helper()
	w := &world{
		t: t, db: postgrestest.New(t), running: map[string]*process.Process{}, log: new(process.Output),
		storage: storage.Controller{URL: need(t, "VIDFLOW_TEST_STORAGE_CONTROL")},
		topics:  topics{ask: "Transcribe-" + name, transcribed: "update_transcribe-" + name, compressed: "finish_compress-" + name},
	}
	conn, err := w.db.Admin.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if err := seed.Apply(t.Context(), conn.Conn()); err != nil {
		t.Fatal(err)
	}
	w.kafka, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(need(t, "VIDFLOW_TEST_KAFKA_BROKERS"), ",")...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kafka.Close)
	const partitions, replicas = 4, 1
	made, err := kadm.NewClient(w.kafka).CreateTopics(t.Context(), partitions, replicas, nil,
		w.topics.ask, w.topics.transcribed, w.topics.compressed,
		w.topics.transcribed+contract.DeadLetterSuffix, w.topics.compressed+contract.DeadLetterSuffix)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		t.Fatalf("make topics: %v", err)
	}
	w.temporal, err = client.DialContext(t.Context(), client.Options{HostPort: need(t, "TEMPORAL_ADDRESS"), Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.temporal.Close)
	block, anchor, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	w.block = block
	t.Cleanup(func() { _ = anchor.Close() })
	w.env = envfile.Vars{
		{Name: "DATABASE_URL", Value: w.db.URL},
		{Name: "TEMPORAL_ADDRESS", Value: need(t, "TEMPORAL_ADDRESS")},
		{Name: "TEMPORAL_NAMESPACE", Value: namespace},
		{Name: "KAFKA_BROKERS", Value: need(t, "KAFKA_BROKERS")},
		{Name: "KAFKA_SSL", Value: need(t, "KAFKA_SSL")},
		{Name: "KAFKA_PRODUCE_TOPIC", Value: w.topics.ask},
		{Name: "KAFKA_CONSUME_TOPIC", Value: w.topics.transcribed},
		{Name: "KAFKA_COMPRESSION_TOPIC", Value: w.topics.compressed},
		{Name: "KAFKA_TRANSCRIPTION_GROUP", Value: "transcription-" + name},
		{Name: "KAFKA_COMPRESSION_GROUP", Value: "compression-" + name},
		{Name: "KAFKA_DEAD_LETTER_GROUP", Value: "dead-letters-" + name},
		{Name: "SUPABASE_URL", Value: need(t, "SUPABASE_URL")},
		{Name: "SUPABASE_SERVICE_KEY", Value: need(t, "SUPABASE_SERVICE_KEY")},
		{Name: "JWT_SECRET", Value: need(t, "JWT_SECRET")},
		{Name: "HOST", Value: "127.0.0.1"},
		{Name: "PORT", Value: fmt.Sprint(block.Port(ports.API))},
		{Name: "LOG_FORMAT", Value: "json"},
		{Name: "GORACE", Value: "halt_on_error=1"},
	}
	t.Cleanup(func() {
		for name := range w.running {
			w.stop(name)
		}
		if lines := strings.Split(w.log.String(), "\n"); t.Failed() {
			const most = 200
			t.Logf("the last lines of the processes' logs:\n%s", strings.Join(lines[max(0, len(lines)-most):], "\n"))
		}
	})
	return w
}

func need(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: this test needs the servers of the development stack and a vidflow binary; run it with `make test-browser`", name)
	}
	return value
}

var opsPort = map[string]ports.Service{"worker": ports.WorkerOps, "starter": ports.StarterOps, "kafkabridge": ports.BridgeOps}

// start starts a process of vidflow and waits until it is ready.
func (w *world) start(name string, settings ...envfile.Var) {
	w.t.Helper()
	cmd := exec.Command(need(w.t, "VIDFLOW_TEST_BINARY"), name)
	cmd.Stdout, cmd.Stderr = w.log, w.log
	cmd.Env = w.env.With(settings...).With(envfile.Var{Name: "OPS_ADDR", Value: w.block.Addr(opsPort[name])}).
		Environ([]string{"PATH=" + os.Getenv("PATH")})
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.running[name] = child
	w.await(name+" is ready", func(ctx context.Context) error {
		select {
		case <-child.Done():
			w.t.Fatalf("%s ended: %v", name, child.Wait())
		default:
		}
		if missing := readiness.Missing(ctx, w.block.URL(opsPort[name])); missing != "" {
			return errors.New(missing)
		}
		return nil
	})
}

// stop ends a process as an operator does.
func (w *world) stop(name string) {
	w.t.Helper()
	child := w.running[name]
	delete(w.running, name)
	child.Stop(context.Background(), process.Step{Signal: syscall.SIGTERM, Wait: 30 * time.Second})
	if err := child.Wait(); err != nil {
		w.t.Errorf("%s ended with %v on SIGTERM, want exit code 0", name, err)
	}
}

// create creates a video, as the API does; its run is started by the relay.
func (w *world) create(id contract.VideoID, course seed.Course, title string) {
	w.t.Helper()
	if _, err := w.db.Store.CreateVideo(w.t.Context(), postgres.NewVideo{UserID: seed.Lecturer.ID, Video: contract.Video{
		ID: id, CourseID: course.ID, Title: title, Description: "A lecture.",
		CameraVideoURL: "https://recordings.example.test/" + string(id) + ".mp4", Level: contract.Beginner,
	}}); err != nil {
		w.t.Fatalf("create a video: %v", err)
	}
}

func (w *world) transcribe(id contract.VideoID) {
	w.t.Helper()
	key, value := simulator.TranscriptMessage(id, simulator.Nested, simulator.Length(10*time.Minute))
	w.produce(w.topics.transcribed, key, value)
}

func (w *world) compress(id contract.VideoID) {
	w.t.Helper()
	key, value := simulator.CompressionMessage(id, simulator.URL)
	w.produce(w.topics.compressed, key, value)
}

func (w *world) produce(topic string, key, value []byte) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := w.kafka.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: key, Value: value}).FirstErr(); err != nil {
		w.t.Fatalf("produce to %s: %v", topic, err)
	}
}

// pipeline waits until the database says what is wanted of a video.
func (w *world) pipeline(id contract.VideoID, what string, wanted func(contract.Pipeline) bool) {
	w.t.Helper()
	w.await(what, func(ctx context.Context) error {
		l, err := w.db.Store.Video(ctx, id)
		if err != nil {
			return err
		}
		if l.Pipeline == nil || !wanted(*l.Pipeline) {
			return fmt.Errorf("it is %+v", l.Pipeline)
		}
		return nil
	})
}

// await repeats a look until it answers nil.
func (w *world) await(what string, look func(context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := look(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("waited in vain until %s: %v", what, err)
		case <-tick.C:
		}
	}
}
