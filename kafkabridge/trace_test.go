package kafkabridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/internal/tracing/tracingtest"
)

// cause is the trace context of record n.
func cause(n int) string {
	return fmt.Sprintf("00-%032x-%016x-01", n, n)
}

func caused(rec *kgo.Record, n int) *kgo.Record {
	rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: contract.HeaderTraceparent, Value: []byte(cause(n))})
	return rec
}

// TestTrace: a record's span is a child of what the record names, or a root; it is named in the signal, and refers to those
// of records that were merged.
func TestTrace(t *testing.T) {
	t.Parallel()
	r, spans := newRig(t, 1), tracingtest.New(t)
	within := make(chan trace.SpanContext, 1)
	g := &gate{closed: true}
	temporal := newFakeTemporal(func(ctx context.Context, s signal) error {
		select {
		case within <- trace.SpanContextFromContext(ctx):
		default: // one is enough
		}
		return g.answer(ctx, s)
	})
	r.start(temporal, func(c *Config) { c.Kafka.Traces = spans })

	r.put(transcripts, 0, caused(small(1), 1))
	r.eventually("the first is tried", func() bool { return g.attempts() > 0 })
	// While that is refused, these wait, and are merged with it.
	r.put(transcripts, 0, caused(small(1), 2), caused(small(1), 3), small(2))
	r.put(transcripts, 0, caused(&kgo.Record{Key: []byte(videoID(3)), Value: []byte("{")}, 4))
	r.eventually("the poison is seen", func() bool { return len(poisoned(spans)) == 1 })
	r.eventuallyAgain(g, videoID(1))
	g.open()
	r.eventually("both videos are signalled, and their spans have ended", func() bool {
		sent := temporal.signals()
		return len(sent) == 2 && !slices.ContainsFunc(sent, func(s signal) bool { _, ended := find(spans, s.Ref.Traceparent); return !ended })
	})

	for _, s := range temporal.signals() {
		span, _ := find(spans, s.Ref.Traceparent)
		if span.SpanKind != trace.SpanKindConsumer || span.Status.Code == codes.Error ||
			tracingtest.Attribute(span, "vidflow.video_id") != string(s.Video) {
			t.Errorf("the span of a signal is %+v", span)
		}
		if s.Video == videoID(2) {
			if span.Parent.IsValid() || len(span.Links) != 0 {
				t.Errorf("the span of a record without a trace is %+v, want a root", span)
			}
			continue
		}
		if write(span.Parent) != cause(3) {
			t.Errorf("the newest record's span is a child of %s, want %s", write(span.Parent), cause(3))
		}
		var merged []string
		for _, l := range span.Links {
			merged = append(merged, write(l.SpanContext))
		}
		slices.Sort(merged)
		if fmt.Sprint(merged) != fmt.Sprint([]string{cause(1), cause(2)}) {
			t.Errorf("it refers to %v, want those that were merged", merged)
		}
	}
	failed := 0
	for _, s := range spans.Named("process " + transcripts) {
		if s.Status.Code == codes.Error && tracingtest.Attribute(s, "error.type") == "" {
			failed++
		}
	}
	if failed == 0 {
		t.Error("no span says that a signal was refused")
	}
	if sc := <-within; !sc.IsValid() {
		t.Error("a signal is sent without its span")
	}
	dead := poisoned(spans)[0]
	if write(dead.Parent) != cause(4) || dead.Status.Code != codes.Error {
		t.Errorf("the span of a record that cannot be understood is %+v", dead)
	}
	// Its dead letter has the trace context that it had.
	letter := r.read(transcripts+contract.DeadLetterSuffix, 1)[0]
	if got := headers(letter)[contract.HeaderTraceparent]; got != cause(4) {
		t.Errorf("the dead letter carries %q, want %q", got, cause(4))
	}
}

// TestTrace_off: without a provider there are no spans, and nothing is allocated for them.
func TestTrace_off(t *testing.T) {
	var off *spans
	rec, p := caused(small(1), 1), &parcel{}
	failure := errors.New("refused")
	if n := testing.AllocsPerRun(100, func() {
		p.taken = off.take(rec, "group", time.Time{})
		ctx, end := off.send(context.Background(), videoID0, p)
		end(failure)
		off.bury(p.taken, rec, nil, "")
		if ctx != context.Background() || p.taken != nil || p.newest.Traceparent != "" {
			t.Error("something is traced")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// poisoned are the spans of records that could not be understood.
func poisoned(spans tracingtest.Recorder) (out tracetest.SpanStubs) {
	for _, s := range spans.Named("process " + transcripts) {
		if tracingtest.Attribute(s, "error.type") != "" {
			out = append(out, s)
		}
	}
	return out
}

// find is the span that a traceparent names, if it has ended.
func find(spans tracingtest.Recorder, traceparent string) (span tracetest.SpanStub, ended bool) {
	for _, s := range spans.All() {
		if write(s.SpanContext) == traceparent {
			return s, true
		}
	}
	return tracetest.SpanStub{}, false
}

var videoID0 = videoID(0)

func write(sc trace.SpanContext) string {
	return tracing.Traceparent(trace.ContextWithSpanContext(context.Background(), sc))
}

// BenchmarkTrace is what a record's span costs the bridge, but for its sending.
func BenchmarkTrace(b *testing.B) {
	for name, of := range map[string]trace.TracerProvider{
		"off":      nil,
		"not_kept": sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()), sdktrace.WithIDGenerator(tracing.IDs{})),
		"kept":     sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(tracing.IDs{})),
	} {
		b.Run(name, func(b *testing.B) {
			spans := newSpans(of)
			rec, video, receipts := small(1), videoID(1), make([]receipt, 1)
			b.ReportAllocs()
			for b.Loop() {
				p := parcel{taken: spans.take(rec, transcriptGroup, time.Now()), receipts: receipts}
				_, end := spans.send(b.Context(), video, &p)
				end(nil)
			}
		})
	}
}
