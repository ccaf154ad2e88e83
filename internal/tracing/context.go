// Package tracing carries one OpenTelemetry trace through what vidflow does: over Kafka, through the database, and through
// Temporal. Spans are made by whoever does the work; the provider that they are sent by is made in package telemetry and
// handed down. Where there is none, nothing here costs anything.
//
// Only W3C's traceparent is passed on and taken in. Baggage and tracestate are left behind: they are texts of strangers.
package tracing

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the name under which vidflow's own spans are made.
const Scope = "github.com/codeendelea/vidflow"

// header is W3C's name of the header, of records, of requests and among those of Temporal.
const header = "traceparent"

// Traceparent is the span of ctx as W3C writes it; empty when there is none.
func Traceparent(ctx context.Context) string { return write(trace.SpanContextFromContext(ctx)) }

func write(sc trace.SpanContext) string {
	if !sc.IsValid() {
		return ""
	}
	flags := "00"
	if sc.IsSampled() {
		flags = "01"
	}
	return "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + flags
}

// WithTraceparent makes the span that traceparent names the parent of what is begun in the context. A text that names none
// changes nothing.
func WithTraceparent(ctx context.Context, traceparent string) context.Context {
	if sc := Parse(traceparent); sc.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	return ctx
}

// Parse reads what W3C calls a traceparent; what is none gives a span context that is not valid.
func Parse(traceparent string) trace.SpanContext {
	if traceparent == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{header: traceparent})
	return trace.SpanContextFromContext(ctx)
}

// Propagator passes traceparent on, and nothing else.
type Propagator struct{}

// Inject implements propagation.TextMapPropagator.
func (Propagator) Inject(ctx context.Context, to propagation.TextMapCarrier) {
	if traceparent := Traceparent(ctx); traceparent != "" {
		to.Set(header, traceparent)
	}
}

// Extract implements propagation.TextMapPropagator.
func (Propagator) Extract(ctx context.Context, from propagation.TextMapCarrier) context.Context {
	return WithTraceparent(ctx, from.Get(header))
}

// Fields implements propagation.TextMapPropagator.
func (Propagator) Fields() []string { return []string{header} }

// named is the key of the ids that the next span of a context is to have.
type named struct{}

// Named has the next span that is begun in the context, by a provider with IDs, carry the span id of ids; and its trace id
// where it becomes a root. So a span that is begun anew, after a crash or in a replay, is the same one.
func Named(ctx context.Context, ids trace.SpanContext) context.Context {
	return context.WithValue(ctx, named{}, ids)
}

// IDs makes the ids of spans, at random where a context does not name them.
type IDs struct{}

// NewIDs implements the SDK's IDGenerator for roots.
func (IDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if ids, ok := ctx.Value(named{}).(trace.SpanContext); ok && ids.IsValid() {
		return ids.TraceID(), ids.SpanID()
	}
	var id trace.TraceID
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id, newSpanID()
}

// NewSpanID implements the SDK's IDGenerator for spans that have a parent.
func (IDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if ids, ok := ctx.Value(named{}).(trace.SpanContext); ok && ids.HasSpanID() {
		return ids.SpanID()
	}
	return newSpanID()
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
