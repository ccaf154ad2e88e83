// Package activities holds the side effects that the workflow asks for: each is a method of Activities, has one effect,
// and is idempotent, since it may be tried again after an outcome that nobody learned, or run twice at the same time.
//
// It knows the database, the storage and Kafka through the narrow interfaces below, and nothing of HTTP.
package activities

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/workflows"
)

// Store is the database.
type Store interface {
	LoadPipeline(context.Context, contract.VideoID) (postgres.Loaded, error)
	PrepareAsk(ctx context.Context, id contract.VideoID, n int, request []byte) ([]byte, error)
	RecordAsk(ctx context.Context, id contract.VideoID, n int) (contract.Pipeline, error)
	Claim(ctx context.Context, id contract.VideoID, token uuid.UUID, pos contract.Position, ttl time.Duration) (postgres.Claim, error)
	ReleaseClaim(ctx context.Context, token uuid.UUID) error
	ApplyTranscript(ctx context.Context, token uuid.UUID, id contract.VideoID, pos contract.Position, url string, summary contract.TranscriptSummary) (bool, contract.Pipeline, error)
	ApplyCompression(ctx context.Context, id contract.VideoID, pos contract.Position, url string) (postgres.Outcome, contract.Pipeline, error)
	MarkOverdue(context.Context, contract.VideoID) (contract.Pipeline, error)
	GiveUp(ctx context.Context, id contract.VideoID, track contract.Track, asks int, reason string) (contract.Pipeline, error)
	Reopen(ctx context.Context, id contract.VideoID, asks, more int) (contract.Pipeline, error)
	RecordError(ctx context.Context, id contract.VideoID, track contract.Track, message string) error
}

// Records reads the record that a reference was made from; kafka.ErrGone says that it cannot be had any more.
type Records interface {
	Read(context.Context, contract.Reference) ([]byte, error)
}

// Transcripts is where transcripts are stored. Errors of Put are of type *supabase.Error where storage gave one.
type Transcripts interface {
	Put(ctx context.Context, path string, body []byte) error
	PublicURL(path string) string
}

// Requests publishes the requests for transcriptions and returns once they cannot be lost.
type Requests interface {
	Publish(ctx context.Context, topic string, key, value []byte, headers ...kafka.Header) (partition int32, offset int64, err error)
}

// Config is what the activities and, through the plan, the workflow go by. Zero values mean the defaults.
type Config struct {
	// RequestTopic is where transcriptions are asked for.
	RequestTopic string
	// MaxAsks is after how many asks without a result a transcription is given up. Default 3.
	MaxAsks int
	// Settings are handed to the workflow. Defaults: asked again after 6 h, overdue after 24 h, given up 24 h later,
	// 10 min for the row of an unknown video to appear.
	Settings workflows.Settings
	// HideTitles keeps the titles of videos from the workflow, and so from Temporal.
	HideTitles bool
	// UploadTimeout bounds one upload. Default 20 s.
	UploadTimeout time.Duration
	// Observer is told what happens; nil tells nobody.
	Observer Observer
	// InHandBytes bounds the transcripts that are being read, decoded or uploaded at one time, by the size of their records;
	// one that is larger is in hand alone. Each byte takes about five of memory. Default 16 MiB.
	InHandBytes int64
	// LateUpload is the longest time that storage may take to finish an upload whose client has gone. Default 30 s.
	LateUpload time.Duration
}

func (c Config) withDefaults() Config {
	c.MaxAsks = cmp.Or(c.MaxAsks, 3)
	c.Settings.AskAgainAfter = cmp.Or(c.Settings.AskAgainAfter, 6*time.Hour)
	c.Settings.OverdueAfter = cmp.Or(c.Settings.OverdueAfter, 24*time.Hour)
	c.Settings.GiveUpAfter = cmp.Or(c.Settings.GiveUpAfter, 24*time.Hour)
	c.Settings.UnknownGrace = cmp.Or(c.Settings.UnknownGrace, 10*time.Minute)
	c.UploadTimeout = cmp.Or(c.UploadTimeout, 20*time.Second)
	c.InHandBytes = cmp.Or(c.InHandBytes, 16<<20)
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	c.LateUpload = cmp.Or(c.LateUpload, 30*time.Second)
	return c
}

// Deps are what the activities work with.
type Deps struct {
	Store       Store
	Records     Records
	Transcripts Transcripts
	Requests    Requests
}

// Activities are the steps of the workflow. All methods may be called concurrently.
type Activities struct {
	Deps
	cfg    Config
	log    *slog.Logger
	inHand *semaphore.Weighted // bytes
}

// New returns activities that work with deps.
func New(deps Deps, cfg Config, log *slog.Logger) *Activities {
	cfg = cfg.withDefaults()
	return &Activities{Deps: deps, cfg: cfg, log: log, inHand: semaphore.NewWeighted(cfg.InHandBytes)}
}

// snapshot is what the workflow needs to know of a pipeline.
func (a *Activities) snapshot(p contract.Pipeline) workflows.Snapshot {
	if p.DeletedAt != nil {
		return workflows.Snapshot{Missing: workflows.Deleted}
	}
	limit := a.cfg.MaxAsks
	if p.Transcription.AskLimit != nil {
		limit = *p.Transcription.AskLimit
	}
	s := workflows.Snapshot{
		Revision:      p.Revision,
		Transcription: p.Transcription.State,
		Asks:          p.Transcription.Asks,
		AskLimit:      limit,
		AskedAt:       p.Transcription.AskedAt,
		Compression:   p.Compression.State,
	}
	if s.Compression.Open() {
		s.CompressionSince = &p.Compression.Since
	}
	return s
}

// loaded is the snapshot of what was loaded.
func (a *Activities) loaded(l postgres.Loaded) workflows.Snapshot {
	switch {
	case l.Pipeline == nil:
		return workflows.Snapshot{Missing: workflows.Unknown}
	case l.Gone(): // deleted here, or its row vanished otherwise
		return workflows.Snapshot{Missing: workflows.Deleted}
	}
	return a.snapshot(*l.Pipeline)
}
