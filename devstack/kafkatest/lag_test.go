package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLag: marks of transactions and what was taken back are offsets, and no records that wait; what waits has its age.
func TestLag(t *testing.T) {
	t.Parallel()
	c := newCrossing(t, nil)
	registry := prometheus.NewRegistry()
	c.cfg.Metrics, c.cfg.LagInterval = registry, 200*time.Millisecond
	c.temporal.setAway(true)

	service, err := kgo.NewClient(kgo.SeedBrokers(need(t, "VIDFLOW_TEST_KAFKA_BROKERS")),
		kgo.TransactionalID(c.names.Transcribed), kgo.DefaultProduceTopic(c.names.Transcribed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	produce := func(how kgo.TransactionEndTry, records ...*kgo.Record) {
		t.Helper()
		if err := service.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := service.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := service.EndTransaction(t.Context(), how); err != nil {
			t.Fatal(err)
		}
	}
	is := func(what string, want func(records, seconds float64) bool) {
		t.Helper()
		c.await(what, func(context.Context) error {
			if gauge(t, registry, "vidflow_bridge_partitions", c.names.Transcribed) != 1 {
				return errors.New("the partition is not assigned yet")
			}
			records, seconds := gauge(t, registry, "vidflow_bridge_lag_records", c.names.Transcribed),
				gauge(t, registry, "vidflow_bridge_lag_seconds", c.names.Transcribed)
			if !want(records, seconds) {
				return fmt.Errorf("%v records, for %v s", records, seconds)
			}
			return nil
		})
	}

	produce(kgo.TryAbort, transcript(200))
	c.start()
	is("what was taken back does not wait", func(records, seconds float64) bool { return records == 0 && seconds == 0 })
	old := transcript(200)
	old.Timestamp = time.Now().Add(-time.Hour)
	produce(kgo.TryCommit, old)
	is("what is not taken by Temporal waits", func(records, seconds float64) bool {
		return records >= 1 && seconds >= 3600 && seconds < 3700
	})
	c.temporal.setAway(false)
	is("only marks are left", func(records, seconds float64) bool { return records == 0 && seconds == 0 })
}

// gauge is -1 when there is none.
func gauge(t *testing.T, from prometheus.Gatherer, name, topic string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == topic {
				return m.GetGauge().GetValue()
			}
		}
	}
	return -1
}
