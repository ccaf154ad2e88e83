package audit

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed watch.sql
var watchSQL string

// Watch installs the audit's triggers; the connection is the superuser's, the database migrated.
func Watch(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, watchSQL); err != nil {
		return fmt.Errorf("install the audit's triggers: %w", err)
	}
	return nil
}

// videoRows are those that are there, with what the pipeline says of them.
func videoRows(ctx context.Context, conn *pgx.Conn) (map[string]Row, error) {
	rows, err := conn.Query(ctx, `
		select v.id::text, coalesce(v.transcript_url, ''), v.camera_video_url,
			coalesce(p.transcription_state, 'untracked'), coalesce(p.compression_state, 'untracked'),
			(p.transcript_position).topic_id, (p.transcript_position).partition, (p.transcript_position)."offset",
			(p.transcript_position).at,
			(p.compression_position).topic_id, (p.compression_position).partition, (p.compression_position)."offset",
			(p.compression_position).at
		from public.videos v left join pipeline.videos p on p.video_id = v.id`)
	if err != nil {
		return nil, err
	}
	list := map[string]Row{}
	var id, transcript, camera, transcription, compression string
	var t, c position
	_, err = pgx.ForEachRow(rows, append(append(
		[]any{&id, &transcript, &camera, &transcription, &compression}, t.dest()...), c.dest()...), func() error {
		list[id] = Row{
			Transcript: transcript, Camera: camera,
			TrackStates: map[Track]string{Transcription: transcription, Compressed: compression},
			Positions:   map[Track]*Position{Transcription: t.position(), Compressed: c.position()},
		}
		return nil
	})
	return list, err
}

// position as its columns are scanned.
type position struct {
	topic     *[16]byte
	partition *int32
	offset    *int64
	at        *time.Time
}

func (p *position) dest() []any { return []any{&p.topic, &p.partition, &p.offset, &p.at} }

func (p *position) position() *Position {
	if p.topic == nil || p.partition == nil || p.offset == nil || p.at == nil {
		return nil
	}
	return &Position{Topic: *p.topic, Partition: *p.partition, Offset: *p.offset, Time: *p.at}
}

// history is what the triggers saw.
func (e *Evidence) history(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `
		select e.video_id::text, e.kind, coalesce(e.track, ''), coalesce(e.value, ''), e.at,
			p.topic_id, p.partition, p."offset", p.recorded_at
		from audit.events e
		left join audit.events p on e.kind = 'column' and p.kind = 'position' and p.tx = e.tx
			and p.video_id = e.video_id and p.track = e.track
		where e.kind in ('insert', 'column')
		order by e.seq`)
	if err != nil {
		return err
	}
	e.Inserted = map[string]int{}
	var effect Effect
	var kind string
	var p position
	_, err = pgx.ForEachRow(rows, append(
		[]any{&effect.Video, &kind, &effect.Track, &effect.Value, &effect.At}, p.dest()...), func() error {
		if kind == "insert" {
			e.Inserted[effect.Value]++
			return nil
		}
		effect.Position = p.position()
		e.Effects = append(e.Effects, effect)
		return nil
	})
	return err
}

// tracked are the videos that somebody created through the API.
func tracked(ctx context.Context, conn *pgx.Conn) (map[string]bool, error) {
	rows, err := conn.Query(ctx, "select video_id::text from pipeline.videos where user_id is not null")
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	list := make(map[string]bool, len(ids))
	for _, id := range ids {
		list[id] = true
	}
	return list, err
}

// pending are the intents and claims that are left, a sentence each, and the tracks that still wait.
func pending(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, `
		select format('the intent %s of video %s is not carried out: %s attempts, %s', kind, video_id, attempts,
			coalesce(last_error, 'no error'))
		from pipeline.intents
		union all
		select format('video %s is claimed for %s@%s until %s', video_id, (position).partition, (position)."offset", until)
		from pipeline.claims where until > clock_timestamp()
		order by 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// unsettled counts the videos with a track that still waits, and those whose row has vanished without the pipeline having
// noticed.
func unsettled(ctx context.Context, conn *pgx.Conn) (waiting, vanished int, err error) {
	err = conn.QueryRow(ctx, `
		select count(*) filter (where v.id is not null
				and (p.transcription_state = 'waiting' or p.compression_state in ('waiting', 'overdue'))),
			count(*) filter (where v.id is null)
		from pipeline.videos p left join public.videos v on v.id = p.video_id
		where p.deleted_at is null`).Scan(&waiting, &vanished)
	return waiting, vanished, err
}
