package stack

import (
	"path/filepath"

	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/temporal"
)

func newTemporal(cfg Config, logFile string) *temporal.Server {
	config := temporal.Config{
		File:             filepath.Join(cfg.Dir, "temporal.sqlite"),
		Namespace:        Namespace,
		SearchAttributes: searchAttributes(),
		GRPCPort:         cfg.Ports.Port(ports.TemporalGRPC),
		HTTPPort:         cfg.Ports.Port(ports.TemporalHTTP),
		UIPort:           cfg.Ports.Port(ports.TemporalUI),
		HistoryPort:      cfg.Ports.Port(ports.TemporalHistory),
		MatchingPort:     cfg.Ports.Port(ports.TemporalMatching),
		InternalWorker:   cfg.Ports.Port(ports.TemporalWorker),
		LogFile:          logFile,
	}
	if cfg.TemporalStore == OnPostgres {
		config.Postgres = &temporal.Postgres{
			Addr: cfg.Ports.Addr(ports.Postgres), User: postgres.Superuser, Password: postgres.Password,
		}
	}
	return temporal.New(config)
}
