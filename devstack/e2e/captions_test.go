package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/captions"
	"github.com/codeendelea/vidflow/internal/contract"
)

// TestCaptions follows a video's captions as a player sees them: from nothing over the first transcript to a newer one.
func TestCaptions(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	const length = 2 * time.Minute
	id := p.create(length)
	if a := p.captions(ctx, id, ""); a.status != http.StatusNotFound || !strings.Contains(a.body, "no_transcript") {
		t.Fatalf("before there is a transcript: %+v", a)
	}
	p.simulate(soon())
	p.awaitDone(ctx, soon(), length, id)
	first := p.captions(ctx, id, "")
	if want := captionsOf(t, id, simulator.Length(length)); first.status != http.StatusOK || first.body != want {
		t.Fatalf("got %+v, want 200 and\n%s", first, want)
	}
	if first.contentType != "text/vtt; charset=utf-8" || first.tag == "" {
		t.Errorf("Content-Type %q, ETag %q", first.contentType, first.tag)
	}

	// Who knows the file needs no storage, and who does not is told to come back.
	p.stop(starter)
	p.env = p.env.With(envfile.Var{Name: "SUPABASE_URL", Value: "http://127.0.0.1:1"})
	p.launch(starter)
	p.awaitStatus(starter, "degraded")
	if a := p.captions(ctx, id, first.tag); a.status != http.StatusNotModified || a.tag != first.tag || a.body != "" {
		t.Errorf("storage is away and the file is known: %+v, want 304", a)
	}
	if a := p.captions(ctx, id, ""); a.status != http.StatusServiceUnavailable || a.retryAfter == "" {
		t.Errorf("storage is away: %+v, want 503 with Retry-After", a)
	}
	p.stop(starter)
	p.env = p.env.With(envfile.Var{Name: "SUPABASE_URL", Value: need(t, "SUPABASE_URL")})
	p.start(starter)

	key, value := simulator.TranscriptMessage(id, simulator.Nested, simulator.Length(length), simulator.Take(1))
	p.produce(p.topics.transcribed, key, value)
	p.await("there is a newer file", func(ctx context.Context) error {
		a := p.captions(ctx, id, first.tag)
		want := captionsOf(t, id, simulator.Length(length), simulator.Take(1))
		if a.status != http.StatusOK || a.tag == first.tag || a.body != want {
			return fmt.Errorf("it is %d with ETag %s", a.status, a.tag)
		}
		return nil
	})

	if err := p.places.API.Delete(ctx, id); err != nil {
		t.Fatal(err)
	}
	if a := p.captions(ctx, id, first.tag); a.status != http.StatusNotFound || !strings.Contains(a.body, "no_video") {
		t.Errorf("after it was deleted: %+v", a)
	}
}

// captionsOf is the file that a recording of the simulator's has to give.
func captionsOf(t *testing.T, id contract.VideoID, opts ...simulator.Option) string {
	t.Helper()
	file, err := captions.FromTranscript(bytes.NewReader(simulator.Transcript(id, opts...)))
	if err != nil {
		t.Fatal(err)
	}
	return string(file)
}

// captionsAnswer is what a player is told.
type captionsAnswer struct {
	status                             int
	contentType, tag, retryAfter, body string
}

// captions asks as a player does: without a token.
func (p *pipeline) captions(ctx context.Context, id contract.VideoID, known string) captionsAnswer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.places.API.URL+"/api/videos/"+string(id)+"/captions.vtt", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if known != "" {
		req.Header.Set("If-None-Match", known)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return captionsAnswer{
		status: resp.StatusCode, contentType: resp.Header.Get("Content-Type"), tag: resp.Header.Get("ETag"),
		retryAfter: resp.Header.Get("Retry-After"), body: string(body),
	}
}
