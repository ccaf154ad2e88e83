package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// findings are what is against the rules of docs/migrations.md.
type findings struct {
	// breaks what a program of before the migration may rely on: only a migration that is marked as "contract" may.
	breaks []string
	// blocks those who work meanwhile: none may.
	blocks []string
}

// examine runs a migration in a transaction, has a look at what it has done, and takes it back.
func examine(t *testing.T, db *postgrestest.DB, migration string) (f findings) {
	t.Helper()
	if strings.Contains(migration, "-- +goose NO TRANSACTION") {
		// What works concurrently takes no lock that matters, and cannot be run here.
		for _, statement := range outsideOfTransactions(migration) {
			f.blocks = append(f.blocks, "without a transaction, and so without a limit to its locks: "+statement)
		}
		return f
	}
	ctx := t.Context()
	tx, err := db.Admin.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	before, tables := describeIn(t, tx, "public", "pipeline"), tablesIn(t, tx)
	if _, err := tx.Exec(ctx, migration); err != nil {
		t.Fatalf("%v in %s", err, migration)
	}
	after := tablesIn(t, tx)
	f.breaks = breaks(before, describeIn(t, tx, "public", "pipeline"), tables)

	limited := strings.Contains(migration, "set local lock_timeout")
	rows, err := tx.Query(ctx, `
		select c.oid::regclass::text, l.mode from pg_locks l join pg_class c on c.oid = l.relation
		where l.pid = pg_backend_pid() and c.relkind = 'r' and c.relnamespace::regnamespace::text in ('public', 'pipeline')
			and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
		order by 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	var table, mode string
	if _, err := pgx.ForEachRow(rows, []any{&table, &mode}, func() error {
		_, old := tables[table]
		switch {
		case !old:
		case mode == "ShareLock":
			f.blocks = append(f.blocks, "nobody may write to "+table+" while an index is built; build it concurrently")
		case !limited:
			f.blocks = append(f.blocks, "waits for "+mode+" on "+table+" without a limit; begin with set local lock_timeout = '1s'")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name, file := range tables {
		if now, there := after[name]; there && now != file {
			f.blocks = append(f.blocks, name+" is written anew")
		}
	}
	slices.Sort(f.blocks)
	return f
}

// tablesIn are the tables that there are, with the number of the file that each is in.
func tablesIn(t *testing.T, db querier) map[string]uint32 {
	t.Helper()
	rows, err := db.Query(t.Context(), `select oid::regclass::text, pg_relation_filenode(oid) from pg_class
		where relkind = 'r' and relnamespace::regnamespace::text in ('public', 'pipeline')`)
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]uint32{}
	var name string
	var file uint32
	if _, err := pgx.ForEachRow(rows, []any{&name, &file}, func() error {
		tables[name] = file
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return tables
}

// breaks names everything that was there and is not so any more, and what is new and refuses what was accepted.
func breaks(before, after []string, tables map[string]uint32) (found []string) {
	for _, line := range before {
		if !slices.Contains(after, line) {
			found = append(found, "gone or changed: "+line)
		}
	}
	for _, line := range after {
		if slices.Contains(before, line) {
			continue
		}
		if m := column.FindStringSubmatch(line); m != nil {
			if _, old := tables[m[1]]; old && m[2] == "t" && m[3] == "" {
				found = append(found, "a column that must be set and has no default: "+line)
			}
		}
		if m := refusal.FindStringSubmatch(line); m != nil {
			if _, old := tables[m[1]]; old {
				found = append(found, "refuses what was accepted: "+line)
			}
		}
	}
	slices.Sort(found)
	return found
}

var (
	column   = regexp.MustCompile(`^(\w+\.\w+)\.\w+ .* ([tf]) (.*)$`)
	refusal  = regexp.MustCompile(`^(?:constraint of|unique index on) (\S+) `)
	bodies   = regexp.MustCompile(`(?s)\$(\w*)\$.*?\$\w*\$`)
	comments = regexp.MustCompile(`(?m)--.*$`)
	safe     = regexp.MustCompile(`^(create|drop) index concurrently |^create or replace function |^do \$limited\$$`)
)

// outsideOfTransactions are the statements of a migration without a transaction that may block others.
func outsideOfTransactions(migration string) (found []string) {
	text := bodies.ReplaceAllStringFunc(comments.ReplaceAllString(migration, ""), func(body string) string {
		if strings.Contains(body, "set local lock_timeout") {
			return "$limited$"
		}
		return "$$"
	})
	for statement := range strings.SplitSeq(text, ";") {
		if statement = strings.Join(strings.Fields(statement), " "); statement != "" && !safe.MatchString(statement) {
			found = append(found, statement)
		}
	}
	return found
}

var marked = regexp.MustCompile(`(?m)^-- contract: safe beside programs from version (\d+) on$`)

// TestMigrations holds every migration against the rules of docs/migrations.md, on the schema that it finds.
func TestMigrations(t *testing.T) {
	t.Parallel()
	db := postgrestest.NewEmpty(t)
	for i, migration := range postgres.Migrations() {
		version := int64(i + 1)
		f := examine(t, db, migration)
		before, tables := describe(t, db, "public", "pipeline"), tablesIn(t, db.Admin)
		if err := postgres.MigrateTo(t.Context(), db.AdminURL, version); err != nil {
			t.Fatal(err)
		}
		f.breaks = breaks(before, describe(t, db, "public", "pipeline"), tables) // also of those without a transaction
		mark := marked.FindStringSubmatch(migration)
		if (mark != nil) != (len(f.breaks) > 0) {
			t.Errorf("migration %d: marked as contract: %t; breaks:\n%s", version, mark != nil, strings.Join(f.breaks, "\n"))
		}
		// Number 7 was made before there was a release; docs/migrations.md says what it costs.
		if mark != nil && version != 7 && must(strconv.ParseInt(mark[1], 10, 64))(t) >= version {
			t.Errorf("migration %d is safe beside programs from version %s on, and so not beside the version before", version, mark[1])
		}
		for _, block := range f.blocks {
			t.Errorf("migration %d: %s", version, block)
		}
	}
}

// TestMigrations_rules: each sort of migration that could hurt is found.
func TestMigrations_rules(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	const limit = "set local lock_timeout = '1s';\n"
	for sql, want := range map[string]string{
		limit + `alter table pipeline.intents add column note text`:                                                                              "",
		limit + `alter table pipeline.intents add column note text not null default ''`:                                                          "",
		`create table pipeline.notes (id uuid primary key, note text not null unique, check (note <> ''))`:                                       "",
		`create table pipeline.notes (id uuid); create index on pipeline.notes (id)`:                                                             "",
		`alter table pipeline.intents add column note text`:                                                                                      "without a limit",
		limit + `alter table pipeline.intents drop column traceparent`:                                                                           "gone or changed: pipeline.intents.traceparent",
		limit + `alter table pipeline.intents rename column traceparent to trace`:                                                                "gone or changed: pipeline.intents.traceparent",
		limit + `alter table pipeline.intents rename to outbox`:                                                                                  "gone or changed: pipeline.intents ",
		limit + `alter table pipeline.intents alter column attempts type bigint`:                                                                 "pipeline.intents is written anew",
		limit + `alter table pipeline.intents alter column traceparent type varchar(55)`:                                                         "gone or changed: pipeline.intents.traceparent",
		limit + `alter table pipeline.intents alter column traceparent set not null`:                                                             "gone or changed: pipeline.intents.traceparent",
		limit + `alter table pipeline.intents alter column attempts drop default`:                                                                "gone or changed: pipeline.intents.attempts",
		limit + `alter table pipeline.intents add column note text not null`:                                                                     "must be set and has no default",
		limit + `alter table pipeline.intents add column note uuid not null default gen_random_uuid()`:                                           "pipeline.intents is written anew",
		limit + `alter table pipeline.intents add check (attempts < 9)`:                                                                          "refuses what was accepted",
		limit + `alter table pipeline.videos add unique (course_id)`:                                                                             "refuses what was accepted",
		limit + `create unique index on pipeline.videos (course_id)`:                                                                             "refuses what was accepted",
		limit + `create index on pipeline.videos (course_id)`:                                                                                    "build it concurrently",
		limit + `drop index pipeline.videos_updated_at_idx`:                                                                                      "gone or changed: pipeline.videos_updated_at_idx",
		limit + `drop table pipeline.idempotency_keys`:                                                                                           "gone or changed: pipeline.idempotency_keys ",
		limit + `drop trigger touch on pipeline.videos`:                                                                                          "gone or changed: trigger touch",
		`create or replace function pipeline.overall(transcription text, compression text) returns text language sql immutable as 'select null'`: "gone or changed: function",
		`lock table pipeline.videos in exclusive mode`:                                                                                           "without a limit",
		"-- +goose NO TRANSACTION\ncreate index concurrently if not exists i on pipeline.videos (course_id)":                                     "",
		"-- +goose NO TRANSACTION\ncreate index i on pipeline.videos (course_id)":                                                                "without a transaction",
		"-- +goose NO TRANSACTION\nalter table pipeline.intents add column note text":                                                            "without a transaction",
		"-- +goose NO TRANSACTION\ndo $$ begin alter table pipeline.intents add column note text; end $$":                                        "without a transaction",
	} {
		f := examine(t, db, sql)
		all := strings.Join(append(f.breaks, f.blocks...), "\n")
		if want == "" && all != "" || !strings.Contains(all, want) {
			t.Errorf("%s\nwant %q, found:\n%s", sql, want, all)
		}
	}
}

// remembered keeps what is logged.
type remembered struct {
	slog.Handler

	mu    sync.Mutex
	lines []string
}

func (r *remembered) Enabled(context.Context, slog.Level) bool { return true }

func (r *remembered) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, record.Message)
	return nil
}

func (r *remembered) count(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// TestMigrate_lets_others_go_first: somebody reads a table for long, and the migration that needs it for itself neither fails nor has
// everybody wait with it.
func TestMigrate_lets_others_go_first(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := postgrestest.NewEmpty(t)
	const before = 6 // 7 drops triggers of pipeline.videos
	if err := postgres.MigrateTo(ctx, db.AdminURL, before); err != nil {
		t.Fatal(err)
	}
	reader, err := db.Admin.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := reader.Exec(ctx, `select from pipeline.videos`); err != nil {
		t.Fatal(err)
	}
	log := &remembered{}
	migrated := make(chan error, 1)
	go func() { migrated <- postgres.Migrate(ctx, db.AdminURL, slog.New(log)) }()

	writer := postgrestest.Open(t, db.AdminURL, postgres.WithTimeout(2*time.Minute)) // one that waits for the reader fails
	var slowest time.Duration
	for deadline := time.Now().Add(3 * time.Minute); log.count("tried again") < 2; {
		began := time.Now()
		if _, err := writer.CreateVideo(ctx, newVideo(t, db)); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(began))
		if time.Now().After(deadline) {
			t.Fatalf("it has not tried again in three minutes: %q", log.lines)
		}
	}
	t.Logf("the slowest write took %s", slowest)
	if slowest > 30*time.Second { // a second of the migration's, and a busy machine
		t.Errorf("a write waited %s", slowest)
	}
	if err := reader.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, `select max(version_id) from pipeline.migrations`); n != int(postgres.LatestVersion()) {
		t.Errorf("the schema is at version %d", n)
	}
}

// childVariable is the database that a child of TestMigrate_killed migrates.
const childVariable = "VIDFLOW_TEST_MIGRATE"

// TestMigrate_child is the child: a process that can be killed.
func TestMigrate_child(t *testing.T) {
	url := os.Getenv(childVariable)
	if url == "" {
		t.Skip("it is started by TestMigrate_killed")
	}
	if err := postgres.Migrate(t.Context(), url, quiet); err != nil {
		t.Fatal(err)
	}
}

// TestMigrate_killed in the middle of a migration, and started again. What it was at goes on without it in the database.
func TestMigrate_killed(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		from    int64
		at      string
		expires bool // the lease does at once, and is not waited for
	}{
		"in a transaction":          {from: 5, at: "ALTER TABLE"},
		"building an index":         {from: 3, at: "CREATE INDEX", expires: true},
		"before anything was there": {from: 0, at: "CREATE TABLE"}, // no lease yet
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			db := postgrestest.NewEmpty(t)
			url := owned(t, db)
			if row.from > 0 {
				if err := postgres.MigrateTo(ctx, url, row.from); err != nil {
					t.Fatal(err)
				}
			}
			holder, err := db.Admin.Acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer holder.Release()
			for _, sql := range []string{
				`select pg_advisory_lock(7)`,
				`create schema held`,
				`grant usage on schema held to public`,
				`create function held.hold() returns event_trigger language plpgsql as $$
					begin
						if tg_tag = '` + row.at + `' then
							perform pg_advisory_lock_shared(7);
							perform pg_advisory_unlock_shared(7);
						end if;
					end $$`,
				`create event trigger hold on ddl_command_start execute function held.hold()`,
			} {
				if _, err := holder.Exec(ctx, sql); err != nil {
					t.Fatal(err)
				}
			}
			child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestMigrate_child$")
			child.Env = append(os.Environ(), childVariable+"="+url)
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(3 * time.Minute); ; {
				n := count(t, db, `select count(*) from pg_locks l join pg_database d on d.oid = l.database
					where d.datname = current_database() and locktype = 'advisory' and not granted`)
				if n == 1 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the child does not come to " + row.at)
				}
			}
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = child.Wait() // it was killed
			if row.expires {
				db.Exec(t, `update pipeline.migrations_lock set lease_expires_at = now()`)
			}
			again := make(chan error, 1)
			go func() { again <- postgres.Migrate(ctx, url, quiet) }()
			if _, err := holder.Exec(ctx, `select pg_advisory_unlock(7)`); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := <-again; err != nil {
				t.Fatal(err)
			}
			t.Logf("up to date after %s", time.Since(began))

			whole := postgrestest.NewEmpty(t)
			if err := postgres.Migrate(ctx, whole.AdminURL, quiet); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(describe(t, whole, "public", "pipeline"), describe(t, db, "public", "pipeline")); diff != "" {
				t.Errorf("something else than without a kill (-want +got):\n%s", diff)
			}
			if n := count(t, db, `select count(*) from pg_index where not indisvalid`); n != 0 {
				t.Errorf("%d indexes cannot be used", n)
			}
		})
	}
}

// TestMigrate_versions: a program and a schema that are not of the same version.
func TestMigrate_versions(t *testing.T) {
	t.Parallel()

	t.Run("an older schema is named to a newer program", func(t *testing.T) {
		t.Parallel()
		db := postgrestest.NewEmpty(t)
		latest := postgres.LatestVersion()
		if err := postgres.MigrateTo(t.Context(), db.AdminURL, latest-1); err != nil {
			t.Fatal(err)
		}
		setup := wantSetupError(t, postgrestest.Open(t, db.AdminURL).Check(t.Context()))
		if want := fmt.Sprintf("is at version %d and this program needs version %d", latest-1, latest); !strings.Contains(setup.Error(), want) ||
			!strings.Contains(setup.Error(), "vidflow migrate") {
			t.Errorf("got %q, want %q and what to do", setup, want)
		}
	})

	t.Run("a newer schema is left as it is by an older program, which works on it", func(t *testing.T) {
		t.Parallel()
		db := postgrestest.New(t)
		db.Exec(t, `insert into pipeline.migrations (version_id, is_applied) values ($1, true)`, postgres.LatestVersion()+1)
		db.Exec(t, `alter table pipeline.intents add column of_a_newer_version text`)
		before := describe(t, db, "public", "pipeline")
		log := &remembered{}
		if err := postgres.Migrate(t.Context(), db.AdminURL, slog.New(log)); err != nil {
			t.Fatal(err)
		}
		if log.count("newer than this program") != 1 || log.count("up to date") != 0 {
			t.Errorf("it says %q", log.lines)
		}
		if diff := cmp.Diff(before, describe(t, db, "public", "pipeline")); diff != "" {
			t.Errorf("something changed:\n%s", diff)
		}
		if err := db.Store.Check(t.Context()); err != nil {
			t.Error(err)
		}
		created(t, db)
	})
}
