package kafka_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/internal/tracing/tracingtest"
)

func TestProducer_writes_its_span_into_records(t *testing.T) {
	t.Parallel()
	cluster, spans := newCluster(t), tracingtest.New(t)
	cfg := configFor(cluster)
	cfg.Traces = spans
	p := newProducer(t, cfg)
	ask := contract.Ask{Video: contract.VideoID(uuid.NewString()), N: 1}
	of := kafka.Header{Key: contract.HeaderTraceparent, Value: []byte(ask.Traceparent())}
	first := kafka.Header{Key: "first", Value: []byte("1")}

	run, span := spans.Tracer("test").Start(t.Context(), "run")
	for _, headers := range [][]kafka.Header{{first, of}, {first, of}, {first}} {
		if _, _, err := p.Publish(run, "results", []byte("key"), []byte("value"), headers...); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := p.Publish(t.Context(), "results", []byte("key"), []byte("value"), of); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range consume(t, cluster, "results", 4) {
		n := 0
		for _, h := range r.Headers {
			if h.Key == contract.HeaderTraceparent {
				got = append(got, string(h.Value))
				n++
			}
		}
		if n != 1 {
			t.Fatalf("a record has %d headers of a trace, want one: %v", n, r.Headers)
		}
	}
	// The same ask in the same trace is the same to the byte, although it is sent twice; its span is the ask's own.
	here, asked := span.SpanContext(), tracing.Parse(ask.Traceparent())
	want := "00-" + here.TraceID().String() + "-" + asked.SpanID().String() + "-01"
	if got[0] != want || got[1] != want {
		t.Errorf("an ask and its repeat carry %q and %q, want %q", got[0], got[1], want)
	}
	if other := tracing.Parse(got[2]); other.TraceID() != here.TraceID() || other.SpanID() == asked.SpanID() {
		t.Errorf("another record carries %q, want a span of its own in the same trace", got[2])
	}
	if root := tracing.Parse(got[3]); root.TraceID() != asked.TraceID() || root.SpanID() != asked.SpanID() {
		t.Errorf("an ask without a trace carries %q, want that of %q", got[3], ask.Traceparent())
	}
	sent := spans.Named("send results")
	if len(sent) != 4 {
		t.Fatalf("%d spans of four records", len(sent))
	}
	for i, s := range sent[:3] {
		if s.Parent.SpanID() != here.SpanID() || tracing.Parse(got[i]).SpanID() != s.SpanContext.SpanID() {
			t.Errorf("the span of record %d is %+v, want a child of the run's that the record names", i, s)
		}
		if tracingtest.Attribute(s, "messaging.kafka.offset") == "" || tracingtest.Attribute(s, "messaging.destination.name") != "results" {
			t.Errorf("the span of record %d does not say where it is: %v", i, s.Attributes)
		}
	}
}

func TestProducer_leaves_headers_alone_when_nothing_is_traced(t *testing.T) {
	t.Parallel()
	cluster, spans := newCluster(t), tracingtest.New(t)
	p := newProducer(t, configFor(cluster))
	ctx, _ := spans.Tracer("test").Start(t.Context(), "run")
	of := kafka.Header{Key: contract.HeaderTraceparent, Value: []byte("whatever it was")}
	if _, _, err := p.Publish(ctx, "results", []byte("key"), []byte("value"), of); err != nil {
		t.Fatal(err)
	}
	got := consume(t, cluster, "results", 1)[0].Headers
	if len(got) != 1 || string(got[0].Value) != string(of.Value) {
		t.Errorf("got %v, want the header as it was given", got)
	}
}
