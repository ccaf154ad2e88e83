package kafkabridge

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/tracing"
)

// spans makes those of records that were taken. A nil one makes none.
type spans struct{ tracer trace.Tracer }

func newSpans(traces trace.TracerProvider) *spans {
	if traces == nil {
		return nil
	}
	return &spans{traces.Tracer(tracing.Scope)}
}

// taken is what a span needs to know of a record. There is no span until it is sent: tens of thousands may wait.
type taken struct {
	cause trace.SpanContext // that the record carries; not valid when it carries none
	at    time.Time
	group string
}

// take notes what the span of a record will need.
func (s *spans) take(rec *kgo.Record, group string, now time.Time) *taken {
	if s == nil {
		return nil
	}
	t := &taken{at: now, group: group}
	for _, h := range rec.Headers {
		if h.Key == contract.HeaderTraceparent {
			t.cause = tracing.Parse(string(h.Value))
		}
	}
	return t
}

// maxLinks is how many of the records that were merged a span refers to.
const maxLinks = 32

// send begins the span of a signal, from when its newest record was taken, as a child of that record's cause. It refers to
// the causes of those that were merged with it, and is written into the reference.
func (s *spans) send(ctx context.Context, video contract.VideoID, p *parcel) (context.Context, func(error)) {
	if s == nil {
		return ctx, func(error) {}
	}
	var links []trace.Link
	for _, t := range p.merged {
		if t.cause.IsValid() && len(links) < maxLinks {
			links = append(links, trace.Link{SpanContext: t.cause})
		}
	}
	ref := &p.newest
	ctx, span := s.begin(ctx, p.taken, ref.Topic, ref.Partition, ref.Offset, ref.Size, trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("vidflow.video_id", video.String()), attribute.Int("vidflow.merged", len(p.receipts)-1),
	))
	ref.Traceparent = tracing.Traceparent(ctx)
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// bury is the span of a record that cannot be understood.
func (s *spans) bury(t *taken, rec *kgo.Record, m *letter, reason string) {
	if s == nil {
		return
	}
	_, span := s.begin(context.Background(), t, rec.Topic, rec.Partition, rec.Offset, len(rec.Value), trace.WithAttributes(
		attribute.String("vidflow.video_id", m.video.String()), attribute.String("error.type", m.class),
	))
	span.SetStatus(codes.Error, "dead letter: "+reason)
	span.End()
}

func (s *spans) begin(
	ctx context.Context, t *taken, topic string, partition int32, offset int64, size int, more ...trace.SpanStartOption,
) (context.Context, trace.Span) {
	return s.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, t.cause), "process "+topic, append(more,
		trace.WithTimestamp(t.at), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			semconv.MessagingSystemKafka, semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"),
			semconv.MessagingDestinationName(topic), semconv.MessagingDestinationPartitionID(strconv.Itoa(int(partition))),
			semconv.MessagingKafkaOffset(int(offset)), semconv.MessagingConsumerGroupName(t.group),
			semconv.MessagingMessageBodySize(size),
		))...)
}
