package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/process"
)

func open(_ context.Context, command config.Command, _ *config.Config, _ *slog.Logger) (process.Part, func(), error) {
	return process.Part{}, nil, fmt.Errorf("%s is not wired yet", command)
}
