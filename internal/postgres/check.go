package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Check finds out whether everything that the Store needs is there and allowed, and sees every row. It fails with a
// *SetupError that names all that is wrong and says how to mend it; with any other error when the database is away or
// read-only, which may pass.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return wrap(s.check(ctx), "check the database")
}

func (s *Store) check(ctx context.Context) error {
	var role string
	var standby bool
	if err := s.pool.QueryRow(ctx, `select current_user::text, pg_is_in_recovery()`).Scan(&role, &standby); err != nil {
		return err
	}
	if standby {
		return errors.New("the server is a standby that cannot be written to")
	}
	for _, step := range []func(context.Context, string) error{s.checkSchema, s.checkPrivileges, s.checkRows} {
		if err := step(ctx, role); err != nil {
			return err
		}
	}
	return nil
}

// needs are the privileges on single columns, or on the whole table where columns is empty.
var needs = []struct {
	table, privilege string
	columns          []string
}{
	{"public.users", "SELECT", []string{"id", "role"}},
	{"public.lecturers", "SELECT", []string{"id", "user_id"}},
	{"public.courses", "SELECT", []string{"id", "lecturer_id"}},
	{"public.videos", "SELECT", videoTableColumns},
	{"public.videos", "INSERT", videoTableColumns},
	{"public.videos", "UPDATE", []string{"transcript_url", "camera_video_url"}},
	{"public.videos", "DELETE", nil},
	{"pipeline.videos", "SELECT, INSERT, UPDATE", nil},
	{"pipeline.claims", "SELECT, INSERT, UPDATE, DELETE", nil},
	{"pipeline.intents", "SELECT, INSERT, UPDATE, DELETE", nil},
	{"pipeline.idempotency_keys", "SELECT, INSERT, UPDATE, DELETE", nil},
	{"pipeline.dead_letters", "SELECT, INSERT, UPDATE, DELETE", nil},
	{versionTable, "SELECT", nil},
}

var videoTableColumns = []string{
	"id", "course_id", "title", "description", "thumbnail_url", "camera_video_url", "snapshot_url", "event_url",
	"transcript_url", "level", "ispublic", "created_at",
}

// checkSchema looks for the tables and columns in the catalogue, which every login may read.
func (s *Store) checkSchema(ctx context.Context, _ string) error {
	rows, err := s.pool.Query(ctx, `
		select n.nspname || '.' || c.relname, coalesce(array_to_string(array_agg(a.attname::text), ','), '')
		from pg_class c
		join pg_namespace n on n.oid = c.relnamespace
		left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
		where n.nspname in ('public', 'pipeline')
		group by 1`)
	if err != nil {
		return err
	}
	there := map[string][]string{}
	var table, columns string
	if _, err := pgx.ForEachRow(rows, []any{&table, &columns}, func() error {
		there[table] = strings.Split(columns, ",")
		return nil
	}); err != nil {
		return err
	}
	var missing []string
	for _, n := range needs {
		have, ok := there[n.table]
		if !ok && !slices.Contains(missing, "table "+n.table) {
			missing = append(missing, "table "+n.table)
		}
		for _, c := range n.columns {
			name := "column " + n.table + "." + c
			if ok && !slices.Contains(have, c) && !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
		}
	}
	if len(missing) > 0 {
		return &SetupError{Problem: "the database lacks " + strings.Join(missing, ", "), Mend: mendSchema}
	}
	return nil
}

// checkPrivileges asks for each privilege by the object's number, so that a schema that may not be used is an answer
// and no error.
func (s *Store) checkPrivileges(ctx context.Context, role string) error {
	var lacks []string
	var b pgx.Batch
	lack := func(what string) func(pgx.Row) error {
		return func(row pgx.Row) error {
			var ok bool
			err := row.Scan(&ok)
			if err == nil && !ok && !slices.Contains(lacks, what) {
				lacks = append(lacks, what)
			}
			return err
		}
	}
	for _, schema := range []string{"public", "pipeline"} {
		b.Queue(`select has_schema_privilege(current_user, oid, 'USAGE') from pg_namespace where nspname = $1`, schema).
			QueryRow(lack("USAGE on schema " + schema))
	}
	const table = `from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname || '.' || c.relname = $1`
	for _, n := range needs {
		for privilege := range strings.SplitSeq(n.privilege, ", ") {
			if len(n.columns) == 0 {
				b.Queue(`select has_table_privilege(current_user, c.oid, $2) `+table, n.table, privilege).
					QueryRow(lack(privilege + " on " + n.table))
			}
			for _, column := range n.columns {
				b.Queue(`select has_column_privilege(current_user, c.oid, $3::text, $2) `+table, n.table, privilege, column).
					QueryRow(lack(privilege + " on " + n.table + " (" + column + ")"))
			}
		}
	}
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	if len(lacks) > 0 {
		return &SetupError{Problem: fmt.Sprintf("the login %q lacks %s", role, strings.Join(lacks, ", ")), Mend: mendRole}
	}
	var version int64
	if err := s.pool.QueryRow(ctx, `select coalesce(max(version_id), 0) from `+versionTable).Scan(&version); err != nil {
		return err
	}
	if version < latestVersion {
		return &SetupError{
			Problem: fmt.Sprintf("the schema pipeline is at version %d and this program needs version %d", version, latestVersion),
			Mend:    mendSchema,
		}
	}
	return nil
}

// checkRows finds out whether row-level security hides rows from the login.
func (s *Store) checkRows(ctx context.Context, role string) error {
	filtered, err := s.filters(ctx)
	if err != nil {
		return err
	}
	if len(filtered) > 0 {
		return filteredError(role, filtered)
	}
	return nil
}

// unfiltered is asked before a row that is not seen is taken for one that is not there: a login that row-level security
// filters, since a policy was changed under a process that runs, must never make a video look deleted.
func (s *Store) unfiltered(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.checkRows(ctx, "")
}

// absent is err, or else the error that says that something is not there.
func (s *Store) absent(ctx context.Context, not error) error {
	if err := s.unfiltered(ctx); err != nil {
		return err
	}
	return not
}

type filter struct{ table, commands string }

//go:embed filters.sql
var selectFilters string

func (s *Store) filters(ctx context.Context) ([]filter, error) {
	rows, err := s.pool.Query(ctx, selectFilters)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f filter, err error) {
		return f, row.Scan(&f.table, &f.commands)
	})
}

func filteredError(role string, filtered []filter) error {
	login := "the login"
	if role != "" {
		login = fmt.Sprintf("the login %q", role)
	}
	var where []string
	for _, f := range filtered {
		where = append(where, fmt.Sprintf("%s (%s)", f.table, f.commands))
	}
	return &SetupError{
		Problem: fmt.Sprintf("row-level security filters %s on %s, and what it does not see would look deleted",
			login, strings.Join(where, ", ")),
		Mend: mendRole + ": it adds policies such as " +
			`CREATE POLICY "vidflow manages videos" ON public.videos TO vidflow USING (true) WITH CHECK (true);` +
			" a restrictive policy that applies to the login has to exempt it",
	}
}
