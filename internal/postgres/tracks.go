package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/codeendelea/vidflow/internal/contract"
)

// MarkOverdue says that the compression is overdue, if it is waited for.
func (s *Store) MarkOverdue(ctx context.Context, id contract.VideoID) (contract.Pipeline, error) {
	_, p, err := s.change(ctx, id, `
		update pipeline.videos set compression_state = 'overdue'
		where video_id = $1::uuid and deleted_at is null and compression_state = 'waiting'`)
	return known(p, err, "mark the compression of video %s as overdue", id)
}

// GiveUp says that a track is no longer waited for, and why, if it still is and, for the transcription, exactly asks
// are recorded: a retry that came between has its way.
func (s *Store) GiveUp(
	ctx context.Context, id contract.VideoID, track contract.Track, asks int, reason string,
) (contract.Pipeline, error) {
	sql, args := `
		update pipeline.videos
		set transcription_state = 'given_up', transcription_error = $2::text, transcription_error_at = clock_timestamp()
		where video_id = $1::uuid and deleted_at is null and transcription_state = 'waiting' and asks = $3::int`,
		[]any{sentence(reason), asks}
	if track == contract.CompressionTrack {
		sql, args = `
			update pipeline.videos
			set compression_state = 'given_up', compression_error = $2::text, compression_error_at = clock_timestamp()
			where video_id = $1::uuid and deleted_at is null and compression_state in ('waiting', 'overdue')`,
			[]any{sentence(reason)}
	}
	_, p, err := s.change(ctx, id, sql, args...)
	return known(p, err, "give up the %s of video %s", track, id)
}

// RecordError remembers the last thing that failed, for callers to see. It writes only when the text differs from what
// is there, leaves a track alone that is done, and does nothing for a video that is deleted or unknown.
func (s *Store) RecordError(ctx context.Context, id contract.VideoID, track contract.Track, message string) error {
	sql := `
		update pipeline.videos p set transcription_error = $2::text, transcription_error_at = clock_timestamp()
		where video_id = $1::uuid and deleted_at is null and transcription_state <> 'done'
			and transcription_error is distinct from $2::text
		returning ` + changeColumns
	if track == contract.CompressionTrack {
		sql = `
			update pipeline.videos p set compression_error = $2::text, compression_error_at = clock_timestamp()
			where video_id = $1::uuid and deleted_at is null and compression_state <> 'done'
				and compression_error is distinct from $2::text
			returning ` + changeColumns
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	err := s.announced(ctx, sql, string(id), sentence(message))
	return wrap(err, "record an error of video %s", id)
}

// ApplyCompression sets the address of the compressed video and says that the track is done, unless something newer is
// applied. The outcome is Applied (now or before), Superseded or Gone; the pipeline is the zero value when the video
// was never known.
func (s *Store) ApplyCompression(
	ctx context.Context, id contract.VideoID, pos contract.Position, url string,
) (Outcome, contract.Pipeline, error) {
	changed, p, err := s.change(ctx, id, applyCompression, append(positionArgs(pos), url)...)
	if err != nil {
		return "", contract.Pipeline{}, wrap(err, "set the compressed video of video %s", id)
	}
	switch {
	case changed:
		return Applied, *p, nil
	case p == nil:
		err, p = s.unfiltered(ctx), &contract.Pipeline{}
	case p.DeletedAt != nil:
	case pos.Same(p.Compression.Position):
		return Applied, *p, nil
	case !pos.Newer(p.Compression.Position):
		return Superseded, *p, nil
	default: // its row is not there
		err = s.unfiltered(ctx)
	}
	if err != nil {
		return "", contract.Pipeline{}, fmt.Errorf("set the compressed video of video %s: %w", id, err)
	}
	return Gone, *p, nil
}

const applyCompression = `
	with wanted as (
		select p.video_id from pipeline.videos p
		where p.video_id = $1::uuid and p.deleted_at is null and pipeline.newer(` + positionParam + `, p.compression_position)
	), video as (
		update public.videos v set camera_video_url = $6::text from wanted w where v.id = w.video_id returning v.id
	)
	update pipeline.videos p
	set compression_state = 'done', compression_position = ` + positionParam + `, compressed_at = clock_timestamp(),
		compression_error = null, compression_error_at = null
	from video where p.video_id = video.id`

// sentence makes a message fit for a column that people read: of bounded length, and text that Postgres can hold.
func sentence(s string) string {
	const maxBytes = 1000
	return contract.Clip(clean(s), maxBytes)
}

func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}
