package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		code   int
		stderr string
	}{
		"ready":     {http.StatusOK, exitOK, ""},
		"not ready": {http.StatusServiceUnavailable, exitFailed, "503"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(tt.status)
				_, _ = fmt.Fprint(w, "state")
			}))
			defer server.Close()
			// As a process that listens everywhere is configured.
			port := server.URL[strings.LastIndex(server.URL, ":")+1:]
			env := map[string]string{"OPS_ADDR": "0.0.0.0:" + port}

			var stdout, stderr strings.Builder
			if code := run(t.Context(), []string{"probe"}, env, nil, &stdout, &stderr); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if stdout.String() != "state" || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
		})
	}
}

func TestProbe_says_what_is_missing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		env  map[string]string
		want string
	}{
		"an address of none": {[]string{"probe"}, map[string]string{"OPS_ADDR": "9101"}, `OPS_ADDR "9101"`},
		"nothing listens":    {[]string{"probe"}, map[string]string{"OPS_ADDR": "127.0.0.1:1"}, "connection refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			if code := run(t.Context(), tt.args, tt.env, nil, &stdout, &stderr); code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			if !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("stderr %q does not contain %q", stderr.String(), tt.want)
			}
		})
	}
}

// As in a container that has no OPS_ADDR: one of the processes runs there, whichever it is.
func TestProbe_finds_the_process_that_runs(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "state") }))
	defer server.Close()
	listens := strings.TrimPrefix(server.URL, "http://")
	var stdout strings.Builder
	if err := probeFirst(t.Context(), []string{"127.0.0.1:1", listens, "127.0.0.1:2"}, &stdout); err != nil || stdout.String() != "state" {
		t.Errorf("got %q, %v", stdout.String(), err)
	}
	err := probeFirst(t.Context(), []string{"127.0.0.1:1", "127.0.0.1:2"}, &stdout)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1, 127.0.0.1:2") || !strings.Contains(err.Error(), "OPS_ADDR") {
		t.Errorf("nothing listens: %v", err)
	}
}
