package browsertest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/codeendelea/vidflow/devstack/browser"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/starter"
)

// TestEvents follows a video and its course with the browser's own EventSource and the cookie, from a page of another
// origin: over a lost connection, and until the video is deleted.
func TestEvents(t *testing.T) {
	t.Parallel()
	const secret = "the secret of this test"
	db := postgrestest.New(t)
	course, lecturer := db.Course(t)
	id := db.Video(t, course)
	if _, err := db.Store.LoadPipeline(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	// The page shows the last event of each stream, and whether it is open (1), comes back (0) or has given up (2).
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<p id="video">nothing</p><p id="course">nothing</p><script>
			const show = (id, url) => {
				const source = new EventSource(url, {withCredentials: true}), out = document.getElementById(id)
				let last = ""
				const tell = () => out.innerText = id + " " + last + " ready state " + source.readyState
				source.onopen = source.onerror = tell
				source.onmessage = e => {
					const video = JSON.parse(e.data)
					last = "revision " + video.pipeline.revision + " id " + (id == "video" ? e.lastEventId : "")
					tell()
				}
				source.addEventListener("deleted", e => { last = "deleted " + JSON.parse(e.data).id; tell() })
			}
		</script>`)
	}))
	t.Cleanup(page.Close)
	notifications, err := db.Store.Notifications(db.DirectURL)
	if err != nil {
		t.Fatal(err)
	}
	s, err := starter.New(starter.Deps{Store: db.Store, Notifications: notifications}, starter.Config{
		JWTSecret: secret, ResultTopic: "update_transcribe", AllowedOrigins: []string{page.URL}, LookInterval: time.Second,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Events().Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	var mu sync.Mutex
	var lastEventIDs []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		lastEventIDs = append(lastEventIDs, r.Header.Get("Last-Event-ID"))
		mu.Unlock()
		s.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() { api.CloseClientConnections(); api.Close() })
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "codeendelea-lms", "aud": "codeendelea-lms-api", "sub": lecturer, "role": "lecturer",
		"exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	change := func() {
		t.Helper()
		if err := db.Store.RecordError(t.Context(), id, contract.TranscriptionTrack, time.Now().String()); err != nil {
			t.Fatal(err)
		}
	}

	tab := browser.New(t).Tab(t)
	tab.SetCookie(api.URL, "access_token", token)
	tab.Open(page.URL)
	var done bool
	tab.Eval(fmt.Sprintf(`show("video", "%[1]s/api/videos/%[2]s/events"), show("course", "%[1]s/api/courses/%[3]s/events"), true`, api.URL, id, course), &done)
	tab.AwaitText("video revision 1 id 1 ready state 1", "course revision 1 id ready state 1")
	change()
	tab.AwaitText("video revision 2 id 2 ready state 1", "course revision 2 id ready state 1")

	// The connections are lost, and the browser comes back by itself.
	mu.Lock()
	lastEventIDs = nil
	mu.Unlock()
	api.CloseClientConnections()
	change()
	tab.AwaitText("video revision 3 id 3 ready state 1", "course revision 3 id ready state 1")
	mu.Lock()
	resumed := len(lastEventIDs) >= 2
	for _, last := range lastEventIDs {
		resumed = resumed && last != ""
	}
	if !resumed {
		t.Errorf("the browser came back with the ids %q", lastEventIDs)
	}
	mu.Unlock()

	if _, err := db.Store.DeleteVideo(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	// It comes back once more, is told that there is nothing, and stops.
	tab.AwaitText("video deleted "+id.String()+" ready state 2", "course deleted "+id.String()+" ready state 1")
}
