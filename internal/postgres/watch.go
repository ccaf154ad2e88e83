package postgres

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Mark tells one state of a video from another: all that a caller is shown of it is the same when its mark is.
type Mark struct {
	// Revision is that of pipeline.videos, 0 for a video that is not known there.
	Revision int64
	// Row is a hash of its row in public.videos, 0 when that is gone. The API server changes it without a revision.
	Row int64
}

// Marked is what the database knows of a video, and its mark.
type Marked struct {
	Loaded
	Mark
}

// rowHash is Mark.Row of the table v.
const rowHash = `coalesce(hashtextextended(row(v.id, v.course_id, v.title, v.description, v.thumbnail_url, v.camera_video_url,
	v.snapshot_url, v.event_url, v.transcript_url, v.level, v.ispublic, v.created_at)::text, 0), 0)`

// Videos reads many videos at once. Each of the ids has its entry in the answer.
func (s *Store) Videos(ctx context.Context, ids []contract.VideoID) (map[contract.VideoID]Marked, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectVideos, joined(ids))
	if err != nil {
		return nil, wrap(err, "read videos")
	}
	videos := make(map[contract.VideoID]Marked, len(ids))
	missing := false
	read, err := pgx.CollectRows(rows, scanMarked)
	if err != nil {
		return nil, wrap(err, "read videos")
	}
	for _, m := range read {
		videos[m.id] = m.Marked
		missing = missing || m.Video == nil
	}
	if missing {
		err = s.unfiltered(ctx)
	}
	return videos, wrap(err, "read videos")
}

const selectVideos = `
	select wanted.id::text, case when v.id is null then 0 else ` + rowHash + ` end,
		` + videoColumns + `, ` + pipelineColumns + `, ` + letterColumns + `
	from unnest(string_to_array($1::text, ',')::uuid[]) wanted (id)
	left join public.videos v on v.id = wanted.id
	left join pipeline.videos p on p.video_id = wanted.id` + joinLetters

type markedRow struct {
	id contract.VideoID
	Marked
}

func scanMarked(row pgx.CollectableRow) (m markedRow, err error) {
	var v videoRow
	var p pipelineRow
	var l letterRow
	if err := row.Scan(slices.Concat([]any{&m.id, &m.Row}, v.dest(), p.dest(), l.dest())...); err != nil {
		return m, err
	}
	m.Video, m.DeadLetters = v.video(), l.letters()
	m.Pipeline, err = p.pipeline()
	if m.Pipeline != nil {
		m.Revision = m.Pipeline.Revision
	}
	return m, err
}

// Seen is a video that is there, and in which course.
type Seen struct {
	VideoID  contract.VideoID
	CourseID string
	Mark
}

// Look answers with the marks of these videos and of all videos of these courses, deleted ones left out.
func (s *Store) Look(ctx context.Context, videos []contract.VideoID, courses []string) ([]Seen, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		select v.id::text, v.course_id::text, coalesce(p.revision, 0), `+rowHash+`
		from public.videos v left join pipeline.videos p on p.video_id = v.id
		where (v.id = any(string_to_array($1::text, ',')::uuid[]) or v.course_id = any(string_to_array($2::text, ',')::uuid[]))
			and p.deleted_at is null`, joined(videos), strings.Join(courses, ","))
	if err != nil {
		return nil, wrap(err, "look for videos")
	}
	seen, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v Seen, err error) {
		return v, row.Scan(&v.VideoID, &v.CourseID, &v.Revision, &v.Row)
	})
	return seen, wrap(err, "look for videos")
}

// Owners finds out whose courses these are: the user who lectures each, empty when nobody does. A course that is not
// there has no entry.
func (s *Store) Owners(ctx context.Context, courses []string) (map[string]string, error) {
	owners, err := s.pairs(ctx, `
		select c.id::text, coalesce(l.user_id::text, '')
		from public.courses c left join public.lecturers l on l.id = c.lecturer_id
		where c.id = any(string_to_array($1::text, ',')::uuid[])`, courses)
	return owners, wrap(err, "read the owners of courses")
}

// Roles finds out what users are. A user who is not there has no entry.
func (s *Store) Roles(ctx context.Context, users []string) (map[string]string, error) {
	roles, err := s.pairs(ctx, `
		select id::text, coalesce(role::text, '') from public.users where id = any(string_to_array($1::text, ',')::uuid[])`, users)
	return roles, wrap(err, "read the roles of users")
}

func (s *Store) pairs(ctx context.Context, sql string, ids []string) (map[string]string, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, strings.Join(ids, ","))
	if err != nil {
		return nil, err
	}
	found := make(map[string]string, len(ids))
	var key, value string
	if _, err := pgx.ForEachRow(rows, []any{&key, &value}, func() error { found[key] = value; return nil }); err != nil {
		return nil, err
	}
	if len(found) < len(ids) {
		err = s.unfiltered(ctx)
	}
	return found, err
}

// ChangeCursor is a place in the list of a course's changes: after the change of this video at this time.
type ChangeCursor struct {
	At time.Time
	ID contract.VideoID
}

// Since is the place from which on all is listed that may have become visible after a time of the database's.
func Since(at time.Time) ChangeCursor {
	return ChangeCursor{At: at.Add(-lateCommit), ID: "00000000-0000-0000-0000-000000000000"}
}

// CourseChanges lists the videos of a course that changed, in the order of their changes, deleted ones too. The cursor is
// nil on the last page.
func (s *Store) CourseChanges(ctx context.Context, courseID string, after ChangeCursor, limit int) (
	ids []contract.VideoID, next *ChangeCursor, err error,
) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		select video_id::text, updated_at from pipeline.videos
		where course_id = $1::uuid and (updated_at, video_id) > ($2::timestamptz, $3::uuid)
		order by updated_at, video_id limit $4::int`, courseID, after.At, string(after.ID), limit)
	if err != nil {
		return nil, nil, wrap(err, "list the changes of course %s", courseID)
	}
	var last ChangeCursor
	if _, err = pgx.ForEachRow(rows, []any{&last.ID, &last.At}, func() error {
		ids = append(ids, last.ID)
		return nil
	}); err != nil {
		return nil, nil, wrap(err, "list the changes of course %s", courseID)
	}
	if len(ids) == limit {
		next = &last
	}
	return ids, next, nil
}

// UntrackedSince lists the videos of a course that are not known in the pipeline and were created after a time.
func (s *Store) UntrackedSince(ctx context.Context, courseID string, since time.Time) ([]contract.VideoID, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		select v.id::text from public.videos v
		where v.course_id = $1::uuid and v.created_at > $2::timestamptz
			and not exists (select from pipeline.videos p where p.video_id = v.id)`, courseID, since.Add(-lateCommit))
	if err != nil {
		return nil, wrap(err, "list the untracked videos of course %s", courseID)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[contract.VideoID])
	return ids, wrap(err, "list the untracked videos of course %s", courseID)
}

// Now is the database's clock.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, `select clock_timestamp()`).Scan(&now)
	return now.UTC(), wrap(err, "read the database's clock")
}
