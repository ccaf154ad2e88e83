package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/contract"
)

// scrape is what one process shows at /metrics, by family.
func (p *pipeline) scrape(ctx context.Context, name string) (map[string]*dto.MetricFamily, error) {
	families, _, err := p.page(ctx, name)
	return families, err
}

func (p *pipeline) page(ctx context.Context, name string) (_ map[string]*dto.MetricFamily, body []byte, _ error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.block.URL(opsPort[name])+"/metrics", nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("/metrics of %s: %w", name, err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	return families, body, err
}

func (p *pipeline) scrapeAll() map[string]map[string]*dto.MetricFamily {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	all := make(map[string]map[string]*dto.MetricFamily)
	for _, name := range everyProcess {
		started := time.Now()
		families, body, err := p.page(ctx, name)
		if err != nil {
			p.t.Fatal(err)
		}
		took, samples := time.Since(started), 0
		for line := range bytes.Lines(body) {
			if line[0] != '#' {
				samples++
			}
		}
		p.t.Logf("/metrics of %s: %d bytes, %d samples, %.1f ms", name, len(body), samples, float64(took.Microseconds())/1000)
		all[name] = families
	}
	return all
}

// seriesOf are the series by their names and labels; a histogram is one.
func seriesOf(families map[string]*dto.MetricFamily) map[string]*dto.Metric {
	series := make(map[string]*dto.Metric)
	for name, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(labels)
			series[name+"{"+strings.Join(labels, ",")+"}"] = m
		}
	}
	return series
}

func ours(families map[string]*dto.MetricFamily) map[string]*dto.MetricFamily {
	kept := maps.Clone(families)
	maps.DeleteFunc(kept, func(name string, _ *dto.MetricFamily) bool { return !strings.HasPrefix(name, "vidflow_") })
	return kept
}

var (
	anyID         = regexp.MustCompile(`(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}`)
	documented    = regexp.MustCompile("`(vidflow_[a-z_]+)`")
	documentedLib = regexp.MustCompile("(?m)^\\| `([a-z]+_)…`")
)

// TestMetrics drives videos through, and reads what Prometheus would.
func TestMetrics(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)

	t.Log("before the first video")
	for name, families := range p.scrapeAll() {
		for series, m := range seriesOf(ours(families)) {
			if m.GetCounter().GetValue() != 0 {
				t.Errorf("%s of %s is %v", series, name, m.GetCounter().GetValue())
			}
		}
	}

	b := soon()
	p.simulate(b)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	const length = 30 * time.Second
	drive := func(videos int) {
		t.Helper()
		ids := make([]contract.VideoID, videos)
		for i := range ids {
			ids[i] = p.create(length)
		}
		p.produce(p.topics.transcribed, []byte(ids[0]), []byte("{"))
		p.awaitDone(ctx, b, length, ids...)
		p.awaitAcknowledged()
	}
	const few, many = 5, 40
	drive(few)
	before := p.scrapeAll()
	drive(many)
	t.Log("after all of them")
	after := p.scrapeAll()

	t.Run("series do not grow with videos", func(t *testing.T) {
		for _, name := range everyProcess {
			was, is := seriesOf(before[name]), seriesOf(after[name])
			if diff := cmp.Diff(slices.Sorted(maps.Keys(seriesOf(ours(before[name])))), slices.Sorted(maps.Keys(seriesOf(ours(after[name]))))); diff != "" {
				t.Errorf("series of %s (-before +after):\n%s", name, diff)
			}
			if len(is) > len(was)+many/2 {
				t.Errorf("%d series of %s, %d before the last %d videos", len(is), name, len(was), many)
			}
			for series := range is {
				if !strings.HasPrefix(series, "vidflow_build_info") && anyID.MatchString(p.unnamed(series)) {
					t.Errorf("%s has a label that looks like an id: %s", name, series)
				}
			}
		}
	})
	t.Run("names are as they should be", func(t *testing.T) {
		for _, name := range everyProcess {
			problems, err := promlint.NewWithMetricFamilies(slices.Collect(maps.Values(ours(after[name])))).Lint()
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range problems {
				t.Errorf("%s of %s: %s", problem.Metric, name, problem.Text)
			}
		}
	})
	t.Run("docs/metrics.md has all, and no more", func(t *testing.T) {
		page, err := os.ReadFile("../../docs/metrics.md")
		if err != nil {
			t.Fatal(err)
		}
		want, got := make(map[string]bool), make(map[string]bool)
		for _, m := range documented.FindAllStringSubmatch(string(page), -1) {
			want[m[1]] = true
		}
		var libraries []string
		for _, m := range documentedLib.FindAllStringSubmatch(string(page), -1) {
			libraries = append(libraries, m[1])
		}
		for process, families := range after {
			for name, f := range families {
				if strings.HasPrefix(name, "vidflow_") {
					got[name] = true
					if f.GetHelp() == "" {
						t.Errorf("%s has no HELP", name)
					}
				} else if !slices.ContainsFunc(libraries, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
					t.Errorf("%s shows %s, which no library that the page has is behind", process, name)
				}
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("metrics (-page +processes):\n%s", diff)
		}
	})
	t.Run("they count what happened", func(t *testing.T) {
		all := make(map[string]*dto.Metric)
		for _, families := range after {
			maps.Copy(all, seriesOf(families))
		}
		const videos = few + many
		topic := func(name string) string { return fmt.Sprintf(name, p.topics.transcribed) }
		for series, want := range map[string]float64{
			"vidflow_starter_videos_created_total{}":                                                                     videos,
			"vidflow_starter_intents_total{kind=run,outcome=done}":                                                       videos,
			"vidflow_starter_intents_total{kind=run,outcome=failed}":                                                     0,
			"vidflow_starter_run_start_seconds{}":                                                                        videos,
			"vidflow_worker_results_total{outcome=applied,track=transcription}":                                          videos,
			"vidflow_worker_results_total{outcome=applied,track=compression}":                                            videos,
			"vidflow_worker_result_apply_seconds{track=transcription}":                                                   videos,
			"vidflow_worker_captions_seconds{}":                                                                          videos,
			"vidflow_worker_oldest_unapplied_seconds{track=transcription}":                                               0,
			topic("vidflow_bridge_received_total{topic=%s}"):                                                             videos + 2,
			topic("vidflow_bridge_records_total{outcome=dead_lettered,topic=%s}"):                                        2,
			topic("vidflow_bridge_dead_letters_total{class=json,topic=%s}"):                                              2,
			topic("vidflow_bridge_lag_seconds{topic=%s}"):                                                                0,
			topic("kafka_fetch_records_total{client=bridge/%[1]s,topic=%[1]s}"):                                          videos + 2,
			"vidflow_starter_http_request_duration_seconds{method=POST,route=/api/courses/{courseId}/videos,status=201}": videos,
		} {
			m, there := all[series]
			if !there {
				t.Errorf("there is no %s", series)
				continue
			}
			got := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			// On a busy machine a step, or a delivery, may be repeated.
			if got < want || got > 0 && want == 0 {
				t.Errorf("%s: got %v, want %v", series, got, want)
			}
		}
	})
}

// unnamed takes the random names of the test's own topics out of a series.
func (p *pipeline) unnamed(series string) string {
	for _, name := range append(p.topics.all(), p.namespace.Name) {
		series = strings.ReplaceAll(series, name, "NAME")
	}
	return series
}

// TestMetrics_in_trouble has storage fail for one of two videos.
func TestMetrics_in_trouble(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	failing := p.create(time.Minute)
	if err := p.storage.Order(t.Context(), storage.Fault{Kind: storage.InternalError, Path: string(failing), Count: 1000}); err != nil {
		t.Fatal(err)
	}
	other := p.create(time.Minute)
	p.simulate(soon())

	const unapplied = "vidflow_worker_oldest_unapplied_seconds{track=transcription}"
	p.awaitSeries("trouble shows", map[string]func(float64) bool{
		unapplied: func(age float64) bool { return age > 2 && age < patience.Seconds() },
		"vidflow_worker_oldest_unapplied_seconds{track=compression}":        func(age float64) bool { return age == 0 },
		"vidflow_worker_step_failures_total{step=StoreTranscript}":          func(n float64) bool { return n >= 3 },
		"vidflow_worker_step_failures_total{step=SetVideoURL}":              func(n float64) bool { return n == 0 },
		"vidflow_worker_results_total{outcome=applied,track=transcription}": func(n float64) bool { return n >= 1 },
		"vidflow_worker_results_total{outcome=applied,track=compression}":   func(n float64) bool { return n >= 2 },
		"vidflow_pipeline_waiting_videos{track=transcription}":              func(n float64) bool { return n == 1 },
		"vidflow_pipeline_oldest_waiting_seconds{track=transcription}":      func(age float64) bool { return age > 2 },
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	families, err := p.scrape(ctx, worker)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"temporal_request_total", "temporal_request_latency_seconds", "temporal_activity_execution_failed_total",
		"temporal_workflow_task_schedule_to_start_latency_seconds", "temporal_worker_task_slots_available",
		"kafka_request_duration_e2e_seconds", "kafka_produce_records_total", "kafka_buffered_fetch_bytes",
		"pgxpool_acquired_connections", "pgxpool_max_connections", "pgxpool_empty_acquire_wait_time_nanoseconds_total",
		"pgxpool_canceled_acquires_total",
	} {
		if families[name] == nil {
			t.Errorf("there is no %s, which docs/metrics.md tells of", name)
		}
	}

	p.awaitDone(ctx, soon(), time.Minute, other)
	if err := p.storage.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.awaitSeries("trouble is over", map[string]func(float64) bool{
		unapplied: func(age float64) bool { return age == 0 },
		"vidflow_worker_results_total{outcome=applied,track=transcription}": func(n float64) bool { return n >= 2 },
		"vidflow_pipeline_waiting_videos{track=transcription}":              func(n float64) bool { return n == 0 },
	})
}

// awaitSeries waits until all series of all processes are as they should be, at the same time.
func (p *pipeline) awaitSeries(what string, want map[string]func(float64) bool) {
	p.t.Helper()
	p.await(what, func(ctx context.Context) error {
		got := make(map[string]*dto.Metric)
		for _, name := range everyProcess {
			families, err := p.scrape(ctx, name)
			if err != nil {
				return err
			}
			maps.Copy(got, seriesOf(families))
		}
		for series, ok := range want {
			m, there := got[series]
			if value := m.GetCounter().GetValue() + m.GetGauge().GetValue(); !there || !ok(value) {
				return fmt.Errorf("%s is %v (there: %t)", series, value, there)
			}
		}
		return nil
	})
}
