package main

import (
	"context"
	"log/slog"
	"net"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/deadletter"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/telemetry"
	"github.com/codeendelea/vidflow/starter"
)

// openStarter opens what the API and its relay need, and builds them. Only the database is required: the API has to
// survive an outage of everything else.
func openStarter(
	ctx context.Context, cfg *config.Config, in telemetry.Instruments, log *slog.Logger,
) (process.Part, closers, error) {
	var opened closers
	store, err := openPostgres(ctx, cfg.Database, in)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(store.Close)
	temporal, err := dialTemporal(cfg.Temporal, in, log)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(temporal.Close)
	producer, err := kafka.NewProducer(observedKafka(cfg.Kafka, in), log, "starter/producer")
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(producer.Close)
	storage, err := openStorage(cfg.Supabase, in)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(storage.Close)

	letters, err := deadletter.NewWatcher(deadletter.WatcherConfig{
		Kafka: observedKafka(cfg.Kafka, in),
		Group: cfg.Kafka.DeadLetterGroup,
		Tracks: map[string]contract.Track{
			cfg.Kafka.ConsumeTopic:     contract.TranscriptionTrack,
			cfg.Kafka.CompressionTopic: contract.CompressionTrack,
		},
	}, store, log)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(letters.Close)

	deps := starter.Deps{Store: store, Temporal: temporal, Publisher: producer, Objects: storage, Transcripts: storage}
	if url := cfg.Database.ListenURL.Reveal(); url != "" {
		if deps.Notifications, err = store.Notifications(url); err != nil {
			return process.Part{}, opened, err
		}
	}
	settings := starterConfig(cfg, in)
	settings.Metrics = in.Metrics
	api, err := starter.New(deps, settings, log)
	if err != nil {
		return process.Part{}, opened, err
	}
	return process.Part{
		Name:   string(config.Starter),
		Serves: true,
		Checks: []process.Check{
			postgresCheck(store),
			temporalCheck(temporal, cfg.Temporal, false),
			kafkaCheck("Kafka producer", producer, cfg.Kafka.ConsumeTopic, false),
			storageCheck(storage, false),
			deadLettersCheck(letters),
		},
		Run: func(ctx context.Context) error {
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return api.Run(ctx) })
			group.Go(func() error { return letters.Run(ctx) })
			return group.Wait()
		},
	}, opened, nil
}

func starterConfig(cfg *config.Config, in telemetry.Instruments) starter.Config {
	return starter.Config{
		Addr:               net.JoinHostPort(cfg.API.Host, strconv.Itoa(cfg.API.Port)),
		ResultTopic:        cfg.Kafka.ConsumeTopic,
		JWTSecret:          cfg.API.JWTSecret.Reveal(),
		JWKSURL:            cfg.API.JWKSURL,
		AllowedOrigins:     cfg.API.AllowedOrigins,
		TrustedProxies:     cfg.API.TrustedProxies,
		RateLimit:          cfg.API.RateLimit,
		MaxBodyBytes:       int64(cfg.API.MaxBodyBytes),
		MaxTranscriptBytes: int64(cfg.API.MaxTranscriptBytes),
		HideTitles:         !cfg.Temporal.Titles,
		ShutdownTimeout:    cfg.Process.ShutdownTimeout,
		Traces:             in.Traces,
	}
}
