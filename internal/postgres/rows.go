package postgres

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// positionParam is a pipeline.position made of the parameters $2 to $5, whose values positionArgs gives.
const positionParam = `row($2::uuid, $3::int, $4::bigint, $5::timestamptz)::pipeline.position`

func positionArgs(p contract.Position) []any {
	at := p.Time
	if at.Before(earliest) {
		at = earliest // a record may claim any time; Postgres ends in 4713 BC
	}
	return []any{p.TopicID.String(), p.Partition, p.Offset, at.UTC()}
}

var earliest = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)

const pipelineColumns = `p.video_id::text, p.course_id::text, p.user_id,
	p.transcription_state, p.asks, p.asked_at, p.ask_limit,
	(p.transcript_position).topic_id::text, (p.transcript_position).partition,
	(p.transcript_position)."offset", (p.transcript_position).at,
	p.transcript_duration, p.transcript_language, p.transcript_words,
	p.transcribed_at, p.transcription_error, p.transcription_error_at,
	p.compression_state, p.compression_since,
	(p.compression_position).topic_id::text, (p.compression_position).partition,
	(p.compression_position)."offset", (p.compression_position).at,
	p.compressed_at, p.compression_error, p.compression_error_at,
	p.revision, p.created_at, p.updated_at, p.deleted_at`

const selectPipeline = `select ` + pipelineColumns + ` from pipeline.videos p where p.video_id = $1`

// pipelineRow takes pipelineColumns, also from the empty side of a join.
type pipelineRow struct {
	videoID, courseID, userID *string

	transcriptionState              *contract.TrackState
	asks                            *int
	askedAt                         *time.Time
	askLimit                        *int
	transcript                      positionRow
	duration                        *float64
	language                        *string
	words                           *int
	transcribedAt                   *time.Time
	transcriptionError              *string
	transcriptionErrorAt            *time.Time
	compressionState                *contract.TrackState
	since                           *time.Time
	compression                     positionRow
	compressedAt                    *time.Time
	compressionError                *string
	compressionErrorAt              *time.Time
	revision                        *int64
	createdAt, updatedAt, deletedAt *time.Time
}

func (r *pipelineRow) dest() []any {
	d := []any{&r.videoID, &r.courseID, &r.userID, &r.transcriptionState, &r.asks, &r.askedAt, &r.askLimit}
	d = append(d, r.transcript.dest()...)
	d = append(d, &r.duration, &r.language, &r.words, &r.transcribedAt, &r.transcriptionError, &r.transcriptionErrorAt)
	d = append(d, &r.compressionState, &r.since)
	d = append(d, r.compression.dest()...)
	d = append(d, &r.compressedAt, &r.compressionError, &r.compressionErrorAt)
	return append(d, &r.revision, &r.createdAt, &r.updatedAt, &r.deletedAt)
}

// pipeline is nil for the empty side of a join.
func (r *pipelineRow) pipeline() (*contract.Pipeline, error) {
	if r.videoID == nil {
		return nil, nil
	}
	p := &contract.Pipeline{
		VideoID:  contract.VideoID(*r.videoID),
		CourseID: orEmpty(r.courseID),
		UserID:   orEmpty(r.userID),
		Transcription: contract.Transcription{
			State:       *r.transcriptionState,
			Asks:        *r.asks,
			AskedAt:     utc(r.askedAt),
			AskLimit:    r.askLimit,
			DoneAt:      utc(r.transcribedAt),
			LastError:   r.transcriptionError,
			LastErrorAt: utc(r.transcriptionErrorAt),
		},
		Compression: contract.Compression{
			State:       *r.compressionState,
			Since:       r.since.UTC(),
			DoneAt:      utc(r.compressedAt),
			LastError:   r.compressionError,
			LastErrorAt: utc(r.compressionErrorAt),
		},
		Revision:  *r.revision,
		CreatedAt: r.createdAt.UTC(),
		UpdatedAt: r.updatedAt.UTC(),
		DeletedAt: utc(r.deletedAt),
	}
	if r.words != nil && r.duration != nil {
		p.Transcription.Summary = &contract.TranscriptSummary{
			Duration: *r.duration, Language: orEmpty(r.language), Words: *r.words,
		}
	}
	var err error
	if p.Transcription.Position, err = r.transcript.position(); err != nil {
		return nil, err
	}
	if p.Compression.Position, err = r.compression.position(); err != nil {
		return nil, err
	}
	return p, nil
}

func scanPipeline(row pgx.Row) (*contract.Pipeline, error) {
	var r pipelineRow
	if err := row.Scan(r.dest()...); err != nil {
		return nil, err
	}
	return r.pipeline()
}

type positionRow struct {
	topicID   *string
	partition *int32
	offset    *int64
	at        *time.Time
}

func (r *positionRow) dest() []any { return []any{&r.topicID, &r.partition, &r.offset, &r.at} }

func (r *positionRow) position() (*contract.Position, error) {
	if r.topicID == nil {
		return nil, nil
	}
	topic, err := uuid.Parse(*r.topicID)
	if err != nil {
		return nil, err
	}
	return &contract.Position{TopicID: topic, Partition: *r.partition, Offset: *r.offset, Time: r.at.UTC()}, nil
}

// videoColumns are cast where production may have another type (level is an enum there or text) or where a null would
// be an oddity that must not stop a whole list.
const videoColumns = `v.id::text, v.course_id::text, v.title, v.description,
	v.thumbnail_url, v.camera_video_url, v.snapshot_url, v.event_url, v.transcript_url, v.level::text, v.ispublic, ` + createdAt

// createdAt orders videos; a row without a time is the oldest.
const createdAt = `coalesce(v.created_at, 'epoch')`

type videoRow struct {
	id, courseID, title, description                                   *string
	thumbnailURL, cameraVideoURL, snapshotURL, eventURL, transcriptURL *string
	level                                                              *contract.Level
	isPublic                                                           *bool
	createdAt                                                          *time.Time
}

func (r *videoRow) dest() []any {
	return []any{
		&r.id, &r.courseID, &r.title, &r.description, &r.thumbnailURL, &r.cameraVideoURL, &r.snapshotURL, &r.eventURL,
		&r.transcriptURL, &r.level, &r.isPublic, &r.createdAt,
	}
}

// video is nil for the empty side of a join.
func (r *videoRow) video() *contract.Video {
	if r.id == nil {
		return nil
	}
	v := &contract.Video{
		ID:             contract.VideoID(*r.id),
		CourseID:       orEmpty(r.courseID),
		Title:          orEmpty(r.title),
		Description:    orEmpty(r.description),
		ThumbnailURL:   r.thumbnailURL,
		CameraVideoURL: orEmpty(r.cameraVideoURL),
		SnapshotURL:    r.snapshotURL,
		EventURL:       r.eventURL,
		TranscriptURL:  r.transcriptURL,
		IsPublic:       r.isPublic != nil && *r.isPublic,
		CreatedAt:      r.createdAt.UTC(),
	}
	if r.level != nil {
		v.Level = *r.level
	}
	return v
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
