package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	tlog "go.temporal.io/sdk/log"
	sdk "go.temporal.io/sdk/worker"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/telemetry"
	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/internal/versions"
	"github.com/codeendelea/vidflow/workflows"
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
	if in.Process == "" {
		options.Identity = "vidflow" // the SDK would tell the name of the machine at which a person sits
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
		err = explainTemporal(err, cfg)
		if err != nil && !process.CanNeverWork(err) {
			if refused := explainConnection(ctx, cfg); refused != nil {
				return process.Never(refused)
			}
		}
		return err
	}}
}

// silentAfter is how long ago a worker that is there has polled, at most: one with nothing to do does so once a minute.
const silentAfter = 90 * time.Second

// versionsCheck asks whether the versions of the worker that get new videos run, and counts the worker itself as one that does:
// a version is made current when its workers poll already, so the worker cannot wait for it.
func versionsCheck(temporal client.Client, cfg config.Temporal, own sdk.WorkerDeploymentVersion) process.Check {
	return process.Check{Name: "Worker version", Alarm: true, Probe: func(ctx context.Context) error {
		queue, err := temporal.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
			Namespace: cfg.Namespace, TaskQueue: &taskqueue.TaskQueue{Name: workflows.TaskQueue}, TaskQueueType: enums.TASK_QUEUE_TYPE_WORKFLOW,
		})
		if _, ok := errors.AsType[*serviceerror.PermissionDenied](err); ok {
			return nil // it does not say
		}
		if err != nil {
			return fmt.Errorf("ask Temporal at %s which version of the worker gets new videos: %w", cfg.Address, err)
		}
		workers := []versions.Version{{Deployment: own.DeploymentName, Build: own.BuildID}}
		for _, p := range queue.GetPollers() {
			if time.Since(p.GetLastAccessTime().AsTime()) < silentAfter {
				workers = append(workers, versions.Of(p))
			}
		}
		return versions.Served(versions.Shares(queue), workers)
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
			"create --namespace %s --address %s`, or set TEMPORAL_NAMESPACE, which is NAMESPACE.ACCOUNT on Temporal Cloud: %w",
			cfg.Namespace, cfg.Address, cfg.Namespace, cfg.Address, err))
	case errors.As(err, &denied), status.Code(err) == codes.Unauthenticated:
		return process.Never(fmt.Errorf("the login to namespace %q at %s is refused; check TEMPORAL_API_KEY, "+
			"TEMPORAL_TLS_CLIENT_* and TEMPORAL_NAMESPACE: %w", cfg.Namespace, cfg.Address, err))
	default:
		return fmt.Errorf("ask Temporal at %s: %w", cfg.Address, err)
	}
}

// lookTimeout is how long a look at the connection may take.
const lookTimeout = 2 * time.Second

// explainConnection finds out why a server does not answer that is there: TLS or none, a certificate that one side refuses.
// What gRPC says of it is words alone, so it makes a connection of its own, over which nothing is sent. It returns nil when
// that tells nothing.
func explainConnection(ctx context.Context, cfg config.Temporal) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout) // the request may have taken all the time there was
	defer cancel()
	options := cfg.Options().ConnectionOptions
	plain := options.TLS == nil
	settings := &tls.Config{InsecureSkipVerify: true} // to learn whether it speaks TLS at all
	if !plain {
		settings = options.TLS.Clone()
	}
	settings.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: settings}).DialContext(ctx, "tcp", cfg.Address)
	if err == nil {
		// A server of TLS 1.3 looks at the client's certificate after the client's side of the handshake is over.
		end, _ := ctx.Deadline()
		_ = conn.SetReadDeadline(end)
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	var (
		notTLS   tls.RecordHeaderError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		verify   *tls.CertificateVerificationError
		op       *net.OpError
	)
	refused := errors.As(err, &op) && op.Op == "remote error"
	switch {
	case plain && (conn != nil || refused):
		return fmt.Errorf("the server at %s speaks TLS; set TEMPORAL_API_KEY, or TEMPORAL_TLS_CLIENT_CERT_PATH and "+
			"TEMPORAL_TLS_CLIENT_KEY_PATH, or TEMPORAL_TLS=true", cfg.Address)
	case plain:
		return nil
	case errors.As(err, &notTLS):
		return fmt.Errorf("the server at %s speaks no TLS; correct TEMPORAL_ADDRESS, or set TEMPORAL_TLS=false: %w", cfg.Address, err)
	case errors.As(err, &hostname):
		return fmt.Errorf("the certificate of the server at %s is for another name; correct TEMPORAL_ADDRESS, or set "+
			"TEMPORAL_TLS_SERVER_NAME: %w", cfg.Address, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("the certificate of the server at %s is not trusted; set TEMPORAL_TLS_SERVER_CA_CERT_PATH to the authority "+
			"that signed it: %w", cfg.Address, err)
	case errors.As(err, &verify):
		return fmt.Errorf("the certificate of the server at %s is not valid: %w", cfg.Address, err)
	case refused:
		return fmt.Errorf("the server at %s refuses the connection: %s: %w", cfg.Address, clientCertificate(settings), err)
	}
	return nil
}

// clientCertificate says what is to be done about a client's certificate that was refused.
func clientCertificate(settings *tls.Config) string {
	const set = "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH"
	var pair *tls.Certificate
	switch {
	case settings.GetClientCertificate != nil:
		pair, _ = settings.GetClientCertificate(nil)
	case len(settings.Certificates) > 0:
		pair = &settings.Certificates[0]
	}
	if pair == nil || pair.Leaf == nil {
		return "it wants a client's certificate; set " + set + ", or ask for an address that takes an API key"
	}
	if until := pair.Leaf.NotAfter; time.Now().After(until) {
		return "the client's certificate expired on " + until.UTC().Format(time.RFC1123) + "; put a new one where " + set + " say"
	}
	return "see that the namespace accepts the authority that signed the client's certificate, in " + set
}
