package kafkabridge

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// measured starts a bridge that asks often how far it is behind, and returns what it says of the transcripts: -1 while
// the metrics are absent.
func (r *rig) measured(temporal Signaller, change func(*Config)) (b *running, lag func() (records, seconds float64)) {
	r.t.Helper()
	registry := prometheus.NewRegistry()
	b = r.start(temporal, func(c *Config) {
		c.Metrics, c.LagInterval = registry, 50*time.Millisecond
		if change != nil {
			change(c)
		}
	})
	return b, func() (float64, float64) {
		m := gather(r.t, registry)
		records, known := m["vidflow_bridge_lag_records{topic="+transcripts+"}"]
		seconds, both := m["vidflow_bridge_lag_seconds{topic="+transcripts+"}"]
		if known != both {
			r.t.Errorf("one of the two is absent: %v", m)
		}
		if !known {
			return -1, -1
		}
		return records, seconds
	}
}

// begun reports whether the bridge has found where partition 0 of the transcripts begins.
func (b *running) begun() bool {
	live := b.consumers[0].current.Load()
	if live == nil {
		return false
	}
	live.mu.Lock()
	defer live.mu.Unlock()
	l := live.lags[0]
	return l != nil && l.base >= 0
}

func written(ago time.Duration, records []*kgo.Record) []*kgo.Record {
	for _, rec := range records {
		rec.Timestamp = time.Now().Add(-ago)
	}
	return records
}

// TestBridge_lag: a bridge that is full takes nothing more, and says all the same how far it falls behind.
func TestBridge_lag(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	shut := &gate{closed: true}
	_, lag := r.measured(newFakeTemporal(shut.answer), func(c *Config) { c.MaxRecords, c.MaxPartitionRecords = 4, 4 })
	r.eventually("nothing is behind", func() bool { records, seconds := lag(); return records == 0 && seconds == 0 })

	r.put(transcripts, 0, written(time.Hour, each(0, 10, small))...)
	r.eventually("ten are behind, for an hour", func() bool {
		records, seconds := lag()
		return records == 10 && seconds >= 3600 && seconds < 3700
	})
	r.eventually("it is full", func() bool { return shut.attempts() > 4 })
	r.put(transcripts, 1, written(3*time.Hour, each(10, 15, small))...)
	r.eventually("what it did not take counts, with its age", func() bool {
		records, seconds := lag()
		return records == 15 && seconds >= 3*3600 && seconds < 3*3600+100
	})
	r.put(transcripts, 1, written(-time.Hour, each(15, 18, small))...) // by a clock that is ahead
	r.eventually("what came last counts", func() bool { records, _ := lag(); return records == 18 })

	shut.open()
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 10, 1: 8})
	r.eventually("nothing is behind any more", func() bool { records, seconds := lag(); return records == 0 && seconds == 0 })
}

// TestBridge_lag_is_absent_while_unknown: nothing behind and nothing known are not the same.
func TestBridge_lag_is_absent_while_unknown(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	_, lag := r.measured(newFakeTemporal(nil), nil)
	known := func() bool { records, seconds := lag(); return records == 0 && seconds == 0 }
	r.eventually("nothing is behind", known)

	refused := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: transcripts, Err: kerr.TopicAuthorizationFailed, Count: -1})
	r.eventually("it does not say how far a topic reaches that it may not ask about", func() bool { return !known() })
	refused.Remove()
	r.eventually("it says again", known)

	r.cluster.Close()
	r.eventually("the broker is missed", func() bool { return r.logged(`msg="Kafka partitions lost" topic=` + transcripts) })
	if records, _ := lag(); records != -1 {
		t.Errorf("a bridge without a group is %v records behind, want no metric", records)
	}
}

func TestBridge_lag_of_what_is_ahead_of_the_clock_is_none(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	shut := &gate{closed: true}
	_, lag := r.measured(newFakeTemporal(shut.answer), nil)
	r.put(transcripts, 0, written(-time.Hour, each(0, 3, small))...)
	r.eventually("three are behind", func() bool { records, seconds := lag(); return records == 3 && seconds == 0 })
}

// TestBridge_lag_begins_at_the_committed_offset of the group, or where a group without one does.
func TestBridge_lag_begins_at_the_committed_offset(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		latest, before bool
		want           float64
	}{
		"of an earlier member":  {before: true, want: 3},
		"or at the start":       {want: 8},
		"or at the end, if set": {latest: true, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.put(transcripts, 0, each(0, 5, small)...)
			if row.before {
				b := r.start(newFakeTemporal(nil), nil)
				r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 5})
				b.stop()
			}
			r.put(transcripts, 0, each(5, 8, small)...)
			shut := &gate{closed: true}
			b, lag := r.measured(newFakeTemporal(shut.answer), func(c *Config) { c.StartLatest = row.latest })
			r.eventually("it has begun", b.begun)
			r.eventually("it is right", func() bool { records, _ := lag(); return records == row.want })
			r.put(transcripts, 0, each(8, 10, small)...)
			r.eventually("two more", func() bool { records, _ := lag(); return records == row.want+2 })
		})
	}
}

// TestBridge_lag_goes_with_its_partition: of two instances each counts its own.
func TestBridge_lag_goes_with_its_partition(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	shut := &gate{closed: true}
	r.put(transcripts, 0, each(0, 3, small)...)
	r.put(transcripts, 1, each(3, 8, small)...)
	fast := func(c *Config) { c.RevokeTimeout = 10 * time.Millisecond }
	first, lag := r.measured(newFakeTemporal(shut.answer), fast)
	r.eventually("one has both", func() bool { records, _ := lag(); return records == 8 })
	second, other := r.measured(newFakeTemporal(shut.answer), fast)
	r.eventually("each has one", func() bool {
		a, _ := lag()
		b, _ := other()
		return a == 3 && b == 5 || a == 5 && b == 3
	})
	first.stop()
	r.eventually("the other has both", func() bool { records, _ := other(); return records == 8 })
	second.stop()
	if records, _ := other(); records != -1 {
		t.Errorf("a bridge that has stopped is %v records behind, want no metric", records)
	}
}

// TestBridge_lag_of_transactions: the marks that end them are offsets and no records.
func TestBridge_lag_of_transactions(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.TransactionalID("a service"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	rec := small(1)
	rec.Topic = transcripts
	if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	_, lag := r.measured(newFakeTemporal(nil), nil)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 1})
	ends, err := r.admin.ListEndOffsets(t.Context(), transcripts)
	if end, _ := ends.Lookup(transcripts, 0); err != nil || end.Offset != 2 {
		t.Fatalf("the partition ends at %d, want 2: the record and the mark; %v", end.Offset, err)
	}
	r.eventually("nothing is behind", func() bool { records, seconds := lag(); return records == 0 && seconds == 0 })
}

// TestBridge_clients_leave_no_series: clients come and go, with the topics that they are for.
func TestBridge_clients_leave_no_series(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	registry := prometheus.NewRegistry()
	b := r.start(newFakeTemporal(nil), func(c *Config) { c.Metrics, c.Kafka.Metrics = registry, registry })
	r.warmUp(transcriptGroup)
	series := func() (n int) {
		for name := range gather(t, registry) {
			if strings.HasPrefix(name, "kafka_") {
				n++
			}
		}
		return n
	}
	fetched := "kafka_fetch_records_total{client=bridge/" + transcripts + ",topic=" + transcripts + "}"
	if gather(t, registry)[fetched] == 0 {
		t.Errorf("no records are counted as fetched: %v", gather(t, registry))
	}
	before := series()
	for range 3 {
		r.makeAnew(transcripts, 1)
		r.eventually("the new one is consumed", func() bool {
			live := b.consumers[0].current.Load()
			return live != nil && live.topicID == r.topicID(transcripts)
		})
		r.put(transcripts, 0, small(1))
		r.eventually("records are fetched", func() bool { return gather(t, registry)[fetched] > 0 })
	}
	r.eventually("those of clients that are closed have gone", func() bool { return series() <= before+10 })
	b.stop()
	if after := series(); after != 0 {
		t.Errorf("%d series of clients that are closed", after)
	}
}
