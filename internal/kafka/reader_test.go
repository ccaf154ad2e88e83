package kafka_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

func newReader(t *testing.T, cfg kafka.Config, cacheBytes int) *kafka.Reader {
	t.Helper()
	r, err := kafka.NewReader(cfg, quiet(), "reader", cacheBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// produce writes the values into partition 0 of "results", all in one batch, and returns references to them.
func produce(t *testing.T, cluster *kfake.Cluster, values ...[]byte) []contract.Reference {
	t.Helper()
	// Not flushed, but left to linger: a flush while the topic is not known yet sends the first record by itself.
	cl := newClient(t, configFor(cluster), quiet(), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(max(300*time.Millisecond, time.Duration(len(values))*20*time.Millisecond)), kgo.ProducerBatchMaxBytes(64<<20), kgo.MaxBufferedRecords(100_000))
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: "results", Value: v})
	}
	if err := cl.ProduceSync(patiently(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	id := uuid.UUID(cluster.TopicInfo("results").TopicID)
	var refs []contract.Reference
	for i, r := range records {
		sum := sha256.Sum256(values[i])
		refs = append(refs, contract.Reference{
			Topic: "results", TopicID: id, Offset: r.Offset, Size: len(values[i]), SHA256: sum[:],
		})
	}
	return refs
}

func TestReader_reads_the_record_of_a_reference(t *testing.T) {
	t.Parallel()
	big := kfake.BrokerConfigs(map[string]string{"message.max.bytes": "100000000"})
	cluster := newCluster(t, big)
	r := newReader(t, configFor(cluster), 0)
	for _, values := range [][][]byte{
		{[]byte("one")},
		{[]byte("two"), []byte("three"), []byte("")},
		{noise(1_300_000)},                  // three hours of speech
		{noise(12_000_000), []byte("four")}, // beyond what a fetch asks for by default
	} {
		for i, ref := range produce(t, cluster, values...) {
			got, err := r.Read(patiently(t), ref)
			if err != nil {
				t.Errorf("%d bytes at offset %d: %v", ref.Size, ref.Offset, err)
			} else if string(got) != string(values[i]) {
				t.Errorf("%d bytes at offset %d: got %d others", ref.Size, ref.Offset, len(got))
			}
		}
	}
}

func TestReader_tells_what_is_gone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		happens func(*testing.T, *kfake.Cluster, *contract.Reference)
		want    string
	}{
		"retention": {func(t *testing.T, c *kfake.Cluster, ref *contract.Reference) {
			if err := c.DeleteRecords("results", 0, ref.Offset+1); err != nil {
				t.Fatal(err)
			}
		}, "now begins at offset 2"},
		"beyond the end": {func(_ *testing.T, _ *kfake.Cluster, ref *contract.Reference) { ref.Offset = 100 }, "now begins at offset 0"},
		"at the end":     {func(_ *testing.T, _ *kfake.Cluster, ref *contract.Reference) { ref.Offset = 3 }, "ends at offset 3"},
		"deleted topic": {func(t *testing.T, c *kfake.Cluster, _ *contract.Reference) {
			if err := c.DeleteTopic("results"); err != nil {
				t.Fatal(err)
			}
		}, "its topic is deleted"},
		"topic made anew": {func(t *testing.T, c *kfake.Cluster, _ *contract.Reference) {
			if err := errors.Join(c.DeleteTopic("results"), c.CreateTopic("results", 2, nil)); err != nil {
				t.Fatal(err)
			}
		}, "made anew"},
		"another hash": {func(_ *testing.T, _ *kfake.Cluster, ref *contract.Reference) { ref.SHA256 = make([]byte, 32) }, "another value"},
		"another size": {func(_ *testing.T, _ *kfake.Cluster, ref *contract.Reference) { ref.Size++ }, "another value"},
	} {
		for _, warm := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, warm: %t", name, warm), func(t *testing.T) {
				t.Parallel()
				cluster := newCluster(t)
				ref := produce(t, cluster, []byte("a"), []byte("b"), []byte("c"))[1]
				r := newReader(t, configFor(cluster), 1) // no room to cache
				if warm {
					if _, err := r.Read(t.Context(), ref); err != nil {
						t.Fatal(err)
					}
				}
				tc.happens(t, cluster, &ref)
				_, err := r.Read(patiently(t), ref)
				if !errors.Is(err, kafka.ErrGone) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want ErrGone with %q", err, tc.want)
				}
			})
		}
	}
}

func TestReader_tells_what_compaction_took(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	refs := produce(t, cluster, []byte("a"), []byte("b"))
	// A compacted partition answers with the next record that is left.
	later := fetchOf(t, cluster, refs[1].Offset)
	cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) { return later, nil, true })
	r := newReader(t, configFor(cluster), 0)
	ref := refs[0]
	ref.Offset-- // one that no batch holds
	if _, err := r.Read(patiently(t), ref); !errors.Is(err, kafka.ErrGone) || !strings.Contains(err.Error(), "compaction") {
		t.Errorf("got %v, want ErrGone by compaction", err)
	}
}

// fetchOf is the cluster's answer to a fetch of one record.
func fetchOf(t *testing.T, cluster *kfake.Cluster, offset int64) *kmsg.FetchResponse {
	t.Helper()
	cl := newClient(t, configFor(cluster), quiet())
	req := kmsg.NewPtrFetchRequest()
	topic := kmsg.NewFetchRequestTopic()
	topic.TopicID = cluster.TopicInfo("results").TopicID
	p := kmsg.NewFetchRequestTopicPartition()
	p.CurrentLeaderEpoch = -1
	p.FetchOffset = offset
	p.PartitionMaxBytes = 1
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := cl.Broker(0).Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.(*kmsg.FetchResponse)
}

func TestReader_takes_trouble_for_a_retry(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]kfake.Fault{
		"a leader that is none":            {Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: -1},
		"a broker that lags behind":        {Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownTopicID, Count: -1},
		"a broken log":                     {Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.KafkaStorageError, Count: -1},
		"a topic without a leader for now": {Keys: []kmsg.Key{kmsg.Metadata}, Topic: "results", Err: kerr.LeaderNotAvailable, Count: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := newCluster(t)
			ref := produce(t, cluster, []byte("a"))[0]
			r := newReader(t, configFor(cluster), 0)
			handle := cluster.Fault(fault)
			if _, err := r.Read(patiently(t), ref); err == nil || errors.Is(err, kafka.ErrGone) || kafka.IsSetup(err) {
				t.Errorf("got %v, want an error worth a retry", err)
			}
			handle.Remove()
			if got, err := r.Read(patiently(t), ref); err != nil || string(got) != "a" {
				t.Errorf("afterwards: got %q, %v", got, err)
			}
		})
	}
}

func TestReader_names_a_missing_permission(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	ref := produce(t, cluster, []byte("a"))[0]
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	if _, err := newReader(t, configFor(cluster), 0).Read(patiently(t), ref); !kafka.IsSetup(err) {
		t.Errorf("got %v, want a SetupError", err)
	}
}

func TestReader_follows_the_leader(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t, kfake.NumBrokers(3))
	ref := produce(t, cluster, []byte("a"))[0]
	r := newReader(t, configFor(cluster), 1) // no room to cache
	for node := range int32(3) {
		if err := cluster.MoveTopicPartition("results", 0, node); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Read(patiently(t), ref); err != nil || string(got) != "a" {
			t.Errorf("at broker %d: got %q, %v", node, got, err)
		}
	}
}

func TestReader_shares_one_fetch_among_neighbours(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "100000000"}))
	values := make([][]byte, 100)
	for i := range values {
		values[i] = fmt.Appendf(noise(10_000), "%d", i)
	}
	refs := produce(t, cluster, values...)
	fetches := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1})

	t.Run("one after the other", func(t *testing.T) {
		before := fetches.Hits()
		r := newReader(t, configFor(cluster), 0)
		readAll(t, r, refs, values, 1)
		if got := fetches.Hits() - before; got != 1 {
			t.Errorf("%d fetches for one batch, want 1", got)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		before := fetches.Hits()
		readAll(t, newReader(t, configFor(cluster), 0), refs, values, len(refs))
		if got := fetches.Hits() - before; got > 4 {
			t.Errorf("%d fetches for one batch, want at most 4", got)
		}
	})
	t.Run("with a cache that holds few of them", func(t *testing.T) {
		readAll(t, newReader(t, configFor(cluster), 50_000), refs, values, len(refs))
	})
}

func readAll(t *testing.T, r *kafka.Reader, refs []contract.Reference, values [][]byte, atOnce int) {
	t.Helper()
	ctx := patiently(t)
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, ref := range refs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if got, err := r.Read(ctx, ref); err != nil || string(got) != string(values[i]) {
				t.Errorf("offset %d: got %d bytes, %v", ref.Offset, len(got), err)
			}
		})
	}
	wg.Wait()
}

func TestReader_does_not_let_one_caller_spoil_the_fetch_of_others(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	refs := produce(t, cluster, []byte("a"), []byte("b"))
	r := newReader(t, configFor(cluster), 0)
	asked, answer := make(chan struct{}), make(chan struct{})
	announce := sync.OnceFunc(func() { close(asked) })
	cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		announce()
		cluster.SleepControl(func() { <-answer })
		return nil, nil, false
	})
	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error, 1)
	go func() {
		_, err := r.Read(ctx, refs[0])
		impatient <- err
	}()
	<-asked
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) {
		t.Errorf("the impatient caller got %v", err)
	}
	close(answer)
	if got, err := r.Read(patiently(t), refs[1]); err != nil || string(got) != "b" {
		t.Errorf("got %q, %v", got, err)
	}
}
