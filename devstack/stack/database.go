package stack

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/devstack/postgres"
)

// prepareDatabase makes the database of vidflow where it does not exist.
func (s *Stack) prepareDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.postgres.URL(postgres.Superuser))
	if err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", Database).Scan(&exists); err != nil {
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
