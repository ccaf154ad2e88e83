package kafkabridge

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/api/serviceerror"
)

// TestBridge_counts brings one record to each end that there is, and reads the metrics as Prometheus does.
func TestBridge_counts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	registry := prometheus.NewRegistry()
	shut := &gate{closed: true}
	temporal := newFakeTemporal(func(ctx context.Context, s signal) error {
		if shut.answer(ctx, s) != nil {
			return serviceerror.NewUnavailable("away")
		}
		return nil
	})
	r.start(temporal, func(c *Config) { c.Metrics = registry })

	r.put(transcripts, 0, small(1), small(1), small(1), small(2),
		&kgo.Record{Value: []byte("{")}, &kgo.Record{Key: []byte(videoID(1))})
	r.put(compressions, 0, compression(3))
	r.eventually("all but the poison are in flight", func() bool {
		m := gather(t, registry)
		return m["vidflow_bridge_records_in_flight{topic="+transcripts+"}"] == 4 &&
			m["vidflow_bridge_records_in_flight{topic="+compressions+"}"] == 1 && m["vidflow_bridge_held_back_total{class=away}"] >= 3
	})
	if got := gather(t, registry)["vidflow_bridge_bytes_in_flight{topic="+transcripts+"}"]; got < 4*recordOverhead {
		t.Errorf("got %v bytes in flight", got)
	}
	r.eventuallyAgain(shut, videoID(1))
	shut.open()
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 6})
	r.eventuallyCommitted(compressionGroup, map[int32]int64{0: 1})

	var m map[string]float64
	r.eventually("the commits are counted", func() bool { // the broker knows of them first
		m = gather(t, registry)
		counted := true
		for _, topic := range []string{transcripts, compressions} {
			counted = counted && m["vidflow_bridge_commits_total{outcome=taken,topic="+topic+"}"] >= 1 &&
				m["vidflow_bridge_lag_records{topic="+topic+"}"] == 0
		}
		return counted
	})
	maps.DeleteFunc(m, func(series string, value float64) bool {
		return strings.Contains(series, "class=away") || strings.Contains(series, "commits_total{outcome=taken") || value == 0
	})
	// Of the three of video 1 the first was on its way when the others came, and comes back to them when it is refused.
	equal(t, "metrics", m, map[string]float64{
		"vidflow_bridge_received_total{topic=" + transcripts + "}":                      6,
		"vidflow_bridge_received_total{topic=" + compressions + "}":                     1,
		"vidflow_bridge_records_total{outcome=signalled,topic=" + transcripts + "}":     2,
		"vidflow_bridge_records_total{outcome=merged,topic=" + transcripts + "}":        2,
		"vidflow_bridge_records_total{outcome=dead_lettered,topic=" + transcripts + "}": 2,
		"vidflow_bridge_records_total{outcome=signalled,topic=" + compressions + "}":    1,
		"vidflow_bridge_partitions{topic=" + transcripts + "}":                          1,
		"vidflow_bridge_partitions{topic=" + compressions + "}":                         1,
		"vidflow_bridge_dead_letters_total{class=json,topic=" + transcripts + "}":       1,
		"vidflow_bridge_dead_letters_total{class=no_value,topic=" + transcripts + "}":   1,
	})
}

// gather reads every series, with its labels in order.
func gather(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(labels)
			out[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

// TestMetrics_are_there_from_the_start: a rate needs a value before the first fault.
func TestMetrics_are_there_from_the_start(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	registry := prometheus.NewRegistry()
	b := r.newBridge(newFakeTemporal(nil), func(c *Config) { c.Metrics = registry })
	t.Cleanup(b.Close)
	got := gather(t, registry)
	for _, class := range refusals {
		if _, there := got["vidflow_bridge_held_back_total{class="+string(class)+"}"]; !there {
			t.Errorf("no series for class %s", class)
		}
	}
	for _, outcome := range []string{recordSignalled, recordMerged, recordDeadLettered, recordReturned} {
		if _, there := got["vidflow_bridge_records_total{outcome="+outcome+",topic="+compressions+"}"]; !there {
			t.Errorf("no series for outcome %s", outcome)
		}
	}

	cfg := b.cfg
	if _, err := New(cfg, newFakeTemporal(nil), quiet()); err == nil {
		t.Error("a second bridge registers in the same place")
	}
}
