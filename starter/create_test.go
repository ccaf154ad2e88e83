package starter_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/golden"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/starter"
)

// TestCreate answers in the old shape, with Temporal and Kafka down.
func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sent := body()
	sent["thumbnail_url"] = "http://cdn.example.org/t.png"
	sent["snapshot_url"] = nil // as good as left out
	sent["transcript_url"] = "https://cdn.example.org/old.json"
	sent["ispublic"] = true
	sent["duration_in_minutes"] = 12 // old clients may send more than is read

	a := w.call(http.MethodPost, w.videosPath(), w.owner(), sent).expect(t, http.StatusCreated)
	got := decode[starter.VideoAnswer](t, a)

	if _, err := contract.ParseVideoID(got.Data.ID); err != nil {
		t.Fatal(err)
	}
	if got.Data.CreatedAt.IsZero() || got.Data.Pipeline.Compression.Since == nil || got.Data.Pipeline.UpdatedAt == nil {
		t.Errorf("a time is missing: %s", a.body)
	}
	thumbnail, transcript := "http://cdn.example.org/t.png", "https://cdn.example.org/old.json"
	want := starter.VideoAnswer{
		Success: true, Message: "Video created. Its transcription is asked for.",
		Data: starter.VideoView{
			ID: got.Data.ID, CourseID: w.course, Title: "Graphs, part 1", Description: "Paths, cycles and trees.",
			CameraVideoURL: "https://cdn.example.org/raw/graphs-1.mp4", ThumbnailURL: &thumbnail, TranscriptURL: &transcript,
			Level: contract.Beginner, IsPublic: true,
			Pipeline: starter.PipelineView{
				State: postgres.Working, Revision: 1,
				Transcription: starter.TranscriptionView{State: contract.Waiting},
				Compression:   starter.CompressionView{State: contract.Waiting},
			},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(starter.VideoView{}, "CreatedAt"),
		cmpopts.IgnoreFields(starter.PipelineView{}, "UpdatedAt"), cmpopts.IgnoreFields(starter.CompressionView{}, "Since")); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	equal(t, "Location", a.header.Get("Location"), "/api/videos/"+got.Data.ID+"/pipeline")

	followed := w.call(http.MethodGet, a.header.Get("Location"), w.owner(), nil).expect(t, http.StatusOK)
	equal(t, "what Location leads to", decode[starter.VideoAnswer](t, followed).Data, got.Data)
	equal(t, "intents", w.intents(), 1)
	if user := w.text(`select user_id from pipeline.videos where video_id = $1`, got.Data.ID); user != w.lecturer {
		t.Errorf("the pipeline remembers user %q, want %q", user, w.lecturer)
	}
}

func (w *world) text(sql string, args ...any) (s string) {
	w.t.Helper()
	if err := w.db.Admin.QueryRow(w.t.Context(), sql, args...).Scan(&s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// TestCreateRefused shows what callers read, for every way of being wrong.
func TestCreateRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.MaxBodyBytes = 20_000 })
	for name, c := range map[string]struct {
		body   any
		status int
	}{
		"nothing":          {nil, 400},
		"not_json":         {`{"title": nope}`, 400},
		"cut_off":          {`{"title": "Gra`, 400},
		"not_an_object":    {`[1]`, 422},
		"empty_object":     {`{}`, 422},
		"wrong_types":      {`{"title":1,"description":true,"camera_video_url":{},"level":[],"ispublic":"yes"}`, 422},
		"too_short":        {with(with(body(), "title", "ab"), "description", "123456789"), 422},
		"too_long":         {with(with(body(), "title", strings.Repeat("a", 256)), "description", strings.Repeat("a", 2001)), 422},
		"unknown_level":    {with(body(), "level", "expert"), 422},
		"null_title":       {with(body(), "title", nil), 422},
		"nul_character":    {with(with(body(), "title", "a\x00bcd"), "description", "0123456789\x00"), 422},
		"urls":             {map[string]any{"title": "abc", "description": "0123456789", "level": "beginner", "camera_video_url": "ftp://example.org/x", "thumbnail_url": "", "snapshot_url": "/relative", "event_url": "https://", "transcript_url": "javascript:alert(1)"}, 422},
		"url_without_host": {with(body(), "camera_video_url", "https://:8080/x"), 422},
		"url_with_newline": {with(body(), "camera_video_url", "https://example.org/x\r\nX-Injected: 1"), 422},
		"too_large":        {with(body(), "more", strings.Repeat("a", 20_000)), 413},
		"nested_deep":      {strings.Repeat("[", 19_000), 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.call(http.MethodPost, w.videosPath(), w.owner(), c.body, "X-Request-Id", "r-1").expect(t, c.status)
			golden.Equal(t, filepath.Join("testdata", "problems", "create_"+name+".json"), a.body)
		})
	}
	t.Run("media_type", func(t *testing.T) {
		a := w.call(http.MethodPost, w.videosPath(), w.owner(), body(), "X-Request-Id", "r-1", "Content-Type", "text/xml").expect(t, 415)
		golden.Equal(t, filepath.Join("testdata", "problems", "create_media_type.json"), a.body)
	})
	t.Run("key_too_long", func(t *testing.T) {
		a := w.call(http.MethodPost, w.videosPath(), w.owner(), body(), "X-Request-Id", "r-1", "Idempotency-Key", strings.Repeat("k", 256)).expect(t, 422)
		golden.Equal(t, filepath.Join("testdata", "problems", "create_key_too_long.json"), a.body)
	})
	t.Run("key_not_text", func(t *testing.T) {
		a := w.call(http.MethodPost, w.videosPath(), w.owner(), body(), "X-Request-Id", "r-1", "Idempotency-Key", "caf\xe9").expect(t, 422)
		golden.Equal(t, filepath.Join("testdata", "problems", "create_key_not_text.json"), a.body)
	})
	t.Run("course_id", func(t *testing.T) {
		a := w.call(http.MethodPost, "/api/courses/42/videos", w.owner(), body(), "X-Request-Id", "r-1").expect(t, 422)
		golden.Equal(t, filepath.Join("testdata", "problems", "create_course_id.json"), a.body)
	})
	equal(t, "videos made by refused requests", w.text(`select count(*)::text from public.videos`), "0")
}

// TestCreateCountsCharacters takes what would be too long in bytes.
func TestCreateCountsCharacters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, b := range []map[string]any{
		with(with(body(), "title", strings.Repeat("ю", 255)), "description", strings.Repeat("語", 2000)),
		with(with(body(), "title", "三个字"), "description", strings.Repeat("🎬", 10)),
	} {
		w.call(http.MethodPost, w.videosPath(), w.owner(), b).expect(t, http.StatusCreated)
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	post := func(token, key string, b any) answer {
		return w.call(http.MethodPost, w.videosPath(), token, b, "Idempotency-Key", key)
	}
	id := func(a answer) string { return decode[starter.VideoAnswer](t, a).Data.ID }
	first := post(w.owner(), "k1", body()).expect(t, http.StatusCreated)
	equal(t, "Idempotency-Replayed of the first", first.header.Get("Idempotency-Replayed"), "")

	t.Run("the same again is answered the same", func(t *testing.T) {
		again := post(w.owner(), "k1", body()).expect(t, http.StatusCreated)
		equal(t, "body", string(again.body), string(first.body))
		equal(t, "Location", again.header.Get("Location"), first.header.Get("Location"))
		equal(t, "Idempotency-Replayed", again.header.Get("Idempotency-Replayed"), "true")
	})
	t.Run("other spelling is the same request", func(t *testing.T) {
		again := post(w.owner(), "k1", `{ "level":"beginner", "ispublic": null, "extra": 1,
			"description":"Paths, cycles and trees.", "camera_video_url":"https://cdn.example.org/raw/graphs-1.mp4", "title":"Graphs, part 1"}`)
		equal(t, "id", id(again.expect(t, http.StatusCreated)), id(first))
	})
	t.Run("another body is refused", func(t *testing.T) {
		a := post(w.owner(), "k1", with(body(), "title", "Graphs, part 2"))
		a.expect(t, http.StatusUnprocessableEntity).code(t, "idempotency_key_reused")
	})
	t.Run("another course is another request", func(t *testing.T) {
		other := w.db.CourseOf(t, w.lecturer)
		a := w.call(http.MethodPost, "/api/courses/"+other+"/videos", w.owner(), body(), "Idempotency-Key", "k1")
		a.expect(t, http.StatusUnprocessableEntity).code(t, "idempotency_key_reused")
	})
	t.Run("another user has keys of their own", func(t *testing.T) {
		a := post(w.admin(), "k1", with(body(), "title", "Graphs, part 3")).expect(t, http.StatusCreated)
		if id(a) == id(first) {
			t.Error("answered with another user's video")
		}
	})
	t.Run("what was deleted since is not made again", func(t *testing.T) {
		made := post(w.owner(), "k2", body()).expect(t, http.StatusCreated)
		w.call(http.MethodDelete, "/api/videos/"+id(made), w.owner(), nil).expect(t, http.StatusNoContent)
		post(w.owner(), "k2", body()).expect(t, http.StatusGone).code(t, "video_deleted")
	})
	t.Run("a refused request does not use the key up", func(t *testing.T) {
		post(w.owner(), "k3", with(body(), "title", "x")).expect(t, http.StatusUnprocessableEntity)
		post(w.owner(), "k3", body()).expect(t, http.StatusCreated)
	})
}

// TestIdempotencyAtOnce sends twenty requests with one key at the same time: one creates, all answer the same.
func TestIdempotencyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	answers := make([]answer, 20)
	token := w.owner()
	for i := range answers {
		wg.Go(func() {
			answers[i] = w.call(http.MethodPost, w.videosPath(), token, body(), "Idempotency-Key", "at once")
		})
	}
	wg.Wait()
	fresh := 0
	for _, a := range answers {
		a.expect(t, http.StatusCreated)
		equal(t, "body", string(a.body), string(answers[0].body))
		if a.header.Get("Idempotency-Replayed") == "" {
			fresh++
		}
	}
	equal(t, "requests that created", fresh, 1)
	equal(t, "videos", w.text(`select count(*)::text from public.videos`), "1")
	equal(t, "intents", w.intents(), 1)
}

// TestAccess is who may do what, on every operation.
func TestAccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(deps *starter.Deps, _ *starter.Config) { deps.Temporal = retrying{} })
	other := w.db.User(t, "lecturer")
	w.db.CourseOf(t, other)
	ownerless := uuid.NewString()
	w.db.Exec(t, `insert into public.courses (id) values ($1)`, ownerless)

	operations := []struct {
		name, method, path string
		body               any
		success            int
	}{
		{"create", http.MethodPost, "/api/courses/{course}/videos", body(), 201},
		{"list", http.MethodGet, "/api/courses/{course}/pipeline", nil, 200},
		{"follow", http.MethodGet, "/api/videos/{video}/pipeline", nil, 200},
		{"put", http.MethodPut, "/api/videos/{video}/transcription", transcript, 202},
		{"retry", http.MethodPost, "/api/videos/{video}/transcription/retry", nil, 202},
		{"delete", http.MethodDelete, "/api/videos/{video}", nil, 204},
		{"delete_pipeline", http.MethodDelete, "/api/videos/{video}/pipeline", nil, 204},
	}
	callers := []struct {
		name, token string
		course      string
		missing     bool
		status      func(success int) int
		code        string
	}{
		{"admin", w.admin(), w.course, false, func(s int) int { return s }, ""},
		{"owner", w.owner(), w.course, false, func(s int) int { return s }, ""},
		{"another_lecturer", w.token(other, starter.Lecturer), w.course, false, func(int) int { return 403 }, ""},
		{"student", w.token(w.lecturer, starter.Student), w.course, false, func(int) int { return 403 }, "role"},
		{"nobody", "", w.course, false, func(int) int { return 401 }, "token_required"},
		{"lecturer_in_a_course_of_nobody", w.owner(), ownerless, false, func(int) int { return 403 }, ""},
		{"admin_in_a_course_of_nobody", w.admin(), ownerless, false, func(s int) int { return s }, ""},
		{"owner_of_what_does_not_exist", w.owner(), uuid.NewString(), true, func(int) int { return 404 }, ""},
		{"student_of_what_does_not_exist", w.token(w.lecturer, starter.Student), uuid.NewString(), true, func(int) int { return 403 }, "role"},
	}
	for _, c := range callers {
		for _, o := range operations {
			t.Run(fmt.Sprintf("%s/%s", c.name, o.name), func(t *testing.T) {
				video := uuid.NewString()
				if !c.missing {
					video = w.db.Video(t, c.course).String()
				}
				path := strings.NewReplacer("{course}", c.course, "{video}", video).Replace(o.path)
				a := w.call(o.method, path, c.token, o.body).expect(t, c.status(o.success))
				if c.code != "" {
					a.code(t, c.code)
				}
			})
		}
	}
}

// transcript is a good one, in canonical form and without an id.
const transcript = `{"transcription":{"duration":2.5,"language":"en","words":[{"text":"hello","start":0,"end":0.5}]}}`
