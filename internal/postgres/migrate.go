package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

const (
	versionTable = "pipeline.migrations"
	lockTable    = "pipeline.migrations_lock"
	// schemaLock is the key of the advisory lock under which the schema is made; held for one transaction.
	schemaLock = 7_640_163_392_461_705
)

// lockPause is how long a migration that got no lock within its lock_timeout leaves the table to others.
const lockPause = 5 * time.Second

// Migrate brings the database up to this program's version, as the login of url, which must be allowed to create a
// schema. It only ever goes forward, does nothing when nothing is left to do or a newer program has migrated already, may be
// run while an older version of the program works, and by several at once: a lease in a table decides whose turn it is, which
// a transaction pooler does not mind and which runs out half a minute after its holder has died.
//
// Whoever waits for a lock on a table has everybody wait who comes after. So each migration gives up soon, and is tried again,
// without an end, until ctx is cancelled.
func Migrate(ctx context.Context, url string, log *slog.Logger) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return urlError(err)
	}
	prepare(cfg, "vidflow migrate")
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	db.SetMaxOpenConns(4) // the lease is kept alive beside the migration

	if err := createSchema(ctx, db); err != nil {
		return wrap(mayNot(err), "create the schema pipeline")
	}
	provider, err := newProvider(db, log)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	for {
		results, err := provider.Up(ctx)
		partial, isPartial := errors.AsType[*goose.PartialError](err)
		if isPartial {
			results = partial.Applied
		}
		for _, r := range results {
			log.InfoContext(ctx, "Database migrated", "version", r.Source.Version, "file", r.Source.Path, "duration", r.Duration)
		}
		if err == nil {
			return reached(ctx, provider, log)
		}
		if !isPartial || !hasCode(err, codeLockNotAvailable) {
			return wrap(mayNot(err), "migrate the database")
		}
		log.WarnContext(ctx, "A migration waits for a lock and lets others go first; it is tried again. "+
			"A long transaction holds it: see pg_stat_activity", "version", partial.Failed.Source.Version, "pause", lockPause)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}

// reached says at which version the schema is: this program's, or that of a newer one.
func reached(ctx context.Context, provider *goose.Provider, log *slog.Logger) error {
	version, err := provider.GetDBVersion(ctx)
	switch {
	case err != nil:
		return wrap(err, "read the version of the schema")
	case version > latestVersion:
		log.InfoContext(ctx, "Database schema is newer than this program and left as it is", "version", version, "own", latestVersion)
	default:
		log.InfoContext(ctx, "Database schema is up to date", "version", version)
	}
	return nil
}

// mayNot says what a missing privilege means here.
func mayNot(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == codeNoPrivilege {
		return &SetupError{
			Problem: "the login may not change the schema",
			Mend: "run `vidflow migrate` with a DATABASE_URL of the database's owner (on Supabase: postgres);" +
				" the other commands keep the role's",
			Err: pg,
		}
	}
	return err
}

func newProvider(db *sql.DB, log *slog.Logger) (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableName(lockTable),
		lock.WithTableLockTimeout(250*time.Millisecond, 1200), // five minutes
		lock.WithTableLogger(log),
	)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(database.DialectPostgres, db, files,
		goose.WithTableName(versionTable), goose.WithLocker(locker), goose.WithDisableGlobalRegistry(true))
}

// createSchema makes the schema and the table of the lease, which goose expects to find; two at once wait for each other.
func createSchema(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock($1)`, schemaLock); err != nil {
		return err
	}
	var exists bool
	if err := tx.QueryRowContext(ctx, `select to_regclass($1) is not null`, lockTable).Scan(&exists); err != nil {
		return err
	}
	if exists {
		return nil
	}
	for _, stmt := range []string{
		`create schema if not exists pipeline`,
		`create table if not exists ` + lockTable + ` (lock_id bigint primary key, locked boolean not null default false,
			locked_at timestamptz, locked_by text, lease_expires_at timestamptz, updated_at timestamptz)`,
	} {
		if _, err := tx.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// latestVersion is that of the newest migration in this program.
var latestVersion = func() int64 {
	entries, err := migrationFiles.ReadDir("migrations")
	if err != nil {
		panic(err) // cannot be: the files are part of the program
	}
	v, err := goose.NumericComponent(entries[len(entries)-1].Name())
	if err != nil {
		panic(err)
	}
	return v
}()

// SchemaSources is the text of everything that makes up the schema and the role, for caches of databases made from it.
func SchemaSources() []string {
	sources := []string{roleSQL}
	entries, err := migrationFiles.ReadDir("migrations")
	if err != nil {
		panic(err) // cannot be: the files are part of the program
	}
	for _, e := range entries {
		text, err := migrationFiles.ReadFile("migrations/" + e.Name())
		if err != nil {
			panic(err)
		}
		sources = append(sources, string(text))
	}
	return sources
}
