package tracing

import (
	"context"
	"crypto/sha256"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// temporalHeader is the name under which all of Temporal's SDKs keep the trace context among the headers of an event.
const temporalHeader = "_tracer-data"

// Interceptors trace a client of Temporal and the workers that use it.
//
// The SDK's interceptor does the work, with a Tracer of our own instead of the one in its contrib folder. That one ends the
// span of a run whenever a worker forgets the run, gives it another id after each replay, and once more when somebody
// queries a closed run, so that most of a run's steps hang on spans that are not there or on one of several. Here the span
// of a run has an id made of the run's, whichever worker begins it, and is sent once, when the run ends.
func Interceptors(provider trace.TracerProvider) []interceptor.ClientInterceptor {
	return []interceptor.ClientInterceptor{
		interceptor.NewTracingInterceptor(&tracer{tracer: provider.Tracer(Scope)}),
		&ends{},
	}
}

type spanKey struct{}

type tracer struct {
	interceptor.BaseTracer
	tracer trace.Tracer
}

// span is what the SDK's interceptor holds of a span.
type span struct {
	trace.Span
	// borrowed: it is somebody else's, and not to be ended.
	borrowed bool
	// lasting: it may be begun in every replay, and is to be ended only once ended is set.
	lasting, ended bool
}

// Options implements interceptor.Tracer. Queries are not traced: they change nothing. A header that is no trace context is
// passed over: it must not keep a run from its work.
func (*tracer) Options() interceptor.TracerOptions {
	return interceptor.TracerOptions{
		SpanContextKey: spanKey{}, HeaderKey: temporalHeader, DisableQueryTracing: true, AllowInvalidParentSpans: true,
	}
}

// UnmarshalSpan implements interceptor.Tracer.
func (*tracer) UnmarshalSpan(m map[string]string) (interceptor.TracerSpanRef, error) {
	sc := Parse(m[header])
	if !sc.IsValid() {
		return nil, nil //nolint:nilnil // the interface's way to say that there is none
	}
	return &span{Span: trace.SpanFromContext(trace.ContextWithRemoteSpanContext(context.Background(), sc)), borrowed: true}, nil
}

// MarshalSpan implements interceptor.Tracer.
func (*tracer) MarshalSpan(s interceptor.TracerSpan) (map[string]string, error) {
	traceparent := write(s.(*span).SpanContext())
	if traceparent == "" {
		return nil, nil
	}
	return map[string]string{header: traceparent}, nil
}

// SpanFromContext implements interceptor.Tracer.
func (*tracer) SpanFromContext(ctx context.Context) interceptor.TracerSpan {
	s := trace.SpanFromContext(ctx)
	if !s.SpanContext().IsValid() {
		return nil
	}
	return &span{Span: s, borrowed: true}
}

// ContextWithSpan implements interceptor.Tracer.
func (*tracer) ContextWithSpan(ctx context.Context, s interceptor.TracerSpan) context.Context {
	return trace.ContextWithSpan(ctx, s.(*span).Span)
}

// Attributes that the SDK's interceptor hands over as tags.
const (
	runIDTag    = "temporalRunID"
	updateIDTag = "temporalUpdateID"
)

// StartSpan implements interceptor.Tracer.
func (t *tracer) StartSpan(o *interceptor.TracerStartSpanOptions) (interceptor.TracerSpan, error) {
	parent := trace.SpanFromContext(context.Background())
	if p, ok := o.Parent.(*span); ok && p != nil {
		parent = p.Span
	}
	ctx := trace.ContextWithSpanContext(context.Background(), parent.SpanContext())
	started := &span{}
	switch o.Operation {
	case "StartActivity", "ValidateUpdate":
		// To hand a step to a worker, and to look at an update, is nothing by itself.
		return &span{Span: parent, borrowed: true}, nil
	case "RunWorkflow":
		ctx, started.lasting = Named(ctx, idsOf(o.Operation, o.Tags[runIDTag])), true
	case "HandleUpdate":
		ctx, started.lasting = Named(ctx, idsOf(o.Operation, o.Tags[runIDTag]+"/"+o.Tags[updateIDTag])), true
	}
	kind := trace.SpanKindServer
	if o.ToHeader {
		kind = trace.SpanKindClient
	}
	attributes := make([]attribute.KeyValue, 0, len(o.Tags))
	for name, text := range o.Tags {
		attributes = append(attributes, attribute.String(name, text))
	}
	_, started.Span = t.tracer.Start(ctx, o.Operation+":"+o.Name,
		trace.WithTimestamp(o.Time), trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	return started, nil
}

// idsOf makes ids of what a span is about.
func idsOf(operation, name string) trace.SpanContext {
	sum := sha256.Sum256([]byte(operation + ":" + name))
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(sum[:16]), SpanID: trace.SpanID(sum[16:24])})
}

// Finish implements interceptor.TracerSpan.
func (s *span) Finish(o *interceptor.TracerFinishSpanOptions) {
	if s.borrowed || s.lasting && !s.ended {
		return
	}
	if failed(o.Error) {
		s.SetStatus(codes.Error, o.Error.Error())
	}
	s.End()
}

// failed tells failures from other ends.
func failed(err error) bool {
	var app *temporal.ApplicationError
	benign := errors.As(err, &app) && app.Category() == temporal.ApplicationErrorCategoryBenign
	return err != nil && !benign && !temporal.IsCanceledError(err) && !workflow.IsContinueAsNewError(err)
}

// ends sees runs and updates return, other than in a replay or because a worker forgets the run.
type ends struct{ interceptor.InterceptorBase }

func (*ends) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{interceptor.WorkflowInboundInterceptorBase{Next: next}}
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
}

func (i *inbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	out, err := i.Next.ExecuteWorkflow(ctx, in)
	returned(ctx)
	return out, err
}

func (i *inbound) ExecuteUpdate(ctx workflow.Context, in *interceptor.UpdateInput) (any, error) {
	out, err := i.Next.ExecuteUpdate(ctx, in)
	returned(ctx)
	return out, err
}

func returned(ctx workflow.Context) {
	if s, ok := ctx.Value(spanKey{}).(*span); ok && !workflow.IsReplaying(ctx) {
		s.ended = true
	}
}
