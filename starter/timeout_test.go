package starter

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestWithTimeout bounds every request but streams of events.
func TestWithTimeout(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/api/videos/x/pipeline": true, "/api/videos/x/events": false, "/api/courses/x/events": false,
	} {
		handler := withTimeout(time.Minute)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, got := r.Context().Deadline(); got != want {
				t.Errorf("%s: a deadline: %t, want %t", path, got, want)
			}
		}))
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	}
}
