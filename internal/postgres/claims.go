package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/codeendelea/vidflow/internal/contract"
)

// A transcript is stored at a path that is fixed, by uploads that cannot be conditional and that may land after their
// client has given up. So that the newest result is what stays, an attempt takes a claim before it uploads and releases
// it by applying. Six rules make that right, and none can be left out (the test walks through every order of events):
//
//  1. Exclusive: no claim is granted while an unexpired claim of another position stands; the attempt is told until
//     when, and comes back then. (Claim)
//  2. Per attempt: a claim belongs to one attempt, its token; applying releases that attempt's claim alone. Several
//     attempts for the same position may stand side by side: their bytes are the same. (Claim, ApplyTranscript)
//  3. Refuse older: a claim is refused when something newer is applied; when the same is applied, the work is done. (Claim)
//  4. Fenced: one statement sets address, position and state and releases the claim, if the attempt's claim still
//     stands; else the attempt begins anew, with a new token. (ApplyTranscript)
//  5. Keep on doubt: an attempt whose upload ended in doubt leaves its claim to run out. One that was refused for
//     certain may release it. (the caller, by calling ReleaseClaim or not)
//  6. In time: nothing is sent once the claim has run out. The claim lasts for the upload's time-out plus the longest
//     time that storage may take to finish a request whose client has gone. (the caller, by ttl and the upload's deadline)
//
// Removing the object of a deleted video takes part as the newest position of all: once there is a tombstone no claim is
// granted, and who removes the object waits until ClaimsUntil first.

// Outcome is what became of an attempt to apply a result.
type Outcome string

// The outcomes.
const (
	// Granted: the claim stands, go ahead.
	Granted Outcome = "granted"
	// Superseded: something newer is applied; nothing to do.
	Superseded Outcome = "superseded"
	// Applied: this very result is applied; nothing to do.
	Applied Outcome = "applied"
	// Busy: another position is being stored; come back after Wait.
	Busy Outcome = "busy"
	// Gone: the video is deleted, or there is no row; nothing to do.
	Gone Outcome = "gone"
)

// Claim is the answer to an attempt that wants to store a transcript.
type Claim struct {
	Outcome Outcome
	// Until, on the server's clock, is when the claim runs out if it was granted, and when the others' have run out if
	// it is busy.
	Until time.Time
	// Wait is how long that is from the call on, by the server's clock: what a caller should go by. Counted from before
	// the call it is on the safe side of a granted claim, counted from after it of a busy one.
	Wait time.Duration
	// First says that no transcript is applied yet.
	First bool
}

// Claim asks for leave to store the transcript that has this position, for ttl. The token is the attempt's own; a call
// that is repeated with it renews its claim.
func (s *Store) Claim(
	ctx context.Context, id contract.VideoID, token uuid.UUID, pos contract.Position, ttl time.Duration,
) (Claim, error) {
	c, err := s.claim(ctx, id, token, pos, ttl)
	if err == nil && c.Outcome == Gone {
		err = s.unfiltered(ctx)
	}
	if err != nil {
		return Claim{}, wrap(err, "claim the transcript of video %s", id)
	}
	return c, nil
}

func (s *Store) claim(
	ctx context.Context, id contract.VideoID, token uuid.UUID, pos contract.Position, ttl time.Duration,
) (Claim, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	args := append([]any{string(id)}, positionArgs(pos)...)
	var b pgx.Batch
	b.Queue(lockPipeline, string(id))
	b.Queue(dropExpiredClaims, string(id))
	var granted bool
	b.Queue(grantClaim, append(slices.Clone(args), token.String(), ttl.Seconds())...).Exec(func(tag pgconn.CommandTag) error {
		granted = tag.RowsAffected() > 0
		return nil
	})
	var gone, same, older, first bool
	var own, others *time.Time
	var now time.Time
	b.Queue(explainClaim, append(slices.Clone(args), token.String())...).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&gone, &same, &older, &first, &own, &others, &now)
		if errors.Is(err, pgx.ErrNoRows) { // never known here
			gone = true
			return nil
		}
		return err
	})
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return Claim{}, err
	}
	switch {
	case granted && own != nil:
		return Claim{Outcome: Granted, Until: own.UTC(), Wait: own.Sub(now), First: first}, nil
	case gone:
		return Claim{Outcome: Gone}, nil
	case same:
		return Claim{Outcome: Applied}, nil
	case older:
		return Claim{Outcome: Superseded}, nil
	case others != nil:
		return Claim{Outcome: Busy, Until: others.UTC(), Wait: max(0, others.Sub(now))}, nil
	}
	return Claim{Outcome: Busy, Until: now.UTC()}, nil // what stood in the way ran out between two statements
}

const dropExpiredClaims = `delete from pipeline.claims where video_id = $1 and until <= clock_timestamp()`

const grantClaim = `
	insert into pipeline.claims as c (token, video_id, position, until)
	select $6::uuid, p.video_id, ` + positionParam + `, clock_timestamp() + make_interval(secs => $7::float8)
	from pipeline.videos p
	where p.video_id = $1::uuid and p.deleted_at is null
		and exists (select from public.videos v where v.id = p.video_id)
		and pipeline.newer(` + positionParam + `, p.transcript_position)
		and not exists (
			select from pipeline.claims o
			where o.video_id = p.video_id and o.until > clock_timestamp()
				and not pipeline.same(o.position, ` + positionParam + `))
	on conflict (token) do update set until = excluded.until
		where c.video_id = excluded.video_id and pipeline.same(c.position, excluded.position)`

const explainClaim = `
	select p.deleted_at is not null or not exists (select from public.videos v where v.id = p.video_id),
		pipeline.same(p.transcript_position, ` + positionParam + `),
		p.transcript_position is not null and pipeline.newer(p.transcript_position, ` + positionParam + `),
		p.transcript_position is null,
		(select c.until from pipeline.claims c where c.token = $6::uuid),
		(select max(c.until) from pipeline.claims c
			where c.video_id = p.video_id and not pipeline.same(c.position, ` + positionParam + `)),
		clock_timestamp()
	from pipeline.videos p where p.video_id = $1::uuid`

// ReleaseClaim gives a claim back before it runs out. It is for an attempt that sent nothing or was refused for
// certain, never for one that ended in doubt. Releasing what does not stand does nothing.
func (s *Store) ReleaseClaim(ctx context.Context, token uuid.UUID) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, `delete from pipeline.claims where token = $1`, token.String())
	return wrap(err, "release a claim")
}

// ApplyTranscript sets the address of the transcript, its position and summary, says that the track is done, clears its
// last error and releases the attempt's claim, all in one statement and only if the claim of this token for this
// position still stands. Else ok is false and nothing has changed: the attempt begins anew with a new token, and is
// told then what there is to do. So is a repeat of a call that had its effect, and an attempt that stood side by side
// with the one that applied the same position, whose claim is released: Claim answers both with Applied.
func (s *Store) ApplyTranscript(
	ctx context.Context, token uuid.UUID, id contract.VideoID, pos contract.Position,
	url string, summary contract.TranscriptSummary,
) (ok bool, p contract.Pipeline, err error) {
	args := append(positionArgs(pos), token.String(), url, summary.Duration, clean(summary.Language), summary.Words)
	ok, row, err := s.change(ctx, id, applyTranscript, args...)
	if err != nil {
		return false, contract.Pipeline{}, wrap(err, "set the transcript of video %s", id)
	}
	if row != nil {
		p = *row
	}
	return ok, p, nil
}

const applyTranscript = `
	with claim as (
		delete from pipeline.claims c using pipeline.videos p
		where c.token = $6::uuid and c.video_id = $1::uuid and c.until > clock_timestamp()
			and pipeline.same(c.position, ` + positionParam + `)
			and p.video_id = c.video_id and p.deleted_at is null
			and (p.transcript_position is null or not pipeline.newer(p.transcript_position, ` + positionParam + `))
			and exists (select from public.videos v where v.id = p.video_id)
		returning c.video_id, pipeline.newer(` + positionParam + `, p.transcript_position) as wanted
	), video as (
		update public.videos v set transcript_url = $7::text from claim where v.id = claim.video_id and claim.wanted returning v.id
	)
	update pipeline.videos p
	set transcription_state = 'done', transcript_position = ` + positionParam + `,
		transcript_duration = $8::float8, transcript_language = $9::text, transcript_words = $10::int,
		transcribed_at = clock_timestamp(), transcription_error = null, transcription_error_at = null,
		prepared_ask = null, prepared_request = null
	from video where p.video_id = video.id`

// ClaimsUntil is how long the claims of a video stand, from now on the server's clock; zero when none does. After
// DeleteVideo it can only become less.
func (s *Store) ClaimsUntil(ctx context.Context, id contract.VideoID) (time.Duration, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var seconds float64
	err := s.pool.QueryRow(ctx, `
		select coalesce(extract(epoch from max(until) - clock_timestamp()), 0)::float8
		from pipeline.claims where video_id = $1 and until > clock_timestamp()`, string(id)).Scan(&seconds)
	return max(0, time.Duration(seconds*float64(time.Second))), wrap(err, "read the claims of video %s", id)
}
