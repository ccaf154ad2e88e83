package starter_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codeendelea/vidflow/starter"
)

// TestMetrics_of_requests: routes and not paths, whatever is asked for.
func TestMetrics_of_requests(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) {
		cfg.Metrics, cfg.AllowedOrigins = registry, []string{"https://app.example.org"}
	})
	id := w.create()
	w.call(http.MethodPost, w.videosPath(), w.owner(), "{").expect(t, http.StatusBadRequest)
	for range 3 {
		w.call(http.MethodGet, "/api/videos/"+uuid.NewString()+"/pipeline", w.owner(), nil).expect(t, http.StatusNotFound)
	}
	w.call(http.MethodGet, "/api/videos/"+id.String()+"/pipeline", w.owner(), nil).expect(t, http.StatusOK)
	w.call(http.MethodGet, "/api/videos/"+id.String()+"/pipeline", "", nil).expect(t, http.StatusUnauthorized)
	w.call(http.MethodGet, "/api/health", "", nil).expect(t, http.StatusOK)
	w.call(http.MethodHead, "/api/health", "", nil)
	w.call(http.MethodGet, "/api/videos/"+id.String()+"/nothing", "", nil).expect(t, http.StatusNotFound)
	w.call(http.MethodGet, "/wp-login.php", "", nil).expect(t, http.StatusNotFound)
	w.call("BREW", "/api/health", "", nil).expect(t, http.StatusMethodNotAllowed)
	w.call("TEA", "/"+id.String(), "", nil)
	w.call(http.MethodOptions, w.videosPath(), "", nil, "Origin", "https://app.example.org", "Access-Control-Request-Method", "POST")

	type request struct{ Route, Method, Status string }
	got := make(map[request]uint64)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "vidflow_starter_http_request_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			var r request
			for _, l := range m.GetLabel() {
				*map[string]*string{"route": &r.Route, "method": &r.Method, "status": &r.Status}[l.GetName()] = l.GetValue()
			}
			got[r] = m.GetHistogram().GetSampleCount()
		}
	}
	const pipeline, videos = "/api/videos/{videoId}/pipeline", "/api/courses/{courseId}/videos"
	want := map[request]uint64{
		{videos, "POST", "201"}:        1,
		{videos, "POST", "400"}:        1,
		{pipeline, "GET", "404"}:       3,
		{pipeline, "GET", "200"}:       1,
		{pipeline, "GET", "401"}:       1,
		{"/api/health", "GET", "200"}:  1,
		{"/api/health", "HEAD", "200"}: 1,
		{"none", "GET", "404"}:         2,
		{"none", "other", "405"}:       2,
		{"none", "OPTIONS", "200"}:     1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
