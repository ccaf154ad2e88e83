package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Lack is why a video is not finished.
type Lack string

// The lacks. A video with several that are selected counts under the first of these.
const (
	// LackFailed: the transcription was given up. A compression that was given up is no lack: nobody can be asked for it,
	// and a late one is applied without.
	LackFailed Lack = "failed"
	// LackUntracked: it was created elsewhere, has no transcript, and nobody here has asked for one.
	LackUntracked Lack = "untracked"
	// LackWaiting: a result is waited for.
	LackWaiting Lack = "waiting"
	// LackOverdue: the compression is overdue and still waited for.
	LackOverdue Lack = "overdue"
)

// Lacks lists every Lack.
func Lacks() []Lack { return []Lack{LackFailed, LackUntracked, LackWaiting, LackOverdue} }

// UnfinishedQuery selects videos that are not finished.
type UnfinishedQuery struct {
	// Lacks is what the videos lack: any of these, at least one.
	Lacks []Lack
	// CourseID narrows the selection to a course, when not empty.
	CourseID string
	// Since and Until narrow it to videos that were created from Since on and before Until, when not zero.
	Since, Until time.Time
}

// Unfinished is a video that is not finished.
type Unfinished struct {
	Lack Lack
	// Video has id, course, title and time alone.
	Video         contract.Video
	Transcription contract.TrackState
	Compression   contract.TrackState
	// Asks is how many were recorded.
	Asks int
}

// Unfinished lists videos that are not finished, in the order of their ids, after the one given (empty: from the start).
// It looks at limit videos, finished or not, and answers with where to go on; empty at the end. So each call is short,
// however many videos there are and however few of them are selected, and needs no index but that of the ids.
func (s *Store) Unfinished(ctx context.Context, q UnfinishedQuery, after contract.VideoID, limit int) (
	list []Unfinished, next contract.VideoID, err error,
) {
	list, next, err = s.unfinished(ctx, q, string(after), "", limit)
	return list, next, wrap(err, "list videos that are not finished")
}

// StillUnfinished looks at one video again. It answers with nil when the video is no longer selected.
func (s *Store) StillUnfinished(ctx context.Context, q UnfinishedQuery, id contract.VideoID) (*Unfinished, error) {
	list, _, err := s.unfinished(ctx, q, "", string(id), 1)
	if err != nil || len(list) == 0 {
		return nil, wrap(err, "look at video %s", id)
	}
	return &list[0], nil
}

func (s *Store) unfinished(ctx context.Context, q UnfinishedQuery, after, only string, limit int) (
	list []Unfinished, next contract.VideoID, err error,
) {
	if q.CourseID != "" && !isUUID(q.CourseID) {
		return nil, "", ErrNoCourse
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	lacks := make([]string, len(q.Lacks))
	for i, l := range q.Lacks {
		lacks[i] = string(l)
	}
	rows, err := s.pool.Query(ctx, selectUnfinished, orNull(after), orNull(only), limit, strings.Join(lacks, ","),
		orNull(q.CourseID), timeOrNull(q.Since), timeOrNull(q.Until))
	if err != nil {
		return nil, "", err
	}
	var u Unfinished
	var lack *Lack
	var last bool
	_, err = pgx.ForEachRow(rows, []any{
		&u.Video.ID, &u.Video.CourseID, &u.Video.Title, &u.Video.CreatedAt, &u.Transcription, &u.Compression, &u.Asks, &lack, &last,
	}, func() error {
		if lack != nil {
			u.Lack, u.Video.CreatedAt = *lack, u.Video.CreatedAt.UTC()
			list = append(list, u)
		}
		if last {
			next = u.Video.ID
		}
		return nil
	})
	return list, next, err
}

// selectUnfinished has the last video of a full page among its rows also when it is not selected: the page goes on there.
// Pipelines are looked up one by one: joined as a whole, each page would read all of them.
const selectUnfinished = `
	with page as (
		select v.*, row_number() over (order by v.id) = $3::int as last
		from (
			select v.id, coalesce(v.course_id::text, '') as course_id, coalesce(v.title, '') as title, ` + createdAt + ` as created_at,
				coalesce(v.transcript_url, '') = '' as lacks_transcript
			from public.videos v
			where ($1::uuid is null or v.id > $1::uuid) and ($2::uuid is null or v.id = $2::uuid)
			order by v.id limit $3::int
		) v
	), pair as (
		select page.*, coalesce(p.transcription_state, 'untracked') as transcription,
			coalesce(p.compression_state, 'untracked') as compression, coalesce(p.asks, 0) as asks, p.deleted_at is not null as deleted
		from page left join lateral (select * from pipeline.videos p where p.video_id = page.id limit 1) p on true
	), judged as (
		select pair.*, case
			when deleted or course_id <> $5::text
				or created_at < $6::timestamptz or created_at >= $7::timestamptz then null
			when transcription = 'given_up' and 'failed' = any(wanted) then 'failed'
			when transcription = 'untracked' and lacks_transcript and 'untracked' = any(wanted) then 'untracked'
			when 'waiting' in (transcription, compression) and 'waiting' = any(wanted) then 'waiting'
			when compression = 'overdue' and 'overdue' = any(wanted) then 'overdue'
			end as lack
		from pair, string_to_array($4::text, ',') wanted
	)
	select id::text, course_id, title, created_at, transcription, compression, asks, lack, last
	from judged where lack is not null or last order by judged.id`

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
