package postgres

import (
	"context"
	"time"
)

// Summary is the whole pipeline in numbers.
type Summary struct {
	Transcription, Compression TrackSummary
	// Overdue is how many of the videos that wait for their compression are overdue.
	Overdue int
	// Outbox is what the relay has yet to do; each kind is there.
	Outbox map[IntentKind]OutboxSummary
}

// TrackSummary is one track of all videos that are not deleted.
type TrackSummary struct {
	// Waiting is how many wait for a result, and OldestWaiting for how long the first of them has.
	Waiting       int
	OldestWaiting time.Duration
	// Failed is how many were given up.
	Failed int
	// OpenDeadLetters were neither sent back nor overtaken by a result that was applied.
	OpenDeadLetters int
}

// OutboxSummary is the intents of one kind.
type OutboxSummary struct {
	Intents int
	Oldest  time.Duration
}

// Summarize reads the summary, all of it as of one moment. It costs as much as there are videos that are not done, which
// an index holds, and dead letters that are kept.
func (s *Store) Summarize(ctx context.Context) (Summary, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	sum := Summary{Outbox: map[IntentKind]OutboxSummary{}}
	var seconds [4]float64
	var outbox [2]OutboxSummary
	t, c := &sum.Transcription, &sum.Compression
	err := s.pool.QueryRow(ctx, selectSummary).Scan(
		&t.Waiting, &seconds[0], &t.Failed, &c.Waiting, &seconds[1], &c.Failed, &sum.Overdue,
		&outbox[0].Intents, &seconds[2], &outbox[1].Intents, &seconds[3], &t.OpenDeadLetters, &c.OpenDeadLetters)
	if err != nil {
		return Summary{}, wrap(err, "summarize the pipeline")
	}
	t.OldestWaiting, c.OldestWaiting = age(seconds[0]), age(seconds[1])
	outbox[0].Oldest, outbox[1].Oldest = age(seconds[2]), age(seconds[3])
	sum.Outbox[IntentRun], sum.Outbox[IntentCleanup] = outbox[0], outbox[1]
	return sum, nil
}

func age(seconds float64) time.Duration { return max(0, time.Duration(seconds*float64(time.Second))) }

// selectSummary counts the waiting for a transcription from when the video was taken up or, after a retry, from the last
// ask: when the retry was is not kept. The condition on videos is that of videos_unfinished_idx.
const selectSummary = `
	with unfinished as (
		select transcription_state as t, compression_state as c, compression_since,
			case when ask_limit is null then created_at else coalesce(asked_at, updated_at) end as transcription_since
		from pipeline.videos
		where deleted_at is null and (transcription_state in ('waiting', 'given_up')
			or compression_state in ('waiting', 'overdue', 'given_up'))
	), tracks as (
		select count(*) filter (where t = 'waiting') as t_waiting,
			min(transcription_since) filter (where t = 'waiting') as t_since,
			count(*) filter (where t = 'given_up') as t_failed,
			count(*) filter (where c in ('waiting', 'overdue')) as c_waiting,
			min(compression_since) filter (where c in ('waiting', 'overdue')) as c_since,
			count(*) filter (where c = 'given_up') as c_failed,
			count(*) filter (where c = 'overdue') as overdue
		from unfinished
	), outbox as (
		select count(*) filter (where kind = 'run') as run, min(created_at) filter (where kind = 'run') as run_since,
			count(*) filter (where kind = 'cleanup') as cleanup, min(created_at) filter (where kind = 'cleanup') as cleanup_since
		from pipeline.intents
	), letters as (
		select count(*) filter (where d.track = 'transcription') as t, count(*) filter (where d.track = 'compression') as c
		from pipeline.dead_letters d left join lateral (
			select deleted_at, transcript_position, compression_position from pipeline.videos
			where video_id = d.video_id limit 1 -- by its key: never a look at all videos
		) p on true
		where d.redriven_at is null and p.deleted_at is null and pipeline.newer(d.origin,
			case d.track when 'transcription' then p.transcript_position else p.compression_position end)
	)
	select t_waiting, coalesce(extract(epoch from now() - t_since), 0)::float8, t_failed,
		c_waiting, coalesce(extract(epoch from now() - c_since), 0)::float8, c_failed, overdue,
		run, coalesce(extract(epoch from now() - run_since), 0)::float8,
		cleanup, coalesce(extract(epoch from now() - cleanup_since), 0)::float8, letters.t, letters.c
	from tracks, outbox, letters`
