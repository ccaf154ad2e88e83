package main

import (
	"cmp"
	"context"
	"log/slog"

	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/worker"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/telemetry"
	"github.com/codeendelea/vidflow/worker"
	"github.com/codeendelea/vidflow/workflows"
)

// openWorker opens what the worker needs, and builds it. It cannot do its work without any of it.
func openWorker(
	ctx context.Context, cfg *config.Config, in telemetry.Instruments, log *slog.Logger,
) (process.Part, closers, error) {
	var opened closers
	temporal, err := dialTemporal(cfg.Temporal, in, log)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(temporal.Close)
	store, err := openPostgres(ctx, cfg.Database, in)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(store.Close)
	storage, err := openStorage(cfg.Supabase, in)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(storage.Close)
	producer, err := kafka.NewProducer(observedKafka(cfg.Kafka, in), log, "worker/producer")
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(producer.Close)
	reader, err := kafka.NewReader(observedKafka(cfg.Kafka, in), log, "worker/reader", 0)
	if err != nil {
		return process.Part{}, opened, err
	}
	opened.add(reader.Close)

	metrics, err := worker.NewMetrics(in.Metrics)
	if err != nil {
		return process.Part{}, opened, err
	}
	deps := activities.Deps{Store: store, Records: reader, Transcripts: storage, Requests: producer}
	return process.Part{
		Name: string(config.Worker),
		Checks: []process.Check{
			temporalCheck(temporal, cfg.Temporal, true),
			versionsCheck(temporal, cfg.Temporal, workerVersion(cfg.Temporal)),
			postgresCheck(store),
			storageCheck(storage, true),
			kafkaCheck("Kafka producer", producer, cfg.Kafka.ProduceTopic, true),
			kafkaCheck("Kafka reader", reader, cfg.Kafka.ConsumeTopic, true),
		},
		Run: func(ctx context.Context) error {
			settings := activitiesConfig(cfg, knowsSearchAttributes(ctx, temporal, cfg.Temporal, log))
			settings.Observer = metrics
			steps := activities.New(deps, settings, log)
			return worker.New(temporal, steps, worker.Config{
				Build: buildInfo().ID(), Version: workerVersion(cfg.Temporal),
				StopTimeout: cfg.Process.ShutdownTimeout, Metrics: metrics,
			}, log).Run(ctx)
		},
	}, opened, nil
}

// workerVersion is the version that the environment makes the worker, its build id the binary's own where none is said.
func workerVersion(cfg config.Temporal) sdk.WorkerDeploymentVersion {
	if cfg.DeploymentName == "" {
		return sdk.WorkerDeploymentVersion{}
	}
	return sdk.WorkerDeploymentVersion{DeploymentName: cfg.DeploymentName, BuildID: cmp.Or(cfg.BuildID, buildInfo().ID())}
}

func activitiesConfig(cfg *config.Config, searchAttributes bool) activities.Config {
	return activities.Config{
		RequestTopic:  cfg.Kafka.ProduceTopic,
		MaxAsks:       cfg.Pipeline.MaxAsks,
		UploadTimeout: cfg.Supabase.Timeout,
		HideTitles:    !cfg.Temporal.Titles,
		Settings: workflows.Settings{
			AskAgainAfter:    cfg.Pipeline.AskAgainAfter,
			OverdueAfter:     cfg.Pipeline.CompressionOverdueAfter,
			GiveUpAfter:      cfg.Pipeline.CompressionGiveUpAfter,
			UnknownGrace:     cfg.Pipeline.UnknownGrace,
			SearchAttributes: searchAttributes,
			TitleAndTrouble:  searchAttributes,
		},
	}
}

// knowsSearchAttributes asks once, at the start: runs of a server that lacks the attributes do without them.
func knowsSearchAttributes(ctx context.Context, temporal client.Client, cfg config.Temporal, log *slog.Logger) bool {
	known, err := worker.KnowsSearchAttributes(ctx, temporal, cfg.Namespace)
	if !known && ctx.Err() == nil {
		log.Warn("Temporal search attributes are missing, runs do without; make them with `vidflow migrate` and start again",
			"namespace", cfg.Namespace, "error", err)
	}
	return known
}
