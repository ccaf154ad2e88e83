package stack

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/devstack/seed"
	vidflow "github.com/codeendelea/vidflow/internal/postgres"
)

// PrepareDatabase makes the database where it does not exist, has it migrated, makes the least-privilege role and adds
// what is missing of the seed. It may be run any number of times. The address that migrate gets is the superuser's.
func (s *Stack) PrepareDatabase(ctx context.Context, migrate func(ctx context.Context, url string) error) error {
	return s.newDatabase(ctx, migrate, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, vidflow.RoleSQL(Role, RolePassword)); err != nil {
			return fmt.Errorf("make the role %s: %w", Role, err)
		}
		return nil
	})
}

// PrepareOldDatabase makes a new database with the tables of the API server, the seed, and nothing of vidflow's.
func (s *Stack) PrepareOldDatabase(ctx context.Context, migrate func(ctx context.Context, url string) error) error {
	return s.newDatabase(ctx, migrate, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "drop schema pipeline cascade"); err != nil {
			return fmt.Errorf("drop the schema of vidflow: %w", err)
		}
		return nil
	})
}

// newDatabase makes the database where it does not exist, and adds the seed after what comes once it is migrated.
func (s *Stack) newDatabase(
	ctx context.Context, migrate func(ctx context.Context, url string) error, migrated func(*pgx.Conn) error,
) error {
	if err := s.createDatabase(ctx); err != nil {
		return err
	}
	url := s.postgres.URL(Database)
	if err := migrate(ctx, url); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to the database %s: %w", Database, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := migrated(conn); err != nil {
		return err
	}
	return seed.Apply(ctx, conn)
}

func (s *Stack) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.postgres.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var exists bool
	const query = "select exists (select from pg_database where datname = $1)"
	if err := conn.QueryRow(ctx, query, Database).Scan(&exists); err != nil {
		return fmt.Errorf("look for the database %s: %w", Database, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "create database "+pgx.Identifier{Database}.Sanitize()); err != nil {
		return fmt.Errorf("create the database %s: %w", Database, err)
	}
	return nil
}
