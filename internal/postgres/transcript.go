package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// StoredTranscript is what the database knows of a video's transcript.
type StoredTranscript struct {
	// Address is the row's transcript_url; empty when there is none.
	Address string
	// Position is that of the result that was applied last; nil when none was, as for a transcript of the old server's.
	Position *contract.Position
}

// Transcript reads what there is of a video's transcript, or fails with ErrNoVideo when the video is not there or deleted.
func (s *Store) Transcript(ctx context.Context, id contract.VideoID) (StoredTranscript, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var t StoredTranscript
	var p positionRow
	err := s.pool.QueryRow(ctx, selectTranscript, string(id)).Scan(append([]any{&t.Address}, p.dest()...)...)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = s.absent(ctx, ErrNoVideo)
	case err == nil:
		t.Position, err = p.position()
	}
	return t, wrap(err, "read where the transcript of video %s is", id)
}

const selectTranscript = `
	select coalesce(v.transcript_url, ''),
		(p.transcript_position).topic_id::text, (p.transcript_position).partition,
		(p.transcript_position)."offset", (p.transcript_position).at
	from public.videos v
	left join pipeline.videos p on p.video_id = v.id
	where v.id = $1::uuid and p.deleted_at is null`
