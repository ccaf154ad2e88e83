package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/telemetry"
	"github.com/codeendelea/vidflow/kafkabridge"
)

// openBridge opens what the bridge needs, and builds it. It needs Temporal and Kafka, and nothing else.
func openBridge(
	_ context.Context, cfg *config.Config, in telemetry.Instruments, log *slog.Logger,
) (process.Part, closers, error) {
	var opened closers
	temporal, err := dialTemporal(cfg.Temporal, in, log)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(temporal.Close)
	settings := bridgeConfig(cfg)
	settings.Metrics, settings.Kafka = in.Metrics, observedKafka(cfg.Kafka, in)
	bridge, err := kafkabridge.New(settings, temporal, log)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(bridge.Close)

	return process.Part{
		Name:   string(config.KafkaBridge),
		Checks: append(bridge.Checks(), temporalCheck(temporal, cfg.Temporal, true)),
		Run:    bridge.Run,
	}, opened, nil
}

func bridgeConfig(cfg *config.Config) kafkabridge.Config {
	return kafkabridge.Config{
		Kafka:         kafkaConfig(cfg.Kafka),
		Transcription: kafkabridge.Source{Topic: cfg.Kafka.ConsumeTopic, Group: cfg.Kafka.TranscriptionGroup},
		Compression:   kafkabridge.Source{Topic: cfg.Kafka.CompressionTopic, Group: cfg.Kafka.CompressionGroup},
		StartLatest:   cfg.Kafka.StartOffset == "latest",
		DrainTimeout:  drainTimeout(cfg.Process.ShutdownTimeout),
		Version:       buildInfo().Version,
	}
}

// drainTimeout leaves of the whole limit what the bridge takes after draining: to commit, and to leave its groups.
func drainTimeout(limit time.Duration) time.Duration {
	return max(limit-6*time.Second, limit/2)
}
