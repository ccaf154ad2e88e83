package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// PrepareAsk remembers the bytes of ask n before they are published, and answers with the bytes that were remembered
// first: a repeat after a crash between publishing and recording sends the same bytes. It fails with ErrStale when n is
// not the next ask of a video that waits for a transcript.
func (s *Store) PrepareAsk(ctx context.Context, id contract.VideoID, n int, request []byte) ([]byte, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var stored []byte
	var c Change
	err := s.pool.QueryRow(ctx, `
		update pipeline.videos p
		set prepared_ask = $2::int,
			prepared_request = case when p.prepared_ask = $2::int then p.prepared_request else $3::bytea end
		where p.video_id = $1::uuid and p.deleted_at is null and p.transcription_state = 'waiting' and p.asks = $2::int - 1
			and exists (select from public.videos v where v.id = p.video_id)
		returning p.prepared_request, `+changeColumns, string(id), n, request).Scan(append([]any{&stored}, c.dest()...)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrStale
	}
	if err == nil {
		s.announcer.announce(c)
	}
	return stored, wrap(err, "prepare ask %d of video %s", n, id)
}

// RecordAsk records that ask n was published, now, and forgets its bytes and the last error. It does nothing when the
// ask is recorded already or the video is deleted. It fails with ErrNoVideo when the video was never known.
func (s *Store) RecordAsk(ctx context.Context, id contract.VideoID, n int) (contract.Pipeline, error) {
	_, p, err := s.change(ctx, id, `
		update pipeline.videos
		set asks = $2::int, asked_at = clock_timestamp(), prepared_ask = null, prepared_request = null,
			transcription_error = null, transcription_error_at = null
		where video_id = $1::uuid and deleted_at is null and asks < $2::int`, n)
	return known(p, err, "record ask %d of video %s", n, id)
}

// Reopen has the transcription wait again, whatever became of it before, with an ask due now and at most more asks from
// here on. It does nothing unless exactly asks are recorded, so that a repeat after the next ask changes nothing, nor for
// a deleted video. What is stored stays until something newer comes.
//
// An ask that is prepared and not recorded may have been published, so its number counts as used, and its bytes are
// forgotten: the next ask is a request of its own, made from the row as it is then.
func (s *Store) Reopen(ctx context.Context, id contract.VideoID, asks, more int) (contract.Pipeline, error) {
	_, p, err := s.change(ctx, id, `
		update pipeline.videos
		set transcription_state = 'waiting', asks = greatest(asks, prepared_ask), asked_at = null,
			ask_limit = greatest(asks, prepared_ask) + $3::int, prepared_ask = null, prepared_request = null,
			transcription_error = null, transcription_error_at = null
		where video_id = $1::uuid and deleted_at is null and asks = $2::int`, asks, more)
	return known(p, err, "reopen the transcription of video %s", id)
}

// known is the answer of a call that needs a row in the pipeline.
func known(p *contract.Pipeline, err error, format string, args ...any) (contract.Pipeline, error) {
	if err == nil && p == nil {
		err = ErrNoVideo
	}
	if err != nil {
		return contract.Pipeline{}, wrap(err, format, args...)
	}
	return *p, nil
}
