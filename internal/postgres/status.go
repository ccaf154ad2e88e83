package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Deadlines are the worker's times, by which it is told which videos ought to have been seen to.
type Deadlines struct {
	// AskAgainAfter the last ask the next one is due, or giving up.
	AskAgainAfter time.Duration
	// OverdueAfter is how long a compression is waited for before it is overdue, GiveUpAfter how much longer until it is
	// given up.
	OverdueAfter, GiveUpAfter time.Duration
}

// Overview is what the database says of the pipeline as a whole. Its times are those of the database's clock.
type Overview struct {
	Now time.Time
	// Unfinished are the videos that a run has something to wait for, of either track.
	Unfinished int
	// Transcriptions and Compressions that are waited for, Overdue the compressions that are late.
	Transcriptions, Compressions, Overdue Queue
	// Unattended are videos of which a deadline has passed by more than the slack, and nothing was done.
	Unattended Queue
	// Troubled are videos of which the last step failed and is tried again; the oldest is the one for which that is so longest,
	// with the error in words for people.
	Troubled      Queue
	TroubledError string
	// Failed are the videos of which a track was given up; FailedLately those since a day ago.
	Failed, FailedLately int
	// NewestFailed are the tracks that were given up last.
	NewestFailed []GivenUp
	Intents      []IntentQueue
	// OpenLetters are dead letters that were neither sent back nor overtaken, the most of one kind first; NewestLetters
	// the newest of them.
	OpenLetters   []LetterCount
	NewestLetters []OpenLetter
}

// Queue is how many videos wait for something, and which of them the longest.
type Queue struct {
	Count  int
	Oldest *Waiting // nil when there is none
}

// Waiting is a video that waits, and since when; an unattended one since its deadline. The waiting for a transcription
// began when the video was taken up or, after a retry, with the last ask.
type Waiting struct {
	VideoID contract.VideoID
	Since   time.Time
	// Asks of the transcription.
	Asks int
}

// GivenUp is a track that was given up.
type GivenUp struct {
	VideoID contract.VideoID
	Track   contract.Track
	At      *time.Time
	Reason  string
}

// IntentQueue is what is yet to be done of one kind.
type IntentQueue struct {
	Kind   IntentKind
	Count  int
	Oldest *time.Time
	// LastError is that of the oldest that was tried in vain; Attempts the most that any needed.
	LastError string
	Attempts  int
}

// LetterCount is how many dead letters of one topic and class are open.
type LetterCount struct {
	Topic, Class string
	Count        int
	Newest       time.Time
}

// OpenLetter is a dead letter that is open.
type OpenLetter struct {
	Topic, Letter string
	VideoID       contract.VideoID // empty when the record does not tell
	Class, Reason string
	DiedAt        time.Time
}

const (
	// unattendedSlack is how long after its deadline a video counts as unattended: a worker needs a moment after it was
	// away, and clocks differ.
	unattendedSlack = 5 * time.Minute
	// newest is how many of the newest are named.
	newest = `3`
	// transcriptionSince agrees with selectSummary.
	transcriptionSince = `case when ask_limit is null then created_at else coalesce(asked_at, updated_at) end`
)

// Overview reads how the pipeline as a whole is doing, in one round trip.
func (s *Store) Overview(ctx context.Context, d Deadlines) (Overview, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var o Overview
	var b pgx.Batch
	b.Queue(countVideos).QueryRow(func(row pgx.Row) error {
		return row.Scan(&o.Now, &o.Unfinished, &o.Transcriptions.Count, &o.Compressions.Count, &o.Overdue.Count, &o.Failed,
			&o.FailedLately)
	})
	for _, q := range []struct {
		into  *Queue
		since string
		where string
	}{
		{&o.Transcriptions, transcriptionSince, `transcription_state = 'waiting'`},
		{&o.Compressions, `compression_since`, `compression_state = 'waiting'`},
		{&o.Overdue, `compression_since`, `compression_state = 'overdue'`},
	} {
		b.Queue(`select video_id::text, ` + q.since + `, asks from pipeline.videos
			where deleted_at is null and ` + q.where + ` order by 2, 1 limit 1`).QueryRow(oldest(q.into))
	}
	b.Queue(countUnattended, deadlineArgs(d)...).QueryRow(func(row pgx.Row) error { return row.Scan(&o.Unattended.Count) })
	b.Queue(oldestUnattended, deadlineArgs(d)...).QueryRow(oldest(&o.Unattended))
	b.Queue(troubled).QueryRow(func(row pgx.Row) error {
		var w Waiting
		err := row.Scan(&w.VideoID, &w.Since, &w.Asks, &o.TroubledError, &o.Troubled.Count)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		w.Since = w.Since.UTC()
		o.Troubled.Oldest = &w
		return err
	})
	b.Queue(newestFailed).Query(func(rows pgx.Rows) (err error) {
		o.NewestFailed, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g GivenUp, err error) {
			err = row.Scan(&g.VideoID, &g.Track, &g.At, &g.Reason)
			g.At = utc(g.At)
			return g, err
		})
		return err
	})
	b.Queue(countIntents).Query(func(rows pgx.Rows) (err error) {
		o.Intents, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (q IntentQueue, err error) {
			err = row.Scan(&q.Kind, &q.Count, &q.Oldest, &q.LastError, &q.Attempts)
			q.Oldest = utc(q.Oldest)
			return q, err
		})
		return err
	})
	b.Queue(countLetters).Query(func(rows pgx.Rows) (err error) {
		o.OpenLetters, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c LetterCount, err error) {
			err = row.Scan(&c.Topic, &c.Class, &c.Count, &c.Newest)
			c.Newest = c.Newest.UTC()
			return c, err
		})
		return err
	})
	b.Queue(newestLetters).Query(func(rows pgx.Rows) (err error) {
		o.NewestLetters, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l OpenLetter, err error) {
			err = row.Scan(&l.Topic, &l.Letter, &l.VideoID, &l.Class, &l.Reason, &l.DiedAt)
			l.DiedAt = l.DiedAt.UTC()
			return l, err
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return Overview{}, wrap(err, "read the state of the pipeline")
	}
	o.Now = o.Now.UTC()
	return o, nil
}

func oldest(q *Queue) func(pgx.Row) error {
	return func(row pgx.Row) error {
		var w Waiting
		err := row.Scan(&w.VideoID, &w.Since, &w.Asks)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		w.Since = w.Since.UTC()
		q.Oldest = &w
		return err
	}
}

func deadlineArgs(d Deadlines) []any {
	return []any{d.AskAgainAfter.Seconds(), d.OverdueAfter.Seconds(), (d.OverdueAfter + d.GiveUpAfter).Seconds(), unattendedSlack.Seconds()}
}

const (
	countVideos = `
		select clock_timestamp(),
			count(*) filter (where transcription_state = 'waiting' or compression_state in ('waiting', 'overdue')),
			count(*) filter (where transcription_state = 'waiting'),
			count(*) filter (where compression_state = 'waiting'),
			count(*) filter (where compression_state = 'overdue'),
			count(*) filter (where 'given_up' in (transcription_state, compression_state)),
			count(*) filter (where transcription_state = 'given_up' and transcription_error_at > now() - interval '1 day'
				or compression_state = 'given_up' and compression_error_at > now() - interval '1 day')
		from pipeline.videos
		where deleted_at is null and (transcription_state in ('waiting', 'given_up') or compression_state in ('waiting', 'overdue', 'given_up'))`

	// deadlines is when each unfinished video has to be seen to next; the slack is $4.
	deadlines = `
		select video_id, asks, least(
			case when transcription_state = 'waiting' then coalesce(asked_at + make_interval(secs => $1::float8), updated_at) end,
			case compression_state
				when 'waiting' then compression_since + make_interval(secs => $2::float8)
				when 'overdue' then compression_since + make_interval(secs => $3::float8) end) as deadline
		from pipeline.videos
		where deleted_at is null and (transcription_state = 'waiting' or compression_state in ('waiting', 'overdue'))`

	unattended = ` from (` + deadlines + `) d where deadline < now() - make_interval(secs => $4::float8)`

	countUnattended = `select count(*)` + unattended

	oldestUnattended = `select video_id::text, deadline, asks` + unattended + ` order by 2, 1 limit 1`

	troubled = `
		select video_id::text, coalesce(transcription_error_at, updated_at), asks, transcription_error, count(*) over ()
		from pipeline.videos
		where deleted_at is null and transcription_state = 'waiting' and transcription_error is not null
		order by 2, 1 limit 1`

	newestFailed = `
		select video_id::text, track, at, coalesce(reason, '') from (
			select video_id, 'transcription' as track, transcription_error_at as at, transcription_error as reason
			from pipeline.videos where deleted_at is null and transcription_state = 'given_up'
			union all
			select video_id, 'compression', compression_error_at, compression_error
			from pipeline.videos where deleted_at is null and compression_state = 'given_up'
		) f order by at desc nulls last, video_id limit ` + newest

	countIntents = `
		select kinds.kind, count(i.kind), min(i.created_at), coalesce((
				select e.last_error from pipeline.intents e
				where e.kind = kinds.kind and e.last_error is not null order by e.created_at limit 1), ''),
			coalesce(max(i.attempts), 0)
		from (values ('run'), ('cleanup')) kinds (kind)
		left join pipeline.intents i on i.kind = kinds.kind
		group by kinds.kind order by kinds.kind desc`

	// openLetters agrees with letterColumns on what is open.
	openLetters = `
		from pipeline.dead_letters d left join pipeline.videos p on p.video_id = d.video_id
		where d.redriven_at is null and p.deleted_at is null and pipeline.newer(d.origin,
			case d.track when 'transcription' then p.transcript_position else p.compression_position end)`

	countLetters = `select d.topic, d.class, count(*), max(d.died_at)` + openLetters + ` group by 1, 2 order by 3 desc, 1, 2`

	newestLetters = `select d.topic, d.letter, coalesce(d.video_id::text, ''), d.class, d.reason, d.died_at` + openLetters + `
		order by d.died_at desc, d.letter desc limit ` + newest
)

// Schema says at which version the schema pipeline is, and which one this program needs.
func (s *Store) Schema(ctx context.Context) (have, want int64, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, `select coalesce(max(version_id), 0) from `+versionTable).Scan(&have)
	return have, latestVersion, wrap(err, "read the version of the schema")
}

// Sessions are the connections that the server knows under one application name from one address.
type Sessions struct {
	Application string
	// Address is empty for another login's connections, which the server does not tell.
	Address     string
	Connections int
	// LastActive is when any of them did something last; nil when the server does not tell.
	LastActive *time.Time
}

// Clients are the processes of vidflow that are connected to this database.
type Clients struct {
	Now      time.Time
	Sessions []Sessions
	// Pooled says that a pooler is in between: it lends its connections to everybody, so that they do not tell who is there.
	Pooled bool
}

// Clients says who of vidflow is connected: by the names that its processes give themselves, unless DATABASE_URL has
// another.
func (s *Store) Clients(ctx context.Context) (Clients, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var c Clients
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return c, wrap(err, "reach the database")
	}
	defer conn.Release()
	var pid uint32
	if err := conn.QueryRow(ctx, `select clock_timestamp(), pg_backend_pid()`).Scan(&c.Now, &pid); err != nil {
		return c, wrap(err, "read the connections of the database")
	}
	c.Now = c.Now.UTC()
	// A pooler makes numbers of its own up for its clients.
	c.Pooled = pid != conn.Conn().PgConn().PID()
	rows, err := conn.Query(ctx, `
		select application_name, coalesce(host(client_addr), ''), count(*), max(greatest(state_change, query_start))
		from pg_stat_activity
		where datname = current_database() and application_name like 'vidflow %' and pid <> pg_backend_pid()
		group by 1, 2 order by 1, 2`)
	if err != nil {
		return c, wrap(err, "read the connections of the database")
	}
	c.Sessions, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a Sessions, err error) {
		err = row.Scan(&a.Application, &a.Address, &a.Connections, &a.LastActive)
		a.LastActive = utc(a.LastActive)
		return a, err
	})
	return c, wrap(err, "read the connections of the database")
}

// Details is what the database says of one video beside its row and its pipeline.
type Details struct {
	Now     time.Time
	Intents []PendingIntent
	Claims  []StandingClaim
	Letters []VideoLetter
}

// PendingIntent is an intent that is yet to be carried out.
type PendingIntent struct {
	Kind      IntentKind
	CreatedAt time.Time
	// NextAt is when it is tried again, or until when somebody has it in hand.
	NextAt    time.Time
	Attempts  int
	LastError string
}

// StandingClaim is an attempt that is storing a transcript.
type StandingClaim struct {
	Position contract.Position
	Until    time.Time
}

// VideoLetter is a dead letter that is, or seems to be, about a video.
type VideoLetter struct {
	OpenLetter
	Track contract.Track
	// Open says that it was neither sent back nor overtaken.
	Open         bool
	RedrivenAt   *time.Time
	WithoutValue bool
}

// Details reads what is pending of a video, and its newest dead letters.
func (s *Store) Details(ctx context.Context, id contract.VideoID) (Details, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var d Details
	var b pgx.Batch
	b.Queue(`select clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&d.Now) })
	b.Queue(`
		select kind, created_at, next_at, attempts, coalesce(last_error, '') from pipeline.intents
		where video_id = $1::uuid order by kind`, string(id)).Query(func(rows pgx.Rows) (err error) {
		d.Intents, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i PendingIntent, err error) {
			err = row.Scan(&i.Kind, &i.CreatedAt, &i.NextAt, &i.Attempts, &i.LastError)
			i.CreatedAt, i.NextAt = i.CreatedAt.UTC(), i.NextAt.UTC()
			return i, err
		})
		return err
	})
	b.Queue(`
		select (position).topic_id::text, (position).partition, (position)."offset", (position).at, until from pipeline.claims
		where video_id = $1::uuid and until > clock_timestamp() order by until`, string(id)).Query(func(rows pgx.Rows) (err error) {
		d.Claims, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c StandingClaim, err error) {
			var p positionRow
			if err := row.Scan(append(p.dest(), &c.Until)...); err != nil {
				return c, err
			}
			position, err := p.position()
			if position != nil {
				c.Position = *position
			}
			c.Until = c.Until.UTC()
			return c, err
		})
		return err
	})
	b.Queue(videoLetters, string(id)).Query(func(rows pgx.Rows) (err error) {
		d.Letters, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l VideoLetter, err error) {
			err = row.Scan(&l.Topic, &l.Letter, &l.Track, &l.Class, &l.Reason, &l.DiedAt, &l.Open, &l.RedrivenAt, &l.WithoutValue)
			l.VideoID, l.DiedAt, l.RedrivenAt = id, l.DiedAt.UTC(), utc(l.RedrivenAt)
			return l, err
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return Details{}, wrap(err, "read what is pending of video %s", id)
	}
	d.Now = d.Now.UTC()
	return d, nil
}

const videoLetters = `
	select d.topic, d.letter, d.track, d.class, d.reason, d.died_at,
		d.redriven_at is null and pipeline.newer(d.origin,
			case d.track when 'transcription' then p.transcript_position else p.compression_position end),
		d.redriven_at, d.without_value
	from pipeline.dead_letters d left join pipeline.videos p on p.video_id = d.video_id
	where d.video_id = $1::uuid order by d.died_at desc, d.letter desc limit 10`
