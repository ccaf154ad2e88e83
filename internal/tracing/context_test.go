package tracing_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/internal/tracing/tracingtest"
)

func TestTraceparent(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
	} {
		ctx := tracing.WithTraceparent(t.Context(), text)
		if got := tracing.Traceparent(ctx); got != text || !trace.SpanContextFromContext(ctx).IsRemote() {
			t.Errorf("got %q, want %q, from elsewhere", got, text)
		}
	}
	for _, text := range []string{
		"", "x", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", strings.Repeat("é", 1000),
	} {
		if got := tracing.Traceparent(tracing.WithTraceparent(t.Context(), text)); got != "" {
			t.Errorf("%.60q is taken for %q", text, got)
		}
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	spans := tracingtest.New(t)
	ids := tracing.Parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	tracer := spans.Tracer("test")
	_, root := tracer.Start(tracing.Named(t.Context(), ids), "root")
	if got := root.SpanContext(); got.TraceID() != ids.TraceID() || got.SpanID() != ids.SpanID() {
		t.Errorf("a root has the ids %s %s", got.TraceID(), got.SpanID())
	}
	parent, other := tracer.Start(t.Context(), "parent")
	_, child := tracer.Start(tracing.Named(parent, ids), "child")
	if got := child.SpanContext(); got.TraceID() != other.SpanContext().TraceID() || got.SpanID() != ids.SpanID() {
		t.Errorf("a child has the ids %s %s", got.TraceID(), got.SpanID())
	}
	if _, again := tracer.Start(t.Context(), "another"); again.SpanContext().SpanID() == other.SpanContext().SpanID() {
		t.Error("two spans have the same id")
	}
}

// TestFree: where there is no trace, to look for one costs no memory.
func TestFree(t *testing.T) {
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		if tracing.Traceparent(tracing.WithTraceparent(ctx, "")) != "" || tracing.Parse("").IsValid() {
			t.Error("there is a trace")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
