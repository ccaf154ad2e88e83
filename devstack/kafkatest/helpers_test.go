package kafkatest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// patience is how long anything may take that is not told to be slow.
const patience = 3 * time.Minute

// site is the Apache Kafka that the tests run on.
type site struct {
	t *testing.T
	// client and admin need no login and may do everything.
	client *kgo.Client
	admin  *kadm.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	if need(t, "VIDFLOW_TEST_KAFKA") != "apache" {
		t.Skip("for Apache Kafka alone: make test-kafka")
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(need(t, "VIDFLOW_TEST_KAFKA_BROKERS")),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(64<<20),
		kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &site{t: t, client: client, admin: kadm.NewClient(client)}
}

func need(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: this test needs the servers of the development stack; run it with `make test-kafka`", name)
	}
	return value
}

// config is how a user logs in over TLS, impatiently.
func (s *site) config(user apache.User, mechanism string) kafka.Config {
	s.t.Helper()
	return kafka.Config{
		Brokers: []string{need(s.t, "KAFKA_BROKERS")},
		TLS:     true, CAFile: need(s.t, "KAFKA_SSL_CA_FILE"),
		Username: string(user), Password: user.Password(), Mechanism: mechanism,
		InitialRetryTime: 20 * time.Millisecond,
	}
}

// topic makes one for this test and returns its name.
func (s *site) topic(partitions int32, settings map[string]string) string {
	s.t.Helper()
	name := "t-" + strings.ToLower(rand.Text()[:10])
	s.makeTopic(name, partitions, settings)
	return name
}

func (s *site) makeTopic(name string, partitions int32, settings map[string]string) {
	s.t.Helper()
	configs := make(map[string]*string, len(settings))
	for key, value := range settings {
		configs[key] = &value
	}
	s.await("topic "+name+" is made", func(ctx context.Context) error {
		_, err := s.admin.CreateTopic(ctx, partitions, 1, configs, name)
		return err
	})
}

func (s *site) allow(grants ...apache.Grant) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := apache.Give(ctx, s.admin, grants...); err != nil {
		s.t.Fatal(err)
	}
}

// allowAll gives a user all that can be given for a topic.
func (s *site) allowAll(user apache.User, topics ...string) {
	s.t.Helper()
	s.allow(apache.Grant{User: user, Topics: topics, Operations: []kadm.ACLOperation{kadm.OpRead, kadm.OpWrite}})
}

// put produces records to partition 0, each in a batch of its own where alone.
func (s *site) put(topic string, records ...*kgo.Record) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for _, r := range records {
		r.Topic = topic
	}
	if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		s.t.Fatalf("produce to %s: %v", topic, err)
	}
}

// await repeats a look until it answers nil.
func (s *site) await(what string, look func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := look(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("waited in vain until %s: %v", what, err)
		case <-ticker.C:
		}
	}
}

// tool runs one of Kafka's own tools without a login and returns what it printed.
func (s *site) tool(stdin []byte, class string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	defer cancel()
	line := slices.Concat(strings.Split(need(s.t, "VIDFLOW_TEST_KAFKA_JAVA"), "\n"), []string{"org.apache.kafka.tools." + class}, args)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", class, err, out)
	}
	return string(out)
}

func logTo(out io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// logOf is a log that is shown when the test fails.
func logOf(t *testing.T) *process.Output {
	t.Helper()
	var l process.Output
	t.Cleanup(func() {
		if t.Failed() {
			const most = 20_000
			text := l.String()
			t.Log(text[max(0, len(text)-most):])
		}
	})
	return &l
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newClient(t *testing.T, cfg kafka.Config, log *slog.Logger) *kgo.Client {
	t.Helper()
	client, err := kafka.NewClient(cfg, log, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func newProducer(t *testing.T, cfg kafka.Config, log *slog.Logger) *kafka.Producer {
	t.Helper()
	producer, err := kafka.NewProducer(cfg, log, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	return producer
}

func newReader(t *testing.T, cfg kafka.Config) *kafka.Reader {
	t.Helper()
	reader, err := kafka.NewReader(cfg, quiet(), "test", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	return reader
}

// wantSetup checks that no retry can mend it, and that it says so.
func wantSetup(t *testing.T, err error, says string) {
	t.Helper()
	if setup, ok := errors.AsType[*kafka.SetupError](err); !ok || !strings.Contains(setup.Error(), says) {
		t.Errorf("got %v, want a SetupError that says %q", err, says)
	}
}
