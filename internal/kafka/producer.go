package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Header of a record.
type Header = kgo.RecordHeader

// Producer publishes single records and waits for each. It is safe for concurrent use; records published at the same
// time share a request.
type Producer struct {
	cl *kgo.Client
	// large publishes one record at a time, which alone holds the token. The client puts records that wait at the same time
	// into one batch, and the broker measures the batch: two records that are each within its limit may be beyond it
	// together.
	large   *kgo.Client
	token   chan struct{}
	timeout time.Duration
	log     *slog.Logger
	probe   func(context.Context) error
	tracer  trace.Tracer // nil when nothing is traced
}

// NewProducer does not connect yet. The role names the client in the log.
func NewProducer(cfg Config, log *slog.Logger, role string) (*Producer, error) {
	cfg = cfg.withDefaults()
	opts := []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProduceRequestTimeout(cfg.RequestTimeout),
		kgo.RecordRetries(max(cfg.Retries, 1)),
		kgo.ProducerLinger(0),
		// A caller that gives up gets its answer: "in doubt". What it then publishes again may be there twice, and
		// carries the same idempotency key. The other choice is to let given-up records pile up behind a dead broker.
		kgo.AllowIdempotentProduceCancellation(),
	}
	cl, err := NewClient(cfg, log, role, opts...)
	if err != nil {
		return nil, err
	}
	large, err := NewClient(cfg, log, role+"/large", append(opts, kgo.ProducerBatchMaxBytes(clientMaxBytes))...)
	if err != nil {
		cl.Close()
		return nil, err
	}
	return &Producer{
		cl: cl, large: large, token: make(chan struct{}, 1),
		timeout: 2 * cfg.RequestTimeout, log: log, probe: NewProbe(cl), tracer: cfg.tracer(),
	}, nil
}

// Publish returns once all in-sync replicas have the record. Within the client retries repeat nothing; when Publish
// fails, other than by ErrTooLarge or a SetupError, the record may still be there, so a caller that tries again must
// not mind it twice. Without a deadline in ctx it gives up after twice the request time-out.
func (p *Producer) Publish(
	ctx context.Context, topic string, key, value []byte, headers ...Header,
) (partition int32, offset int64, err error) {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.timeout)
		defer cancel()
	}
	if p.tracer != nil {
		var span trace.Span
		span, headers = traceSend(ctx, p.tracer, topic, key, value, headers)
		defer func() {
			if err == nil {
				span.SetAttributes(placeOf(partition, offset)...)
			}
			endSpan(span, err)
		}()
	}
	record := kgo.Record{Topic: topic, Key: key, Value: value, Headers: headers}
	r, err := p.produce(ctx, p.cl, record)
	if tooLarge(err) {
		r, err = p.produceAlone(ctx, record)
	}
	if err != nil {
		return 0, 0, p.explain(topic, len(value), err)
	}
	attrs := []any{"topic", topic, "partition", r.Partition, "offset", r.Offset, "bytes", len(value)}
	if id, err := contract.ParseVideoID(string(key)); err == nil {
		attrs = append(attrs, "video_id", id)
	}
	p.log.InfoContext(ctx, "Kafka message sent", attrs...)
	return r.Partition, r.Offset, nil
}

func (p *Producer) produce(ctx context.Context, cl *kgo.Client, record kgo.Record) (*kgo.Record, error) {
	first := record
	r, err := cl.ProduceSync(ctx, &first).First()
	if errors.Is(err, kerr.UnknownTopicID) {
		// The topic was made anew since this client saw it: forget it, and the record goes to the new one.
		p.log.Warn("Kafka topic was made anew", "topic", record.Topic)
		cl.PurgeTopicsFromProducing(record.Topic)
		r, err = cl.ProduceSync(ctx, &record).First()
	}
	return r, err
}

func (p *Producer) produceAlone(ctx context.Context, record kgo.Record) (*kgo.Record, error) {
	select {
	case p.token <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.token }()
	return p.produce(ctx, p.large, record)
}

func tooLarge(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge)
}

func (p *Producer) explain(topic string, size int, err error) error {
	switch {
	case tooLarge(err):
		return fmt.Errorf("publish %d bytes to topic %s: %w: %w", size, topic, ErrTooLarge, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("publish: %w", setupError(fmt.Sprintf("Kafka topic %s is missing", topic), err))
	}
	err = classify(err)
	if failure := connectionsOf(p.cl).failure(); failure != nil && !IsSetup(err) {
		err = fmt.Errorf("%w (%w)", failure, err)
	}
	return fmt.Errorf("publish to topic %s: %w", topic, err)
}

// CheckTopics is CheckTopics for the producer's client.
func (p *Producer) CheckTopics(ctx context.Context, topics ...string) error {
	return CheckTopics(ctx, p.cl, topics...)
}

// CheckGroup is CheckGroup for the producer's client.
func (p *Producer) CheckGroup(ctx context.Context, group string) error {
	return CheckGroup(ctx, p.cl, group)
}

// FirstWritten is FirstWritten for the producer's client.
func (p *Producer) FirstWritten(
	ctx context.Context, topic string, id uuid.UUID, partition int32, from, end int64,
) (time.Time, bool, error) {
	return FirstWritten(ctx, p.cl, topic, id, partition, from, end)
}

// Ready is the probe of the producer's client.
func (p *Producer) Ready(ctx context.Context) error { return p.probe(ctx) }

// Close ends the clients; what is being published fails.
func (p *Producer) Close() {
	p.cl.Close()
	p.large.Close()
}
