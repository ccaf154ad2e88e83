package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"

	"github.com/codeendelea/vidflow/internal/bytecache"
	"github.com/codeendelea/vidflow/internal/contract"
)

const (
	// DefaultReaderCacheBytes bounds the values that a Reader keeps.
	DefaultReaderCacheBytes = 64 << 20
	// maxCachedBytes is the largest value that is kept: a larger one has hardly a neighbour in its batch to share it with, and
	// would push many out.
	maxCachedBytes = 4 << 20
	// leaderMaxAge is how long the leaders of a topic's partitions are believed; a broker that leads no longer says so.
	leaderMaxAge = time.Minute
	// stripes and stripeRecords: within one partition, records whose offsets are in the same run of stripeRecords
	// share a fetch, and at most stripes fetches are under way.
	stripes       = 4
	stripeRecords = 32
)

// recordKey is where a record is.
type recordKey struct {
	topicID   uuid.UUID
	partition int32
	offset    int64
}

// Reader reads single records where a reference says they are: no group, no position, nothing committed. Brokers hand
// out whole batches, so records that are wanted at about the same time share one fetch, and their neighbours' values
// are kept for a while. It is safe for concurrent use.
type Reader struct {
	cl      *kgo.Client
	timeout time.Duration
	flights singleflight.Group
	cache   *bytecache.Cache[recordKey]
	unpack  kgo.Decompressor
	probe   func(context.Context) error
	tracer  trace.Tracer // nil when nothing is traced
}

// NewReader does not connect yet. The role names the client in the log; cacheBytes of 0 means the default.
func NewReader(cfg Config, log *slog.Logger, role string, cacheBytes int) (*Reader, error) {
	cfg = cfg.withDefaults()
	cl, err := NewClient(cfg, log, role)
	if err != nil {
		return nil, err
	}
	setDefault(&cacheBytes, DefaultReaderCacheBytes)
	return &Reader{
		cl:      cl,
		timeout: cfg.RequestTimeout,
		cache:   bytecache.New[recordKey](cacheBytes, maxCachedBytes),
		unpack:  kgo.DefaultDecompressor(),
		probe:   NewProbe(cl),
		tracer:  cfg.tracer(),
	}, nil
}

// Read returns the value of the record that ref was made from; the caller must not change it. ErrGone says that it can
// never be had again, and why. Every other error is worth another try; a SetupError once somebody has mended it.
func (r *Reader) Read(ctx context.Context, ref contract.Reference) (value []byte, err error) {
	if r.tracer != nil {
		var span trace.Span
		ctx, span = r.tracer.Start(ctx, "read "+ref.Topic, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			semconv.MessagingSystemKafka, semconv.MessagingOperationTypeReceive, semconv.MessagingOperationName("read"),
			semconv.MessagingDestinationName(ref.Topic), semconv.MessagingMessageBodySize(ref.Size),
		), trace.WithAttributes(placeOf(ref.Partition, ref.Offset)...))
		defer func() { endSpan(span, err) }()
	}
	key := recordKey{ref.TopicID, ref.Partition, ref.Offset}
	value, ok := r.cache.Get(key)
	if !ok {
		if value, err = r.fetch(ctx, ref.Topic, key); err != nil {
			return nil, fmt.Errorf("read record of topic %s, partition %d, offset %d: %w", ref.Topic, ref.Partition, ref.Offset, err)
		}
	}
	if !ref.Matches(value) {
		r.cache.Remove(key)
		return nil, fmt.Errorf("read record of topic %s, partition %d, offset %d: %w: another value is there, of %d bytes instead of %d",
			ref.Topic, ref.Partition, ref.Offset, ErrGone, len(value), ref.Size)
	}
	return value, nil
}

// fetched is what one flight brought.
type fetched struct {
	offset int64            // that it was made for; err says something of this one
	values map[int64][]byte // by offset: the whole batch
	err    error
}

// fetch takes part in flights of its stripe until one has the record.
func (r *Reader) fetch(ctx context.Context, topic string, key recordKey) ([]byte, error) {
	stripe := fmt.Sprintf("%s/%d/%d", key.topicID, key.partition, key.offset/stripeRecords%stripes)
	for {
		flight := r.flights.DoChan(stripe, func() (any, error) {
			// Whoever started the flight may give up; those who share it do not.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout)
			defer cancel()
			values, err := r.fetchBatch(ctx, topic, key)
			return fetched{offset: key.offset, values: values, err: err}, nil
		})
		var got fetched
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case res := <-flight:
			got = res.Val.(fetched)
		}
		if value, ok := got.values[key.offset]; ok {
			return value, nil
		}
		if got.offset == key.offset || got.err != nil && !errors.Is(got.err, ErrGone) {
			return nil, got.err
		}
		// The flight was another record's; perhaps a later one of the same stripe brought ours.
		if value, ok := r.cache.Get(key); ok {
			return value, nil
		}
	}
}

// fetchBatch returns the values of the batch that holds the record, and caches them. It tries once more when the
// partition has moved to another broker.
func (r *Reader) fetchBatch(ctx context.Context, topic string, key recordKey) (map[int64][]byte, error) {
	records, err := r.fetchFromLeader(ctx, topic, key, leaderMaxAge)
	if moved(err) {
		records, err = r.fetchFromLeader(ctx, topic, key, time.Nanosecond)
	}
	if err != nil {
		return nil, classify(err)
	}
	values := make(map[int64][]byte, len(records))
	for _, rec := range records {
		value := rec.Value
		if len(records) > 1 {
			// A copy: the records of a batch share its memory, and one that stays in the cache would keep all of it.
			value = bytes.Clone(value)
		}
		values[rec.Offset] = value
		r.cache.Put(recordKey{key.topicID, key.partition, rec.Offset}, value)
	}
	if _, ok := values[key.offset]; !ok {
		return values, fmt.Errorf("%w: compaction has taken it", ErrGone)
	}
	return values, nil
}

// moved reports whether fresh metadata may help.
func moved(err error) bool {
	if err == nil || errors.Is(err, ErrGone) {
		return false
	}
	var broker *kerr.Error
	return !errors.As(err, &broker) || broker.Retriable
}

func (r *Reader) fetchFromLeader(ctx context.Context, topic string, key recordKey, maxAge time.Duration) ([]*kgo.Record, error) {
	p, err := r.batchAt(ctx, topic, key, 0, maxAge)
	if err != nil {
		return nil, err
	}
	return r.records(ctx, topic, key, p)
}

// batchAt asks the partition's leader for the batch at or after the offset, as a consumer with that isolation level is told.
func (r *Reader) batchAt(
	ctx context.Context, topic string, key recordKey, isolation int8, maxAge time.Duration,
) (*kmsg.FetchResponseTopicPartition, error) {
	leader, epoch, err := r.leader(ctx, topic, key, maxAge)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = 0
	req.MinBytes = 0
	req.IsolationLevel = isolation
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, key.topicID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition = key.partition
	p.CurrentLeaderEpoch = epoch
	p.FetchOffset = key.offset
	p.PartitionMaxBytes = 1 // one batch, however large: brokers never cut one
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)

	kresp, err := r.cl.Broker(int(leader)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := kresp.(*kmsg.FetchResponse)
	if resp.Version < 13 {
		return nil, setupError("the Kafka broker is too old: records are read by topic id, which brokers know since 3.1", nil)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errors.New("the broker answered a fetch for another partition")
	}
	return &resp.Topics[0].Partitions[0], nil
}

// records decodes what came for the partition, or says why nothing did.
func (r *Reader) records(
	ctx context.Context, topic string, key recordKey, p *kmsg.FetchResponseTopicPartition,
) ([]*kgo.Record, error) {
	switch err := kerr.ErrorForCode(p.ErrorCode); {
	case err == nil:
	case errors.Is(err, kerr.OffsetOutOfRange):
		return nil, fmt.Errorf("%w: the partition now begins at offset %d and ends at %d", ErrGone, p.LogStartOffset, p.HighWatermark)
	default:
		// UNKNOWN_TOPIC_ID is here too: fresh metadata tell a topic made anew from a broker that does not know it yet.
		return nil, err
	}
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: topic, Partition: key.partition}, p, r.unpack, nil)
	if fp.Err != nil {
		return nil, fp.Err
	}
	if len(p.RecordBatches) > 0 {
		return fp.Records, nil
	}
	// Nothing at or after the offset. A leader that was just elected may not know yet how far the partition is
	// committed, and says so when asked for its end.
	ends, err := kadm.NewClient(r.cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	end, ok := ends.Lookup(topic, key.partition)
	switch {
	case !ok:
		return nil, kerr.UnknownTopicOrPartition
	case end.Err != nil:
		return nil, end.Err
	case end.Offset <= key.offset:
		return nil, fmt.Errorf("%w: the partition was cut and now ends at offset %d", ErrGone, end.Offset)
	default:
		return nil, errors.New("the record is not visible yet on the partition's leader")
	}
}

// leader returns the broker that leads the partition, if the topic still is the one that the reference is about.
func (r *Reader) leader(ctx context.Context, topic string, key recordKey, maxAge time.Duration) (id, epoch int32, err error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := r.cl.RequestCachedMetadata(ctx, req, maxAge)
	if err != nil {
		return 0, 0, err
	}
	if len(resp.Topics) != 1 {
		return 0, 0, errors.New("the broker answered for another topic")
	}
	found := resp.Topics[0]
	switch err := kerr.ErrorForCode(found.ErrorCode); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		if maxAge >= leaderMaxAge {
			return 0, 0, err // perhaps it is our knowledge that is old
		}
		return 0, 0, fmt.Errorf("%w: its topic is deleted", ErrGone)
	case err != nil:
		return 0, 0, err
	case uuid.UUID(found.TopicID) != key.topicID:
		if maxAge >= leaderMaxAge {
			return 0, 0, kerr.UnknownTopicID
		}
		return 0, 0, fmt.Errorf("%w: its topic was made anew, %s is now %s", ErrGone, key.topicID, uuid.UUID(found.TopicID))
	}
	for _, p := range found.Partitions {
		if p.Partition != key.partition {
			continue
		}
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return 0, 0, err
		}
		return p.Leader, p.LeaderEpoch, nil
	}
	return 0, 0, kerr.UnknownTopicOrPartition
}

// CheckTopics is CheckTopics for the reader's client.
func (r *Reader) CheckTopics(ctx context.Context, topics ...string) error {
	return CheckTopics(ctx, r.cl, topics...)
}

// Ready is the probe of the reader's client.
func (r *Reader) Ready(ctx context.Context) error { return r.probe(ctx) }

// Close ends the client; what is being read fails.
func (r *Reader) Close() { r.cl.Close() }
