package postgres

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// DeadLetterLifetime is how long a dead letter is remembered here. Its topic usually keeps it for a shorter time.
const DeadLetterLifetime = 90 * 24 * time.Hour

// maxLetters is how many dead letters of one video are counted: a flood of them must not make reading the video slow.
const maxLetters = `1000`

// DeadLetter is a result that could not be understood, as far as it is remembered here.
type DeadLetter struct {
	// Origin is the record's position; there is one DeadLetter for each.
	Origin contract.Position
	// Topic of the record, and what its results are for.
	Topic string
	Track contract.Track
	// VideoID is empty when the record does not tell.
	VideoID contract.VideoID
	Class   string
	Reason  string
	// WithoutValue says that the letter was too large for its topic to keep the value.
	WithoutValue bool
	// Letter is where it is in the dead-letter topic, partition/offset, and DiedAt when it was written there.
	Letter string
	DiedAt time.Time
}

// Redriven says that letters of one origin were sent back to their topic.
type Redriven struct {
	Origin  contract.Position
	VideoID contract.VideoID // as of the DeadLetter
	Letters []string         // DeadLetter.Letter of each
	At      time.Time
}

// DeadLetters is what a caller is told of those of a video.
type DeadLetters struct {
	// Count is how many are remembered, and Open how many of them were neither sent back nor overtaken by a result that
	// was applied. Both end at 1000.
	Count, Open int
	// Latest is the last that was written; nil when there is none.
	Latest *LatestDeadLetter
}

// LatestDeadLetter is the dead letter that says most about what is wrong now.
type LatestDeadLetter struct {
	Track  contract.Track
	Class  string
	Reason string
	DiedAt time.Time
}

// RecordDeadLetters remembers letters, and which of them were sent back, all or none. What is known already changes
// nothing, so that a dead-letter topic may be read any number of times and from anywhere; a record that became a dead
// letter again, after it was sent back, counts as open again. The revision of each video that it changed something
// about is raised.
func (s *Store) RecordDeadLetters(ctx context.Context, letters []DeadLetter, redriven []Redriven) error {
	died, ids, err := encodeLetters(letters)
	if err != nil {
		return err
	}
	sent, err := encodeRedriven(redriven, ids)
	if err != nil {
		return err
	}
	// In one order, so that two that record at the same time do not wait for each other.
	videos := strings.Join(slices.Sorted(maps.Keys(ids)), ",")
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var changes []Change
	collect := func(rows pgx.Rows) error {
		more, err := collectChanges(rows)
		changes = append(changes, more...)
		return err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var b pgx.Batch
		b.Queue(trackVideos, videos).Query(collect)
		b.Queue(lockVideos, videos)
		b.Queue(insertLetters, died).Query(collect)
		b.Queue(markRedriven, sent).Query(collect)
		return tx.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return wrap(err, "record dead letters")
	}
	s.announcer.announce(changes...)
	return nil
}

func (s *Store) sweepLetters(ctx context.Context, limit int) (swept int, err error) {
	rows, err := s.pool.Query(ctx, sweepLetters, limit, DeadLetterLifetime.Seconds())
	if err != nil {
		return 0, err
	}
	var changes []Change
	var id, course *string
	var revision *int64
	if _, err := pgx.ForEachRow(rows, []any{&swept, &id, &revision, &course}, func() error {
		if id != nil {
			changes = append(changes, Change{VideoID: contract.VideoID(*id), Revision: *revision, CourseID: *course})
		}
		return nil
	}); err != nil {
		return 0, err
	}
	s.announcer.announce(changes...)
	return swept, nil
}

// originJSON names the columns of the origin in the two lists below.
type originJSON struct {
	TopicID   string    `json:"topic_id"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	At        time.Time `json:"at"`
}

func encodeOrigin(p contract.Position) originJSON {
	return originJSON{p.TopicID.String(), p.Partition, p.Offset, bounded(p.Time)}
}

// bounded is a time that JSON and Postgres can hold: a record may claim any.
func bounded(t time.Time) time.Time {
	switch latest := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC); {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	default:
		return t.UTC()
	}
}

// encodeLetters keeps the latest of each origin: one statement cannot write a line twice.
func encodeLetters(letters []DeadLetter) (text string, videos map[string]bool, err error) {
	type line struct {
		originJSON
		Topic        string    `json:"topic"`
		Track        string    `json:"track"`
		VideoID      *string   `json:"video_id"`
		Class        string    `json:"class"`
		Reason       string    `json:"reason"`
		WithoutValue bool      `json:"without_value"`
		Letter       string    `json:"letter"`
		DiedAt       time.Time `json:"died_at"`
	}
	videos = make(map[string]bool)
	at := make(map[originJSON]int) // by origin without its time
	lines := make([]line, 0, len(letters))
	for _, l := range letters {
		next := line{
			originJSON: encodeOrigin(l.Origin), Topic: sentence(l.Topic), Track: string(l.Track), Class: sentence(l.Class),
			Reason: sentence(l.Reason), WithoutValue: l.WithoutValue, Letter: l.Letter, DiedAt: bounded(l.DiedAt),
		}
		if id := string(l.VideoID); id != "" {
			next.VideoID = &id
			videos[id] = true
		}
		same := next.originJSON
		same.At = time.Time{}
		i, ok := at[same]
		switch {
		case !ok:
			at[same] = len(lines)
			lines = append(lines, next)
		case next.DiedAt.After(lines[i].DiedAt):
			lines[i] = next
		}
	}
	encoded, err := json.Marshal(lines)
	return string(encoded), videos, err
}

func encodeRedriven(redriven []Redriven, videos map[string]bool) (string, error) {
	type line struct {
		originJSON
		Letters string    `json:"letters"`
		Sent    time.Time `json:"sent"`
	}
	lines := make([]line, 0, len(redriven))
	for _, r := range redriven {
		lines = append(lines, line{encodeOrigin(r.Origin), clean(strings.Join(r.Letters, " ")), bounded(r.At)})
		if id := string(r.VideoID); id != "" {
			videos[id] = true
		}
	}
	encoded, err := json.Marshal(lines)
	return string(encoded), err
}

const (
	trackVideos = `
		insert into pipeline.videos as p (video_id, course_id, transcription_state, compression_state)
		select v.id, v.course_id, 'untracked', 'untracked' from public.videos v
		where v.id = any(string_to_array($1::text, ',')::uuid[]) order by v.id
		on conflict (video_id) do nothing
		returning ` + changeColumns

	lockVideos = `
		select from pipeline.videos where video_id = any(string_to_array($1::text, ',')::uuid[]) order by video_id for update`

	insertLetters = `
		with changed as (
			insert into pipeline.dead_letters as d
				(origin, topic, track, video_id, class, reason, without_value, letter, died_at)
			select row(x.topic_id, x.partition, x."offset", x.at)::pipeline.position, x.topic, x.track, x.video_id, x.class,
				x.reason, x.without_value, x.letter, x.died_at
			from jsonb_to_recordset($1::text::jsonb) as x (
				topic_id uuid, partition int, "offset" bigint, at timestamptz, topic text, track text, video_id uuid,
				class text, reason text, without_value boolean, letter text, died_at timestamptz)
			on conflict (((origin).topic_id), ((origin).partition), ((origin)."offset")) do update
			set video_id = coalesce(excluded.video_id, d.video_id), class = excluded.class, reason = excluded.reason,
				without_value = excluded.without_value, letter = excluded.letter, died_at = excluded.died_at, redriven_at = null
			where excluded.died_at > d.died_at
			returning video_id
		)` + raiseRevision

	markRedriven = `
		with changed as (
			update pipeline.dead_letters d set redriven_at = x.sent
			from jsonb_to_recordset($1::text::jsonb) as x (
				topic_id uuid, partition int, "offset" bigint, letters text, sent timestamptz)
			where (d.origin).topic_id = x.topic_id and (d.origin).partition = x.partition and (d.origin)."offset" = x."offset"
				and d.letter = any(string_to_array(x.letters, ' ')) and d.redriven_at is null
			returning d.video_id
		)` + raiseRevision

	// sweepLetters locks the videos in the order of lockVideos.
	sweepLetters = `
		with old as (
			select origin, video_id from pipeline.dead_letters
			where died_at < now() - make_interval(secs => $2::float8)
			limit $1::int for update skip locked
		), swept as (
			delete from pipeline.dead_letters where origin in (select origin from old) returning video_id
		), locked as (
			select video_id from pipeline.videos where video_id in (select video_id from old) order by video_id for update
		), raised as (
			update pipeline.videos p set revision = revision + 1
			where video_id in (select video_id from locked) and deleted_at is null
			returning p.*
		)
		select (select count(*) from swept), ` + changeColumns + `
		from (select) one left join raised p on true`

	// raiseRevision has the trigger raise it: once, whatever this says.
	raiseRevision = `
		update pipeline.videos p set revision = p.revision + 1
		from (select distinct video_id from changed) c where p.video_id = c.video_id and p.deleted_at is null
		returning ` + changeColumns
)

// joinLetters adds to videos v and pipelines p, which may be absent, what letterColumns are about.
const joinLetters = `
	left join lateral (
		select count(*) as n, count(*) filter (where redriven_at is null and pipeline.newer(origin,
			case track when 'transcription' then p.transcript_position else p.compression_position end)) as open
		from (select * from pipeline.dead_letters d where d.video_id = v.id order by d.died_at desc limit ` + maxLetters + `) newest
	) letters on true
	left join lateral (
		select d.track, d.class, d.reason, d.died_at from pipeline.dead_letters d
		where d.video_id = v.id order by d.died_at desc, d.letter desc limit 1
	) latest on true`

const letterColumns = `letters.n, letters.open, latest.track, latest.class, latest.reason, latest.died_at`

// letterRow takes letterColumns.
type letterRow struct {
	count, open          int
	track, class, reason *string
	diedAt               *time.Time
}

func (r *letterRow) dest() []any {
	return []any{&r.count, &r.open, &r.track, &r.class, &r.reason, &r.diedAt}
}

func (r *letterRow) letters() DeadLetters {
	l := DeadLetters{Count: r.count, Open: r.open}
	if r.diedAt != nil {
		l.Latest = &LatestDeadLetter{
			Track: contract.Track(orEmpty(r.track)), Class: orEmpty(r.class), Reason: orEmpty(r.reason), DiedAt: r.diedAt.UTC(),
		}
	}
	return l
}
