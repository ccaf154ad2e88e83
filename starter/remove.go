package starter

import (
	"context"
	"errors"
	"log/slog"

	"github.com/codeendelea/vidflow/internal/postgres"
)

// remove commits the end of the row, its tombstone and the intent to clean up in one transaction, and needs nothing but
// Postgres. Run and stored transcript are gone a little later, and stay gone whatever arrives.
func (s *Starter) remove(ctx context.Context, in *videoInput) (*struct{}, error) {
	id, caller := in.VideoID.id, callerOf(ctx)
	if err := s.ownVideo(ctx, caller, id); err != nil {
		return nil, err
	}
	switch deleted, err := s.store.DeleteVideo(ctx, id, 0); {
	case err != nil && !errors.Is(err, postgres.ErrNoVideo):
		return nil, storeProblem(err)
	case !deleted: // somebody else was faster
		return nil, noVideo()
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "video deleted", slog.String("video_id", id.String()),
		slog.String("user_id", caller.UserID), slog.String("request_id", requestID(ctx)))
	s.relay.Wake()
	return nil, nil
}
