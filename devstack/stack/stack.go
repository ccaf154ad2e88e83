// Package stack starts the backing services of vidflow in one process, each on its own and all at once, and says to
// the processes of vidflow where they are. It knows nothing of those processes.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/pgbouncer"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/storage"
)

// Names of the servers, for Start and Stop.
const (
	Temporal = "temporal"
	Kafka    = "kafka"
	Postgres = "postgres"
	Storage  = "storage"
	Pooler   = "pgbouncer"
)

// What Temporal can keep its state on: a file of its own, or the stack's Postgres, in databases of its own.
const (
	OnSQLite   = "sqlite"
	OnPostgres = "postgres"
)

// Partitions of each topic: several, so that order across partitions is never taken for granted.
const Partitions = 4

// Config says where the stack listens and what it keeps.
type Config struct {
	// Dir keeps all state; made where it does not exist.
	Dir   string
	Ports ports.Block
	// ApacheKafka has the real Apache Kafka in the place of the embedded broker.
	ApacheKafka bool
	// Old has the stack as the platform is before vidflow, on Apache Kafka: the topics and the login of the API server alone.
	// Its database is made by PrepareOldDatabase.
	Old bool
	// Pooler puts PgBouncer before Postgres, in transaction mode, for all but the superuser.
	Pooler bool
	// TemporalStore is OnSQLite, also when empty, or OnPostgres. The runs on one are not seen on the other.
	TemporalStore string
	// Disposable state need not survive a crash of the machine.
	Disposable bool
	// AdvertisedKafka is the address that the broker tells its clients; its own when empty. SyncKafka has it acknowledge
	// only what is on disk.
	AdvertisedKafka string
	SyncKafka       bool
	// Log takes the lines of the servers that do not write to files of their own.
	Log io.Writer
	// Note tells the user what takes long; may be nil.
	Note func(string)
}

// Server is one backing service. Start returns once it serves; both do nothing when there is nothing to do.
type Server interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

type named struct {
	name string
	Server
}

// Stack is the backing services together.
type Stack struct {
	cfg        Config
	servers    []named
	postgres   *postgres.Server
	kafka      broker
	pooler     *pgbouncer.Server // nil when there is none
	storageKey string
}

// New returns a stack that is not started.
func New(cfg Config) (*Stack, error) {
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "log"), 0o755); err != nil {
		return nil, err
	}
	log := func(name string) string { return filepath.Join(cfg.Dir, "log", name+".log") }
	pg := postgres.New(postgres.Config{
		Dir:        filepath.Join(cfg.Dir, "postgres"),
		Port:       cfg.Ports.Port(ports.Postgres),
		LogFile:    log(Postgres),
		Disposable: cfg.Disposable,
		Note:       cfg.Note,
	})
	key, err := storage.ServiceRoleKey(storageSecret, time.Now())
	if err != nil {
		return nil, fmt.Errorf("make the key of the storage: %w", err)
	}
	broker, err := newBroker(cfg, log(Kafka))
	if err != nil {
		return nil, err
	}
	s := &Stack{
		cfg:        cfg,
		postgres:   pg,
		kafka:      broker,
		storageKey: key,
		servers: []named{
			{Postgres, pg},
			{Kafka, broker},
			{Storage, &storageServer{
				cfg: storage.Config{
					Dir:           filepath.Join(cfg.Dir, "storage"),
					JWTSecret:     storageSecret,
					SecretKeys:    []string{StorageSecretKey},
					PublicBuckets: []string{bucket},
				},
				addr:    cfg.Ports.Addr(ports.Storage),
				control: cfg.Ports.Addr(ports.StorageControl),
			}},
			{Temporal, newTemporal(cfg, log(Temporal))},
		},
	}
	if cfg.Pooler {
		if err := s.addPooler(log(Pooler)); err != nil {
			return nil, err
		}
	}
	return s, os.WriteFile(s.temporalConfig(), nil, 0o644)
}

// Start starts all servers at once and returns when all serve, or with what went wrong, all stopped again.
func (s *Stack) Start(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for _, server := range s.servers {
		group.Go(func() error { return server.Start(groupCtx) })
	}
	if err := group.Wait(); err != nil {
		return errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return nil
}

// Stop stops all servers at once, but Postgres after Temporal when that is kept there.
func (s *Stack) Stop(ctx context.Context) error {
	var first error
	if s.cfg.TemporalStore == OnPostgres {
		first = s.StopServer(ctx, Temporal)
	}
	var group errgroup.Group
	for _, server := range s.servers {
		group.Go(func() error { return server.Stop(ctx) })
	}
	return errors.Join(first, group.Wait())
}

// StartServer starts one server that was stopped.
func (s *Stack) StartServer(ctx context.Context, name string) error {
	server, err := s.server(name)
	if err != nil {
		return err
	}
	return server.Start(ctx)
}

// StopServer stops one server: its port is closed until it is started again, its state is kept.
func (s *Stack) StopServer(ctx context.Context, name string) error {
	server, err := s.server(name)
	if err != nil {
		return err
	}
	return server.Stop(ctx)
}

// KillServer ends one server as a power cut would, where it is a process of its own; its state is kept.
func (s *Stack) KillServer(_ context.Context, name string) error {
	server, err := s.server(name)
	if err != nil {
		return err
	}
	victim, ok := server.(interface{ Kill() error })
	if !ok {
		return fmt.Errorf("%s is no process of its own and cannot be killed", name)
	}
	return victim.Kill()
}

func (s *Stack) server(name string) (Server, error) {
	i := slices.IndexFunc(s.servers, func(n named) bool { return n.name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no server %q", name)
	}
	return s.servers[i].Server, nil
}

// Remove deletes the state of a stopped stack.
func Remove(dir string) error {
	return errors.Join(postgres.Remove(filepath.Join(dir, "postgres")), os.RemoveAll(dir))
}
