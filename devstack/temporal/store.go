package temporal

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/tools/common/schema"
	toolsql "go.temporal.io/server/tools/sql"
)

// Postgres is a server that Temporal may keep its state on, and a login there that may make databases.
type Postgres struct {
	Addr, User, Password string
}

// storeTimeout is how long Postgres, which may be started beside Temporal, may take until it takes a login.
const storeTimeout = 60 * time.Second

func (p Postgres) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	address := url.URL{Scheme: "postgres", User: url.UserPassword(p.User, p.Password), Host: p.Addr, Path: "/postgres", RawQuery: "sslmode=disable"}
	for {
		conn, err := pgx.Connect(ctx, address.String())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for Postgres: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Names of the databases on Postgres, as everywhere.
const (
	executionsDatabase = "temporal"
	visibilityDatabase = "temporal_visibility"
)

// historyShards is how many writers to Postgres there are, by what a run's id is hashed to; as many as Temporal's own
// images have. It cannot be changed later. SQLite has one writer in any case.
const historyShards = 4

// store makes what is missing of the databases and of the namespace, and says to the server where they are.
func (s *Server) store() (config.Persistence, error) {
	if s.cfg.Postgres != nil {
		return s.postgresStore()
	}
	return s.sqliteStore()
}

func (s *Server) sqliteStore() (config.Persistence, error) {
	conf := &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: s.cfg.File,
		ConnectAttributes: map[string]string{
			"mode":         "rwc",
			"journal_mode": "wal",
			"synchronous":  "normal",
			"busy_timeout": "10000",
		},
	}
	if _, err := os.Stat(s.cfg.File); err != nil {
		if !os.IsNotExist(err) {
			return config.Persistence{}, err
		}
		if err := sqlite.SetupSchema(conf); err != nil {
			return config.Persistence{}, fmt.Errorf("make the database %s: %w", s.cfg.File, err)
		}
	}
	return config.Persistence{
		DefaultStore:     "sqlite",
		VisibilityStore:  "sqlite",
		NumHistoryShards: 1,
		DataStores:       map[string]config.DataStore{"sqlite": {SQL: conf}},
	}, s.createNamespace(conf)
}

func (s *Server) postgresStore() (config.Persistence, error) {
	executions := s.postgresDatabase(executionsDatabase, 20)
	visibility := s.postgresDatabase(visibilityDatabase, 10)
	for _, database := range []struct {
		*config.SQL
		schema string
	}{
		{executions, "postgresql/v12/temporal"},
		{visibility, "postgresql/v12/visibility"},
	} {
		if err := prepare(*database.SQL, database.schema); err != nil {
			return config.Persistence{}, fmt.Errorf("make the database %s: %w", database.DatabaseName, err)
		}
	}
	return config.Persistence{
		DefaultStore:     "default",
		VisibilityStore:  "visibility",
		NumHistoryShards: historyShards,
		DataStores: map[string]config.DataStore{
			"default":    {SQL: executions},
			"visibility": {SQL: visibility},
		},
	}, s.createNamespace(executions)
}

// postgresDatabase has pools, one for each of the four services, of the size that Temporal's own images have.
func (s *Server) postgresDatabase(name string, conns int) *config.SQL {
	return &config.SQL{
		PluginName:      postgresql.PluginNamePGX,
		DatabaseName:    name,
		ConnectProtocol: "tcp",
		ConnectAddr:     s.cfg.Postgres.Addr,
		User:            s.cfg.Postgres.User,
		Password:        s.cfg.Postgres.Password,
		MaxConns:        conns,
		MaxIdleConns:    conns,
		MaxConnLifetime: time.Hour,
	}
}

// prepare makes the database where it does not exist and brings its schema to this version of the server; an
// interrupted one is gone on with.
func prepare(conf config.SQL, name string) error {
	logger := log.NewNoopLogger()
	maintenance := conf
	if err := toolsql.DoCreateDatabase(&maintenance, "postgres", logger); err != nil {
		return err
	}
	conn, err := toolsql.NewConnection(&conf, logger)
	if err != nil {
		return err
	}
	defer conn.Close()
	err = schema.NewSetupSchemaTask(conn, &schema.SetupConfig{InitialVersion: "0.0"}, logger).Run()
	if err != nil {
		return err
	}
	return schema.NewUpdateSchemaTask(conn, &schema.UpdateConfig{SchemaName: name}, logger).Run()
}

// createNamespace makes the namespace where it does not exist, with its search attributes. The function is SQLite's by
// name alone.
func (s *Server) createNamespace(conf *config.SQL) error {
	namespace, err := sqlite.NewNamespaceConfig(clusterName, s.cfg.Namespace, false, s.cfg.SearchAttributes)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", s.cfg.Namespace, err)
	}
	if err := sqlite.CreateNamespaces(conf, namespace); err != nil {
		return fmt.Errorf("namespace %s: %w", s.cfg.Namespace, err)
	}
	return nil
}
