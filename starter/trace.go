package starter

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/workflows"
)

// traced makes a span of each request, named after its route. Callers are the public: a trace context that they send is
// linked and not continued, so that they do not decide which traces are kept, nor mix theirs with ours.
func traced(traces trace.TracerProvider) func(http.Handler) http.Handler {
	if traces == nil {
		return func(next http.Handler) http.Handler { return next }
	}
	span := otelhttp.NewMiddleware("",
		otelhttp.WithTracerProvider(traces),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(tracing.Propagator{}),
		otelhttp.WithPublicEndpointFn(func(*http.Request) bool { return true }),
		otelhttp.WithFilter(worthASpan),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }),
	)
	return func(next http.Handler) http.Handler {
		return span(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			span := trace.SpanFromContext(r.Context())
			if !span.IsRecording() {
				return
			}
			span.SetAttributes(attribute.String("vidflow.request_id", requestID(r.Context())))
			if route := chi.RouteContext(r.Context()).RoutePattern(); route != "" {
				span.SetName(r.Method + " " + route)
				span.SetAttributes(semconv.HTTPRoute(route))
			}
			if id := chi.URLParam(r, "videoId"); id != "" {
				span.SetAttributes(attribute.String("vidflow.video_id", id))
			}
		}))
	}
}

// worthASpan leaves out what is asked for all the time and does nothing, and streams, which last for hours.
func worthASpan(r *http.Request) bool {
	return r.URL.Path != healthPath && !strings.HasPrefix(r.URL.Path, "/api/docs") && !strings.HasSuffix(r.URL.Path, "/events")
}

// trace makes a span of an intent that is carried out, in the trace that it was committed in.
func (r *Relay) trace(ctx context.Context, in postgres.Intent) (context.Context, func(error)) {
	if r.tracer == nil {
		return ctx, func(error) {}
	}
	ctx, span := r.tracer.Start(tracing.WithTraceparent(ctx, in.Traceparent), "relay "+string(in.Kind), trace.WithAttributes(
		attribute.String("vidflow.video_id", in.VideoID.String()),
		attribute.String("temporalWorkflowID", workflows.WorkflowID(in.VideoID)),
		attribute.Int("vidflow.attempt", in.Attempts),
	))
	return ctx, func(err error) {
		if _, waits := errors.AsType[*notYet](err); err != nil && !waits {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
