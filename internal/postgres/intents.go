package postgres

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// IntentKind is what an intent wants done.
type IntentKind string

// The kinds of intents.
const (
	// IntentRun: start the video's run.
	IntentRun IntentKind = "run"
	// IntentCleanup: stop the run of a deleted video and remove its transcript.
	IntentCleanup IntentKind = "cleanup"
)

// Intent is something that was committed together with a video's row and has yet to be done. Whatever it wants must be
// safe to do twice: whoever has it in hand may die after doing it.
type Intent struct {
	VideoID   contract.VideoID
	Kind      IntentKind
	CreatedAt time.Time
	// Attempts counts how often it was taken in hand, this time included.
	Attempts int
	// Traceparent is the trace that it was committed in; empty when there was none.
	Traceparent string
	// Video has id, title, time and the recording's address alone, as they were when the intent was taken in hand; nil
	// when the video was gone.
	Video *contract.Video
}

// DueIntents takes up to limit intents that are due, the longest due first, in hand for the length of the lease: no
// other call gets them before it has run out.
func (s *Store) DueIntents(ctx context.Context, limit int, lease time.Duration) ([]Intent, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		with due as (
			select video_id, kind from pipeline.intents where next_at <= now()
			order by next_at limit $1::int for update skip locked
		), taken as (
			update pipeline.intents i
			set next_at = clock_timestamp() + make_interval(secs => $2::float8), attempts = i.attempts + 1
			from due where i.video_id = due.video_id and i.kind = due.kind
			returning i.*
		)
		select i.video_id::text, i.kind, i.created_at, i.attempts, coalesce(i.traceparent, ''), p.deleted_at is null,
			v.id is not null, coalesce(v.title, ''), coalesce(v.camera_video_url, ''), `+createdAt+`
		from taken i
		left join public.videos v on v.id = i.video_id
		left join pipeline.videos p on p.video_id = i.video_id`, limit, lease.Seconds())
	if err != nil {
		return nil, wrap(err, "take intents in hand")
	}
	missing := false
	intents, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Intent, error) {
		var i Intent
		var known, there bool
		var v contract.Video
		err := row.Scan(&i.VideoID, &i.Kind, &i.CreatedAt, &i.Attempts, &i.Traceparent, &known, &there, &v.Title, &v.CameraVideoURL, &v.CreatedAt)
		i.CreatedAt = i.CreatedAt.UTC()
		if known && there {
			v.ID, v.CreatedAt = i.VideoID, v.CreatedAt.UTC()
			i.Video = &v
		}
		missing = missing || (known && !there)
		return i, err
	})
	if err == nil && missing {
		err = s.unfiltered(ctx)
	}
	if err != nil {
		return nil, wrap(err, "take intents in hand") // their lease will run out
	}
	return intents, nil
}

// IntentDone forgets an intent. Forgetting one that is not there does nothing. Those that are to be forgotten at the same
// time go in one statement, and wait for the disk together.
func (s *Store) IntentDone(ctx context.Context, id contract.VideoID, kind IntentKind) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	f := forgetting{id: id, kind: kind, done: make(chan error, 1)}
	s.forgetting.mu.Lock()
	s.forgetting.next = append(s.forgetting.next, f)
	if !s.forgetting.busy {
		s.forgetting.busy = true
		s.forgetting.running.Go(func() { s.forget(context.WithoutCancel(ctx)) })
	}
	s.forgetting.mu.Unlock()
	var err error
	select {
	case err = <-f.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return wrap(err, "forget the intent to %s video %s", kind, id)
}

// forgetters are the calls of IntentDone that run.
type forgetters struct {
	running sync.WaitGroup

	mu   sync.Mutex
	busy bool
	next []forgetting
}

type forgetting struct {
	id   contract.VideoID
	kind IntentKind
	done chan error // capacity 1: the call may not wait any more
}

// forget works until nobody calls any more.
func (s *Store) forget(ctx context.Context) {
	for {
		s.forgetting.mu.Lock()
		all := s.forgetting.next
		s.forgetting.next, s.forgetting.busy = nil, len(all) > 0
		s.forgetting.mu.Unlock()
		if len(all) == 0 {
			return
		}
		// In one order, so that two that forget the same do not wait for each other.
		lines := make([]string, len(all))
		for i, f := range all {
			lines[i] = f.id.String() + " " + string(f.kind)
		}
		slices.Sort(lines)
		err := s.forgetAll(ctx, lines)
		for _, f := range all {
			f.done <- err
		}
	}
}

func (s *Store) forgetAll(ctx context.Context, lines []string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, `
		with done as (
			select i.video_id, i.kind
			from unnest(string_to_array($1::text, E'\n')) line
			join pipeline.intents i on i.video_id = split_part(line, ' ', 1)::uuid and i.kind = split_part(line, ' ', 2)
			order by i.video_id, i.kind for update of i
		)
		delete from pipeline.intents i using done where i.video_id = done.video_id and i.kind = done.kind`, strings.Join(lines, "\n"))
	return err
}

// IntentFailed has an intent wait, and remembers why. It does nothing when the intent is no longer there.
func (s *Store) IntentFailed(
	ctx context.Context, id contract.VideoID, kind IntentKind, after time.Duration, reason string,
) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, `
		update pipeline.intents set next_at = clock_timestamp() + make_interval(secs => $3::float8), last_error = $4::text
		where video_id = $1::uuid and kind = $2::text`, string(id), string(kind), after.Seconds(), sentence(reason))
	return wrap(err, "put off the intent to %s video %s", kind, id)
}

// Sweep removes claims that have run out, idempotency keys past KeyLifetime and dead letters past DeadLetterLifetime, at
// most limit of each, and answers with how many it removed. Several may sweep at once. A video that loses a dead letter
// has its revision raised.
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	claims, err := s.pool.Exec(ctx, `
		delete from pipeline.claims where token in (
			select token from pipeline.claims where until <= now() limit $1::int for update skip locked)`, limit)
	if err != nil {
		return 0, wrap(err, "sweep claims")
	}
	keys, err := s.pool.Exec(ctx, `
		delete from pipeline.idempotency_keys where (user_id, key) in (
			select user_id, key from pipeline.idempotency_keys
			where created_at < now() - make_interval(secs => $2::float8)
			limit $1::int for update skip locked)`, limit, KeyLifetime.Seconds())
	if err != nil {
		return 0, wrap(err, "sweep idempotency keys")
	}
	letters, err := s.sweepLetters(ctx, limit)
	if err != nil {
		return 0, wrap(err, "sweep dead letters")
	}
	return int(claims.RowsAffected()+keys.RowsAffected()) + letters, nil
}
