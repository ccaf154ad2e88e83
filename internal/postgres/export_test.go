package postgres

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// MigrateTo is Migrate up to a version, for tests of what comes after it.
func MigrateTo(ctx context.Context, url string, version int64) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	prepare(cfg, "a test")
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	if err := createSchema(ctx, db); err != nil {
		return err
	}
	provider, err := newProvider(db, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = provider.UpTo(ctx, version)
	return err
}

// LatestVersion is that of the newest migration.
func LatestVersion() int64 { return latestVersion }

// Migrations are the texts of all migrations, the first one first.
func Migrations() []string { return SchemaSources()[1:] }
