// Package tracingtest keeps the spans of a test. For tests alone.
package tracingtest

import (
	"context"
	"slices"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/codeendelea/vidflow/internal/tracing"
)

// Recorder is a provider that keeps every span that has ended.
type Recorder struct {
	*sdktrace.TracerProvider
	ended *tracetest.InMemoryExporter
}

// New makes a recorder.
func New(t testing.TB) Recorder {
	t.Helper()
	ended := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(ended), sdktrace.WithIDGenerator(tracing.IDs{}))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return Recorder{provider, ended}
}

// All are the spans that have ended, in that order.
func (r Recorder) All() tracetest.SpanStubs { return r.ended.GetSpans() }

// Named are those of a name.
func (r Recorder) Named(name string) tracetest.SpanStubs {
	return slices.DeleteFunc(r.All(), func(s tracetest.SpanStub) bool { return s.Name != name })
}

// One is the only span of a name.
func (r Recorder) One(t testing.TB, name string) tracetest.SpanStub {
	t.Helper()
	spans := r.Named(name)
	if len(spans) != 1 {
		var all []string
		for _, s := range r.All() {
			all = append(all, s.Name)
		}
		t.Fatalf("%d spans are called %q, want one, of %q", len(spans), name, all)
	}
	return spans[0]
}

// Attribute is what a span says under a name, as text; empty when it says nothing.
func Attribute(s tracetest.SpanStub, name string) string {
	set := attribute.NewSet(s.Attributes...)
	value, _ := set.Value(attribute.Key(name))
	return value.String()
}
