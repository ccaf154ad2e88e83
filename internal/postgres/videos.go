package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Loaded is what the database knows of a video.
type Loaded struct {
	// Video is nil when its row is gone or never was.
	Video *contract.Video
	// Pipeline is nil when the video was never known here. Its DeletedAt is set for a deleted one.
	Pipeline *contract.Pipeline
	// DeadLetters are results that came for the video and could not be understood; of a video that is there alone.
	DeadLetters DeadLetters
}

// Gone reports whether nothing is to be done for the video: its row is not there or it is deleted.
func (l Loaded) Gone() bool {
	return l.Video == nil || (l.Pipeline != nil && l.Pipeline.DeletedAt != nil)
}

// State is how far the video is as a whole.
func (l Loaded) State() State { return StateOf(l.Pipeline) }

// State is how far both tracks of a video are together; every video is in exactly one.
type State string

// The states of a video, and which wins when several would do: the first in this list.
const (
	// Failed: a track was given up.
	Failed State = "failed"
	// Overdue: the compression is overdue and still waited for.
	Overdue State = "overdue"
	// Working: a track waits for its result.
	Working State = "working"
	// Done: each track has its result, or one has and nobody asked for the other.
	Done State = "done"
	// Untracked: created elsewhere, and nothing came yet.
	Untracked State = "untracked"
)

// States lists every State.
func States() []State { return []State{Failed, Overdue, Working, Done, Untracked} }

// StateOf says what the SQL function pipeline.overall says; p may be nil.
func StateOf(p *contract.Pipeline) State {
	if p == nil {
		return Untracked
	}
	has := func(s contract.TrackState) bool { return p.Transcription.State == s || p.Compression.State == s }
	switch {
	case has(contract.GivenUp):
		return Failed
	case has(contract.Overdue):
		return Overdue
	case has(contract.Waiting):
		return Working
	case has(contract.Done):
		return Done
	}
	return Untracked
}

// Video reads a video and its pipeline. Both are nil when there is no such video.
func (s *Store) Video(ctx context.Context, id contract.VideoID) (Loaded, error) {
	l, err := s.load(ctx, id)
	return l, wrap(err, "read video %s", id)
}

// LoadPipeline reads what a run starts from. A video that was created elsewhere gets its row in the pipeline, with both
// tracks untracked.
func (s *Store) LoadPipeline(ctx context.Context, id contract.VideoID) (Loaded, error) {
	l, err := s.load(ctx, id)
	if err == nil && l.Video != nil && l.Pipeline == nil {
		if err = s.track(ctx, id); err == nil {
			l, err = s.load(ctx, id)
		}
	}
	return l, wrap(err, "load the pipeline of video %s", id)
}

func (s *Store) load(ctx context.Context, id contract.VideoID) (Loaded, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	l, err := scanLoaded(s.pool.QueryRow(ctx, selectVideo, string(id)))
	if err == nil && l.Video == nil {
		err = s.unfiltered(ctx)
	}
	return l, err
}

const selectVideo = `
	select ` + videoColumns + `, ` + pipelineColumns + `, ` + letterColumns + `
	from (select $1::uuid as id) wanted
	left join public.videos v on v.id = wanted.id
	left join pipeline.videos p on p.video_id = wanted.id` + joinLetters

func scanLoaded(row pgx.Row) (Loaded, error) {
	var v videoRow
	var p pipelineRow
	var l letterRow
	if err := row.Scan(slices.Concat(v.dest(), p.dest(), l.dest())...); err != nil {
		return Loaded{}, err
	}
	pipeline, err := p.pipeline()
	return Loaded{Video: v.video(), Pipeline: pipeline, DeadLetters: l.letters()}, err
}

// track gives a video that was created elsewhere its row in the pipeline.
func (s *Store) track(ctx context.Context, id contract.VideoID) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.announced(ctx, trackVideo, string(id))
}

const trackVideo = `
	insert into pipeline.videos as p (video_id, course_id, transcription_state, compression_state)
	select v.id, v.course_id, 'untracked', 'untracked' from public.videos v where v.id = $1
	on conflict (video_id) do nothing
	returning ` + changeColumns

// Cursor is a place in the list of a course's videos: after the video with this time and id.
type Cursor struct {
	CreatedAt time.Time
	ID        contract.VideoID
}

// ListQuery selects videos of a course.
type ListQuery struct {
	// CourseID must be a UUID; for anything else the list is empty.
	CourseID string
	// States to list; all when empty.
	States []State
	// After is where the previous page ended; nil for the first page.
	After *Cursor
	// Limit is the most videos of a page, at least 1.
	Limit int
}

// CourseVideos lists the videos of a course, newest first, deleted ones left out. The cursor is nil on the last page.
// Videos that are added or deleted between two pages make no other video appear twice or not at all.
func (s *Store) CourseVideos(ctx context.Context, q ListQuery) ([]Loaded, *Cursor, error) {
	if !isUUID(q.CourseID) {
		return nil, nil, nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	states := make([]string, len(q.States))
	for i, st := range q.States {
		states[i] = string(st)
	}
	var after, afterID any
	if q.After != nil {
		after, afterID = q.After.CreatedAt, string(q.After.ID)
	}
	rows, err := s.pool.Query(ctx, selectCourseVideos, q.CourseID, after, afterID, strings.Join(states, ","), q.Limit+1)
	if err != nil {
		return nil, nil, wrap(err, "list the videos of course %s", q.CourseID)
	}
	videos, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Loaded, error) { return scanLoaded(row) })
	if err != nil {
		return nil, nil, wrap(err, "list the videos of course %s", q.CourseID)
	}
	if len(videos) <= q.Limit {
		return videos, nil, nil
	}
	videos = videos[:q.Limit]
	last := videos[q.Limit-1].Video
	return videos, &Cursor{CreatedAt: last.CreatedAt, ID: last.ID}, nil
}

const selectCourseVideos = `
	select ` + videoColumns + `, ` + pipelineColumns + `, ` + letterColumns + `
	from public.videos v
	left join pipeline.videos p on p.video_id = v.id` + joinLetters + `
	where v.course_id = $1::uuid and p.deleted_at is null
		and ($2::timestamptz is null or (` + createdAt + `, v.id) < ($2::timestamptz, $3::uuid))
		and ($4::text = '' or pipeline.overall(p.transcription_state, p.compression_state) = any(string_to_array($4::text, ',')))
	order by ` + createdAt + ` desc, v.id desc
	limit $5::int`

// Course is whose course it is.
type Course struct {
	ID string
	// OwnerID is the user who lectures it; empty when nobody does.
	OwnerID string
}

// Course finds out whose course it is, or fails with ErrNoCourse.
func (s *Store) Course(ctx context.Context, courseID string) (Course, error) {
	if !isUUID(courseID) {
		return Course{}, ErrNoCourse
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var c Course
	err := s.pool.QueryRow(ctx, `
		select c.id::text, coalesce(l.user_id::text, '')
		from public.courses c left join public.lecturers l on l.id = c.lecturer_id
		where c.id = $1::uuid`, courseID).Scan(&c.ID, &c.OwnerID)
	if errors.Is(err, pgx.ErrNoRows) {
		err = s.absent(ctx, ErrNoCourse)
	}
	return c, wrap(err, "read course %s", courseID)
}

// Owner finds out whose course a video is in, or fails with ErrNoVideo when its row is not there.
func (s *Store) Owner(ctx context.Context, id contract.VideoID) (Course, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var c Course
	err := s.pool.QueryRow(ctx, `
		select coalesce(v.course_id::text, ''), coalesce(l.user_id::text, '')
		from public.videos v
		left join public.courses c on c.id = v.course_id
		left join public.lecturers l on l.id = c.lecturer_id
		where v.id = $1::uuid`, string(id)).Scan(&c.ID, &c.OwnerID)
	if errors.Is(err, pgx.ErrNoRows) {
		err = s.absent(ctx, ErrNoVideo)
	}
	return c, wrap(err, "read the owner of video %s", id)
}

// UserRole is the role of a user (student, lecturer or admin), for tokens that carry none; ErrNoUser when there is no
// such user.
func (s *Store) UserRole(ctx context.Context, userID string) (string, error) {
	if !isUUID(userID) {
		return "", ErrNoUser
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var role string
	err := s.pool.QueryRow(ctx, `select coalesce(role::text, '') from public.users where id = $1::uuid`, userID).Scan(&role)
	if errors.Is(err, pgx.ErrNoRows) {
		err = s.absent(ctx, ErrNoUser)
	}
	return role, wrap(err, "read the role of user %s", userID)
}
