package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// Metrics of the worker, for Prometheus. Every label has few values: the two tracks, the steps, and named outcomes.
type Metrics struct {
	missing      *prometheus.CounterVec   // by reason
	results      *prometheus.CounterVec   // by track and outcome
	stepFailures *prometheus.CounterVec   // by step
	applySeconds *prometheus.HistogramVec // by track
	captions     prometheus.Histogram
	unapplied    *unapplied
}

var _ activities.Observer = (*Metrics)(nil)

// outcomeRefused is a result that can never be applied.
const outcomeRefused = "refused"

// Bounds of the histograms' buckets, in seconds: from the speed of one result on an idle system to an outage of a night.
var (
	applyBuckets    = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600}
	captionsBuckets = []float64{1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 24 * 3600}
)

// NewMetrics registers at to, or nowhere when that is nil.
func NewMetrics(to prometheus.Registerer) (*Metrics, error) {
	const prefix = "vidflow_worker_"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	}
	m := &Metrics{
		missing: counter("missing_videos_total",
			"Times that a run looked for its video and found none, by why. A run looks twice for one that is unknown.", "reason"),
		results: counter("results_total",
			"Results that a step was done with, by what became of them: applied, superseded by a newer one, gone from Kafka, "+
				"of a missing video, refused for good. A step that is repeated after an outcome that nobody learned counts again.",
			"track", "outcome"),
		stepFailures: counter("step_failures_total",
			"Tries of a step that failed. All but those that failed for good are made again.", "step"),
		applySeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "result_apply_seconds", Help: "From a result's time in Kafka to its column set.", Buckets: applyBuckets,
		}, []string{"track"}),
		captions: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "captions_seconds", Buckets: captionsBuckets,
			Help: "From the first ask for a transcription to the first transcript_url of a video; of a video that was asked for " +
				"more than once, from when vidflow took it up.",
		}),
		unapplied: newUnapplied(time.Now),
	}
	for _, why := range []workflows.Missing{workflows.Unknown, workflows.Deleted} {
		m.missing.WithLabelValues(string(why))
	}
	for _, track := range tracks {
		for _, outcome := range []string{
			string(workflows.ResultApplied), string(workflows.ResultSuperseded), string(workflows.ResultGone),
			string(workflows.VideoMissing), outcomeRefused,
		} {
			m.results.WithLabelValues(string(track), outcome)
		}
		m.applySeconds.WithLabelValues(string(track))
	}
	for step := range methods(nil) {
		m.stepFailures.WithLabelValues(step)
	}
	if to == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.missing, m.results, m.stepFailures, m.applySeconds, m.captions, m.unapplied} {
		errs = append(errs, to.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register the metrics of the worker: %w", err)
	}
	return m, nil
}

var tracks = []contract.Track{contract.TranscriptionTrack, contract.CompressionTrack}

// VideoMissing implements activities.Observer.
func (m *Metrics) VideoMissing(why workflows.Missing) { m.missing.WithLabelValues(string(why)).Inc() }

// ResultTried implements activities.Observer.
func (m *Metrics) ResultTried(try activities.Try) {
	track := string(try.Track)
	switch {
	case try.Refused:
		m.results.WithLabelValues(track, outcomeRefused).Inc()
	case try.Outcome == "":
		m.unapplied.failed(try)
		return
	default:
		m.results.WithLabelValues(track, string(try.Outcome)).Inc()
	}
	m.unapplied.settled(try)
	if try.Outcome == workflows.ResultApplied {
		m.applySeconds.WithLabelValues(track).Observe(max(0, time.Since(try.RecordTime).Seconds()))
	}
}

// Captioned implements activities.Observer.
func (m *Metrics) Captioned(after time.Duration) { m.captions.Observe(max(0, after.Seconds())) }

// failures counts the tries of steps that fail, local ones and others.
type failures struct {
	interceptor.WorkerInterceptorBase
	metrics *Metrics
}

// InterceptActivity implements interceptor.WorkerInterceptor.
func (f *failures) InterceptActivity(
	_ context.Context, next interceptor.ActivityInboundInterceptor,
) interceptor.ActivityInboundInterceptor {
	return &failureCounter{interceptor.ActivityInboundInterceptorBase{Next: next}, f.metrics}
}

type failureCounter struct {
	interceptor.ActivityInboundInterceptorBase
	metrics *Metrics
}

// ExecuteActivity implements interceptor.ActivityInboundInterceptor.
func (f *failureCounter) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	out, err := f.Next.ExecuteActivity(ctx, in)
	if err != nil {
		f.metrics.stepFailures.WithLabelValues(activity.GetInfo(ctx).ActivityType.Name).Inc()
	}
	return out, err
}

const (
	// unappliedFor is how long a result whose step failed here is remembered. Steps are tried again within a minute or two,
	// but perhaps by another worker, which then knows of it.
	unappliedFor = 5 * time.Minute
	// maxUnapplied bounds the results that are remembered, of each track.
	maxUnapplied = 10_000
)

// unapplied remembers, for each video, the oldest result that a step tried here and failed to apply.
type unapplied struct {
	now func() time.Time

	mu     sync.Mutex
	videos map[contract.Track]map[contract.VideoID]attempt
}

type attempt struct {
	recordTime time.Time // of the oldest result since one was applied
	last       time.Time // when it was tried
}

var oldestUnapplied = prometheus.NewDesc("vidflow_worker_oldest_unapplied_seconds",
	"Age of the oldest result that a step of this worker tried in the last minutes and failed to apply, 0 when there is none. "+
		"Several workers may tell of the same: take the maximum.", []string{"track"}, nil)

func newUnapplied(now func() time.Time) *unapplied {
	u := &unapplied{now: now, videos: make(map[contract.Track]map[contract.VideoID]attempt)}
	for _, track := range tracks {
		u.videos[track] = make(map[contract.VideoID]attempt)
	}
	return u
}

func (u *unapplied) failed(try activities.Try) {
	u.mu.Lock()
	defer u.mu.Unlock()
	videos := u.videos[try.Track]
	known, again := videos[try.VideoID]
	if !again && len(videos) >= maxUnapplied {
		u.forget(videos)
		if len(videos) >= maxUnapplied {
			return // those that are known are older, as a rule
		}
	}
	if !again || try.RecordTime.Before(known.recordTime) {
		known.recordTime = try.RecordTime
	}
	known.last = u.now()
	videos[try.VideoID] = known
}

func (u *unapplied) settled(try activities.Try) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.videos[try.Track], try.VideoID)
}

// forget drops what did not come again; mu is held.
func (u *unapplied) forget(videos map[contract.VideoID]attempt) {
	since := u.now().Add(-unappliedFor)
	for id, a := range videos {
		if a.last.Before(since) {
			delete(videos, id)
		}
	}
}

// Describe implements prometheus.Collector.
func (*unapplied) Describe(descs chan<- *prometheus.Desc) { descs <- oldestUnapplied }

// Collect implements prometheus.Collector.
func (u *unapplied) Collect(into chan<- prometheus.Metric) {
	for _, track := range tracks {
		into <- prometheus.MustNewConstMetric(oldestUnapplied, prometheus.GaugeValue, u.age(track).Seconds(), string(track))
	}
}

func (u *unapplied) age(track contract.Track) (oldest time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	videos := u.videos[track]
	u.forget(videos)
	for _, a := range videos {
		oldest = max(oldest, u.now().Sub(a.recordTime))
	}
	return oldest
}
