package postgres

import (
	"context"
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
		)
		update pipeline.intents i
		set next_at = clock_timestamp() + make_interval(secs => $2::float8), attempts = i.attempts + 1
		from due where i.video_id = due.video_id and i.kind = due.kind
		returning i.video_id::text, i.kind, i.created_at, i.attempts, coalesce(i.traceparent, '')`, limit, lease.Seconds())
	if err != nil {
		return nil, wrap(err, "take intents in hand")
	}
	intents, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Intent, error) {
		var i Intent
		err := row.Scan(&i.VideoID, &i.Kind, &i.CreatedAt, &i.Attempts, &i.Traceparent)
		i.CreatedAt = i.CreatedAt.UTC()
		return i, err
	})
	return intents, wrap(err, "take intents in hand")
}

// IntentDone forgets an intent. Forgetting one that is not there does nothing.
func (s *Store) IntentDone(ctx context.Context, id contract.VideoID, kind IntentKind) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, `delete from pipeline.intents where video_id = $1 and kind = $2`, string(id), string(kind))
	return wrap(err, "forget the intent to %s video %s", kind, id)
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
