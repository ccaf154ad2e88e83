package telemetry

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// Instruments are what a process is observed by. They are made once and handed down to whatever it opens.
type Instruments struct {
	// Metrics is where vidflow's own metrics and those of libraries that speak Prometheus are registered.
	Metrics prometheus.Registerer
	// Meters is for libraries that speak OpenTelemetry; what they count shows among Metrics.
	Meters metric.MeterProvider
	// Traces makes spans. When no exporter is configured it makes none, and costs nothing.
	Traces trace.TracerProvider
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
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	return Instruments{Metrics: metrics, Meters: meters, Traces: tracenoop.NewTracerProvider()}, meters.Shutdown, nil
}
