package starter_test

import (
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/internal/tracing/tracingtest"
	"github.com/codeendelea/vidflow/starter"
)

func tracedBy(spans tracingtest.Recorder) option {
	return func(_ *starter.Deps, cfg *starter.Config) { cfg.Traces = spans }
}

func TestTrace_requests(t *testing.T) {
	t.Parallel()
	spans := tracingtest.New(t)
	w := newWorld(t, tracedBy(spans))
	const theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	a := w.call(http.MethodPost, w.videosPath()+"?secret=hunter2", w.owner(), body(), "Traceparent", theirs, "Tracestate", "a=1", "Baggage", "b=2").
		expect(t, http.StatusCreated)
	id := decode[starter.VideoAnswer](t, a).Data.ID
	w.call(http.MethodGet, "/api/videos/"+id+"/pipeline", w.owner(), nil).expect(t, http.StatusOK)
	w.call(http.MethodGet, "/api/nowhere", w.owner(), nil).expect(t, http.StatusNotFound)
	w.call(http.MethodGet, "/api/health", "", nil).expect(t, http.StatusOK)
	w.call(http.MethodGet, "/api/docs", "", nil).expect(t, http.StatusOK)
	eventually(t, "three requests have spans", func() bool { return len(requests(spans)) >= 3 })

	got := spans.One(t, "POST /api/courses/{courseId}/videos")
	their := tracing.Parse(theirs)
	if got.Parent.IsValid() || got.SpanContext.TraceID() == their.TraceID() || got.SpanContext.TraceState().Len() > 0 {
		t.Errorf("the trace is the caller's: %+v", got)
	}
	if len(got.Links) != 1 || got.Links[0].SpanContext.SpanID() != their.SpanID() {
		t.Errorf("got links %v, want one to what the caller sent", got.Links)
	}
	equal(t, "route", tracingtest.Attribute(got, "http.route"), "/api/courses/{courseId}/videos")
	equal(t, "status", tracingtest.Attribute(got, "http.response.status_code"), "201")
	equal(t, "request id", tracingtest.Attribute(got, "vidflow.request_id"), a.header.Get("X-Request-Id"))
	for _, attribute := range got.Attributes {
		if strings.Contains(attribute.Value.String(), "hunter2") {
			t.Errorf("%s shows a query string", attribute.Key)
		}
	}
	read := spans.One(t, "GET /api/videos/{videoId}/pipeline")
	equal(t, "video", tracingtest.Attribute(read, "vidflow.video_id"), id)
	if n := len(requests(spans)); n != 3 {
		t.Errorf("%d requests have spans, want three: not those for health and documents", n)
	}
	eventually(t, "the request is logged with its trace", func() bool {
		return strings.Contains(w.log.String(), a.header.Get("X-Request-Id"))
	})
	equal(t, "trace of the intent", w.text(`select traceparent from pipeline.intents`),
		"00-"+got.SpanContext.TraceID().String()+"-"+got.SpanContext.SpanID().String()+"-01")
}

func requests(spans tracingtest.Recorder) (out []tracetest.SpanStub) {
	for _, s := range spans.All() {
		if s.SpanKind == trace.SpanKindServer {
			out = append(out, s)
		}
	}
	return out
}

// TestTrace_relay: what the relay does is part of the trace of the request that wants it, whichever instance does it.
func TestTrace_relay(t *testing.T) {
	t.Parallel()
	spans := tracingtest.New(t)
	w := newWorld(t, tracedBy(spans))
	id := w.create()
	w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNoContent)
	eventually(t, "both requests have spans", func() bool { return len(requests(spans)) == 2 })
	deleted := spans.One(t, "DELETE /api/videos/{videoId}")
	w.runRelay()
	eventually(t, "the relay tries", func() bool { return len(spans.Named("relay cleanup")) > 0 })
	got := spans.Named("relay cleanup")[0]
	if got.Parent.SpanID() != deleted.SpanContext.SpanID() || got.Status.Code != codes.Error {
		t.Errorf("got %+v, want a failed child of the request to delete: Temporal is away", got)
	}
}

func TestTrace_off(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call(http.MethodPost, w.videosPath(), w.owner(), body(), "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").
		expect(t, http.StatusCreated)
	equal(t, "trace of the intent", w.text(`select coalesce(traceparent, 'none') from pipeline.intents`), "none")
}
