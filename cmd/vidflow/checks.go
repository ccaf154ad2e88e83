package main

import (
	"context"
	"errors"

	"github.com/codeendelea/vidflow/internal/deadletter"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/supabase"
)

// postgresCheck examines the schema and the login once, then only whether the database answers. Nothing goes without it.
func postgresCheck(store *postgres.Store) process.Check {
	probe := process.FirstThen(store.Check, store.Ping)
	return process.Check{Name: "Postgres", Required: true, Probe: func(ctx context.Context) error {
		return explainPostgres(probe(ctx))
	}}
}

func storageCheck(storage *supabase.Client, required bool) process.Check {
	return process.Check{Name: "Storage", Required: required, Probe: func(ctx context.Context) error {
		return explainStorage(storage.Check(ctx))
	}}
}

// kafkaClient is a client that can look for topics and for a broker.
type kafkaClient interface {
	CheckTopics(ctx context.Context, topics ...string) error
	Ready(ctx context.Context) error
}

// kafkaCheck looks once for the topic that the client uses, then only whether a broker answers it.
func kafkaCheck(name string, client kafkaClient, topic string, required bool) process.Check {
	probe := process.FirstThen(func(ctx context.Context) error { return client.CheckTopics(ctx, topic) }, client.Ready)
	return process.Check{Name: name, Required: required, Probe: func(ctx context.Context) error {
		return explainKafka(probe(ctx))
	}}
}

// deadLettersCheck looks once for the topics and the group. The API goes without: it says then too little of a video.
func deadLettersCheck(watcher *deadletter.Watcher) process.Check {
	probe := process.FirstThen(watcher.CheckTopics, watcher.Ready)
	return process.Check{Name: "Kafka dead-letter watcher", Probe: func(ctx context.Context) error { return explainKafka(probe(ctx)) }}
}

// Each client classifies its own errors. These say to package process which of them waiting will not mend.

func explainPostgres(err error) error {
	if _, ok := errors.AsType[*postgres.SetupError](err); ok {
		return process.Never(err)
	}
	return err
}

func explainKafka(err error) error {
	if kafka.IsSetup(err) {
		return process.Never(err)
	}
	return err
}

func explainStorage(err error) error {
	if e, ok := errors.AsType[*supabase.Error](err); ok && e.Configuration() {
		return process.Never(err)
	}
	return err
}
