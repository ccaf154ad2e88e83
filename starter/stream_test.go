package starter_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/starter"
)

// event is one server-sent event.
type event struct{ name, id, data string }

// Equal is for cmp.
func (e event) Equal(o event) bool { return e == o }

func (e event) view(t *testing.T) starter.VideoView {
	t.Helper()
	var v starter.VideoView
	if err := json.Unmarshal([]byte(e.data), &v); err != nil {
		t.Fatalf("%v: %+v", err, e)
	}
	return v
}

// stream is an open stream of events.
type stream struct {
	t      *testing.T
	header http.Header
	retry  string
	all    bool       // that was said with complete
	events chan event // closed at the end of the stream
	leave  context.CancelFunc
}

// stream opens one, which must succeed.
func (w *world) stream(t *testing.T, path, token string, headers ...string) *stream {
	t.Helper()
	s, res := w.open(t, path, token, headers...)
	if s == nil {
		t.Fatalf("status %d, %v", res.StatusCode, res.Header)
	}
	return s
}

// open opens one, or returns nil and the answer.
func (w *world) open(t *testing.T, path, token string, headers ...string) (*stream, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		cancel()
		_ = res.Body.Close()
		return nil, res
	}
	s := &stream{t: t, header: res.Header, events: make(chan event, 10_000), leave: cancel}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(s.events)
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		var e event
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "retry":
				s.retry = value
			case "event":
				e.name = value
			case "id":
				e.id = value
			case "data":
				e.data = value
			case "":
				if e.data != "" {
					s.events <- e
				}
				e = event{}
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-read })
	return s, res
}

// next waits for the next event.
func (s *stream) next() event {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			s.t.Fatal("the stream has ended")
		}
		return e
	case <-time.After(soon):
		s.t.Fatalf("no event within %s", soon)
		return event{}
	}
}

// until waits for an event that fits.
func (s *stream) until(what string, fits func(event) bool) event {
	s.t.Helper()
	deadline := time.Now().Add(soon)
	for time.Now().Before(deadline) {
		if e := s.next(); fits(e) {
			return e
		}
	}
	s.t.Fatalf("not within %s: %s", soon, what)
	return event{}
}

// end waits until the stream has ended, and returns what came until then.
func (s *stream) end() (rest []event) {
	s.t.Helper()
	deadline := time.After(soon)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				return rest
			}
			rest = append(rest, e)
		case <-deadline:
			s.t.Fatalf("the stream has not ended within %s", soon)
		}
	}
}

// runEvents lets the starter serve events until the test ends.
func (w *world) runEvents(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.starter.Events().Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := within(t, "the end of the events", done); err != nil {
			t.Error(err)
		}
	})
}

func eventsOf(id contract.VideoID) string { return "/api/videos/" + id.String() + "/events" }

func courseEventsOf(course string) string { return "/api/courses/" + course + "/events" }

// looksOften has what nobody announces found at once.
func looksOften(_ *starter.Deps, cfg *starter.Config) { cfg.LookInterval = 50 * time.Millisecond }

// polls gives the starter no notifications.
func polls(d *starter.Deps, _ *starter.Config) { d.Notifications = nil }

// metered is a store that counts what events ask of it. While it is held, reading videos waits.
type metered struct {
	starter.Store
	reads, polls, looks atomic.Int64
	held                sync.RWMutex
	away                atomic.Bool
}

func (m *metered) count(d *starter.Deps, _ *starter.Config) { m.Store, d.Store = d.Store, m }

func (m *metered) Videos(ctx context.Context, ids []contract.VideoID) (map[contract.VideoID]postgres.Marked, error) {
	m.reads.Add(1)
	m.held.RLock()
	defer m.held.RUnlock()
	return m.Store.Videos(ctx, ids)
}

func (m *metered) Changes(ctx context.Context, since time.Time, videos []contract.VideoID, courses []string) ([]postgres.Change, time.Time, error) {
	m.polls.Add(1)
	return m.Store.Changes(ctx, since, videos, courses)
}

func (m *metered) Look(ctx context.Context, videos []contract.VideoID, courses []string) ([]postgres.Seen, error) {
	m.looks.Add(1)
	return m.Store.Look(ctx, videos, courses)
}

func (m *metered) Owner(ctx context.Context, id contract.VideoID) (postgres.Course, error) {
	if m.away.Load() {
		return postgres.Course{}, errAway
	}
	return m.Store.Owner(ctx, id)
}

// change raises the revision of a video by one.
func (w *world) change(t *testing.T, id contract.VideoID) {
	t.Helper()
	if err := w.db.Store.RecordError(t.Context(), id, contract.TranscriptionTrack, "change "+uuid.NewString()); err != nil {
		t.Fatal(err)
	}
}
