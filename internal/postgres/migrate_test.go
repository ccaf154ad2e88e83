package postgres_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMigrate(t *testing.T) {
	t.Parallel()

	t.Run("several at once, then again", func(t *testing.T) {
		t.Parallel()
		db := postgrestest.NewEmpty(t)
		url := owned(t, db) // behind the pooler, where there is one
		var group errgroup.Group
		for range 5 {
			group.Go(func() error { return postgres.Migrate(t.Context(), url, quiet) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		first := describe(t, db, "public", "pipeline", "auth")
		if err := postgres.Migrate(t.Context(), url, quiet); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, describe(t, db, "public", "pipeline", "auth")); diff != "" {
			t.Errorf("the second time changed something:\n%s", diff)
		}
		if n := count(t, db, `select count(*) - count(distinct version_id) from pipeline.migrations`); n != 0 {
			t.Errorf("%d versions were applied twice", n)
		}
		if err := postgrestest.Open(t, db.AdminURL).Check(t.Context()); err != nil {
			t.Error(err)
		}
	})

	t.Run("leaves the tables of the API server as they are", func(t *testing.T) {
		t.Parallel()
		db := postgrestest.NewEmpty(t)
		db.Exec(t, production)
		before := describe(t, db, "public", "auth")
		if err := postgres.Migrate(t.Context(), db.AdminURL, quiet); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, describe(t, db, "public", "auth")); diff != "" {
			t.Errorf("something changed:\n%s", diff)
		}
		role := ownRole(t, db)
		store := postgrestest.Open(t, db.As(t, role, "secret"))
		if err := store.Check(t.Context()); err != nil {
			t.Error(err)
		}
		n := newVideo(t, db)
		if c := must(store.CreateVideo(t.Context(), n))(t); c.Video == nil || c.Video.Level != n.Video.Level {
			t.Errorf("got %+v", c.Video)
		}
	})

	t.Run("dropping the schema leaves the API server whole", func(t *testing.T) {
		t.Parallel()
		db := postgrestest.New(t)
		id := created(t, db)
		db.Exec(t, `update public.videos set transcript_url = 'https://example.org/t.json'`)
		before, row := describe(t, db, "public", "auth"), load(t, db, id).Video
		db.Exec(t, `drop schema pipeline cascade`)
		if diff := cmp.Diff(before, describe(t, db, "public", "auth")); diff != "" {
			t.Errorf("something else went with it:\n%s", diff)
		}
		db.Exec(t, `update public.videos set title = title`) // no trigger, no default refers to what is gone
		_ = wantSetupError(t, db.Store.Check(t.Context()))
		_, err := db.Store.LoadPipeline(t.Context(), id)
		_ = wantSetupError(t, err)

		if err := postgres.Migrate(t.Context(), db.AdminURL, quiet); err != nil {
			t.Fatal(err)
		}
		admin := postgrestest.Open(t, db.AdminURL)
		l := must(admin.LoadPipeline(t.Context(), id))(t)
		if diff := cmp.Diff(row, l.Video); diff != "" {
			t.Errorf("the row changed:\n%s", diff)
		}
		if l.State() != postgres.Untracked {
			t.Errorf("state is %s", l.State())
		}
	})

	t.Run("by an owner who is no superuser", func(t *testing.T) {
		t.Parallel()
		db := postgrestest.NewEmpty(t)
		url := owned(t, db)
		if err := postgres.Migrate(t.Context(), url, quiet); err != nil {
			t.Fatal(err)
		}
		role := `vid"flow's ` + newToken().String()[:8]
		const password = "it's \"secret\"\n; select 1/0; --"
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		for range 2 { // it may be run any number of times
			if _, err := conn.Exec(t.Context(), postgres.RoleSQL(role, password)); err != nil {
				t.Fatal(err)
			}
		}
		dropRole(t, db, role)
		store := postgrestest.Open(t, db.As(t, role, password))
		if err := store.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		must(store.CreateVideo(t.Context(), newVideo(t, db)))(t)
		if err := postgres.Migrate(t.Context(), db.As(t, role, password), quiet); err != nil {
			t.Errorf("with nothing to do, even the role may run it: %v", err)
		}
	})

	t.Run("by a login that may not says who may", func(t *testing.T) {
		t.Parallel()
		db := postgrestest.New(t)
		db.Exec(t, `drop schema pipeline cascade`)
		setup := wantSetupError(t, postgres.Migrate(t.Context(), db.URL, quiet))
		if !strings.Contains(setup.Error(), "owner") {
			t.Errorf("got %q", setup)
		}
		_ = wantSetupError(t, postgres.Migrate(t.Context(), "postgres://host:port/", quiet))
	})
}

// owned gives the database to a login that is no superuser.
func owned(t *testing.T, db *postgrestest.DB) (url string) {
	t.Helper()
	owner := "owner_" + newToken().String()[:8]
	db.Exec(t, `create role "`+owner+`" login createrole password 'secret'`)
	dropRole(t, db, owner)
	var name string
	if err := db.Admin.QueryRow(t.Context(), `select current_database()`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `alter database "`+name+`" owner to "`+owner+`"; grant create on schema public to "`+owner+`"`)
	return db.As(t, owner, "secret")
}

// production is what the API server's tables may look like where they were made by other hands.
const production = `
	create type public.level as enum ('beginner', 'intermediate', 'advanced');
	create type public.user_role as enum ('student', 'lecturer', 'admin');
	create schema auth;
	create function auth.uid() returns uuid language sql stable as 'select null::uuid';
	create table public.users (id uuid primary key, email text, role public.user_role not null, name text);
	create table public.lecturers (id uuid primary key default gen_random_uuid(), user_id uuid unique references public.users, bio text);
	create table public.courses (id uuid primary key, lecturer_id uuid references public.lecturers, title text, price numeric);
	create table public.enrollments (course_id uuid references public.courses, user_id uuid references public.users);
	create table public.videos (id uuid primary key default gen_random_uuid(), course_id uuid references public.courses on delete cascade,
		title varchar(255) not null, description text not null, thumbnail_url text, camera_video_url text not null, snapshot_url text,
		event_url text, transcript_url text, level public.level, ispublic boolean default false, created_at timestamptz default now(),
		views bigint not null default 0);
	alter table public.users enable row level security;
	alter table public.lecturers enable row level security;
	alter table public.courses enable row level security;
	alter table public.videos enable row level security;
	create policy public_videos on public.videos for select using (ispublic);
	create policy enrolled on public.videos for select using
		(exists (select from public.enrollments e where e.course_id = videos.course_id and e.user_id = auth.uid()));
	create policy own on public.users using (id = auth.uid())`

// describe is everything about the tables, functions and policies of some schemas.
func describe(t *testing.T, db *postgrestest.DB, schemas ...string) []string {
	t.Helper()
	return describeIn(t, db.Admin, schemas...)
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func describeIn(t *testing.T, db querier, schemas ...string) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), `
		select format('%s.%s %s %s %s', n.nspname, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = any($1)
		union all
		select format('%s.%s.%s %s %s %s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
		from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
		left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
		where n.nspname = any($1) and a.attnum > 0
		union all
		select format('constraint of %s %s', c.conrelid::regclass, pg_get_constraintdef(c.oid)) from pg_constraint c join pg_namespace n on n.oid = c.connamespace
		where n.nspname = any($1)
		union all
		select format('unique index on %s %s', x.indrelid::regclass, x.indexrelid::regclass) from pg_index x
		join pg_class c on c.oid = x.indrelid join pg_namespace n on n.oid = c.relnamespace where n.nspname = any($1) and x.indisunique
		union all
		select format('trigger %s on %s', t.tgname, t.tgrelid::regclass) from pg_trigger t join pg_class c on c.oid = t.tgrelid
		join pg_namespace n on n.oid = c.relnamespace where n.nspname = any($1) and not t.tgisinternal
		union all
		select format('function %s %s', p.oid::regprocedure, md5(p.prosrc)) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = any($1)
		union all
		select format('%s.%s policy %s %s %s %s %s %s', schemaname, tablename, policyname, permissive, roles, cmd, qual, with_check)
		from pg_policies where schemaname = any($1)
		order by 1`, schemas)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
