package kafkatest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// reference is where a record that was produced is.
func reference(topic kadm.TopicDetail, r *kgo.Record) contract.Reference {
	sum := sha256.Sum256(r.Value)
	return contract.Reference{
		Topic: topic.Topic, TopicID: uuid.UUID(topic.ID), Partition: r.Partition, Offset: r.Offset,
		Size: len(r.Value), SHA256: sum[:],
	}
}

// TestJavaProducers: batches as Java's clients make them, of many megabytes and compressed in every way.
func TestJavaProducers(t *testing.T) {
	t.Parallel()
	c := newCrossing(t, nil)
	c.start()
	const n, size = 14, 500_000
	codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	for _, codec := range codecs {
		records := transcripts(n, size)
		var stdin bytes.Buffer
		for _, r := range records {
			stdin.Write(r.Key)
			stdin.WriteByte('\t')
			stdin.Write(r.Value)
			stdin.WriteByte('\n')
		}
		c.tool(stdin.Bytes(), "ConsoleProducer",
			"--bootstrap-server", need(t, "VIDFLOW_TEST_KAFKA_BROKERS"), "--topic", c.names.Transcribed,
			"--reader-property", "parse.key=true", "--reader-property", "key.separator=\t",
			"--compression-codec", codec, "--command-property", "linger.ms=2000",
			"--command-property", "batch.size="+strconv.Itoa(9<<20), "--command-property", "max.request.size="+strconv.Itoa(10<<20),
			"--command-property", "buffer.memory="+strconv.Itoa(64<<20))
		c.awaitRead(records...)
	}
	c.awaitCommitted()
	c.wantLargeBatches(n*len(codecs), len(codecs), 4<<20)
}

// batches are how many bytes, before compression, the largest batch of each kind of compression had.
type batches struct {
	mu      sync.Mutex
	largest map[uint8]int
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (b *batches) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.largest[m.CompressionType] = max(b.largest[m.CompressionType], m.UncompressedBytes)
}

// wantLargeBatches makes sure that the test has sent what it was to send.
func (c *crossing) wantLargeBatches(records, codecs, atLeast int) {
	c.t.Helper()
	seen := batches{largest: map[uint8]int{}}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(need(c.t, "VIDFLOW_TEST_KAFKA_BROKERS")),
		kgo.ConsumeTopics(c.names.Transcribed), kgo.WithHooks(&seen))
	if err != nil {
		c.t.Fatal(err)
	}
	defer consumer.Close()
	for n := 0; n < records; {
		fetches := consumer.PollFetches(within(c.t, patience))
		if err := fetches.Err0(); err != nil {
			c.t.Fatal(err)
		}
		n += fetches.NumRecords()
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.largest) != codecs {
		c.t.Errorf("compressions %v, want %d of them", seen.largest, codecs)
	}
	for codec, bytes := range seen.largest {
		if bytes < atLeast {
			c.t.Errorf("the largest batch of compression %d has %d bytes, want %d or more", codec, bytes, atLeast)
		}
	}
}

// TestPoisonFromJava: what is no result is dead-lettered, record by record, out of compressed batches.
func TestPoisonFromJava(t *testing.T) {
	t.Parallel()
	c := newCrossing(t, nil)
	c.start()
	const n = 1000
	c.tool(nil, "ProducerPerformance",
		"--topic", c.names.Transcribed, "--num-records", strconv.Itoa(n), "--record-size", "2000", "--throughput", "-1",
		"--bootstrap-server", need(t, "VIDFLOW_TEST_KAFKA_BROKERS"),
		"--command-property", "compression.type=snappy", "--command-property", "batch.size=1000000", "--command-property", "linger.ms=100")
	offsets := map[string]bool{}
	for _, letter := range c.deadLetters(n) {
		offsets[header(letter, contract.HeaderOriginOffset)] = true
		if len(letter.Value) != 2000 {
			t.Fatalf("a dead letter has %d bytes, want those of its record", len(letter.Value))
		}
	}
	if len(offsets) != n {
		t.Errorf("dead letters of %d records, want %d", len(offsets), n)
	}
	c.awaitCommitted()
}

// TestBeyondTheClientsLimits: a topic may carry more than the clients of vidflow let through. What is a result arrives all
// the same, and what is none is buried without its value.
func TestBeyondTheClientsLimits(t *testing.T) {
	t.Parallel()
	const size = 20 << 20
	c := newCrossing(t, map[string]string{"max.message.bytes": strconv.Itoa(2 * size)})
	before, huge, after := transcript(100), transcript(size), transcript(100)
	poison := &kgo.Record{Key: huge.Key, Value: bytes.Repeat([]byte("x"), size)}
	c.put(c.names.Transcribed, before)
	c.put(c.names.Transcribed, huge)
	c.put(c.names.Transcribed, poison)
	c.put(c.names.Transcribed, after)
	c.start()

	c.awaitRead(before, huge, after)
	letter := c.deadLetters(1)[0]
	if got := header(letter, contract.HeaderSize); len(letter.Value) != 0 || got != strconv.Itoa(size) {
		t.Errorf("the dead letter has %d bytes and says that it left out %q, want none and %d", len(letter.Value), got, size)
	}
	c.awaitCommitted()

	producer := newProducer(t, c.config(apache.VidflowStart, kafka.MechanismPlain), quiet())
	_, _, err := producer.Publish(within(t, patience), c.names.Transcribed, nil, poison.Value)
	if !errors.Is(err, kafka.ErrTooLarge) {
		t.Errorf("publish of %d bytes: %v, want ErrTooLarge", size, err)
	}
}

// TestPastRetention: records that retention has taken are gone for the reader, and no obstacle for the bridge.
func TestPastRetention(t *testing.T) {
	t.Parallel()
	c := newCrossing(t, nil)
	first, lost, kept := transcript(100), transcripts(5, 100), transcripts(5, 100)
	stop := c.start()
	c.put(c.names.Transcribed, first)
	c.awaitRead(first)
	c.awaitCommitted()
	stop()
	c.put(c.names.Transcribed, lost...)
	c.put(c.names.Transcribed, kept...)
	ctx := within(t, patience)
	var until kadm.Offsets
	until.Add(kadm.Offset{Topic: c.names.Transcribed, Partition: 0, At: kept[0].Offset})
	if deleted, err := c.admin.DeleteRecords(ctx, until); err != nil || deleted.Error() != nil {
		t.Fatal(err, deleted.Error())
	}

	_, err := c.reader.Read(ctx, c.temporal.references()["video/"+string(first.Key)])
	// What was read before may be had from memory; a reader of its own has none.
	if err != nil {
		t.Errorf("a record that was read before: %v", err)
	}
	fresh := newReader(t, c.config(apache.VidflowWorker, kafka.MechanismPlain))
	if _, err := fresh.Read(ctx, c.temporal.references()["video/"+string(first.Key)]); !errors.Is(err, kafka.ErrGone) {
		t.Errorf("got %v, want ErrGone", err)
	}
	c.start()
	c.awaitRead(kept...)
	c.awaitCommitted()
}

// TestTopicMadeAnew: under a bridge that runs.
func TestTopicMadeAnew(t *testing.T) {
	t.Parallel()
	c := newCrossing(t, nil)
	c.start()
	producer := newProducer(t, c.config(apache.VidflowStart, kafka.MechanismScramSHA256), quiet())
	publish := func(records ...*kgo.Record) {
		t.Helper()
		for _, r := range records {
			if _, _, err := producer.Publish(within(t, patience), c.names.Transcribed, r.Key, r.Value); err != nil {
				t.Fatal(err)
			}
		}
	}
	old := transcripts(8, 100)
	publish(old...)
	c.awaitRead(old...)
	c.awaitCommitted()

	ctx := within(t, patience)
	if _, err := c.admin.DeleteTopic(ctx, c.names.Transcribed); err != nil {
		t.Fatal(err)
	}
	c.makeTopic(c.names.Transcribed, 1, nil)
	anew := transcripts(3, 100) // fewer than were acknowledged on the old one
	publish(anew...)
	c.awaitRead(anew...)
	c.await("the new topic is acknowledged", func(ctx context.Context) error {
		committed, err := c.admin.FetchOffsets(ctx, c.names.TranscriptionGroup)
		if err != nil {
			return err
		}
		if at, _ := committed.Lookup(c.names.Transcribed, 0); at.At != int64(len(anew)) {
			return errors.New("acknowledged to " + strconv.FormatInt(at.At, 10))
		}
		return nil
	})
	fresh := newReader(t, c.config(apache.VidflowWorker, kafka.MechanismPlain))
	if _, err := fresh.Read(ctx, c.temporal.references()["video/"+string(old[0].Key)]); !errors.Is(err, kafka.ErrGone) {
		t.Errorf("a record of the old topic: %v, want ErrGone", err)
	}
}
