package e2e

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// TestDelete: whatever a video has come to when it is deleted, nothing of it is left, and nothing comes back.
func TestDelete(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()

	tests := map[string]func(p *pipeline, id contract.VideoID){
		"while_waiting": func(*pipeline, contract.VideoID) {},
		"half_way": func(p *pipeline, id contract.VideoID) {
			p.transcribe(id, simulator.Take(1))
			if _, err := p.places.API.Await(ctx, id, transcribed); err != nil {
				p.t.Fatal(err)
			}
		},
		"finished": func(p *pipeline, id contract.VideoID) {
			p.transcribe(id, simulator.Take(1))
			p.compress(id)
			if _, err := p.places.API.Await(ctx, id, api.Video.Done); err != nil {
				p.t.Fatal(err)
			}
		},
	}
	for name, reach := range tests {
		t.Run(name, func(t *testing.T) {
			p := p.in(t)
			id := p.create(time.Minute)
			if _, err := p.places.API.Await(ctx, id, asked); err != nil {
				t.Fatal(err)
			}
			reach(p, id)

			if err := p.places.API.Delete(ctx, id); err != nil {
				t.Fatal(err)
			}

			p.await("nothing is left", func(ctx context.Context) error { return p.places.CheckGone(ctx, id) })
			_, err := p.places.API.Pipeline(ctx, id)
			var status *api.StatusError
			if !errors.As(err, &status) || status.Status != http.StatusNotFound {
				t.Errorf("GET of a deleted video: %v, want status 404", err)
			}

			// Results that come later are acknowledged and leave nothing behind.
			p.transcribe(id, simulator.Take(2))
			p.compress(id)
			p.awaitAcknowledged()
			p.await("nothing came back", func(ctx context.Context) error { return p.places.CheckGone(ctx, id) })
		})
	}
}
