package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"

	"github.com/codeendelea/vidflow/internal/tracing"
)

// Protocols of TraceOptions.
const (
	OTLPOverGRPC = "grpc"
	OTLPOverHTTP = "http/protobuf"
)

// TraceOptions say where spans go. What the standard has beside them, such as OTEL_BSP_SCHEDULE_DELAY, OpenTelemetry reads
// from the environment by itself.
type TraceOptions struct {
	// Protocol is OTLPOverGRPC or OTLPOverHTTP.
	Protocol string
	// Endpoint is the URL of a collector, for HTTP with the path of its traces.
	Endpoint string
	// Headers go with every request, such as a key.
	Headers map[string]string
	// CAFile is a PEM bundle to trust instead of the system's; CertificateFile and KeyFile are the client's own.
	CAFile, CertificateFile, KeyFile string

	// Service, Version and Attributes say whose spans they are. Among Attributes, service.name and service.version lose.
	Service, Version string
	Attributes       map[string]string

	// Sampler is one of the standard's names, Ratio what those that end with traceidratio take.
	Sampler string
	Ratio   float64

	// Redact takes secrets out of texts; nil takes out none.
	Redact func(string) string
	Log    *slog.Logger
}

// OpenTraces makes a provider that sends spans in batches, and does not connect yet. A collector that is away is said in
// the log; spans that it misses are lost, and nothing waits for it. The function that is returned sends what is left.
func OpenTraces(ctx context.Context, o TraceOptions) (trace.TracerProvider, func(context.Context) error, error) {
	if o.Redact == nil {
		o.Redact = func(s string) string { return s }
	}
	exporter, err := o.exporter(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("make an exporter of traces: %w", err)
	}
	about, err := o.resource(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("say whose traces they are: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&reporting{SpanExporter: exporter, redact: o.Redact, log: o.Log, now: time.Now}),
		sdktrace.WithResource(about),
		sdktrace.WithSampler(o.sampler()),
		sdktrace.WithIDGenerator(tracing.IDs{}),
	)
	return provider, provider.Shutdown, nil
}

func (o TraceOptions) exporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	conf, err := o.tls()
	if err != nil {
		return nil, err
	}
	if o.Protocol == OTLPOverGRPC {
		options := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(o.Endpoint), otlptracegrpc.WithHeaders(o.Headers)}
		if conf != nil {
			options = append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(conf)))
		}
		return otlptracegrpc.New(ctx, options...)
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(o.Endpoint), otlptracehttp.WithHeaders(o.Headers)}
	if conf != nil {
		options = append(options, otlptracehttp.WithTLSClientConfig(conf))
	}
	return otlptracehttp.New(ctx, options...)
}

func (o TraceOptions) tls() (*tls.Config, error) {
	if o.CAFile == "" && o.CertificateFile == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", o.CAFile)
		}
	}
	if o.CertificateFile != "" {
		own, err := tls.LoadX509KeyPair(o.CertificateFile, o.KeyFile)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{own}
	}
	return conf, nil
}

func (o TraceOptions) resource(ctx context.Context) (*resource.Resource, error) {
	attributes := make([]attribute.KeyValue, 0, len(o.Attributes)+3)
	attributes = append(attributes, semconv.ServiceInstanceID(uuid.NewString()))
	for name, text := range o.Attributes {
		attributes = append(attributes, attribute.String(name, text))
	}
	attributes = append(attributes, semconv.ServiceName(o.Service), semconv.ServiceVersion(o.Version))
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(attributes...))
}

func (o TraceOptions) sampler() sdktrace.Sampler {
	switch o.Sampler {
	case "always_on":
		return sdktrace.AlwaysSample()
	case "always_off":
		return sdktrace.NeverSample()
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(o.Ratio)
	case "parentbased_always_off":
		return sdktrace.ParentBased(sdktrace.NeverSample())
	case "parentbased_traceidratio":
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Ratio))
	default:
		return sdktrace.ParentBased(sdktrace.AlwaysSample())
	}
}

// sayEvery is how often it is said that a collector is away.
const sayEvery = time.Minute

// reporting sends spans without secrets, and says in the log, not too often, when it cannot: the SDK would tell a handler
// that is global.
type reporting struct {
	sdktrace.SpanExporter
	redact func(string) string
	log    *slog.Logger
	now    func() time.Time

	mu    sync.Mutex
	said  time.Time // when it was said last; zero while all is well
	spans int       // lost since all was well
}

// ExportSpans never fails.
func (r *reporting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		clean[i] = redacted{s, r.redact}
	}
	err := r.SpanExporter.ExportSpans(ctx, clean)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.spans += len(spans)
		if now := r.now(); now.Sub(r.said) >= sayEvery {
			r.said = now
			r.log.Warn("traces are not taken by the collector, spans are lost", "spans", r.spans, "error", err)
		}
	case !r.said.IsZero():
		r.log.Info("traces are taken by the collector again", "spans_lost", r.spans)
		r.said, r.spans = time.Time{}, 0
	}
	return nil
}

// redacted is a span without secrets: libraries put what they were given into their errors.
type redacted struct {
	sdktrace.ReadOnlySpan
	redact func(string) string
}

// Attributes implements sdktrace.ReadOnlySpan.
func (s redacted) Attributes() []attribute.KeyValue { return s.clean(s.ReadOnlySpan.Attributes()) }

// Status implements sdktrace.ReadOnlySpan.
func (s redacted) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = s.redact(status.Description)
	return status
}

// Events implements sdktrace.ReadOnlySpan.
func (s redacted) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Attributes = s.clean(events[i].Attributes)
	}
	return events
}

func (s redacted) clean(attributes []attribute.KeyValue) []attribute.KeyValue {
	clean := make([]attribute.KeyValue, len(attributes))
	for i, a := range attributes {
		if a.Value.Type() == attribute.STRING {
			a.Value = attribute.StringValue(s.redact(a.Value.AsString()))
		}
		clean[i] = a
	}
	return clean
}
