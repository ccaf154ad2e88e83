package activities

import (
	"context"
	"errors"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/workflows"
)

// MarkOverdue shows that a compression is late. It is idempotent: only a track that waits becomes overdue.
func (a *Activities) MarkOverdue(ctx context.Context, in workflows.MarkOverdueInput) (workflows.Snapshot, error) {
	return a.changed(a.Store.MarkOverdue(ctx, in.VideoID))
}

// GiveUp shows that a track is no longer waited for. It is idempotent: only an open track is given up, and a
// transcription only if it was not asked for again meanwhile.
func (a *Activities) GiveUp(ctx context.Context, in workflows.GiveUpInput) (workflows.Snapshot, error) {
	s, err := a.changed(a.Store.GiveUp(ctx, in.VideoID, in.Track, in.Asks, in.Reason))
	if err == nil {
		a.log.WarnContext(ctx, "track given up", "video_id", in.VideoID, "track", string(in.Track), "asks", in.Asks, "reason", in.Reason)
	}
	return s, err
}

// Reopen lets a transcription be asked for again, with as many asks as a new video has. It is idempotent: it does
// nothing once the ask that it makes room for is recorded.
func (a *Activities) Reopen(ctx context.Context, in workflows.ReopenInput) (workflows.Snapshot, error) {
	return a.changed(a.Store.Reopen(ctx, in.VideoID, in.Asks, a.cfg.MaxAsks))
}

func (a *Activities) changed(p contract.Pipeline, err error) (workflows.Snapshot, error) {
	if errors.Is(err, postgres.ErrNoVideo) {
		return workflows.Snapshot{Missing: workflows.Unknown}, nil
	}
	if err != nil {
		return workflows.Snapshot{}, err
	}
	return a.snapshot(p), nil
}
