package starter

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codeendelea/vidflow/internal/postgres"
)

// summaries answers with its summary or its error, and counts how often it is asked.
type summaries struct {
	summary postgres.Summary
	err     error
	asked   int
}

func (s *summaries) Summarize(ctx context.Context) (postgres.Summary, error) {
	s.asked++
	if _, bounded := ctx.Deadline(); !bounded {
		return postgres.Summary{}, errors.New("this may take for ever")
	}
	return s.summary, s.err
}

func TestMetrics_of_the_pipeline(t *testing.T) {
	t.Parallel()
	store := &summaries{summary: postgres.Summary{
		Transcription: postgres.TrackSummary{Waiting: 3, OldestWaiting: time.Minute, Failed: 2, OpenDeadLetters: 5},
		Compression:   postgres.TrackSummary{Waiting: 4, OldestWaiting: time.Hour, Failed: 1},
		Overdue:       1,
		Outbox:        map[postgres.IntentKind]postgres.OutboxSummary{postgres.IntentRun: {Intents: 7, Oldest: time.Second}},
	}}
	now := time.Now()
	g := newPipelineGauges(store, func() time.Time { return now })
	all := func(failures float64) map[string]float64 {
		return map[string]float64{
			"waiting_videos transcription": 3, "waiting_videos compression": 4,
			"oldest_waiting_seconds transcription": 60, "oldest_waiting_seconds compression": 3600,
			"failed_videos transcription": 2, "failed_videos compression": 1,
			"open_dead_letters transcription": 5, "open_dead_letters compression": 0,
			"overdue_videos":     1,
			"outbox_intents run": 7, "outbox_intents cleanup": 0,
			"outbox_oldest_seconds run": 1, "outbox_oldest_seconds cleanup": 0,
			"read_failures_total": failures,
		}
	}
	shows := func(want map[string]float64) {
		t.Helper()
		if diff := cmp.Diff(want, collected(t, g)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}

	var scrapes sync.WaitGroup
	for range 8 {
		scrapes.Go(func() { collected(t, g) })
	}
	scrapes.Wait()
	shows(all(0))
	if store.asked != 1 {
		t.Errorf("the database was asked %d times for nine scrapes, want once", store.asked)
	}

	store.err = errors.New("the database is away")
	now = now.Add(summaryFor)
	shows(map[string]float64{"read_failures_total": 1})
	shows(map[string]float64{"read_failures_total": 1})
	if store.asked != 2 {
		t.Errorf("the database was asked %d times, want twice", store.asked)
	}

	store.err = nil
	now = now.Add(summaryFor)
	shows(all(1))
}

// collected is what Prometheus gets, by name without its beginning, and label.
func collected(t *testing.T, g *pipelineGauges) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(g)
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "vidflow_pipeline_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}
