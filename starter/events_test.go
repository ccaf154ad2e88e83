package starter_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/starter"
)

// soon bounds what takes milliseconds: only a failure meets it.
const soon = 20 * time.Second

// event is one server-sent event.
type event struct{ name, id, data string }

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
	events chan event // closed at the end of the stream
	leave  context.CancelFunc
}

// stream opens one, which must succeed.
func (w *world) stream(t *testing.T, path, token string, headers ...string) *stream {
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
	res, err := w.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, %v", res.StatusCode, res.Header)
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
			switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
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
	return s
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
func (w *world) runEvents(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.starter.Events().Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func eventsOf(id contract.VideoID) string { return "/api/videos/" + id.String() + "/events" }

func TestVideoEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runEvents(t)

	t.Run("present state, then each change", func(t *testing.T) {
		id := w.create()
		s := w.stream(t, eventsOf(id), w.owner())
		first := s.next()
		equal(t, "id", first.id, "1")
		v := first.view(t)
		if v.ID != id.String() || v.Pipeline.Transcription.State != contract.Waiting {
			t.Errorf("present state: %+v", v)
		}
		if _, err := w.db.Store.MarkOverdue(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		second := s.next()
		equal(t, "id", second.id, "2")
		equal(t, "state", second.view(t).Pipeline.Compression.State, contract.Overdue)
	})
}
