package starter_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/starter"
)

const helloFile = "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nHello there.\n"

func captionsOf(id fmt.Stringer) string { return "/api/videos/" + id.String() + "/captions.vtt" }

// transcribed stores a transcript as the worker does, at the n-th offset.
func (w *world) transcribed(id contract.VideoID, n int64, words string) {
	w.t.Helper()
	w.objects.put(id.TranscriptPath(), fmt.Sprintf(`{"video_id": %q, "transcription": {"words": [%s]}}`, id, words))
	token, pos := uuid.New(), contract.Position{TopicID: uuid.New(), Offset: n, Time: time.Now().Add(time.Duration(n) * time.Second)}
	if c, err := w.db.Store.Claim(w.t.Context(), id, token, pos, time.Minute); err != nil || c.Outcome != postgres.Granted {
		w.t.Fatalf("claim: %+v, %v", c, err)
	}
	ok, _, err := w.db.Store.ApplyTranscript(w.t.Context(), token, id, pos, "https://cdn.example.org/t.json", contract.TranscriptSummary{Words: 2})
	if !ok || err != nil {
		w.t.Fatalf("apply: %t, %v", ok, err)
	}
}

const hello = `{"text": "Hello", "start": 0.5, "end": 0.7}, {"text": "there.", "start": 0.7, "end": 0.9}`

func TestCaptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create()
	w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusNotFound).code(t, "no_transcript")
	w.call(http.MethodGet, captionsOf(uuid.New()), "", nil).expect(t, http.StatusNotFound).code(t, "no_video")
	w.call(http.MethodGet, "/api/videos/x/captions.vtt", "", nil).expect(t, http.StatusUnprocessableEntity).code(t, "validation_failed")

	w.transcribed(id, 1, hello)
	a := w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusOK)
	equal(t, "file", string(a.body), helloFile)
	equal(t, "Content-Type", a.header.Get("Content-Type"), "text/vtt; charset=utf-8")
	equal(t, "Cache-Control", a.header.Get("Cache-Control"), "public, no-cache")
	tag := a.header.Get("ETag")
	if !strings.HasPrefix(tag, `W/"`) {
		t.Errorf("ETag %q, want a weak one", tag)
	}

	head := w.call(http.MethodHead, captionsOf(id), "", nil).expect(t, http.StatusOK)
	equal(t, "length of a HEAD", head.header.Get("Content-Length"), fmt.Sprint(len(helloFile)))
	equal(t, "ETag of a HEAD", head.header.Get("ETag"), tag)
	equal(t, "reads of the storage", w.objects.wasRead(), 1)

	w.objects.fail(&supabase.Error{Message: "away"})
	for _, known := range []string{tag, strings.TrimPrefix(tag, "W/"), `"other", ` + tag, "*"} {
		a = w.call(http.MethodGet, captionsOf(id), "", nil, "If-None-Match", known).expect(t, http.StatusNotModified)
		equal(t, "body", len(a.body), 0)
		equal(t, "ETag", a.header.Get("ETag"), tag)
		equal(t, "Cache-Control", a.header.Get("Cache-Control"), "public, no-cache")
	}
	w.call(http.MethodGet, captionsOf(id), "", nil, "If-None-Match", `"other"`).expect(t, http.StatusOK)
	w.objects.fail(nil)

	w.transcribed(id, 2, `{"text": "<b>&", "start": 0, "end": 2}`)
	a = w.call(http.MethodGet, captionsOf(id), "", nil, "If-None-Match", tag).expect(t, http.StatusOK)
	equal(t, "file", string(a.body), "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n&lt;b&gt;&amp;\n")
	if a.header.Get("ETag") == tag {
		t.Errorf("a newer transcript has the ETag of the one before")
	}

	w.transcribed(id, 3, "")
	a = w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusOK)
	equal(t, "file of a transcript without words", string(a.body), "WEBVTT\n\n")

	w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNoContent)
	w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusNotFound).code(t, "no_video")
}

// TestCaptionsOfTheOldServer are made of the object alone: no result was applied here.
func TestCaptionsOfTheOldServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.db.Video(t, w.course)
	w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusNotFound).code(t, "no_transcript")
	w.db.Exec(t, `update public.videos set transcript_url = 'https://cdn.example.org/t.json' where id = $1`, id.String())
	w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusNotFound).code(t, "no_transcript")

	w.objects.put(id.TranscriptPath(), `{"transcription": {"words": [`+hello+`]}}`)
	a := w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusOK)
	equal(t, "file", string(a.body), helloFile)
	w.call(http.MethodGet, captionsOf(id), "", nil, "If-None-Match", a.header.Get("ETag")).expect(t, http.StatusNotModified)
	w.objects.put(id.TranscriptPath(), `{"transcription": {"words": []}}`)
	w.call(http.MethodGet, captionsOf(id), "", nil, "If-None-Match", a.header.Get("ETag")).expect(t, http.StatusOK)
}

func TestCaptionsWhenSomethingIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create()
	w.transcribed(id, 1, hello)
	w.objects.fail(&supabase.Error{Message: "dial tcp 192.0.2.1: connection refused"})
	a := w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusServiceUnavailable).code(t, "unavailable")
	if a.header.Get("Retry-After") == "" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %v, want Retry-After, and to be stored nowhere", a.header)
	}
	w.objects.fail(nil)
	w.objects.breakOff(&supabase.Error{Message: "the answer was cut: unexpected EOF"})
	w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusServiceUnavailable).code(t, "unavailable")
	w.objects.breakOff(nil)
	w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusOK)

	w.transcribed(id, 2, `"not a word"`)
	w.call(http.MethodGet, captionsOf(id), "", nil).expect(t, http.StatusInternalServerError).code(t, "internal_error")
}

// TestCaptionsForPagesOfEveryOrigin, whatever the rest of the API allows.
func TestCaptionsForPagesOfEveryOrigin(t *testing.T) {
	t.Parallel()
	const listed, other = "https://app.example.org", "https://elsewhere.example.com"
	for name, row := range map[string]struct {
		allowed     []string
		origin      string
		allow, with string // Access-Control-Allow-Origin and -Credentials
	}{
		"no origins are allowed":    {nil, other, "*", ""},
		"another one is allowed":    {[]string{listed}, other, "*", ""},
		"this one is, with cookies": {[]string{listed}, listed, listed, "true"},
		"all are":                   {[]string{"*"}, other, "*", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.AllowedOrigins = row.allowed })
			id := w.create()
			w.transcribed(id, 1, hello)
			for _, a := range []answer{
				w.call(http.MethodGet, captionsOf(id), "", nil, "Origin", row.origin).expect(t, http.StatusOK),
				w.call(http.MethodGet, captionsOf(uuid.New()), "", nil, "Origin", row.origin).expect(t, http.StatusNotFound),
				w.call(http.MethodOptions, captionsOf(id), "", nil, "Origin", row.origin, "Access-Control-Request-Method", "GET",
					"Access-Control-Request-Headers", "if-none-match").expect(t, http.StatusOK),
			} {
				equal(t, "allowed origin", a.header.Get("Access-Control-Allow-Origin"), row.allow)
				equal(t, "credentials", a.header.Get("Access-Control-Allow-Credentials"), row.with)
			}
			a := w.call(http.MethodGet, pipelineOf(id), w.owner(), nil, "Origin", other)
			if got := a.header.Get("Access-Control-Allow-Origin"); got != "" && name != "all are" {
				t.Errorf("the pipeline may be read from %q", got)
			}
		})
	}
}

// TestCaptionsAreCountedByAddress, apart from everything else and more generously.
func TestCaptionsAreCountedByAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.RateLimit, cfg.RateWindow = 3, time.Hour })
	id := w.create()
	w.transcribed(id, 1, hello)
	for range 30 {
		w.call(http.MethodGet, captionsOf(id), w.owner(), nil).expect(t, http.StatusOK)
	}
	a := w.call(http.MethodGet, captionsOf(id), w.admin(), nil, "Origin", "https://elsewhere.example.com").
		expect(t, http.StatusTooManyRequests).code(t, "too_many_requests")
	if a.header.Get("Retry-After") == "" || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("got %v, want Retry-After, to be read by every page", a.header)
	}
	w.call(http.MethodGet, pipelineOf(id), w.owner(), nil).expect(t, http.StatusOK)
}

// TestCaptionsAreMadeOnce for all who ask at the same time.
func TestCaptionsAreMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create()
	w.transcribed(id, 1, hello)
	var asking sync.WaitGroup
	for range 16 {
		asking.Go(func() {
			if a := w.call(http.MethodGet, captionsOf(id), "", nil); a.status != http.StatusOK || string(a.body) != helloFile {
				t.Errorf("%d: %s", a.status, a.body)
			}
		})
	}
	asking.Wait()
	equal(t, "reads of the storage", w.objects.wasRead(), 1)
}
