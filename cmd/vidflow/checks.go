package main

import (
	"errors"

	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/supabase"
)

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
