package starter_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/starter"
)

// soon bounds what takes milliseconds: only a failure meets it.
const soon = 2 * time.Minute

func TestVideoEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, looksOften)
	w.runEvents(t)

	t.Run("present state, then each change", func(t *testing.T) {
		id := w.create()
		s := w.stream(t, eventsOf(id), w.owner())
		for name, want := range map[string]string{
			"X-Accel-Buffering": "no", "Cache-Control": "no-store", "Content-Encoding": "", "X-Content-Type-Options": "nosniff",
		} {
			equal(t, name, s.header.Get(name), want)
		}
		first := s.next()
		equal(t, "id", first.id, "1")
		v := first.view(t)
		if v.ID != id.String() || v.Pipeline.Transcription.State != contract.Waiting {
			t.Errorf("present state: %+v", v)
		}
		if retry, err := strconv.Atoi(s.retry); err != nil || retry < 1000 || retry >= 5000 {
			t.Errorf("retry: %q", s.retry)
		}
		if _, err := w.db.Store.MarkOverdue(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		second := s.next()
		equal(t, "id", second.id, "2")
		equal(t, "state", second.view(t).Pipeline.Compression.State, contract.Overdue)
		asked := w.call(http.MethodGet, pipelineOf(id), w.owner(), nil).expect(t, http.StatusOK)
		equal(t, "the whole view", second.view(t), decode[starter.VideoAnswer](t, asked).Data)
	})
	t.Run("reconnect", func(t *testing.T) {
		id := w.create()
		s := w.stream(t, eventsOf(id), w.owner())
		last := s.next().id
		s.leave()
		w.change(t, id)
		s = w.stream(t, eventsOf(id), w.owner(), "Last-Event-ID", last)
		equal(t, "id", s.next().id, "2")
		// One that knows the present state is told it all the same: nothing else may come for hours.
		s = w.stream(t, eventsOf(id), w.owner(), "Last-Event-ID", "2")
		equal(t, "id", s.next().id, "2")
	})
	t.Run("created elsewhere, changed there, then tracked", func(t *testing.T) {
		id := w.db.Video(t, w.course)
		s := w.stream(t, eventsOf(id), w.owner())
		first := s.next()
		equal(t, "id", first.id, "0")
		equal(t, "state", first.view(t).Pipeline.State, postgres.Untracked)
		w.db.Exec(t, `update public.videos set title = 'Another title' where id = $1`, string(id))
		second := s.next()
		equal(t, "id", second.id, "0")
		equal(t, "title", second.view(t).Title, "Another title")
		if _, err := w.db.Store.LoadPipeline(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		equal(t, "id", s.next().id, "1")
	})
	t.Run("dead letter", func(t *testing.T) {
		id := w.create()
		s := w.stream(t, eventsOf(id), w.owner())
		s.next()
		now := time.Now()
		if err := w.db.Store.RecordDeadLetters(t.Context(), []postgres.DeadLetter{{
			Origin: contract.NewPosition(uuid.New(), 0, 1, now, now), Topic: "finish_compress", Track: contract.CompressionTrack,
			VideoID: id, Class: contract.ClassURL, Reason: "the URL is none", Letter: "0/1", DiedAt: now,
		}}, nil); err != nil {
			t.Fatal(err)
		}
		got := s.next()
		equal(t, "id", got.id, "2")
		equal(t, "open dead letters", got.view(t).Pipeline.DeadLetters.Open, 1)
	})
	t.Run("deleted", func(t *testing.T) {
		id := w.create()
		s := w.stream(t, eventsOf(id), w.owner())
		s.next()
		w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNoContent)
		equal(t, "the last event", s.end(), []event{{name: "deleted", id: "2", data: `{"id":"` + id.String() + `"}`}})
		again := w.call(http.MethodGet, eventsOf(id), w.owner(), nil, "Last-Event-ID", "2").expect(t, http.StatusNoContent)
		equal(t, "body", string(again.body), "")
		w.call(http.MethodGet, eventsOf(id), w.owner(), nil).expect(t, http.StatusNotFound).code(t, "no_video")
	})
	t.Run("deleted elsewhere", func(t *testing.T) {
		id := w.db.Video(t, w.course)
		s := w.stream(t, eventsOf(id), w.owner())
		s.next()
		w.db.RemoveVideo(t, id)
		equal(t, "the last event", s.end(), []event{{name: "deleted", id: "0", data: `{"id":"` + id.String() + `"}`}})
	})
	t.Run("HEAD", func(t *testing.T) {
		for _, path := range []string{eventsOf(w.create()), courseEventsOf(w.course)} {
			a := w.call(http.MethodHead, path, w.owner(), nil).expect(t, http.StatusOK)
			equal(t, "Content-Type", a.header.Get("Content-Type"), "text/event-stream")
		}
	})
	t.Run("ends with its token", func(t *testing.T) {
		id := w.create()
		var token string
		var one, all *stream
		for valid := 2 * time.Second; one == nil || all == nil; valid *= 2 { // a busy machine may be too slow for a token that ends soon
			if valid > soon {
				t.Fatal("no streams are opened while a token is valid")
			}
			c := claims(w.lecturer, starter.Lecturer)
			c["exp"] = time.Now().Add(valid).Unix()
			token = sign(t, jwt.SigningMethodHS256, []byte(secret), c)
			one, _ = w.open(t, eventsOf(id), token)
			all, _ = w.open(t, courseEventsOf(w.course), token)
		}
		one.end()
		all.end()
		w.call(http.MethodGet, eventsOf(id), token, nil).expect(t, http.StatusUnauthorized)
	})
}

// TestEvents_access is that of all other routes, and is withdrawn from streams that are open.
func TestEvents_access(t *testing.T) {
	t.Parallel()
	w := newWorld(t, looksOften, func(_ *starter.Deps, cfg *starter.Config) {
		cfg.AllowedOrigins, cfg.RateLimit = []string{"https://app.example.org"}, 30
	})
	w.runEvents(t)
	id := w.create()
	another := w.token(w.db.User(t, "lecturer"), starter.Lecturer)
	for _, path := range []string{eventsOf(id), courseEventsOf(w.course)} {
		w.call(http.MethodGet, path, "", nil).expect(t, http.StatusUnauthorized)
		w.call(http.MethodGet, path, another, nil).expect(t, http.StatusForbidden)
		w.call(http.MethodGet, path, another, nil, "Last-Event-ID", "1").expect(t, http.StatusForbidden)
		w.call(http.MethodGet, path, w.token(w.lecturer, starter.Student), nil).expect(t, http.StatusForbidden).code(t, "role")
		cookie := "access_token=" + w.owner()
		w.call(http.MethodGet, path, "", nil, "Cookie", cookie, "Origin", "https://evil.example").expect(t, http.StatusForbidden).code(t, "origin")
		w.stream(t, path, "", "Cookie", cookie).next()
		crossed := w.stream(t, path, "", "Cookie", cookie, "Origin", "https://app.example.org")
		crossed.next()
		equal(t, "Access-Control-Allow-Origin", crossed.header.Get("Access-Control-Allow-Origin"), "https://app.example.org")
		equal(t, "Access-Control-Allow-Credentials", crossed.header.Get("Access-Control-Allow-Credentials"), "true")
		w.stream(t, path, w.admin()).next()
	}
	nowhere := uuid.NewString()
	w.call(http.MethodGet, "/api/videos/"+nowhere+"/events", w.admin(), nil).expect(t, http.StatusNotFound).code(t, "no_video")
	w.call(http.MethodGet, courseEventsOf(nowhere), w.admin(), nil).expect(t, http.StatusNotFound).code(t, "no_course")
	w.call(http.MethodGet, courseEventsOf(nowhere), w.admin(), nil, "Last-Event-ID", "1").expect(t, http.StatusNoContent)

	one, all, admin := w.stream(t, eventsOf(id), w.owner()), w.stream(t, courseEventsOf(w.course), w.owner()), w.stream(t, eventsOf(id), w.admin())
	w.db.Exec(t, `update public.courses set lecturer_id = null where id = $1`, w.course)
	one.end()
	all.end()
	w.change(t, id)
	admin.until("an admin goes on", func(e event) bool { return e.id == "2" })

	// A connect counts as one request, however long it lasts.
	eventually(t, "the limit is met", func() bool {
		return w.call(http.MethodGet, eventsOf(id), another, nil).status == http.StatusTooManyRequests
	})
}

// TestEvents_role ends the stream of a user whose token has no role, and who lost theirs in the database.
func TestEvents_role(t *testing.T) {
	t.Parallel()
	keys := newKeySetServer(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys.publish(t, "k", jwkset.AlgES256, key)
	w := newWorld(t, looksOften, func(_ *starter.Deps, cfg *starter.Config) { cfg.JWKSURL = keys.url() })
	w.runEvents(t)
	admin := w.db.User(t, "admin")
	token := signAs(t, jwt.SigningMethodES256, "k", key, jwt.MapClaims{
		"iss": keys.issuer(), "aud": "authenticated", "sub": admin, "exp": time.Now().Add(time.Hour).Unix(),
	})
	one, all := w.stream(t, eventsOf(w.create()), token), w.stream(t, courseEventsOf(w.course), token)
	one.next()
	w.db.Exec(t, `update public.users set role = 'student' where id = $1`, admin)
	one.end()
	all.end()
}

// TestEvents_coalesce reads a video once for all its listeners, and once for all changes that come while it is read.
func TestEvents_coalesce(t *testing.T) {
	t.Parallel()
	var m metered
	w := newWorld(t, m.count)
	w.runEvents(t)
	id := w.create()
	var streams []*stream
	for range 20 {
		streams = append(streams, w.stream(t, eventsOf(id), w.owner()), w.stream(t, courseEventsOf(w.course), w.owner()))
	}
	for i, s := range streams {
		s.next()
		if i%2 == 1 {
			equal(t, "event", s.next().name, "complete")
		}
	}
	before := m.reads.Load()
	if before > 2 { // the notification of its creation may come late
		t.Errorf("%d reads for forty listeners", before)
	}

	m.held.Lock()
	release := sync.OnceFunc(m.held.Unlock)
	defer release()
	w.change(t, id)
	eventually(t, "the change is being read", func() bool { return m.reads.Load() > before })
	for range 100 {
		w.change(t, id)
	}
	release()
	for _, s := range streams {
		last := s.until("the newest", func(e event) bool { return e.view(t).Pipeline.Revision == 102 })
		if last.view(t).Pipeline.Transcription.LastError == nil {
			t.Error("no error")
		}
	}
	if reads := m.reads.Load() - before; reads > 20 { // notifications may come after the second read began
		t.Errorf("%d reads for a hundred changes", reads)
	}
	equal(t, "polls", m.polls.Load(), 0)
}

// TestEvents_thousand listeners of one instance are each told of every change, and the database is asked no more than
// for one of them.
func TestEvents_thousand(t *testing.T) {
	t.Parallel()
	var m metered
	w := newWorld(t, m.count)
	w.runEvents(t)
	ids := []contract.VideoID{w.create(), w.create(), w.create(), w.create(), w.create()}
	const listeners = 1000
	got := make(chan string, 4*listeners)
	var readers sync.WaitGroup
	defer readers.Wait()
	for i := range listeners {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", eventsOf(ids[i%len(ids)]), w.owner())
		readers.Go(func() { // one goroutine: the race detector allows for some thousands
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
					got <- id
				}
			}
		})
	}
	await := func(revision string) {
		t.Helper()
		for range listeners {
			if id := within(t, "an event for each listener", got); id != revision {
				t.Fatalf("revision %s, want %s", id, revision)
			}
		}
	}
	await("1")
	before := m.reads.Load()
	if before > 2*int64(len(ids)) { // the notifications of their creation may come late
		t.Errorf("%d reads of %d videos", before, len(ids))
	}
	for _, id := range ids {
		w.change(t, id)
	}
	await("2")
	if reads := m.reads.Load() - before; reads > 2*int64(len(ids)) {
		t.Errorf("%d reads for %d changes", reads, len(ids))
	}
	equal(t, "polls", m.polls.Load(), 0)
}

func within[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(soon):
		t.Fatalf("not within %s: %s", soon, what)
	}
	return v
}

// TestEvents_polled is one query a second for all listeners, and none without.
func TestEvents_polled(t *testing.T) {
	t.Parallel()
	var m metered
	w := newWorld(t, m.count, polls)
	w.runEvents(t)
	eventually(t, "the log says so", func() bool {
		return strings.Contains(w.log.String(), "changes of videos are polled, since DATABASE_LISTEN_URL is not set")
	})
	id := w.create()
	var streams []*stream
	for range 10 {
		s := w.stream(t, eventsOf(id), w.owner())
		s.next()
		streams = append(streams, s, w.stream(t, courseEventsOf(w.course), w.owner()))
	}
	for want := int64(2); want <= 3; want++ {
		w.change(t, id)
		for _, s := range streams {
			s.until("the change", func(e event) bool { return e.name == "" && e.view(t).Pipeline.Revision == want })
		}
	}
	added := w.create()
	for i, s := range streams {
		if i%2 == 1 {
			s.until("a new video", func(e event) bool { return e.name == "" && e.view(t).ID == added.String() })
		}
	}
	if reads := m.reads.Load(); reads > 12 { // of three changes, for twenty streams
		t.Errorf("%d reads", reads)
	}
	for _, s := range streams {
		s.leave()
		s.end()
	}
	// The server notices that they are gone, and from then on asks nothing.
	began := time.Now()
	last, since := m.polls.Load(), began
	eventually(t, "no more polls", func() bool {
		if n := m.polls.Load(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 2500*time.Millisecond
	})
	if most := int64(time.Since(began).Seconds()) + 30; last > most {
		t.Errorf("%d polls", last)
	}
}

// TestEvents_connection_lost misses nothing of what is committed while nobody listens to the database.
func TestEvents_connection_lost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runEvents(t)
	id := w.create()
	one, all := w.stream(t, eventsOf(id), w.owner()), w.stream(t, courseEventsOf(w.course), w.owner())
	one.next()
	all.until("complete", func(e event) bool { return e.name == "complete" })
	for round := int64(2); round < 6; round += 2 {
		eventually(t, "it listens", func() bool {
			return strings.Count(w.log.String(), "learnt from the database's notifications") >= int(round/2)
		})
		w.db.Exec(t, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like '%listens'`)
		w.change(t, id)
		for i := range int64(2) {
			want := round + i
			for _, s := range []*stream{one, all} {
				s.until("the change", func(e event) bool { return e.view(t).Pipeline.Revision == want })
			}
			if i == 0 {
				w.change(t, id)
			}
		}
	}
}

// TestEvents_outage tells a browser to come back, which gives up for ever at a 503, and everybody else the truth.
func TestEvents_outage(t *testing.T) {
	t.Parallel()
	var m metered
	w := newWorld(t, m.count)
	w.runEvents(t)
	id := w.create()
	open := w.stream(t, eventsOf(id), w.owner())
	open.next()
	m.away.Store(true)
	w.call(http.MethodGet, eventsOf(id), w.owner(), nil).expect(t, http.StatusServiceUnavailable)
	browser := w.stream(t, eventsOf(id), w.owner(), "Accept", "text/event-stream", "Last-Event-ID", "1")
	equal(t, "events", len(browser.end()), 0)
	if browser.retry == "" {
		t.Error("it is not told when to come back")
	}
	w.change(t, id)
	equal(t, "id, at a stream that was open", open.next().id, "2")
}

// TestEvents_shutdown ends the streams at once, and the process with them.
func TestEvents_shutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.server.URL = "http://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.starter.Serve(ctx, listener) }()
	one, all := w.stream(t, eventsOf(id), w.owner()), w.stream(t, courseEventsOf(w.course), w.owner())
	one.next()
	all.next()
	began := time.Now()
	cancel()
	one.end()
	all.end()
	if err := within(t, "the end", ended); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second { // requests have 25
		t.Errorf("it took %s to end", took)
	}
}

// TestEvents_slow_reader is told the newest state when it reads again, and not what was in between.
func TestEvents_slow_reader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runEvents(t)
	server := httptest.NewUnstartedServer(w.starter.Handler())
	server.Listener = narrow{server.Listener}
	server.Start()
	t.Cleanup(server.CloseClientConnections)
	id := w.create()
	w.db.Exec(t, `update public.videos set description = repeat('Long. ', 5000) where id = $1`, string(id))
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fast := w.stream(t, eventsOf(id), w.owner())
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", eventsOf(id), w.owner())
	const changes = 60 // a busy machine must make them before the server gives the reader up
	for i := range changes {
		w.change(t, id)
		want := strconv.Itoa(i + 2)
		fast.until("a listener beside it", func(e event) bool { return e.id == want })
	}
	if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	last, seen := 0, 0
	for lines.Scan() && last < changes+1 {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			n, err := strconv.Atoi(id)
			if err != nil || n <= last {
				t.Fatalf("revision %q after %d", id, last)
			}
			last, seen = n, seen+1
		}
	}
	equal(t, "the newest", last, changes+1)
	if seen > changes/3 {
		t.Errorf("%d of %d states were kept for it", seen, changes)
	}
}

// narrow has connections that take little before somebody reads.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		err = tcp.SetWriteBuffer(4 << 10)
	}
	return conn, err
}
