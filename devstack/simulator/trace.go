package simulator

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/tracing"
)

// trace begins the span of an answer, if there are spans, as a child of the request's, and writes it into the record, if
// that is to carry one. A service without spans of its own hands on what it was given.
func (s *Simulator) trace(ctx context.Context, a answer, r *kgo.Record) (end func()) {
	if a.request == nil {
		return func() {}
	}
	for _, h := range a.request.Headers {
		if h.Key == contract.HeaderTraceparent {
			ctx = tracing.WithTraceparent(ctx, string(h.Value))
		}
	}
	end = func() {}
	if s.cfg.Traces != nil {
		name := "compress"
		if a.transcription {
			name = "transcribe"
		}
		var span trace.Span
		ctx, span = s.cfg.Traces.Tracer("simulator").Start(ctx, name, trace.WithSpanKind(trace.SpanKindConsumer))
		end = func() { span.End() }
	}
	if traceparent := tracing.Traceparent(ctx); a.traced && traceparent != "" {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: contract.HeaderTraceparent, Value: []byte(traceparent)})
	}
	return end
}
