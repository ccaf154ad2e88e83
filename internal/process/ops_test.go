package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codeendelea/vidflow/internal/process"
)

// patience is how long something may take on a busy machine: only a failure meets it.
const patience = time.Minute

// startOps serves probes on a free port, and runs the parts until the test ends.
func startOps(t *testing.T, o process.OpsOptions, parts ...process.Part) *process.Ops {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Addr = "127.0.0.1:0"
	ops, err := process.NewOps(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ops.Close)
	if len(parts) == 0 {
		return ops
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- process.Run(ctx, process.Options{Log: o.Log, Ops: ops, ShutdownTimeout: patience}, parts...)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ops
}

func idle(ctx context.Context) error { <-ctx.Done(); return nil }

func up(context.Context) error { return nil }

func away(context.Context) error { return errAway }

func get(t *testing.T, ops *process.Ops, path string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ops.Addr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func readiness(t *testing.T, ops *process.Ops) (int, process.Readiness) {
	t.Helper()
	status, body := get(t, ops, "/readyz")
	var r process.Readiness
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return status, r
}

// eventually asks until the condition holds.
func eventually(t *testing.T, ops *process.Ops, what string, holds func(int, process.Readiness) bool) process.Readiness {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, r := readiness(t, ops)
		if holds(status, r) {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still %d %+v", what, status, r)
		}
		<-tick.C
	}
}

func TestOps_ready(t *testing.T) {
	t.Parallel()
	missing := func(context.Context) error { return process.Never(errors.New("bucket captions is missing")) }
	starter := func(checks ...process.Check) process.Part {
		return process.Part{Name: "starter", Serves: true, Run: idle, Checks: checks}
	}
	worker := func(checks ...process.Check) process.Part {
		return process.Part{Name: "worker", Run: idle, Checks: checks}
	}
	for name, row := range map[string]struct {
		parts  []process.Part
		status int
		want   process.Readiness
	}{
		"all is there": {
			parts:  []process.Part{worker(process.Check{Name: "Postgres", Required: true, Probe: up})},
			status: http.StatusOK,
			want: process.Readiness{
				Status: "ready", Parts: map[string]string{"worker": "running"},
				Checks: []process.CheckResult{{Name: "Postgres", Part: "worker", Required: true, State: "up"}},
			},
		},
		"nothing is needed": {
			parts:  []process.Part{worker()},
			status: http.StatusOK,
			want:   process.Readiness{Status: "ready", Parts: map[string]string{"worker": "running"}, Checks: []process.CheckResult{}},
		},
		"the API goes on without what it can do without": {
			parts: []process.Part{starter(
				process.Check{Name: "Postgres", Required: true, Probe: up},
				process.Check{Name: "Temporal", Probe: away},
				process.Check{Name: "Storage", Probe: missing},
			)},
			status: http.StatusOK,
			want: process.Readiness{
				Status: "degraded", Parts: map[string]string{"starter": "running"},
				Checks: []process.CheckResult{
					{Name: "Postgres", Part: "starter", Required: true, State: "up"},
					{Name: "Temporal", Part: "starter", State: "down", Error: "connection refused"},
					{Name: "Storage", Part: "starter", State: "misconfigured", Error: "bucket captions is missing"},
				},
			},
		},
		"the worker waits for what it needs": {
			parts:  []process.Part{worker(process.Check{Name: "Temporal", Required: true, Probe: away})},
			status: http.StatusServiceUnavailable,
			want: process.Readiness{
				Status: "not ready", Parts: map[string]string{"worker": "waiting"},
				Checks: []process.CheckResult{{Name: "Temporal", Part: "worker", Required: true, State: "down", Error: "connection refused"}},
			},
		},
		"beside the API, a worker that waits does not take traffic away": {
			parts: []process.Part{
				worker(process.Check{Name: "Temporal", Required: true, Probe: away}),
				starter(process.Check{Name: "Postgres", Required: true, Probe: up}),
			},
			status: http.StatusOK,
			want: process.Readiness{
				Status: "degraded", Parts: map[string]string{"starter": "running", "worker": "waiting"},
				Checks: []process.CheckResult{
					{Name: "Temporal", Part: "worker", State: "down", Error: "connection refused"},
					{Name: "Postgres", Part: "starter", Required: true, State: "up"},
				},
			},
		},
		"a secret in an error is taken out": {
			parts: []process.Part{starter(process.Check{Name: "Temporal", Probe: func(context.Context) error {
				return errors.New("key hunter2hunter2 refused")
			}})},
			status: http.StatusOK,
			want: process.Readiness{
				Status: "degraded", Parts: map[string]string{"starter": "running"},
				Checks: []process.CheckResult{{Name: "Temporal", Part: "starter", State: "down", Error: "key [redacted] refused"}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redact := func(s string) string { return strings.ReplaceAll(s, "hunter2hunter2", "[redacted]") }
			ops := startOps(t, process.OpsOptions{Redact: redact}, row.parts...)
			got := eventually(t, ops, name, func(status int, r process.Readiness) bool {
				return status == row.status && cmp.Equal(r.Parts, row.want.Parts)
			})
			if diff := cmp.Diff(row.want, got, cmpopts.IgnoreFields(process.CheckResult{}, "Milliseconds")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOps_healthz_depends_on_nothing(t *testing.T) {
	t.Parallel()
	ops := startOps(t, process.OpsOptions{}, process.Part{
		Name: "worker", Run: idle, Checks: []process.Check{{Name: "Postgres", Required: true, Probe: away}},
	})
	if status, body := get(t, ops, "/healthz"); status != http.StatusOK || !strings.Contains(body, "ok") {
		t.Errorf("got %d %s, want 200 and ok", status, body)
	}
}

func TestOps_is_not_ready_before_anything_has_begun(t *testing.T) {
	t.Parallel()
	if status, r := readiness(t, startOps(t, process.OpsOptions{})); status != http.StatusServiceUnavailable || r.Status != "not ready" {
		t.Errorf("got %d %+v, want 503", status, r)
	}
}

func TestOps_tells_when_something_goes_and_comes_back(t *testing.T) {
	t.Parallel()
	var gone atomic.Bool
	log := newMessages()
	ops := startOps(t, process.OpsOptions{Log: log.logger()}, process.Part{
		Name: "worker", Run: idle,
		Checks: []process.Check{{Name: "Kafka reader", Required: true, Probe: func(context.Context) error {
			if gone.Load() {
				return errAway
			}
			return nil
		}}},
	})
	is := func(want string) func(int, process.Readiness) bool {
		return func(_ int, r process.Readiness) bool { return r.Status == want }
	}
	eventually(t, ops, "at first", is("ready"))
	gone.Store(true)
	eventually(t, ops, "gone", is("not ready"))
	gone.Store(false)
	eventually(t, ops, "back", is("ready"))
	for _, want := range []string{"dependency has gone away", "dependency is there again"} {
		if strings.Count(log.text(), want) != 1 {
			t.Errorf("got %q, want %q once", log.all(), want)
		}
	}
}

func TestOps_asks_once_for_many_probes(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	ops := startOps(t, process.OpsOptions{}, process.Part{
		Name: "starter", Serves: true, Run: idle,
		// Required, so that nothing but the probes asks once it runs.
		Checks: []process.Check{{Name: "Postgres", Required: true, Probe: func(context.Context) error { asked.Add(1); return nil }}},
	})
	eventually(t, ops, "starter", func(status int, _ process.Readiness) bool { return status == http.StatusOK })
	before, started := asked.Load(), time.Now()
	for range 50 {
		readiness(t, ops)
	}
	if n := int(asked.Load() - before); n > 1+int(time.Since(started)/(2*time.Second)) {
		t.Errorf("50 probes within %s asked %d times, want once in two seconds", time.Since(started), n)
	}
}

func TestOps_limits_a_check_that_hangs(t *testing.T) {
	t.Parallel()
	ops := startOps(t, process.OpsOptions{}, process.Part{
		Name: "starter", Serves: true, Run: idle,
		Checks: []process.Check{{Name: "Storage", Probe: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}},
	})
	r := eventually(t, ops, "checked", func(_ int, r process.Readiness) bool { return len(r.Checks) > 0 })
	if want := "no answer within 2s: context deadline exceeded"; r.Checks[0].Error != want {
		t.Errorf("got %q, want %q", r.Checks[0].Error, want)
	}
}

func TestOps_serves_profiles_only_when_asked(t *testing.T) {
	t.Parallel()
	for profiles, want := range map[bool]int{false: http.StatusNotFound, true: http.StatusOK} {
		if got, _ := get(t, startOps(t, process.OpsOptions{Profiles: profiles}), "/debug/pprof/"); got != want {
			t.Errorf("Profiles %t: got %d, want %d", profiles, got, want)
		}
	}
}

func TestNewOps_names_a_port_that_is_taken(t *testing.T) {
	t.Parallel()
	first := startOps(t, process.OpsOptions{})
	_, err := process.NewOps(t.Context(), process.OpsOptions{Addr: first.Addr(), Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "OPS_ADDR "+first.Addr()) {
		t.Errorf("got %v, want an error that names OPS_ADDR and %s", err, first.Addr())
	}
}

func TestOps_metrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "answer"}, func() float64 { return 42 }))
	ops := startOps(t, process.OpsOptions{Metrics: registry})
	status, body := get(t, ops, "/metrics")
	if status != http.StatusOK || !strings.Contains(body, "answer 42\n") {
		t.Errorf("got %d %s", status, body)
	}
	if status, _ := get(t, startOps(t, process.OpsOptions{}), "/metrics"); status != http.StatusNotFound {
		t.Errorf("without metrics: got %d, want 404", status)
	}
}
