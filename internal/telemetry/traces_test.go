package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/codeendelea/vidflow/internal/telemetry"
)

// collector takes spans over HTTP, or refuses them.
type collector struct {
	*httptest.Server

	mu      sync.Mutex
	refuse  bool
	text    string // all that came
	spans   []*tracepb.Span
	headers []string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collectorpb.ExportTraceServiceRequest
	if err = errors.Join(err, proto.Unmarshal(body, &request)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse {
		http.Error(w, "not now", http.StatusForbidden)
		return
	}
	c.headers = append(c.headers, r.Header.Get("X-Key"))
	c.text += protojson.Format(&request)
	for _, of := range request.GetResourceSpans() {
		for _, in := range of.GetScopeSpans() {
			c.spans = append(c.spans, in.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *collector) refusing(refuse bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = refuse
}

func (c *collector) got() (spans int, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spans), c.text
}

// flusher is a provider of the SDK.
type flusher interface {
	ForceFlush(context.Context) error
}

func TestOpenTraces_sends_without_secrets(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	c := newCollector(t)
	provider, flush, err := telemetry.OpenTraces(t.Context(), telemetry.TraceOptions{
		Protocol: telemetry.OTLPOverHTTP, Endpoint: c.URL + "/v1/traces", Headers: map[string]string{"X-Key": secret},
		Service: "vidflow-test", Version: "v1.2.3", Attributes: map[string]string{"deployment.environment.name": "here", "service.name": "loses"},
		Redact: func(s string) string { return strings.ReplaceAll(s, secret, "[redacted]") },
		Log:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, span := provider.Tracer("test").Start(t.Context(), "span", trace.WithAttributes(
		attribute.String("said", "the key is "+secret), attribute.Int("n", 7)))
	span.AddEvent("event", trace.WithAttributes(attribute.String("said", secret)))
	span.SetStatus(codes.Error, "login "+secret)
	span.End()
	if err := flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, text := c.got()
	if n != 1 || strings.Contains(text, secret) || strings.Count(text, "[redacted]") != 3 {
		t.Errorf("got %d spans, want one with three redactions: %s", n, text)
	}
	for _, want := range []string{`"vidflow-test"`, `"v1.2.3"`, `"here"`, `"the key is [redacted]"`, `"7"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if strings.Contains(text, `"loses"`) {
		t.Errorf("the name among the attributes wins: %s", text)
	}
	if c.headers[0] != secret {
		t.Errorf("the collector was shown %q, want its key as it is", c.headers[0])
	}
}

// TestOpenTraces_says_that_the_collector_is_away says so once, and when it is back.
func TestOpenTraces_says_that_the_collector_is_away(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	var console bytes.Buffer
	provider, flush, err := telemetry.OpenTraces(t.Context(), telemetry.TraceOptions{
		Protocol: telemetry.OTLPOverHTTP, Endpoint: c.URL + "/v1/traces", Service: "vidflow-test",
		Log: slog.New(slog.NewJSONHandler(&console, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		_, span := provider.Tracer("test").Start(t.Context(), "span")
		span.End()
		if err := provider.(flusher).ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.refusing(true)
	send()
	send()
	c.refusing(false)
	send()
	send()
	if err := flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := console.String()
	if strings.Count(said, "traces are not taken by the collector") != 1 || strings.Count(said, "403") != 1 {
		t.Errorf("got %s, want it said once that the collector refuses", said)
	}
	if strings.Count(said, "traces are taken by the collector again") != 1 || !strings.Contains(said, `"spans_lost":2`) {
		t.Errorf("got %s, want it said once that all is well, and that two spans are lost", said)
	}
	if n, _ := c.got(); n != 2 {
		t.Errorf("%d spans came, want two", n)
	}
}

// TestOpenTraces_does_not_wait_for_a_collector that is not there, neither when it begins nor beyond its time at the end.
func TestOpenTraces_does_not_wait_for_a_collector(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{telemetry.OTLPOverGRPC, telemetry.OTLPOverHTTP} {
		provider, flush, err := telemetry.OpenTraces(t.Context(), telemetry.TraceOptions{
			Protocol: protocol, Endpoint: "http://127.0.0.1:1", Service: "vidflow-test", Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, span := provider.Tracer("test").Start(t.Context(), "span")
		span.End()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		begin := time.Now()
		_ = flush(ctx)
		cancel()
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("%s: to flush took %s, want it to end with its context", protocol, took)
		}
	}
}

func TestOpenTraces_samples(t *testing.T) {
	t.Parallel()
	kept := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})
	dropped := kept.WithTraceFlags(0)
	for _, row := range []struct {
		sampler                 string
		ratio                   float64
		root, ofKept, ofDropped bool
	}{
		{"", 0, true, true, false},
		{"parentbased_always_on", 0, true, true, false},
		{"parentbased_always_off", 0, false, true, false},
		{"parentbased_traceidratio", 0, false, true, false},
		{"parentbased_traceidratio", 1, true, true, false},
		{"always_on", 0, true, true, true},
		{"always_off", 0, false, false, false},
		{"traceidratio", 0, false, false, false},
		{"traceidratio", 1, true, true, true},
	} {
		provider, _, err := telemetry.OpenTraces(t.Context(), telemetry.TraceOptions{
			Protocol: telemetry.OTLPOverHTTP, Endpoint: "http://127.0.0.1:1", Sampler: row.sampler, Ratio: row.ratio,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range []struct {
			parent trace.SpanContext
			want   bool
		}{{trace.SpanContext{}, row.root}, {kept, row.ofKept}, {dropped, row.ofDropped}} {
			parent, want := of.parent, of.want
			_, span := provider.Tracer("test").Start(trace.ContextWithRemoteSpanContext(t.Context(), parent), "span")
			if got := span.SpanContext().IsSampled(); got != want {
				t.Errorf("%s %v: a span below %q is kept: %t, want %t", row.sampler, row.ratio, parent.TraceFlags(), got, want)
			}
		}
	}
}

func TestOpen_logs_the_trace(t *testing.T) {
	t.Parallel()
	var console bytes.Buffer
	log, _, err := telemetry.Open(telemetry.Options{Console: &console})
	if err != nil {
		t.Fatal(err)
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
	log.With("a", 1).InfoContext(trace.ContextWithSpanContext(t.Context(), sc), "in a trace")
	log.InfoContext(t.Context(), "in none")
	got := strings.Split(console.String(), "\n")
	if !strings.Contains(got[0], `"trace_id":"`+sc.TraceID().String()+`"`) || strings.Contains(got[1], "trace_id") {
		t.Errorf("got %q, want the trace's id in the first line alone", got)
	}
}
