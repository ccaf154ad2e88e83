package starter_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/starter"
)

// TestFollow shows every state that a caller can see.
func TestFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	follow := func(id contract.VideoID) starter.PipelineView {
		a := w.call(http.MethodGet, pipelineOf(id), w.owner(), nil).expect(t, http.StatusOK)
		return decode[starter.VideoAnswer](t, a).Data.Pipeline
	}

	t.Run("created elsewhere", func(t *testing.T) {
		got := follow(w.db.Video(t, w.course))
		equal(t, "pipeline", got, starter.PipelineView{
			State:         postgres.Untracked,
			Transcription: starter.TranscriptionView{State: contract.Untracked},
			Compression:   starter.CompressionView{State: contract.Untracked},
		})
	})
	t.Run("asked, failed, and transcribed", func(t *testing.T) {
		id := w.create()
		if _, err := w.db.Store.RecordAsk(t.Context(), id, 1); err != nil {
			t.Fatal(err)
		}
		if err := w.db.Store.RecordError(t.Context(), id, contract.TranscriptionTrack, "storage is away"); err != nil {
			t.Fatal(err)
		}
		got := follow(id)
		tr := got.Transcription
		if got.State != postgres.Working || tr.State != contract.Waiting || tr.Asks != 1 || tr.AskedAt == nil ||
			tr.LastError == nil || *tr.LastError != "storage is away" || tr.LastErrorAt == nil {
			t.Errorf("after a failure: %+v", got)
		}

		pos := contract.NewPosition(uuid.New(), 0, 1, time.Now(), time.Now())
		token := uuid.New()
		if c, err := w.db.Store.Claim(t.Context(), id, token, pos, time.Minute); err != nil || c.Outcome != postgres.Granted {
			t.Fatal(c, err)
		}
		summary := contract.TranscriptSummary{Duration: 2.5, Language: "en", Words: 3}
		if ok, _, err := w.db.Store.ApplyTranscript(t.Context(), token, id, pos, "https://cdn.example.org/t.json", summary); !ok || err != nil {
			t.Fatal(ok, err)
		}
		before := got.Revision
		got = follow(id)
		tr = got.Transcription
		if tr.State != contract.Done || tr.DoneAt == nil || tr.LastError != nil || tr.Language != "en" || *tr.Duration != 2.5 || *tr.Words != 3 {
			t.Errorf("after the transcript: %+v", tr)
		}
		if got.Revision <= before {
			t.Errorf("revision %d after %d", got.Revision, before)
		}
	})
	t.Run("overdue and given up", func(t *testing.T) {
		id := w.create()
		if _, err := w.db.Store.MarkOverdue(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		equal(t, "state", follow(id).State, postgres.Overdue)
		if _, err := w.db.Store.GiveUp(t.Context(), id, contract.CompressionTrack, 0, "it never came"); err != nil {
			t.Fatal(err)
		}
		got := follow(id)
		equal(t, "state", got.State, postgres.Failed)
		equal(t, "compression", got.Compression.State, contract.GivenUp)
		equal(t, "error", *got.Compression.LastError, "it never came")
	})
	t.Run("with dead letters", func(t *testing.T) {
		id := w.create()
		before := follow(id).Revision
		at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		letters := []postgres.DeadLetter{
			{
				Origin: contract.NewPosition(uuid.New(), 0, 1, at, at), Topic: "finish_compress", Track: contract.CompressionTrack,
				VideoID: id, Class: contract.ClassURL, Reason: "the URL is none", Letter: "0/1", DiedAt: at,
			},
			{
				Origin: contract.NewPosition(uuid.New(), 0, 1, at, at), Topic: "update_transcribe", Track: contract.TranscriptionTrack,
				VideoID: id, Class: contract.ClassJSON, Reason: "not JSON", Letter: "0/9", DiedAt: at.Add(time.Second),
			},
		}
		sent := []postgres.Redriven{{Origin: letters[0].Origin, VideoID: id, Letters: []string{"0/1"}, At: at}}
		if err := w.db.Store.RecordDeadLetters(t.Context(), letters, sent); err != nil {
			t.Fatal(err)
		}
		want := starter.DeadLettersView{Count: 2, Open: 1, Latest: &starter.LatestDeadLetterView{
			Track: contract.TranscriptionTrack, Class: "json", Reason: "not JSON", At: at.Add(time.Second),
		}}
		got := follow(id)
		equal(t, "dead letters", got.DeadLetters, want)
		if got.Revision <= before {
			t.Errorf("revision %d after %d", got.Revision, before)
		}
		for _, v := range w.pages(w.course, "", func() {}) {
			if v.ID == id.String() {
				equal(t, "dead letters in the list", v.Pipeline.DeadLetters, want)
			}
		}
	})
	t.Run("deleted", func(t *testing.T) {
		id := w.create()
		w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNoContent)
		w.call(http.MethodGet, pipelineOf(id), w.owner(), nil).expect(t, http.StatusNotFound).code(t, "no_video")
		w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNotFound).code(t, "no_video")
	})
	t.Run("deleted with its course", func(t *testing.T) {
		course := w.db.CourseOf(t, w.lecturer)
		id := w.db.Video(t, course)
		w.db.Exec(t, `delete from public.courses where id = $1`, course)
		w.call(http.MethodGet, pipelineOf(id), w.owner(), nil).expect(t, http.StatusNotFound).code(t, "no_video")
	})
	t.Run("id in capitals", func(t *testing.T) {
		id := w.create()
		a := w.call(http.MethodGet, "/api/videos/"+strings.ToUpper(id.String())+"/pipeline", w.owner(), nil).expect(t, http.StatusOK)
		equal(t, "id", decode[starter.VideoAnswer](t, a).Data.ID, id.String())
	})
	for _, id := range []string{"42", "..%2f..%2fetc%2fpasswd", "%00", "{3f0c8a52-5f0e-4d0a-9a3e-0c7d8a1f2b34}", "3f0c8a525f0e4d0a9a3e0c7d8a1f2b34", "3f0c8a52-5f0e-4d0a-9a3e-0c7d8a1f2b3g"} {
		t.Run("id "+id, func(t *testing.T) {
			a := w.call(http.MethodGet, "/api/videos/"+id+"/pipeline", w.owner(), nil).expect(t, http.StatusUnprocessableEntity)
			equal(t, "errors", decode[starter.Problem](t, a).Errors,
				[]starter.FieldProblem{{Location: "path.videoId", Message: "is not a UUID of 36 characters"}})
		})
	}
}

func TestListRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for query, location := range map[string]string{
		"limit=0":                 "query.limit",
		"limit=201":               "query.limit",
		"limit=many":              "query.limit",
		"cursor=abc":              "query.cursor",
		"cursor=%27%20or%201%3D1": "query.cursor",
		"state=lost":              "query.state[0]",
		"state=done,lost":         "query.state[1]",
		"state=waiting%00":        "query.state[0]",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			a := w.call(http.MethodGet, "/api/courses/"+w.course+"/pipeline?"+query, w.owner(), nil).expect(t, http.StatusUnprocessableEntity)
			p := decode[starter.Problem](t, a)
			if len(p.Errors) != 1 || p.Errors[0].Location != location {
				t.Errorf("errors %+v, want one at %s", p.Errors, location)
			}
		})
	}
}

// TestList walks through the pages of a course while videos come and go: those that stay are each seen once, newest
// first, whatever the size of the pages.
func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rapid.Check(t, func(r *rapid.T) {
		course := w.db.CourseOf(t, w.lecturer)
		// Few distinct times, so that many videos share one.
		times := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 15).Draw(r, "times")
		var ids []string
		for _, at := range times {
			ids = append(ids, w.insert(course, at))
		}
		if len(ids) == 0 && rapid.Bool().Draw(r, "empty") {
			equal(t, "pages of an empty course", len(w.pages(course, "limit=1", nil)), 0)
			return
		}
		staying := map[string]bool{}
		for _, id := range ids {
			staying[id] = true
		}
		limit := rapid.IntRange(1, 6).Draw(r, "limit")
		seen := w.pages(course, fmt.Sprintf("limit=%d", limit), func() {
			switch rapid.IntRange(0, 2).Draw(r, "meanwhile") {
			case 1:
				w.insert(course, rapid.IntRange(0, 4).Draw(r, "at"))
			case 2:
				if len(ids) > 0 {
					victim := rapid.SampledFrom(ids).Draw(r, "victim")
					w.db.Exec(t, `delete from public.videos where id = $1`, victim)
					delete(staying, victim)
				}
			}
		})
		count := map[string]int{}
		for i, v := range seen {
			count[v.ID]++
			if i > 0 && (seen[i-1].CreatedAt.Before(v.CreatedAt) || (seen[i-1].CreatedAt.Equal(v.CreatedAt) && seen[i-1].ID < v.ID)) {
				r.Fatalf("%s (%s) comes before %s (%s)", seen[i-1].ID, seen[i-1].CreatedAt, v.ID, v.CreatedAt)
			}
		}
		for id, n := range count {
			if n != 1 {
				r.Fatalf("video %s is listed %d times", id, n)
			}
		}
		for id := range staying {
			if count[id] != 1 {
				r.Fatalf("video %s stayed and is listed %d times", id, count[id])
			}
		}
	})
}

func (w *world) insert(course string, at int) string {
	id := uuid.NewString()
	w.db.Exec(w.t, `
		insert into public.videos (id, course_id, title, description, camera_video_url, level, created_at)
		values ($1, $2, 'A video', 'A video of a test', 'https://example.org/raw.mp4', 'beginner', timestamptz '2026-01-01 12:00:00.123456Z' + make_interval(secs => $3))`,
		id, course, float64(at))
	return id
}

// pages follows the links to the end; meanwhile is called between two pages.
func (w *world) pages(course, query string, meanwhile func()) []starter.VideoView {
	w.t.Helper()
	var seen []starter.VideoView
	next := "/api/courses/" + course + "/pipeline?" + query
	for next != "" {
		a := w.call(http.MethodGet, next, w.owner(), nil).expect(w.t, http.StatusOK)
		page := decode[starter.CourseAnswer](w.t, a)
		seen = append(seen, page.Data...)
		link := a.header.Get("Link")
		if (page.NextCursor == nil) != (link == "") {
			w.t.Fatalf("cursor %v with link %q", page.NextCursor, link)
		}
		if link == "" {
			return seen
		}
		next = strings.TrimPrefix(strings.TrimSuffix(link, `>; rel="next"`), "<")
		u, err := url.Parse(next)
		if err != nil || u.Query().Get("cursor") != *page.NextCursor {
			w.t.Fatalf("link %q does not carry the cursor %q", link, *page.NextCursor)
		}
		if meanwhile != nil {
			meanwhile()
		}
	}
	return seen
}

// TestListByState finds each video under its state, and only there.
func TestListByState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := map[postgres.State]string{postgres.Untracked: w.db.Video(t, w.course).String()}
	id := w.create()
	made[postgres.Working] = id.String()
	id = w.create()
	made[postgres.Overdue] = id.String()
	if _, err := w.db.Store.MarkOverdue(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	id = w.create()
	made[postgres.Failed] = id.String()
	if _, err := w.db.Store.GiveUp(t.Context(), id, contract.TranscriptionTrack, 0, "no answer"); err != nil {
		t.Fatal(err)
	}
	done := w.db.Video(t, w.course) // nobody asked for the other track
	made[postgres.Done] = done.String()
	if _, err := w.db.Store.LoadPipeline(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	pos := contract.NewPosition(uuid.New(), 0, 1, time.Now(), time.Now())
	if _, _, err := w.db.Store.ApplyCompression(t.Context(), done, pos, "https://cdn.example.org/c.mp4"); err != nil {
		t.Fatal(err)
	}

	list := func(query string) []string {
		var ids []string
		for _, v := range w.pages(w.course, query, nil) {
			ids = append(ids, v.ID)
		}
		slices.Sort(ids)
		return ids
	}
	var all []string
	for state, id := range made {
		equal(t, string(state), list("state="+string(state)), []string{id})
		all = append(all, id)
	}
	slices.Sort(all)
	equal(t, "all", list(""), all)
	two := []string{made[postgres.Failed], made[postgres.Done]}
	slices.Sort(two)
	if diff := cmp.Diff(two, list("state=failed,done&limit=1")); diff != "" {
		t.Errorf("two states in pages of one (-want +got):\n%s", diff)
	}
}
