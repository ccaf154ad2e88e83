package starter

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

// metrics of a Starter, for Prometheus. Every label has few values: routes and not paths, and what this package names.
type metrics struct {
	created  prometheus.Counter
	intents  *prometheus.CounterVec // by kind and outcome
	runStart prometheus.Histogram
	requests *prometheus.HistogramVec // by route, method and status
	pipeline *pipelineGauges
}

// What becomes of an attempt at an intent. One that only has to wait is neither.
const (
	intentDone   = "done"
	intentFailed = "failed"
)

func newMetrics(store SummaryStore) *metrics {
	m := &metrics{
		created: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vidflow_starter_videos_created_total", Help: "Videos created through the API, repeats not counted.",
		}),
		intents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vidflow_starter_intents_total",
			Help: "Attempts of the relay to start the run of a created video or to clean up after a deleted one, by outcome. " +
				"What failed is tried again.",
		}, []string{"kind", "outcome"}),
		runStart: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vidflow_starter_run_start_seconds", Help: "From a video's row committed to its run started.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600},
		}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vidflow_starter_http_request_duration_seconds",
			Help:    "Requests to the API, by route as openapi.json has it (none: no such route), method and status. Streams of events are left out.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route", "method", "status"}),
		pipeline: newPipelineGauges(store, time.Now),
	}
	for _, kind := range intentKinds {
		m.intents.WithLabelValues(string(kind), intentDone)
		m.intents.WithLabelValues(string(kind), intentFailed)
	}
	return m
}

var intentKinds = []postgres.IntentKind{postgres.IntentRun, postgres.IntentCleanup}

// register registers others beside its own.
func (m *metrics) register(to prometheus.Registerer, others ...prometheus.Collector) error {
	if to == nil {
		return nil
	}
	var errs []error
	for _, c := range append(others, m.created, m.intents, m.runStart, m.requests, m.pipeline) {
		errs = append(errs, to.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("register the metrics of the starter: %w", err)
	}
	return nil
}

// timed measures requests. Who asks for what is not there, or in a way that is not known, makes no series of their own.
func (m *metrics) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)

		if kind, _, _ := mime.ParseMediaType(ww.Header().Get("Content-Type")); kind == "text/event-stream" {
			return // lasts as long as its listener likes
		}
		route := chi.RouteContext(r.Context()).RoutePattern()
		if route == "" {
			route = "none"
		}
		status := ww.Status()
		if status == 0 {
			status = http.StatusOK
		}
		m.requests.WithLabelValues(route, knownMethod(r.Method), strconv.Itoa(status)).Observe(time.Since(start).Seconds())
	})
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// SummaryStore says how the whole pipeline is.
type SummaryStore interface {
	Summarize(ctx context.Context) (postgres.Summary, error)
}

const (
	// summaryFor is how long a summary, or the failure to read it, stands before the database is asked again.
	summaryFor = 15 * time.Second
	// summaryTimeout leaves a scrape time for the rest.
	summaryTimeout = 3 * time.Second
)

// pipelineGauges are read from the database when somebody looks.
type pipelineGauges struct {
	store    SummaryStore
	now      func() time.Time
	failures prometheus.Counter

	mu      sync.Mutex // held while the database is asked: one question at a time
	summary *postgres.Summary
	until   time.Time
}

func newPipelineGauges(store SummaryStore, now func() time.Time) *pipelineGauges {
	return &pipelineGauges{store: store, now: now, failures: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "vidflow_pipeline_read_failures_total",
		Help: "Times that the database did not say how the pipeline is. The other vidflow_pipeline_ metrics are absent then.",
	})}
}

const pipelineNote = " From the database, the same at each instance: take the maximum."

func pipelineDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("vidflow_pipeline_"+name, help+pipelineNote, labels, nil)
}

var (
	waitingVideos = pipelineDesc("waiting_videos",
		"Videos that wait for a result, overdue ones included.", "track")
	oldestWaiting = pipelineDesc("oldest_waiting_seconds",
		"For how long the first of them has waited, 0 when there is none; after a retry since the last ask.", "track")
	failedVideos    = pipelineDesc("failed_videos", "Videos whose result was given up.", "track")
	overdueVideos   = pipelineDesc("overdue_videos", "Videos whose compression is overdue and still waited for.")
	outboxIntents   = pipelineDesc("outbox_intents", "Runs to start and deleted videos to clean up after.", "kind")
	outboxOldest    = pipelineDesc("outbox_oldest_seconds", "Age of the oldest of them, 0 when there is none.", "kind")
	openDeadLetters = pipelineDesc("open_dead_letters",
		"Dead letters that were neither sent back nor overtaken by a result that was applied.", "track")
)

// Describe implements prometheus.Collector.
func (g *pipelineGauges) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		waitingVideos, oldestWaiting, failedVideos, overdueVideos, outboxIntents, outboxOldest, openDeadLetters,
	} {
		descs <- d
	}
	g.failures.Describe(descs)
}

// Collect implements prometheus.Collector.
func (g *pipelineGauges) Collect(into chan<- prometheus.Metric) {
	defer g.failures.Collect(into)
	s := g.read()
	if s == nil {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		into <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for track, t := range map[contract.Track]postgres.TrackSummary{
		contract.TranscriptionTrack: s.Transcription, contract.CompressionTrack: s.Compression,
	} {
		gauge(waitingVideos, float64(t.Waiting), string(track))
		gauge(oldestWaiting, t.OldestWaiting.Seconds(), string(track))
		gauge(failedVideos, float64(t.Failed), string(track))
		gauge(openDeadLetters, float64(t.OpenDeadLetters), string(track))
	}
	gauge(overdueVideos, float64(s.Overdue))
	for _, kind := range intentKinds {
		gauge(outboxIntents, float64(s.Outbox[kind].Intents), string(kind))
		gauge(outboxOldest, s.Outbox[kind].Oldest.Seconds(), string(kind))
	}
}

// read is nil when the database does not answer.
func (g *pipelineGauges) read() *postgres.Summary {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now().Before(g.until) {
		return g.summary
	}
	ctx, cancel := context.WithTimeout(context.Background(), summaryTimeout)
	defer cancel()
	s, err := g.store.Summarize(ctx)
	g.summary, g.until = &s, g.now().Add(summaryFor)
	if err != nil {
		g.summary = nil
		g.failures.Inc()
	}
	return g.summary
}
