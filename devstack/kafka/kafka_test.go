package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/ports"
)

func TestServer(t *testing.T) {
	t.Parallel()
	block, anchor, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = anchor.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	server := New(Config{
		Dir: t.TempDir(), Port: block.Port(ports.Kafka), Topics: []string{"a", "b"}, Partitions: 3, MaxMessageBytes: 4 << 20, Log: io.Discard,
	})
	start := func() {
		t.Helper()
		if err := server.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	start()
	start() // does nothing
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	client, err := kgo.NewClient(kgo.SeedBrokers(block.Addr(ports.Kafka)), kgo.ProducerBatchMaxBytes(4<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ConsumeTopics("a"), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)

	topics, err := admin.ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if got := len(topics[name].Partitions); got != 3 {
			t.Errorf("topic %s has %d partitions, want 3", name, got)
		}
	}
	if _, err := admin.ListTopics(ctx, "unknown"); err != nil {
		t.Error(err)
	}
	err = client.ProduceSync(ctx, &kgo.Record{Topic: "unknown", Value: []byte("x")}).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("producing to a topic that nobody made: %v, want that it is unknown", err)
	}

	large := make([]byte, 3<<20)
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "a", Key: []byte("k"), Value: large}).FirstErr(); err != nil {
		t.Fatalf("produce 3 MB: %v", err)
	}
	if err := server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(block.Port(ports.Kafka)))); err == nil {
		_ = conn.Close()
		t.Error("a stopped broker still answers")
	}
	start()
	fetches := client.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if records := fetches.Records(); len(records) != 1 || len(records[0].Value) != len(large) {
		t.Errorf("%d records after a restart, want the one that was produced", len(records))
	}
}

func TestServer_says_that_it_is_elsewhere(t *testing.T) {
	t.Parallel()
	block, anchor, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = anchor.Close() })
	server := New(Config{
		Dir: t.TempDir(), Port: block.Port(ports.Kafka), Topics: []string{"a"}, Partitions: 1, Advertised: "127.0.0.1:9", Sync: true, Log: io.Discard,
	})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	client, err := kgo.NewClient(kgo.SeedBrokers(block.Addr(ports.Kafka)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	brokers, err := kadm.NewClient(client).ListBrokers(t.Context())
	if err != nil || len(brokers) != 1 || brokers[0].Host != "127.0.0.1" || brokers[0].Port != 9 {
		t.Errorf("got %v, %v, want the advertised address", brokers, err)
	}
}
