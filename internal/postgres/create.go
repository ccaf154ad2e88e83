package postgres

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/tracing"
)

// NewVideo is a video to create.
type NewVideo struct {
	// Video is the row; its id is chosen by the caller. CreatedAt zero means now.
	Video contract.Video
	// UserID is who creates it: remembered, and the owner of the idempotency key.
	UserID string
	// IdempotencyKey, when not empty, makes a repeat of the call answer with the video created first. BodyHash says
	// whether it is a repeat. Keys are remembered for at least KeyLifetime.
	IdempotencyKey string
	BodyHash       []byte
	// RunAfter is how long the caller has to start the run itself before the relay does.
	RunAfter time.Duration
}

// Created is the video that a call to CreateVideo led to.
type Created struct {
	// VideoID is that of the video created now or, by a repeat, first.
	VideoID contract.VideoID
	// Loaded is the video as it is now; Gone when it was deleted since.
	Loaded
	// Replayed says that it had been created before.
	Replayed bool
}

// KeyLifetime is how long an idempotency key is remembered at least.
const KeyLifetime = 24 * time.Hour

// CreateVideo adds the row, its pipeline with both tracks waiting, the intent to run and the idempotency key, all or
// none. It fails with ErrNoCourse or ErrKeyReused. A repeat with the same key, or without a key but with the same id,
// creates nothing and answers with what was created first. The intent keeps the trace of ctx.
func (s *Store) CreateVideo(ctx context.Context, n NewVideo) (Created, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if !isUUID(n.Video.CourseID) {
		return Created{}, ErrNoCourse
	}
	c, err := s.createNew(ctx, n)
	if hasClass(err, classIntegrity) {
		c, err = s.createOrRepeat(ctx, n)
	}
	switch {
	case err == nil:
		if !c.Replayed {
			s.announcer.announce(Change{VideoID: c.VideoID, Revision: c.Pipeline.Revision, CourseID: c.Pipeline.CourseID})
		}
		return c, nil
	case errors.Is(err, ErrKeyReused):
		return Created{}, ErrKeyReused
	case hasCode(err, codeForeignKey):
		return Created{}, ErrNoCourse
	}
	return Created{}, wrap(err, "create video %s", n.Video.ID)
}

// createNew is for a video and a key that are not there yet, which is nearly always so: one transaction in one round trip.
// Where one of them is there it violates a constraint and does nothing.
func (s *Store) createNew(ctx context.Context, n NewVideo) (Created, error) {
	var b pgx.Batch
	if n.IdempotencyKey != "" {
		b.Queue(insertKey, n.UserID, n.IdempotencyKey, n.BodyHash, string(n.Video.ID))
	}
	var now time.Time
	b.Queue(insertPipeline+` returning created_at`, string(n.Video.ID), n.Video.CourseID, n.UserID).
		QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
	b.Queue(insertVideoRow, videoArgs(n.Video)...)
	b.Queue(insertRun, runArgs(ctx, n)...)
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return Created{}, err
	}
	now = now.UTC()
	video := n.Video
	if video.CreatedAt.IsZero() {
		video.CreatedAt = now
	}
	video.CreatedAt = video.CreatedAt.UTC().Truncate(time.Microsecond) // as it is kept
	return Created{VideoID: video.ID, Loaded: Loaded{Video: &video, Pipeline: &contract.Pipeline{
		VideoID: video.ID, CourseID: video.CourseID, UserID: n.UserID,
		Transcription: contract.Transcription{State: contract.Waiting},
		Compression:   contract.Compression{State: contract.Waiting, Since: now},
		Revision:      1, CreatedAt: now, UpdatedAt: now,
	}}}, nil
}

// createOrRepeat finds out what is there, and does the rest.
func (s *Store) createOrRepeat(ctx context.Context, n NewVideo) (Created, error) {
	c := Created{VideoID: n.Video.ID}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if n.IdempotencyKey != "" {
			first, err := takeKey(ctx, tx, n)
			if err != nil {
				return err
			}
			if first != n.Video.ID {
				c.VideoID, c.Replayed = first, true
			}
		}
		if !c.Replayed {
			created, err := insertVideo(ctx, tx, n)
			if err != nil {
				return err
			}
			c.Replayed = !created
		}
		var err error
		c.Loaded, err = scanLoaded(tx.QueryRow(ctx, selectVideo, string(c.VideoID)))
		return err
	})
	return c, err
}

const (
	insertKey = `
		insert into pipeline.idempotency_keys as k (user_id, key, body_hash, video_id) values ($1, $2, $3, $4)`

	insertPipeline = `
		insert into pipeline.videos (video_id, course_id, user_id, transcription_state, compression_state)
		values ($1, $2, nullif($3::text, ''), 'waiting', 'waiting')`

	// VALUES, and not SELECT, lets the server give $10 the column's own type, text or enum.
	insertVideoRow = `
		insert into public.videos (id, course_id, title, description, thumbnail_url, camera_video_url, snapshot_url, event_url,
			transcript_url, level, ispublic, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce($12::timestamptz, now()))`

	insertRun = `
		insert into pipeline.intents (video_id, kind, next_at, traceparent)
		values ($1, 'run', now() + make_interval(secs => $2::float8), nullif($3::text, ''))`
)

func videoArgs(v contract.Video) []any {
	return []any{
		string(v.ID), v.CourseID, v.Title, v.Description, v.ThumbnailURL, v.CameraVideoURL, v.SnapshotURL, v.EventURL,
		v.TranscriptURL, string(v.Level), v.IsPublic, timeOrNull(v.CreatedAt),
	}
}

func runArgs(ctx context.Context, n NewVideo) []any {
	return []any{string(n.Video.ID), n.RunAfter.Seconds(), tracing.Traceparent(ctx)}
}

// takeKey remembers the key for this video, or answers with the video that has it. Who comes second with the same key
// waits for the first one's transaction.
func takeKey(ctx context.Context, tx pgx.Tx, n NewVideo) (contract.VideoID, error) {
	_, err := tx.Exec(ctx, insertKey+`
		on conflict (user_id, key) do update
			set body_hash = excluded.body_hash, video_id = excluded.video_id, created_at = now()
			where k.created_at < now() - make_interval(secs => $5::float8)`,
		n.UserID, n.IdempotencyKey, n.BodyHash, string(n.Video.ID), KeyLifetime.Seconds())
	if err != nil {
		return "", err
	}
	var first contract.VideoID
	var hash []byte
	err = tx.QueryRow(ctx, `select video_id::text, body_hash from pipeline.idempotency_keys where user_id = $1 and key = $2`,
		n.UserID, n.IdempotencyKey).Scan(&first, &hash)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(hash, n.BodyHash) {
		return "", ErrKeyReused
	}
	return first, nil
}

// insertVideo reports whether it did: not when the id was there before, alive or deleted.
func insertVideo(ctx context.Context, tx pgx.Tx, n NewVideo) (bool, error) {
	tag, err := tx.Exec(ctx, insertPipeline+` on conflict (video_id) do nothing`, string(n.Video.ID), n.Video.CourseID, n.UserID)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	if _, err := tx.Exec(ctx, insertVideoRow, videoArgs(n.Video)...); err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, insertRun, runArgs(ctx, n)...)
	return err == nil, err
}
