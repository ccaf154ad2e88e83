package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/kafka"
)

func newProducer(t *testing.T, cfg kafka.Config) *kafka.Producer {
	t.Helper()
	p, err := kafka.NewProducer(cfg, quiet(), "producer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// consume returns the first n records of a topic.
func consume(t *testing.T, cluster *kfake.Cluster, topic string, n int) []*kgo.Record {
	t.Helper()
	cl := newClient(t, configFor(cluster), quiet(), kgo.ConsumeTopics(topic))
	ctx := patiently(t)
	var records []*kgo.Record
	for len(records) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// noise does not compress.
func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(b)
	return b
}

func TestProducer_publishes_key_value_and_headers(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	p := newProducer(t, configFor(cluster))
	headers := []kafka.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}}
	partition, offset, err := p.Publish(t.Context(), "results", []byte("key"), []byte("value"), headers...)
	if err != nil {
		t.Fatal(err)
	}
	got := consume(t, cluster, "results", 1)[0]
	if got.Partition != partition || got.Offset != offset || string(got.Key) != "key" || string(got.Value) != "value" {
		t.Errorf("got %+v, want the record at partition %d, offset %d", got, partition, offset)
	}
	if diff := cmp.Diff(headers, got.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestProducer_publishes_large_records_side_by_side(t *testing.T) {
	t.Parallel()
	// Each is within the limit of the broker, two in a batch are not.
	cluster := newCluster(t, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "1000000"}))
	p := newProducer(t, configFor(cluster))
	var wg sync.WaitGroup
	errs := make([]error, 12)
	for i := range errs {
		wg.Go(func() {
			_, _, errs[i] = p.Publish(patiently(t), "results", []byte("same key"), noise(300_000+i))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestProducer_tells_what_is_too_large(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "3000000"}))
	p := newProducer(t, configFor(cluster))
	for _, tc := range []struct {
		size int
		want error
	}{
		{2_900_000, nil},                         // beyond the client's default, within the broker's limit
		{3_100_000, kafka.ErrTooLarge},           // beyond the broker's limit
		{17 << 20, kafka.ErrTooLarge},            // beyond the client's own
		{1_000, nil},                             // and the client is none the worse for it
		{3_100_001, kafka.ErrTooLarge}, {1, nil}, // again
	} {
		_, _, err := p.Publish(patiently(t), "results", nil, noise(tc.size))
		if !errors.Is(err, tc.want) {
			t.Errorf("%d bytes: got %v, want %v", tc.size, err, tc.want)
		}
	}
}

func TestProducer_gives_up_with_its_caller(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	p := newProducer(t, configFor(cluster))
	if _, _, err := p.Publish(t.Context(), "results", nil, []byte("1")); err != nil {
		t.Fatal(err)
	}
	// The broker writes it, and its answer never comes.
	release := make(chan struct{})
	defer close(release)
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := p.Publish(ctx, "results", nil, []byte("2")); !errors.Is(err, context.DeadlineExceeded) || kafka.IsSetup(err) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
}

func TestProducer_retries_what_passes(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	p := newProducer(t, configFor(cluster))
	// Answered with a failure, and written all the same: only an idempotent producer repeats nothing.
	fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 2})
	if _, _, err := p.Publish(patiently(t), "results", []byte("k"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	if fault.Hits() != 2 {
		t.Errorf("the broker failed %d requests, want 2", fault.Hits())
	}
	if _, _, err := p.Publish(t.Context(), "results", []byte("k"), []byte("2")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range consume(t, cluster, "results", 2) {
		got = append(got, string(r.Value))
	}
	if diff := cmp.Diff([]string{"1", "2"}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestProducer_names_a_missing_topic_and_a_missing_permission(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	p := newProducer(t, configFor(cluster))
	_, _, err := p.Publish(patiently(t), "nowhere", nil, []byte("1"))
	if !kafka.IsSetup(err) || !strings.Contains(err.Error(), "nowhere is missing") {
		t.Errorf("got %v, want a SetupError that names the topic", err)
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	if _, _, err := p.Publish(patiently(t), "results", nil, []byte("1")); !kafka.IsSetup(err) {
		t.Errorf("got %v, want a SetupError", err)
	}
}

func TestProducer_follows_a_topic_that_was_made_anew(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	p := newProducer(t, configFor(cluster))
	for i := range 2 {
		value := fmt.Appendf(nil, "%d", i)
		if _, _, err := p.Publish(patiently(t), "results", []byte("k"), value); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		got := consume(t, cluster, "results", 1)
		if len(got) != 1 || !bytes.Equal(got[0].Value, value) {
			t.Errorf("record %d: the topic holds %d records", i, len(got))
		}
		if err := cluster.DeleteTopic("results"); err != nil {
			t.Fatal(err)
		}
		if err := cluster.CreateTopic("results", 2, nil); err != nil {
			t.Fatal(err)
		}
	}
}
