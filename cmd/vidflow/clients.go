package main

import (
	"context"
	"fmt"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/internal/telemetry"
)

// These hand the configuration on to the packages that open connections. None of them connects yet.

func openPostgres(ctx context.Context, cfg config.Database, in telemetry.Instruments) (*postgres.Store, error) {
	return postgres.Open(ctx, cfg.URL.Reveal(), postgres.WithApplicationName("vidflow "+in.Process),
		postgres.WithMetrics(in.Meters, in.Process))
}

func openStorage(cfg config.Supabase) (*supabase.Client, error) {
	storage, err := supabase.New(supabase.Config{URL: cfg.URL, ServiceKey: cfg.ServiceKey.Reveal(), Timeout: cfg.Timeout})
	if err != nil {
		return nil, fmt.Errorf("make a client of Supabase Storage: %w", err)
	}
	return storage, nil
}

// observedKafka is kafkaConfig for the clients of a process.
func observedKafka(cfg config.Kafka, in telemetry.Instruments) kafka.Config {
	observed := kafkaConfig(cfg)
	observed.Metrics = in.Metrics
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
