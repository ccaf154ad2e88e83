package testvideo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/testvideo"
)

// fakeAPI goes one state further each time it is asked.
type fakeAPI struct {
	mu      sync.Mutex
	states  []string // JSON of the pipelines
	deleted bool
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer token" {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprint(w, `{"success":false,"error":"The token is none."}`)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /api/courses/c/videos":
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprint(w, `{"success":true,"data":{"id":"v"}}`)
	case "GET /api/videos/v/pipeline":
		state := f.states[0]
		if len(f.states) > 1 {
			f.states = f.states[1:]
		}
		if state == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintf(w, `{"success":true,"data":{"id":"v","transcript_url":"https://t","camera_video_url":"https://c","pipeline":%s}}`, state)
	case "DELETE /api/videos/v":
		f.deleted = true
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

const (
	waiting = `{"state":"working","transcription":{"state":"waiting","asks":1},"compression":{"state":"waiting"}}`
	half    = `{"state":"working","transcription":{"state":"waiting","asks":1,"last_error":"storage is away"},"compression":{"state":"done"},
		"dead_letters":{"count":1,"open":1,"latest":{"class":"json","reason":"not JSON"}}}`
	done   = `{"state":"done","transcription":{"state":"done","asks":1},"compression":{"state":"done"}}`
	failed = `{"state":"failed","transcription":{"state":"given_up","asks":3},"compression":{"state":"done"}}`
)

func TestOverAPI(t *testing.T) {
	t.Parallel()
	const asked = "working; transcription waiting (asks: 1); compression waiting"
	for name, row := range map[string]struct {
		states []string
		token  string
		keep   bool
		want   []string
		err    error
	}{
		"to the end": {
			states: []string{waiting, "", waiting, half, done}, token: "token",
			want: []string{
				"video v was created", asked,
				"working; transcription waiting (asks: 1): storage is away; compression done; dead letters: 1, the latest json: not JSON",
				"done; transcription done (asks: 1); compression done", "https://t", "https://c", "and deleted again",
			},
		},
		"and left there": {
			states: []string{done}, token: "token", keep: true,
			want: []string{"video v was created", "done; transcription done (asks: 1); compression done", "https://t", "https://c"},
		},
		"given up": {
			states: []string{failed}, token: "token",
			want: []string{
				"video v was created", "failed; transcription given_up (asks: 3); compression done", "and deleted again",
			},
			err: testvideo.ErrUnfinished,
		},
		"out of time": {
			states: []string{waiting}, token: "token", want: []string{"video v was created", asked, "and deleted again"},
			err: testvideo.ErrUnfinished,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := &fakeAPI{states: row.states}
			server := httptest.NewServer(api)
			defer server.Close()
			cfg := testvideo.APIConfig{
				URL: server.URL + "/", Token: row.token, CourseID: "c", VideoURL: "https://x", Timeout: patience, Keep: row.keep, Client: server.Client(),
			}
			if name == "out of time" {
				cfg.Timeout = 5 * time.Second // within which a busy machine has asked
			}
			var got []string
			err := testvideo.OverAPI(t.Context(), cfg, func(s testvideo.Step) { got = append(got, s.Text) })
			if !errors.Is(err, row.err) {
				t.Errorf("got %v, want %v", err, row.err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if api.deleted == row.keep {
				t.Errorf("deleted: %t", api.deleted)
			}
		})
	}
}

func TestOverAPI_says_what_the_API_refuses(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&fakeAPI{})
	defer server.Close()
	err := testvideo.OverAPI(t.Context(), testvideo.APIConfig{URL: server.URL, Token: "none", CourseID: "c", Timeout: patience}, nil)
	if want := "create the test video: the API answers 401: The token is none."; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestStep_JSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(testvideo.Step{After: 1500 * time.Millisecond, Name: testvideo.Asked, Text: "t", Place: "a/0@1"})
	if want := `{"seconds":1.5,"step":"asked","text":"t","place":"a/0@1"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
