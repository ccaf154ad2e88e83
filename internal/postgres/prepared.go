package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// preparing has connections keep their statements prepared where that is safe. To parse and to plan a statement anew costs
// the server several times what it costs to run it (decision 26). But a prepared statement lives in a session, and a
// transaction pooler lends its sessions to everybody. A pooler makes up the process number that it tells a client at the
// login, so where a statement is told the same number, it is the server that is at the other end.
//
// Who is there is found out once, by a connection of its own, and looked at again with each new connection.
type preparing struct{ found atomic.Int32 }

// What may be at the other end.
const (
	somebody int32 = iota
	theServer
	aPooler
)

func (p *preparing) use(cfg *pgxpool.Config) {
	cfg.BeforeConnect = p.choose
	cfg.AfterConnect = p.check
}

// choose sets how a connection that is about to be made sends its statements.
func (p *preparing) choose(ctx context.Context, cfg *pgx.ConnConfig) error {
	found := p.found.Load()
	if found == somebody {
		conn, err := pgconn.ConnectConfig(ctx, cfg.Config.Copy())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		if found, err = look(ctx, conn); err != nil {
			return err
		}
		p.found.Store(found)
	}
	if found == theServer {
		cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	}
	return nil
}

// check refuses a connection that would prepare statements in the sessions of others: a pooler has taken the server's place.
func (p *preparing) check(ctx context.Context, conn *pgx.Conn) error {
	if conn.Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return nil
	}
	found, err := look(ctx, conn.PgConn())
	if err == nil && found != theServer {
		p.found.Store(found)
		err = errors.New("a pooler has come before the database; the next connection goes by that")
	}
	return err
}

func look(ctx context.Context, conn *pgconn.PgConn) (int32, error) {
	results, err := conn.Exec(ctx, `select pg_backend_pid()`).ReadAll()
	if err != nil {
		return somebody, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return somebody, errors.New("the database does not tell the number of its process")
	}
	pid, err := strconv.ParseUint(string(results[0].Rows[0][0]), 10, 32)
	switch {
	case err != nil:
		return somebody, fmt.Errorf("read the number of the database's process: %w", err)
	case uint32(pid) == conn.PID():
		return theServer, nil
	}
	return aPooler, nil
}
