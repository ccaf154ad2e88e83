package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	// {role} stands for the least-privilege role.
	for _, row := range []struct {
		name  string
		spoil string
		want  []string // parts of the error; none: all is well
	}{
		{name: "as role.sql leaves it"},
		{
			name:  "role.sql was not run again after a migration",
			spoil: `create table pipeline.later (); revoke insert on pipeline.claims from {role}`,
			want:  []string{"lacks INSERT on pipeline.claims", "--print-role-sql"},
		},
		{
			name:  "a column may not be updated",
			spoil: `revoke update on public.videos from {role}; grant update (transcript_url) on public.videos to {role}`,
			want:  []string{"lacks UPDATE on public.videos (camera_video_url)", "--print-role-sql"},
		},
		{
			name:  "several privileges are missing",
			spoil: `revoke delete on public.videos from {role}; revoke select on public.users from {role}; revoke usage on schema pipeline from {role}`,
			want:  []string{"DELETE on public.videos", "SELECT on public.users (id)", "USAGE on schema pipeline"},
		},
		{
			name:  "no policy for the role",
			spoil: `drop policy "{name} manages videos" on public.videos`,
			want:  []string{"row-level security filters the login", "public.videos (delete, insert, select, update)", "USING (true)", "--print-role-sql"},
		},
		{
			name:  "a policy that lets it read alone",
			spoil: `drop policy "{name} manages videos" on public.videos; create policy p on public.videos for select to {role} using (true)`,
			want:  []string{"public.videos (delete, insert, update)"},
		},
		{
			name:  "a policy that lets some rows through",
			spoil: `drop policy "{name} manages videos" on public.videos; create policy p on public.videos to {role} using (ispublic)`,
			want:  []string{"public.videos (delete, insert, select, update)"},
		},
		{
			name:  "a policy without a check of its own takes the same for both",
			spoil: `drop policy "{name} manages videos" on public.videos; create policy p on public.videos to {role} using (true)`,
		},
		{
			name:  "a policy that reads all and writes some",
			spoil: `drop policy "{name} manages videos" on public.videos; create policy p on public.videos to {role} using (true) with check (ispublic)`,
			want:  []string{"public.videos (insert, update)"},
		},
		{
			name:  "a restrictive policy for everybody",
			spoil: `create policy p on public.videos as restrictive for select using (ispublic)`,
			want:  []string{"public.videos (select)", "restrictive"},
		},
		{
			name:  "a restrictive policy for somebody else",
			spoil: `create policy p on public.videos as restrictive for select to postgres using (ispublic)`,
		},
		{
			name:  "a policy for a group that the role is in",
			spoil: `drop policy "{name} reads courses" on public.courses; create policy p on public.courses for select to pg_monitor using (true); grant pg_monitor to {role}`,
		},
		{
			name:  "another table that is filtered",
			spoil: `drop policy "{name} reads lecturers" on public.lecturers`,
			want:  []string{"public.lecturers (select)"},
		},
		{
			name:  "without row-level security no policy is needed",
			spoil: `drop policy "{name} manages videos" on public.videos; alter table public.videos disable row level security`,
		},
		{
			name:  "not migrated",
			spoil: `drop schema pipeline cascade`,
			want:  []string{"lacks table pipeline.videos", "table pipeline.claims", "run `vidflow migrate`"},
		},
		{
			name:  "migrated by an older program",
			spoil: `delete from pipeline.migrations where version_id = (select max(version_id) from pipeline.migrations)`,
			want:  []string{"is at version", "run `vidflow migrate`"},
		},
		{name: "migrated by a newer program", spoil: `insert into pipeline.migrations (version_id, is_applied) values (9999, true)`},
		{
			name:  "another database altogether",
			spoil: `alter table public.videos drop column transcript_url`,
			want:  []string{"lacks column public.videos.transcript_url"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			db := postgrestest.New(t)
			if row.spoil != "" {
				// Roles belong to the whole server, so this test has one of its own to spoil.
				role := ownRole(t, db)
				db.URL = db.As(t, role, "secret")
				db.Store = postgrestest.Open(t, db.URL)
				db.Exec(t, strings.NewReplacer("{role}", `"`+role+`"`, "{name}", role).Replace(row.spoil))
			}
			err := db.Store.Check(t.Context())
			if len(row.want) == 0 {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			_ = wantSetupError(t, err)
			for _, part := range row.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want it to say %q", err, part)
				}
			}
		})
	}

	t.Run("a superuser, and an owner of the tables, is fine", func(t *testing.T) {
		t.Parallel()
		db := postgrestest.New(t)
		if err := postgrestest.Open(t, db.AdminURL).Check(t.Context()); err != nil {
			t.Error(err)
		}
		role := strings.ToLower("owner_" + newToken().String()[:8])
		db.Exec(t, `create role `+role+` login password 'secret'`)
		dropRole(t, db, role)
		for _, table := range []string{"users", "lecturers", "courses", "videos"} {
			db.Exec(t, `alter table public.`+table+` owner to `+role)
		}
		db.Exec(t, `grant usage on schema public, pipeline to `+role)
		db.Exec(t, `grant all on all tables in schema pipeline to `+role)
		owner := postgrestest.Open(t, db.As(t, role, "secret"))
		if err := owner.Check(t.Context()); err != nil {
			t.Error(err)
		}
		db.Exec(t, `alter table public.videos force row level security`)
		_ = wantSetupError(t, owner.Check(t.Context()))
	})
}

// ownRole makes a least-privilege role for one test.
func ownRole(t *testing.T, db *postgrestest.DB) string {
	t.Helper()
	role := "vidflow_" + newToken().String()[:8]
	db.Exec(t, postgres.RoleSQL(role, "secret"))
	dropRole(t, db, role)
	return role
}

// dropRole drops a role of one test at its end, as roles outlive the test's database.
func dropRole(t *testing.T, db *postgrestest.DB, role string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		for _, sql := range []string{`reassign owned by %s to current_user`, `drop owned by %s`, `drop role %s`} {
			if _, err := db.Admin.Exec(ctx, fmt.Sprintf(sql, pgx.Identifier{role}.Sanitize())); err != nil {
				t.Errorf("drop the test's role: %v", err)
			}
		}
	})
}

// TestFilteredLogin: a login that row-level security filters sees no row where there is one. Nothing may take that for
// a deleted video.
func TestFilteredLogin(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	id := created(t, db)
	before := load(t, db, id)
	role := ownRole(t, db)
	db.Exec(t, strings.ReplaceAll(`drop policy "{} manages videos" on public.videos; drop policy "{} reads courses" on public.courses;
		drop policy "{} reads users" on public.users`, "{}", role))
	filtered := postgrestest.Open(t, db.As(t, role, "secret"))

	for name, call := range map[string]func() error{
		"LoadPipeline": func() error { _, err := filtered.LoadPipeline(t.Context(), id); return err },
		"Claim":        func() error { _, err := filtered.Claim(t.Context(), id, newToken(), at(1), time.Minute); return err },
		"ApplyCompression": func() error {
			_, _, err := filtered.ApplyCompression(t.Context(), id, at(1), "https://example.org/c.mp4")
			return err
		},
		"FindVanished": func() error { _, _, err := filtered.FindVanished(t.Context(), "", 100); return err },
		"DeleteVideo":  func() error { _, err := filtered.DeleteVideo(t.Context(), id, 0); return err },
		"Owner":        func() error { _, err := filtered.Owner(t.Context(), id); return err },
		"Video":        func() error { _, err := filtered.Video(t.Context(), id); return err },
		"Course":       func() error { _, err := filtered.Course(t.Context(), before.Video.CourseID); return err },
		"UserRole":     func() error { _, err := filtered.UserRole(t.Context(), before.Pipeline.UserID); return err },
	} {
		setup := wantSetupError(t, call())
		if !strings.Contains(setup.Error(), "row-level security") {
			t.Errorf("%s: got %q", name, setup)
		}
	}
	if diff := cmp.Diff(before, load(t, db, id)); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
}

// TestAway tells what may pass by itself from what cannot, and never says the password.
func TestAway(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	const password = "s3cr3t/pa%ss:wo@rd"
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, url string
		setup     bool
		want      string
	}{
		{"nobody listens", "postgres://vidflow:s3cr3t%2Fpa%25ss%3Awo%40rd@" + nobody + "/postgres", false, "connect"},
		{"another password", db.As(t, db.Role, password), true, "refuses the login"},
		{"another user", db.As(t, "nobody", password), true, "refuses the login"},
		{"no such database", strings.Replace(db.AdminURL, "/test_", "/no_test_", 1), true, "does not exist"},
		{"not a URL", "postgres://vidflow:" + password + "@localhost:port/db", true, "DATABASE_URL"},
		{"no URL at all", "host=localhost password='" + password + "' port=x", true, "DATABASE_URL"},
		{"empty host part", "postgres://" + password, true, "DATABASE_URL"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			store, err := postgres.Open(t.Context(), row.url, postgres.WithTimeout(time.Minute)) // for a busy machine
			if err == nil {
				defer store.Close()
				err = store.Check(t.Context())
			}
			if err == nil {
				t.Fatal("no error")
			}
			var setup *postgres.SetupError
			if errors.As(err, &setup) != row.setup {
				t.Errorf("got %#v; is it one that no retry mends? want %v", err, row.setup)
			}
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %q, want it to say %q", err, row.want)
			}
			for _, secret := range []string{"s3cr3t", "wo@rd", "wo%40rd"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error says the password: %q", err)
				}
			}
		})
	}
}

// TestHungLock: a row that somebody else has locked for long is an error, and the call has no effect afterwards.
func TestHungLock(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t, postgres.WithTimeout(300*time.Millisecond))
	patient := postgrestest.Open(t, db.URL)
	c, err := patient.CreateVideo(t.Context(), newVideo(t, db))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.Admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select from pipeline.videos where video_id = $1 for update`, string(c.VideoID)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Store.MarkOverdue(t.Context(), c.VideoID); err == nil {
		t.Error("no error from a call that cannot have the lock")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := must(patient.MarkOverdue(t.Context(), c.VideoID))(t)
	if p.Compression.State != contract.Overdue {
		t.Errorf("got %s", p.Compression.State)
	}
	var timeout string
	role := postgrestest.Open(t, db.URL)
	if err := role.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Admin.QueryRow(t.Context(), `select array_to_string(rolconfig, ' ') from pg_roles where rolname = $1`, db.Role).Scan(&timeout); err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"statement_timeout=15s", "lock_timeout=5s", "idle_in_transaction_session_timeout=15s"} {
		if !strings.Contains(timeout, setting) {
			t.Errorf("the role has %q, want %s", timeout, setting)
		}
	}
}
