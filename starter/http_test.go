package starter_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/starter"
)

func TestRequestID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for sent, kept := range map[string]bool{
		"abc-123_X.y:z":           true,
		strings.Repeat("a", 64):   true,
		strings.Repeat("a", 65):   false,
		"":                        false,
		"a b":                     false,
		"a\tb":                    false,
		"<script>":                false,
		"a\u00e9":                 false,
		`a"},"level":"ERROR","x"`: false,
	} {
		t.Run(sent, func(t *testing.T) {
			t.Parallel()
			got := w.call(http.MethodGet, "/api/health", "", nil, "X-Request-Id", sent).expect(t, http.StatusOK).header.Get("X-Request-Id")
			if (got == sent) != kept || got == "" {
				t.Errorf("X-Request-Id %q was answered with %q", sent, got)
			}
		})
	}
}

// TestHeaders are on every kind of answer.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, a := range map[string]answer{
		"health":   w.call(http.MethodGet, "/api/health", "", nil),
		"refused":  w.call(http.MethodGet, "/api/courses/"+w.course+"/pipeline", "", nil),
		"answered": w.call(http.MethodGet, "/api/courses/"+w.course+"/pipeline", w.owner(), nil),
		"no route": w.call(http.MethodGet, "/", "", nil),
		"docs":     w.call(http.MethodGet, "/api/docs", "", nil),
	} {
		for _, header := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options", "Cache-Control", "Content-Type"} {
			if a.header.Get(header) == "" {
				t.Errorf("%s: no %s", name, header)
			}
		}
	}
}

func TestUnknownAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call(http.MethodGet, "/api/nothing", w.owner(), nil).expect(t, http.StatusNotFound).code(t, "no_route")
	w.call(http.MethodGet, "/api/videos/../../etc/passwd", w.owner(), nil).expect(t, http.StatusNotFound).code(t, "no_route")
	// These are the old server's own.
	a := w.call(http.MethodGet, "/api/videos/"+uuid.NewString(), w.owner(), nil).expect(t, http.StatusMethodNotAllowed)
	equal(t, "Allow", a.header.Get("Allow"), "DELETE")
	a = w.call(http.MethodGet, "/api/courses/"+w.course+"/videos", w.owner(), nil).expect(t, http.StatusMethodNotAllowed)
	equal(t, "Allow", a.header.Get("Allow"), "POST")
	// HEAD is GET without a body.
	w.call(http.MethodHead, "/api/health", "", nil).expect(t, http.StatusOK)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(deps *starter.Deps, cfg *starter.Config) {
		deps.Store = nil // it depends on nothing
		cfg.RateLimit = 1
	})
	for range 3 {
		a := w.call(http.MethodGet, "/api/health", "", nil).expect(t, http.StatusOK)
		equal(t, "answer", decode[starter.HealthAnswer](t, a), starter.HealthAnswer{Success: true, Status: "ok"})
	}
}

// TestPanic is a plain 500 for the caller, and an event with the stack for us.
func TestPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(deps *starter.Deps, _ *starter.Config) { deps.Store = nil })
	a := w.call(http.MethodGet, "/api/courses/"+w.course+"/pipeline", w.owner(), nil).expect(t, http.StatusInternalServerError).code(t, "internal_error")
	for _, inside := range []string{"goroutine", "nil pointer", ".go:", "starter"} {
		if strings.Contains(string(a.body), inside) {
			t.Errorf("the answer says %q: %s", inside, a.body)
		}
	}
	eventually(t, "the panic is logged", func() bool {
		said := w.log.String()
		return strings.Contains(said, "request panicked") && strings.Contains(said, "goroutine") && strings.Contains(said, a.header.Get("X-Request-Id"))
	})
}

// failingStore fails every call with the same error.
type failingStore struct {
	starter.Store
	err error
}

func (s failingStore) Course(context.Context, string) (postgres.Course, error) {
	return postgres.Course{}, s.err
}

func (s failingStore) Owner(context.Context, contract.VideoID) (postgres.Course, error) {
	return postgres.Course{}, s.err
}

type sqlError struct{ code string }

func (e sqlError) Error() string    { return `relation "pipeline.videos" at 10.1.2.3: ` + e.code }
func (e sqlError) SQLState() string { return e.code }

func TestStoreErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		status int
	}{
		"cannot connect":       {fmt.Errorf("read course: %w", &net.OpError{Op: "dial", Err: errAway}), 503},
		"slow":                 {fmt.Errorf("read course: %w", context.DeadlineExceeded), 503},
		"not set up":           {&postgres.SetupError{Problem: "the role vidflow lacks SELECT on pipeline.videos"}, 503},
		"too many connections": {fmt.Errorf("read course: %w", sqlError{"53300"}), 503},
		"shutting down":        {fmt.Errorf("read course: %w", sqlError{"57P01"}), 503},
		"read-only":            {fmt.Errorf("read course: %w", sqlError{"25006"}), 503},
		"our mistake":          {fmt.Errorf("read course: %w", sqlError{"42601"}), 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(deps *starter.Deps, _ *starter.Config) { deps.Store = failingStore{err: c.err} })
			a := w.call(http.MethodGet, pipelineOf(postgrestest.NewVideoID()), w.owner(), nil).expect(t, c.status)
			for _, inside := range []string{"pipeline", "10.1.2.3", "role", "SELECT", "dial", c.err.Error()} {
				if strings.Contains(string(a.body), inside) {
					t.Errorf("the answer says %q: %s", inside, a.body)
				}
			}
			if (c.status == 503) != (a.header.Get("Retry-After") != "") {
				t.Errorf("status %d with Retry-After %q", c.status, a.header.Get("Retry-After"))
			}
			eventually(t, "the cause is logged", func() bool {
				quoted, _ := json.Marshal(c.err.Error())
				return strings.Contains(w.log.String(), string(quoted))
			})
		})
	}
}

// TestPostgresAway is answered on every call, and the API comes back with the database.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	away := postgrestest.Open(t, "postgres://vidflow:pw@127.0.0.1:1/vidflow")
	w := newWorld(t, func(deps *starter.Deps, _ *starter.Config) { deps.Store = away })
	id := uuid.NewString()
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, w.videosPath(), body()},
		{http.MethodGet, "/api/videos/" + id + "/pipeline", nil},
		{http.MethodGet, "/api/courses/" + w.course + "/pipeline", nil},
		{http.MethodPut, "/api/videos/" + id + "/transcription", transcript},
		{http.MethodPost, "/api/videos/" + id + "/transcription/retry", nil},
		{http.MethodDelete, "/api/videos/" + id, nil},
	} {
		a := w.call(c.method, c.path, w.owner(), c.body).expect(t, http.StatusServiceUnavailable).code(t, "unavailable")
		equal(t, "Retry-After", a.header.Get("Retry-After"), "5")
	}
	w.call(http.MethodGet, "/api/health", "", nil).expect(t, http.StatusOK)
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) {
		cfg.RateLimit, cfg.RateWindow, cfg.TrustedProxies = 5, time.Hour, []string{"127.0.0.0/8", "::1/128"}
	})
	list := "/api/courses/" + w.course + "/pipeline"
	token := w.owner()
	for range 5 {
		w.call(http.MethodGet, list, token, nil).expect(t, http.StatusOK)
	}
	a := w.call(http.MethodGet, list, token, nil).expect(t, http.StatusTooManyRequests).code(t, "too_many_requests")
	equal(t, "Retry-After", a.header.Get("Retry-After"), "3600")
	w.call(http.MethodGet, list, w.token(w.lecturer, starter.Lecturer), nil).expect(t, http.StatusTooManyRequests) // another token, the same user
	w.call(http.MethodGet, list, w.admin(), nil).expect(t, http.StatusOK)                                          // another user

	for range 5 {
		w.call(http.MethodGet, list, "", nil, "X-Forwarded-For", "192.0.2.1").expect(t, http.StatusUnauthorized)
	}
	w.call(http.MethodGet, list, "forged", nil, "X-Forwarded-For", "192.0.2.1").expect(t, http.StatusTooManyRequests)
	w.call(http.MethodGet, list, "forged", nil, "X-Forwarded-For", "192.0.2.1, 198.51.100.9").expect(t, http.StatusUnauthorized) // the last hop counts
}

// TestForwardedForIsNotBelieved from just anybody.
func TestForwardedForIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.RateLimit, cfg.RateWindow = 2, time.Hour })
	for i := range 3 {
		want := http.StatusUnauthorized
		if i == 2 {
			want = http.StatusTooManyRequests
		}
		w.call(http.MethodGet, "/api/courses/"+w.course+"/pipeline", "", nil, "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i)).expect(t, want)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.AllowedOrigins = []string{"https://app.example.org"} })
	preflight := func(origin string) answer {
		return w.call(http.MethodOptions, w.videosPath(), "", nil, "Origin", origin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,idempotency-key")
	}
	a := preflight("https://app.example.org").expect(t, http.StatusOK)
	equal(t, "origin", a.header.Get("Access-Control-Allow-Origin"), "https://app.example.org")
	equal(t, "credentials", a.header.Get("Access-Control-Allow-Credentials"), "true")
	if !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Idempotency-Key") {
		t.Errorf("allowed headers %q", a.header.Get("Access-Control-Allow-Headers"))
	}
	equal(t, "another origin", preflight("https://evil.example.org").header.Get("Access-Control-Allow-Origin"), "")

	a = w.call(http.MethodPost, w.videosPath(), w.owner(), body(), "Origin", "https://app.example.org").expect(t, http.StatusCreated)
	equal(t, "origin", a.header.Get("Access-Control-Allow-Origin"), "https://app.example.org")
	if !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Location") {
		t.Errorf("exposed headers %q", a.header.Get("Access-Control-Expose-Headers"))
	}
	refused := w.call(http.MethodPost, w.videosPath(), "", body(), "Origin", "https://app.example.org").expect(t, http.StatusUnauthorized)
	equal(t, "origin of a refusal, which pages may read too", refused.header.Get("Access-Control-Allow-Origin"), "https://app.example.org")

	closed := newWorld(t)
	a = closed.call(http.MethodGet, "/api/health", "", nil, "Origin", "https://app.example.org").expect(t, http.StatusOK)
	equal(t, "without allowed origins", a.header.Get("Access-Control-Allow-Origin"), "")
}

// TestBodyLimit takes a body of exactly the limit, and not a byte more.
func TestBodyLimit(t *testing.T) {
	t.Parallel()
	const limit = 5000
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.MaxBodyBytes, cfg.MaxTranscriptBytes = limit, limit })
	sized := func(start string, n int) string { return start + strings.Repeat(" ", n-len(start)) }
	good, err := json.Marshal(body())
	if err != nil {
		t.Fatal(err)
	}
	w.call(http.MethodPost, w.videosPath(), w.owner(), sized(string(good), limit)).expect(t, http.StatusCreated)
	w.call(http.MethodPost, w.videosPath(), w.owner(), sized(string(good), limit+1)).expect(t, http.StatusRequestEntityTooLarge)
	id := w.db.Video(t, w.course)
	w.put(id, sized(transcript, limit)).expect(t, http.StatusAccepted)
	w.put(id, sized(transcript, limit+1)).expect(t, http.StatusRequestEntityTooLarge)
}

// TestTruncatedBody is answered, and creates nothing.
func TestTruncatedBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{\"title\":",
		w.videosPath(), w.owner())
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	equal(t, "status", res.StatusCode, http.StatusBadRequest)
	equal(t, "videos", w.text(`select count(*)::text from public.videos`), "0")
}

// TestLog has an event for each request, by which it can be found, and no token.
func TestLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.owner()
	a := w.call(http.MethodPost, w.videosPath(), token, body(), "Cookie", "access_token="+token)
	id := decode[starter.VideoAnswer](t, a).Data.ID
	w.call(http.MethodGet, "/api/videos/"+id+"/pipeline?token="+token, token, nil).expect(t, http.StatusOK)
	var created, read map[string]any
	eventually(t, "both requests are logged", func() bool {
		for line := range strings.Lines(w.log.String()) {
			var event map[string]any
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatal(err)
			}
			switch event["path"] {
			case w.videosPath():
				created = event
			case "/api/videos/" + id + "/pipeline":
				read = event
			}
		}
		return created != nil && read != nil
	})
	equal(t, "level of a write", created["level"], any("INFO"))
	equal(t, "status", created["status"], any(201.0))
	equal(t, "request id", created["request_id"], any(a.header.Get("X-Request-Id")))
	equal(t, "level of a read", read["level"], any("DEBUG"))
	equal(t, "video id", read["video_id"], any(id))
	if strings.Contains(w.log.String(), token) {
		t.Error("the log holds a token")
	}
}

func TestDocs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := w.call(http.MethodGet, "/api/docs", "", nil).expect(t, http.StatusOK)
	for path, contentType := range map[string]string{
		"/api/docs/docs.js": "text/javascript; charset=utf-8", "/api/docs/docs.css": "text/css; charset=utf-8", "/api/openapi.json": "application/openapi+json",
	} {
		if name := path[strings.LastIndex(path, "/")+1:]; !strings.Contains(string(page.body), name) {
			t.Errorf("the page does not use %s", name)
		}
		equal(t, path, w.call(http.MethodGet, path, "", nil).expect(t, http.StatusOK).header.Get("Content-Type"), contentType)
	}
	for _, address := range []string{"http://", "https://", "//cdn"} {
		if strings.Contains(string(page.body), address) {
			t.Errorf("the page needs the internet: it names %s", address)
		}
	}
	document, err := starter.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "document served", string(w.call(http.MethodGet, "/api/openapi.json", "", nil).body), string(document))
}

// slowStore holds requests until they are let go.
type slowStore struct {
	starter.Store
	entered, release chan struct{}
}

func (s slowStore) Course(ctx context.Context, id string) (postgres.Course, error) {
	s.entered <- struct{}{}
	<-s.release
	return s.Store.Course(ctx, id)
}

// TestStop ends what is in hand, takes nothing new, and reports no error.
func TestStop(t *testing.T) {
	t.Parallel()
	slow := slowStore{entered: make(chan struct{}), release: make(chan struct{})}
	w := newWorld(t, func(deps *starter.Deps, _ *starter.Config) {
		slow.Store = deps.Store
		deps.Store = slow
	})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.starter.Serve(ctx, listener) }()

	var wg sync.WaitGroup
	wg.Go(func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/api/courses/"+w.course+"/pipeline", nil)
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Authorization", "Bearer "+w.owner())
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Errorf("the request in hand was cut off: %v", err)
			return
		}
		defer res.Body.Close()
		equal(t, "status", res.StatusCode, http.StatusOK)
	})
	<-slow.entered
	cancel()
	eventually(t, "no new connection is taken", func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(slow.release)
	wg.Wait()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.Addr = listener.Addr().String() })
	err = w.starter.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("error %v does not name the address", err)
	}
}
