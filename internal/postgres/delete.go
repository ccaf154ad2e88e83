package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/tracing"
)

// DeleteVideo removes the row, leaves a tombstone and the intent to clean up in the place of the intent to run, all or
// none. The caller has cleanupAfter to clean up itself before the relay does. It reports whether there was something to
// delete: not when it was deleted before. It fails with ErrNoVideo when the video was never known. The intent keeps the trace
// of ctx.
//
// From then on no claim is granted; those that stand are outwaited (ClaimsUntil) before the transcript is removed.
func (s *Store) DeleteVideo(ctx context.Context, id contract.VideoID, cleanupAfter time.Duration) (deleted bool, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.unfiltered(ctx); err != nil { // it would leave a tombstone and the row
		return false, wrap(err, "delete video %s", id)
	}
	var change *Change
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var b pgx.Batch
		b.Queue(trackVideo, string(id))
		b.Queue(lockPipeline, string(id))
		b.Queue(`delete from public.videos where id = $1`, string(id))
		b.Queue(buryVideo, string(id), cleanupAfter.Seconds(), tracing.Traceparent(ctx)).Query(func(rows pgx.Rows) (err error) {
			change, err = scanBuried(rows)
			return err
		})
		var known bool
		b.Queue(`select exists (select from pipeline.videos where video_id = $1)`, string(id)).
			QueryRow(func(row pgx.Row) error { return row.Scan(&known) })
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		if !known {
			return ErrNoVideo
		}
		return nil
	})
	if err != nil || change == nil {
		return false, wrap(err, "delete video %s", id)
	}
	s.announcer.announce(*change)
	return true, nil
}

// buryVideo turns the row into a tombstone, once. Its row is there when it did.
const buryVideo = `
	with tombstone as (
		update pipeline.videos p set deleted_at = clock_timestamp(), prepared_ask = null, prepared_request = null
		where video_id = $1::uuid and deleted_at is null
		returning p.*
	), run as (
		delete from pipeline.intents i using tombstone t where i.video_id = t.video_id and i.kind = 'run'
	), cleanup as (
		insert into pipeline.intents (video_id, kind, next_at, traceparent)
		select video_id, 'cleanup', clock_timestamp() + make_interval(secs => $2::float8), nullif($3::text, '') from tombstone
		on conflict (video_id, kind) do nothing
	)
	select ` + changeColumns + ` from tombstone p`

// scanBuried is nil when there was nothing to bury.
func scanBuried(rows pgx.Rows) (*Change, error) {
	changes, err := collectChanges(rows)
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	return &changes[0], nil
}

// FindVanished looks for videos that are known here and whose row went without a word (the old server, a deleted
// course), and gives them a tombstone and the intent to clean up. It looks at no more than limit videos, in the order
// of their ids, after the one given (empty: from the start), and answers with where to go on; empty at the end.
//
// A login that row-level security filters would bury every video, so it makes sure first that it sees all.
func (s *Store) FindVanished(ctx context.Context, after contract.VideoID, limit int) (
	vanished []contract.VideoID, next contract.VideoID, err error,
) {
	if err := s.unfiltered(ctx); err != nil {
		return nil, "", wrap(err, "find vanished videos")
	}
	ids, next, err := s.missing(ctx, after, limit)
	if err != nil {
		return nil, "", wrap(err, "find vanished videos")
	}
	for _, id := range ids {
		buried, err := s.buryVanished(ctx, id)
		if err != nil {
			return vanished, after, wrap(err, "bury vanished video %s", id)
		}
		if buried {
			vanished = append(vanished, id)
		}
	}
	return vanished, next, nil
}

func (s *Store) missing(ctx context.Context, after contract.VideoID, limit int) (
	ids []contract.VideoID, next contract.VideoID, err error,
) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	from, args := "", []any{limit}
	if after != "" {
		from, args = "and video_id > $2::uuid", append(args, string(after))
	}
	// Rows are looked up one by one, by their key: joined as a whole, each page would read all of them.
	rows, err := s.pool.Query(ctx, `
		select p.video_id::text, v.id is null
		from (
			select video_id from pipeline.videos where deleted_at is null `+from+` order by video_id limit $1::int
		) p left join lateral (select id from public.videos where id = p.video_id limit 1) v on true
		order by p.video_id`, args...)
	if err != nil {
		return nil, "", err
	}
	var id contract.VideoID
	var gone bool
	n := 0
	_, err = pgx.ForEachRow(rows, []any{&id, &gone}, func() error {
		n++
		if gone {
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	if n == limit {
		next = id
	}
	return ids, next, nil
}

func (s *Store) buryVanished(ctx context.Context, id contract.VideoID) (buried bool, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var b pgx.Batch
	b.Queue(lockPipeline, string(id))
	var change *Change
	b.Queue(buryVideo, string(id), 0.0, "").Query(func(rows pgx.Rows) (err error) {
		change, err = scanBuried(rows)
		return err
	})
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil || change == nil {
		return false, err
	}
	s.announcer.announce(*change)
	return true, nil
}
