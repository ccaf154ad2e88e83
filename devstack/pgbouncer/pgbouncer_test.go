package pgbouncer_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/devstack/pgbouncer"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// pooled is a database whose logins go through the pooler of the stack.
func pooled(t *testing.T) *postgrestest.DB {
	t.Helper()
	pooler := os.Getenv(postgrestest.PoolerVariable)
	if pooler == "" {
		t.Skip("for a stack with a pooler alone: make test-kafka")
	}
	db := postgrestest.New(t)
	if u, err := url.Parse(db.URL); err != nil || u.Host != pooler {
		t.Fatalf("the role logs in at %v, want the pooler, %s", u, pooler)
	}
	return db
}

// TestShares: more clients than there are connections to the server work at the same time, each of which stays connected,
// as is so in transaction mode alone.
func TestShares(t *testing.T) {
	t.Parallel()
	db := pooled(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const clients = 20
	connected := make([]*pgx.Conn, clients)
	for i := range connected {
		cfg, err := pgx.ParseConfig(db.URL)
		if err != nil {
			t.Fatal(err)
		}
		cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		connected[i] = conn
	}
	var mu sync.Mutex
	backends := map[int]bool{}
	var asking sync.WaitGroup
	for _, conn := range connected {
		asking.Go(func() {
			for range 5 {
				var backend int
				if err := conn.QueryRow(ctx, "select pg_backend_pid() from pg_sleep(0.005)").Scan(&backend); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				backends[backend] = true
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	if len(backends) == 0 || len(backends) >= clients {
		t.Errorf("%d clients had %d connections to the server, want fewer", clients, len(backends))
	}
}

// TestRefusals tells a login that can never work from a server that is away, of which PgBouncer says the same SQLSTATE.
func TestRefusals(t *testing.T) {
	t.Parallel()
	db := pooled(t)
	away := startAlone(t)
	for name, row := range map[string]struct {
		url   string
		setup bool
	}{
		"the role":         {url: db.URL},
		"a wrong password": {url: db.As(t, db.Role, "wrong"), setup: true},
		"an unknown user":  {url: db.As(t, "nobody", "wrong"), setup: true},
		"a server away":    {url: away},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := postgrestest.Open(t, row.url, postgres.WithTimeout(20*time.Second)) // for a busy machine
			err := store.Check(t.Context())
			var setup *postgres.SetupError
			if errors.As(err, &setup) != row.setup {
				t.Errorf("got %v; is it one that no retry mends? want %t", err, row.setup)
			}
			if row.setup && !strings.Contains(err.Error(), "refuses the login") {
				t.Errorf("got %v, want it to say that the login is refused", err)
			}
			if row.url == db.URL && err != nil {
				t.Error(err)
			}
			if row.url == away && err == nil {
				t.Error("a server that is away has answered")
			}
		})
	}
}

// startAlone starts a pooler before no server, stops it, kills it, and returns the URL of a login through it.
func startAlone(t *testing.T) (login string) {
	t.Helper()
	first, err := ports.Unused(2)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "vidflow-pgbouncer-") //nolint:usetesting // another user must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	s := pgbouncer.New(pgbouncer.Config{
		Dir: filepath.Join(dir, "pgbouncer"), Port: first, Postgres: first + 1, Superuser: "somebody", Password: "secret",
		LogFile: filepath.Join(dir, "log"),
	})
	t.Cleanup(func() {
		if err := errors.Join(s.Stop(context.Background()), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	for _, end := range []func() error{func() error { return s.Stop(t.Context()) }, s.Kill} {
		if err := errors.Join(s.Start(t.Context()), s.Start(t.Context()), end(), end()); err != nil {
			t.Fatal(err)
		}
		if conn, err := net.Dial("tcp", s.Addr()); err == nil {
			_ = conn.Close()
			t.Error("it listens after its end")
		}
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return "postgres://somebody:secret@" + s.Addr() + "/postgres?sslmode=disable"
}
