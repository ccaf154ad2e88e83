package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Header of a record.
type Header = kgo.RecordHeader

// Producer publishes single records and waits for each. It is safe for concurrent use; records published at the same
// time share a request.
type Producer struct {
	cl      *kgo.Client
	timeout time.Duration
	log     *slog.Logger
	probe   func(context.Context) error
}

// NewProducer does not connect yet. The role names the client in the log.
func NewProducer(cfg Config, log *slog.Logger, role string) (*Producer, error) {
	cfg = cfg.withDefaults()
	cl, err := NewClient(cfg, log, role,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(clientMaxBytes),
		kgo.ProduceRequestTimeout(cfg.RequestTimeout),
		kgo.RecordRetries(max(cfg.Retries, 1)),
		kgo.ProducerLinger(0),
		// A caller that gives up gets its answer: "in doubt". What it then publishes again may be there twice, and
		// carries the same idempotency key. The other choice is to let given-up records pile up behind a dead broker.
		kgo.AllowIdempotentProduceCancellation(),
	)
	if err != nil {
		return nil, err
	}
	return &Producer{cl: cl, timeout: 2 * cfg.RequestTimeout, log: log, probe: NewProbe(cl)}, nil
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
	record := func() *kgo.Record {
		return &kgo.Record{Topic: topic, Key: key, Value: value, Headers: headers}
	}
	r, err := p.cl.ProduceSync(ctx, record()).First()
	if errors.Is(err, kerr.UnknownTopicID) {
		// The topic was made anew since this client saw it: forget it, and the record goes to the new one.
		p.log.Warn("Kafka topic was made anew", "topic", topic)
		p.cl.PurgeTopicsFromProducing(topic)
		r, err = p.cl.ProduceSync(ctx, record()).First()
	}
	if err != nil {
		return 0, 0, p.explain(topic, len(value), err)
	}
	attrs := []any{"topic", topic, "partition", r.Partition, "offset", r.Offset, "bytes", len(value)}
	if id, err := contract.ParseVideoID(string(key)); err == nil {
		attrs = append(attrs, "video_id", id)
	}
	p.log.Info("Kafka message sent", attrs...)
	return r.Partition, r.Offset, nil
}

func (p *Producer) explain(topic string, size int, err error) error {
	switch {
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return fmt.Errorf("publish %d bytes to topic %s: %w: %w", size, topic, ErrTooLarge, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("publish: %w", setupError(fmt.Sprintf("Kafka topic %s is missing", topic), err))
	}
	err = classify(err)
	if setup := connectionsOf(p.cl).setup(); setup != nil && !IsSetup(err) {
		err = fmt.Errorf("%w (%w)", setup, err)
	}
	return fmt.Errorf("publish to topic %s: %w", topic, err)
}

// CheckTopics is CheckTopics for the producer's client.
func (p *Producer) CheckTopics(ctx context.Context, topics ...string) error {
	return CheckTopics(ctx, p.cl, topics...)
}

// Ready is the probe of the producer's client.
func (p *Producer) Ready(ctx context.Context) error { return p.probe(ctx) }

// Close ends the client; what is being published fails.
func (p *Producer) Close() { p.cl.Close() }
