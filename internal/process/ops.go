package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// How readiness is found out: each check has readyTimeout, all run at once, and the answer stands for readyFor, so that
// probes, however many, do not become a load on what they ask about.
const (
	readyTimeout = 2 * time.Second
	readyFor     = 2 * time.Second
)

// metricsTimeout bounds one answer of /metrics.
const metricsTimeout = 10 * time.Second

// OpsOptions of NewOps.
type OpsOptions struct {
	// Addr to listen at, host:port. Everything here is for operators: it belongs on an address that the world does not
	// reach, and never on the API's port.
	Addr string
	// Profiles serves /debug/pprof/.
	Profiles bool
	// Metrics are served at /metrics, for Prometheus to collect; nil serves none.
	Metrics prometheus.Gatherer
	// Redact takes secrets out of the errors of checks; nil takes out none.
	Redact func(string) string
	Log    *slog.Logger
}

// Ops answers probes: /healthz, which depends on nothing, and /readyz, which names the state of each thing that is needed.
// Beside them it serves /metrics.
type Ops struct {
	o      OpsOptions
	addr   string
	server *http.Server
	served chan struct{} // closed when nothing is served any more

	mu       sync.Mutex // held while checks run: one flight at a time
	parts    []Part
	statuses *statuses
	last     Readiness
	lastAt   time.Time
}

// NewOps opens the port and answers at once; nothing is ready until Run has been told what there is. Close it at the end.
func NewOps(ctx context.Context, o OpsOptions) (*Ops, error) {
	if o.Redact == nil {
		o.Redact = func(s string) string { return s }
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("serve probes at OPS_ADDR %s: %w", o.Addr, err)
	}
	ops := &Ops{o: o, addr: listener.Addr().String(), served: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", ops.healthz)
	mux.HandleFunc("GET /readyz", ops.readyz)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{
			ErrorLog:      slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
			ErrorHandling: promhttp.ContinueOnError, // what can be told is told
			Timeout:       metricsTimeout,
		}))
	}
	if o.Profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	ops.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	o.Log.Info("probes are served", "ops_addr", ops.addr)
	go func() {
		defer close(ops.served)
		if err := ops.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("probes are no longer served", "error", err)
		}
	}()
	return ops, nil
}

// Readiness is the answer of /readyz.
type Readiness struct {
	// Status is "ready", "degraded" (ready, but something is away) or "not ready". Only the last is a 503.
	Status string `json:"status"`
	// Parts says of each process whether it is "waiting" for what it needs, "running", "stopping" or "ended".
	Parts  map[string]string `json:"parts"`
	Checks []CheckResult     `json:"checks"`
}

// CheckResult is the state of one thing that is needed.
type CheckResult struct {
	Name string `json:"name"`
	Part string `json:"part"`
	// Required says that there is no readiness without it.
	Required bool `json:"required"`
	// State is "up", "down", or "misconfigured" for what waiting will not mend.
	State string `json:"state"`
	Error string `json:"error,omitempty"`
	// Milliseconds that the check took.
	Milliseconds int64 `json:"ms"`
}

// The values of Status and State.
const (
	StatusReady    = "ready"
	StatusDegraded = "degraded"
	StatusNotReady = "not ready"

	StateUp            = "up"
	StateDown          = "down"
	StateMisconfigured = "misconfigured"
)

func (*Ops) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (o *Ops) readyz(w http.ResponseWriter, r *http.Request) {
	// Not the request's context: the result is everybody's, and outlives who asked for it.
	readiness := o.readiness(context.WithoutCancel(r.Context()))
	status := http.StatusOK
	if readiness.Status == StatusNotReady {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, readiness)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body) // the caller has gone
}

func (o *Ops) readiness(ctx context.Context) Readiness {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lastAt.IsZero() || time.Since(o.lastAt) >= readyFor {
		o.last.Checks = o.check(ctx, o.last.Checks)
		o.lastAt = time.Now()
	}
	return o.judge(o.last.Checks)
}

// check runs every check of every part, and says in the log what has changed since before.
func (o *Ops) check(ctx context.Context, before []CheckResult) []CheckResult {
	serves := o.serves()
	var checks []Check
	results := []CheckResult{} // not nil: an empty list in JSON too
	for _, part := range o.parts {
		for _, check := range part.Checks {
			checks = append(checks, check)
			results = append(results, CheckResult{
				Name: check.Name, Part: part.Name, Required: check.Required && part.Serves == serves,
			})
		}
	}
	var group sync.WaitGroup
	for i, check := range checks {
		group.Go(func() { o.checkOne(ctx, check, &results[i]) })
	}
	group.Wait()
	for i, now := range results {
		if len(before) == len(results) && (before[i].State == StateUp) != (now.State == StateUp) {
			o.say(now)
		}
	}
	return results
}

func (o *Ops) checkOne(ctx context.Context, check Check, result *CheckResult) {
	started := time.Now()
	err := probe(ctx, check, readyTimeout)
	result.Milliseconds = time.Since(started).Milliseconds()
	result.State = StateUp
	if err != nil {
		result.State, result.Error = StateDown, o.o.Redact(err.Error())
	}
	if CanNeverWork(err) {
		result.State = StateMisconfigured
	}
}

func (o *Ops) say(now CheckResult) {
	log := o.o.Log.With("process", now.Part, "dependency", now.Name)
	if now.State == StateUp {
		log.Info("dependency is there again")
		return
	}
	log.Warn("dependency has gone away", "error", now.Error)
}

// judge makes of the results, and of what the parts do at this moment, the answer.
func (o *Ops) judge(checks []CheckResult) Readiness {
	r := Readiness{Status: StatusReady, Parts: map[string]string{}, Checks: checks}
	worsen := func(required bool) {
		if required {
			r.Status = StatusNotReady
		} else if r.Status == StatusReady {
			r.Status = StatusDegraded
		}
	}
	for _, check := range checks {
		if check.State != StateUp {
			worsen(check.Required)
		}
	}
	if len(o.parts) == 0 {
		r.Status = StatusNotReady // nothing has begun yet
	}
	serves := o.serves()
	for _, part := range o.parts {
		state := o.statuses.get(part.Name)
		r.Parts[part.Name] = string(state)
		if state != running {
			worsen(part.Serves == serves)
		}
	}
	return r
}

// serves reports whether any part takes traffic: then those that do decide about readiness, else all.
func (o *Ops) serves() bool {
	for _, part := range o.parts {
		if part.Serves {
			return true
		}
	}
	return false
}

// expect says what there is to be ready.
func (o *Ops) expect(parts []Part) *statuses {
	s := &statuses{of: make(map[string]state)}
	for _, part := range parts {
		s.of[part.Name] = waiting
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parts, o.statuses, o.lastAt = parts, s, time.Time{}
	return s
}

// Addr is where probes are answered, host:port.
func (o *Ops) Addr() string { return o.addr }

// Close cuts what is still asked, and returns when nothing answers any more.
func (o *Ops) Close() {
	_ = o.server.Close()
	<-o.served
}
