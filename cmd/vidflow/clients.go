package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/internal/telemetry"
)

// traceOptions are for spans of this operating-system process, whatever runs in it.
func traceOptions(processes []config.Command, cfg *config.Config, log *slog.Logger) telemetry.TraceOptions {
	t := cfg.Traces
	o := telemetry.TraceOptions{
		Protocol: cmp.Or(t.TracesProtocol, t.Protocol), Endpoint: t.TracesEndpoint,
		CAFile: t.CAFile, CertificateFile: t.CertificateFile, KeyFile: t.KeyFile,
		Service: t.ServiceName, Version: buildInfo().Version, Attributes: t.Attributes,
		Sampler: t.Sampler, Ratio: t.SamplerArg,
		Redact: cfg.Redactor().Redact, Log: log,
		Headers: map[string]string{},
	}
	if o.Endpoint == "" {
		http := o.Protocol == telemetry.OTLPOverHTTP
		base := "http://localhost:4317"
		if http {
			base = "http://localhost:4318"
		}
		o.Endpoint = cmp.Or(t.Endpoint, base)
		if http {
			o.Endpoint += "/v1/traces" // the general one is a base, says the standard
		}
	}
	for _, headers := range []map[string]config.Secret{t.Headers, t.TracesHeaders} {
		for name, value := range headers {
			o.Headers[name] = value.Reveal()
		}
	}
	if o.Service == "" {
		o.Service = "vidflow"
		if len(processes) == 1 {
			o.Service += "-" + string(processes[0])
		}
	}
	return o
}

// These hand the configuration on to the packages that open connections. None of them connects yet.

func openPostgres(ctx context.Context, cfg config.Database, in telemetry.Instruments) (*postgres.Store, error) {
	return postgres.Open(ctx, cfg.URL.Reveal(), postgres.WithApplicationName("vidflow "+in.Process),
		postgres.WithMetrics(in.Meters, in.Process), postgres.WithTraces(in.Traces))
}

func openStorage(cfg config.Supabase, in telemetry.Instruments) (*supabase.Client, error) {
	storage, err := supabase.New(supabase.Config{
		URL: cfg.URL, ServiceKey: cfg.ServiceKey.Reveal(), Timeout: cfg.Timeout, Traces: in.Traces,
	})
	if err != nil {
		return nil, fmt.Errorf("make a client of Supabase Storage: %w", err)
	}
	return storage, nil
}

// observedKafka is kafkaConfig for the clients of a process.
func observedKafka(cfg config.Kafka, in telemetry.Instruments) kafka.Config {
	observed := kafkaConfig(cfg)
	observed.Metrics, observed.Traces = in.Metrics, in.Traces
	return observed
}

func kafkaConfig(cfg config.Kafka) kafka.Config {
	retries := cfg.Retries
	if retries == 0 {
		retries = -1 // never; there, 0 is the default
	}
	return kafka.Config{
		Brokers:              cfg.Brokers,
		ClientID:             cfg.ClientID,
		TLS:                  cfg.SSL,
		CAFile:               cfg.SSLCAFile,
		AcceptAnyCertificate: !cfg.RejectUnauthorized,
		Username:             cfg.Username,
		Password:             cfg.Password.Reveal(),
		Mechanism:            cfg.SASLMechanism,
		ConnectionTimeout:    cfg.ConnectionTimeout,
		RequestTimeout:       cfg.RequestTimeout,
		Retries:              retries,
		InitialRetryTime:     cfg.InitialRetryTime,
	}
}
