package kafka

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/tracing"
)

// tracer is nil when nothing is traced.
func (c Config) tracer() trace.Tracer {
	if c.Traces == nil {
		return nil
	}
	return c.Traces.Tracer(tracing.Scope)
}

// traceSend begins the span of a record that is sent, and writes it into the record. A traceparent that is there already
// gives the span its id: a repeat of the same request in the same trace is the same to the byte.
func traceSend(ctx context.Context, tracer trace.Tracer, topic string, key, value []byte, headers []Header) (trace.Span, []Header) {
	traced := make([]Header, 0, len(headers)+1)
	for _, h := range headers {
		if h.Key == contract.HeaderTraceparent {
			ctx = tracing.Named(ctx, tracing.Parse(string(h.Value)))
			continue
		}
		traced = append(traced, h)
	}
	ctx, span := tracer.Start(ctx, "send "+topic, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		semconv.MessagingSystemKafka, semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("send"),
		semconv.MessagingDestinationName(topic), semconv.MessagingKafkaMessageKey(string(key)),
		semconv.MessagingMessageBodySize(len(value)),
	))
	return span, append(traced, Header{Key: contract.HeaderTraceparent, Value: []byte(tracing.Traceparent(ctx))})
}

// placeOf is where a record is.
func placeOf(partition int32, offset int64) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingDestinationPartitionID(strconv.Itoa(int(partition))), semconv.MessagingKafkaOffset(int(offset)),
	}
}

// endSpan ends it with what came of it.
func endSpan(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
