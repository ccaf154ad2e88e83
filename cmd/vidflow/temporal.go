package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	tlog "go.temporal.io/sdk/log"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/telemetry"
	"github.com/codeendelea/vidflow/internal/tracing"
)

// dialTemporal makes a client that connects when it is first used, so that processes and server start in any order.
func dialTemporal(cfg config.Temporal, in telemetry.Instruments, log *slog.Logger) (client.Client, error) {
	options := cfg.Options()
	options.Logger = tlog.NewStructuredLogger(log)
	// What is sent is small, references in place of payloads. To compress it, as the SDK does unless told not to, is a third of
	// what a signal costs the bridge, and 12 % of the worker's time for a video (decision 28).
	options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	if in.Meters != nil {
		options.MetricsHandler = opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
			Meter: in.Meters.Meter("temporal-sdk-go"), UseMonotonicCounters: true,
			InitialAttributes: attribute.NewSet(attribute.String(telemetry.ProcessLabel, in.Process)),
			OnError:           func(err error) { log.Warn("a metric of Temporal's SDK is left out", "error", err) },
		})
	}
	if in.Traces != nil {
		options.Interceptors = append(options.Interceptors, tracing.Interceptors(in.Traces)...)
	}
	temporal, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fmt.Errorf("make a client of Temporal at %s: %w", cfg.Address, err)
	}
	return temporal, nil
}

// temporalCheck asks the server for the namespace: it must be there, and its login be accepted.
func temporalCheck(temporal client.Client, cfg config.Temporal, required bool) process.Check {
	return process.Check{Name: "Temporal", Required: required, Probe: func(ctx context.Context) error {
		_, err := temporal.WorkflowService().DescribeNamespace(ctx,
			&workflowservice.DescribeNamespaceRequest{Namespace: cfg.Namespace})
		return explainTemporal(err, cfg)
	}}
}

// explainTemporal tells what waiting will not mend from a server that is away.
func explainTemporal(err error, cfg config.Temporal) error {
	var missing *serviceerror.NamespaceNotFound
	var notFound *serviceerror.NotFound
	var denied *serviceerror.PermissionDenied
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing), errors.As(err, &notFound):
		return process.Never(fmt.Errorf("namespace %q does not exist at %s; create it with `temporal operator namespace "+
			"create --namespace %s --address %s`, or set TEMPORAL_NAMESPACE: %w",
			cfg.Namespace, cfg.Address, cfg.Namespace, cfg.Address, err))
	case errors.As(err, &denied), status.Code(err) == codes.Unauthenticated:
		return process.Never(fmt.Errorf("the login to namespace %q at %s is refused; check TEMPORAL_API_KEY, "+
			"TEMPORAL_TLS_CLIENT_* and TEMPORAL_NAMESPACE: %w", cfg.Namespace, cfg.Address, err))
	default:
		return fmt.Errorf("ask Temporal at %s: %w", cfg.Address, err)
	}
}
