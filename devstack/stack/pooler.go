package stack

import (
	"path/filepath"

	"github.com/codeendelea/vidflow/devstack/pgbouncer"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
)

func (s *Stack) addPooler(logFile string) error {
	port, err := ports.Unused(1)
	if err != nil {
		return err
	}
	s.pooler = pgbouncer.New(pgbouncer.Config{
		Dir:       filepath.Join(s.cfg.Dir, "pgbouncer"),
		Port:      port,
		Postgres:  s.cfg.Ports.Port(ports.Postgres),
		Superuser: postgres.Superuser,
		Password:  postgres.Password,
		LogFile:   logFile,
	})
	s.servers = append(s.servers, named{Pooler, s.pooler})
	return nil
}

// databasePort is that of the pooler, where there is one.
func (s *Stack) databasePort() int {
	if s.pooler != nil {
		return s.pooler.Port()
	}
	return s.cfg.Ports.Port(ports.Postgres)
}
