package telemetry

import (
	"context"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"
)

// Instruments are what a process is observed by. They are made once and handed down to whatever it opens.
type Instruments struct {
	// Process is what they observe: worker, starter or kafkabridge. Several share the rest when they run in one.
	Process string
	// Metrics is where vidflow's own metrics and those of libraries that speak Prometheus are registered.
	Metrics prometheus.Registerer
	// Meters is for libraries that speak OpenTelemetry; what they count shows among Metrics.
	Meters metric.MeterProvider
	// Traces makes spans; nil when no exporter is configured, and then nobody makes any.
	Traces trace.TracerProvider
}

// For is the same for one of the processes.
func (in Instruments) For(process string) Instruments {
	in.Process = process
	return in
}

// ProcessLabel tells the metrics of libraries apart where several processes run in one.
const ProcessLabel = "process"

// Bounds of histograms of libraries, in seconds: of calls, and of workflows, which wait for hours and days.
var (
	callBuckets     = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	workflowBuckets = []float64{1, 10, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600, 48 * 3600, 72 * 3600}
)

// view gives the durations of libraries buckets that suit them: OpenTelemetry's are made for milliseconds. Of a pool of
// connections it keeps the process: it is the only pool that this has, and its address is no label.
func view(in sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	s := sdkmetric.Stream{Name: in.Name, Description: in.Description, Unit: in.Unit}
	switch {
	case strings.HasPrefix(in.Name, "pgxpool."):
		s.AttributeFilter = attribute.NewAllowKeysFilter(ProcessLabel)
	case in.Kind != sdkmetric.InstrumentKindHistogram || in.Unit != "s":
		return s, false
	case in.Name == "temporal_workflow_endtoend_latency":
		s.Aggregation = sdkmetric.AggregationExplicitBucketHistogram{Boundaries: workflowBuckets, NoMinMax: true}
	default:
		s.Aggregation = sdkmetric.AggregationExplicitBucketHistogram{Boundaries: callBuckets, NoMinMax: true}
	}
	return s, true
}

// NewInstruments registers at metrics. The function that is returned sends what is left and is to be called at the end.
func NewInstruments(metrics prometheus.Registerer) (Instruments, func(context.Context) error, error) {
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(metrics),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo(),
	)
	if err != nil {
		return Instruments{}, nil, fmt.Errorf("register the metrics of libraries: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithView(view))
	return Instruments{Metrics: metrics, Meters: meters}, meters.Shutdown, nil
}
