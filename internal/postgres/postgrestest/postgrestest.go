// Package postgrestest gives each test a database of its own on a real server: migrated, with production's row-level
// security, and a Store that is logged in as the least-privilege role. For tests alone.
package postgrestest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/codeendelea/vidflow/internal/postgres"
)

// Variable holds the URL of a server to test on, as a superuser.
const Variable = "VIDFLOW_TEST_POSTGRES_URL"

// PoolerVariable holds host:port of a transaction pooler before that server, where there is one. Every login but the
// superuser's then goes through it.
const PoolerVariable = "VIDFLOW_TEST_POOLER"

const rolePassword = "of the role's own"

// DB is a database that belongs to one test and goes with it.
type DB struct {
	// Store is logged in as the least-privilege role.
	Store *postgres.Store
	// URL logs in as the least-privilege role, named Role.
	URL  string
	Role string
	// DirectURL is URL without the pooler, if there is one.
	DirectURL string
	// AdminURL logs in as a superuser.
	AdminURL string
	// Admin is for what the role may not do: seeding, and looking behind the Store's back.
	Admin *pgxpool.Pool
}

// New makes a migrated database. It is a copy of a template, made once for each version of the schema, and takes a few
// hundredths of a second. Tests that use it may run in parallel, in any number of processes.
func New(t testing.TB, opts ...postgres.Option) *DB {
	t.Helper()
	server := serverURL(t)
	tmpl := template(t, server)
	db := create(t, server, "template "+tmpl.name)
	db.Role = tmpl.role
	db.URL = as(t, db.AdminURL, tmpl.role, rolePassword)
	db.DirectURL = login(t, db.AdminURL, tmpl.role, rolePassword).String()
	store, err := postgres.Open(t.Context(), db.URL, opts...)
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(store.Close)
	db.Store = store
	return db
}

// NewEmpty makes a database with nothing in it. It has no Store, no URL and no Role.
func NewEmpty(t testing.TB) *DB {
	t.Helper()
	return create(t, serverURL(t), "template template0")
}

// Open is one more Store on the same database, as somebody else (an AdminURL, another role).
func Open(t testing.TB, url string, opts ...postgres.Option) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), url, opts...)
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(store.Close)
	return store
}

// As is a URL of the same database for another login.
func (db *DB) As(t testing.TB, role, password string) string {
	t.Helper()
	return as(t, db.AdminURL, role, password)
}

// Exec runs SQL as a superuser.
func (db *DB) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := db.Admin.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func serverURL(t testing.TB) string {
	t.Helper()
	server := os.Getenv(Variable)
	if server == "" {
		t.Fatalf("%s is not set: this test needs a Postgres server; run it with `make test`, "+
			"or with `go run ./devstack exec -- go test ./its/package`", Variable)
	}
	return server
}

func create(t testing.TB, server, from string) *DB {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text()[:16])
	admin(t, server, "create database "+name+" "+from)
	t.Cleanup(func() {
		// Not t.Context(), which is cancelled by now.
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := exec(ctx, server, "drop database if exists "+name+" with (force)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	adminURL := onDatabase(t, server, name)
	cfg, err := pgxpool.ParseConfig(adminURL)
	if err != nil {
		t.Fatalf("read the URL of the test's database: %v", err)
	}
	cfg.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatalf("connect to the test's database: %v", err)
	}
	t.Cleanup(pool.Close)
	return &DB{AdminURL: adminURL, Admin: pool}
}

type templateDB struct {
	once       sync.Once
	name, role string
	err        error
}

var theTemplate templateDB

// template makes the database that New copies, unless this or another process has. Its name holds a hash of everything
// that makes it up, so that a change of the schema makes another.
func template(t testing.TB, server string) *templateDB {
	t.Helper()
	theTemplate.once.Do(func() {
		sum := sha256.New()
		for _, part := range postgres.SchemaSources() {
			sum.Write([]byte(part))
		}
		version := hex.EncodeToString(sum.Sum(nil))[:12]
		theTemplate.name, theTemplate.role = "vidflow_template_"+version, "vidflow_"+version
		theTemplate.err = makeTemplate(server, onDatabase(t, server, theTemplate.name), theTemplate.name, theTemplate.role)
	})
	if theTemplate.err != nil {
		t.Fatalf("make the template of test databases: %v", theTemplate.err)
	}
	return &theTemplate
}

func makeTemplate(server, templateURL, name, role string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	// Processes that test at the same time take turns.
	const key = 5_127_034_116_284
	if _, err := conn.Exec(ctx, `select pg_advisory_lock($1)`, key); err != nil {
		return err
	}
	var exists bool
	err = conn.QueryRow(ctx, `select exists (select from pg_database where datname = $1 and datistemplate)`, name).Scan(&exists)
	if err != nil || exists {
		return err
	}
	// One that is there and not marked as a template was left half made.
	if _, err := conn.Exec(ctx, "drop database if exists "+name+" with (force)"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "create database "+name+" template template0"); err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, templateURL, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	if err := exec(ctx, templateURL, postgres.RoleSQL(role, rolePassword)); err != nil {
		return fmt.Errorf("make the role: %w", err)
	}
	_, err = conn.Exec(ctx, "alter database "+name+" with is_template true allow_connections false")
	return err
}

func admin(t testing.TB, url, sql string) {
	t.Helper()
	if err := exec(t.Context(), url, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func exec(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}

func onDatabase(t testing.TB, server, name string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s is not a URL: %v", Variable, err)
	}
	u.Path = "/" + name
	return u.String()
}

func login(t testing.TB, server, role, password string) *url.URL {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s is not a URL: %v", Variable, err)
	}
	u.User = url.UserPassword(role, password)
	return u
}

func as(t testing.TB, server, role, password string) string {
	t.Helper()
	u := login(t, server, role, password)
	if pooler := os.Getenv(PoolerVariable); pooler != "" {
		u.Host = pooler
	}
	return u.String()
}
