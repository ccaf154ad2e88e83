package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/kafka"
)

func newScanner(t *testing.T, cfg kafka.Config) *kafka.Scanner {
	t.Helper()
	s, err := kafka.NewScanner(cfg, quiet(), "test/scan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// write produces records with the values 0, 1, … to partition 0, a minute apart and the last one now.
func write(t *testing.T, cl *kgo.Client, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		rec := &kgo.Record{
			Topic: "results", Partition: 0, Value: fmt.Append(nil, i), Timestamp: time.Now().Add(time.Duration(i-from-n+1) * time.Minute),
		}
		if err := cl.ProduceSync(patiently(t), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func scan(t *testing.T, s *kafka.Scanner, spans []kafka.Span) (values []string) {
	t.Helper()
	err := s.Scan(patiently(t), spans, false, func(r *kgo.Record) error {
		values = append(values, string(r.Value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestScanner_reads_what_is_there(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	cfg := configFor(cluster)
	cl := newClient(t, cfg, quiet(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	write(t, cl, 0, 6)
	s := newScanner(t, cfg)
	for name, row := range map[string]struct {
		from kafka.From
		want []string
	}{
		"from the start":          {kafka.Start(), []string{"0", "1", "2", "3", "4", "5"}},
		"from the end":            {kafka.End(), nil},
		"from an offset":          {kafka.Offset(4), []string{"4", "5"}},
		"from an offset too high": {kafka.Offset(40), nil},
		"the last two":            {kafka.Last(2), []string{"4", "5"}},
		"more than there are":     {kafka.Last(20), []string{"0", "1", "2", "3", "4", "5"}},
		"from a time":             {kafka.At(time.Now().Add(-150 * time.Second)), []string{"3", "4", "5"}},
		"from a time to come":     {kafka.At(time.Now().Add(time.Hour)), nil},
	} {
		spans, err := s.Spans(t.Context(), row.from, "results")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(row.want, scan(t, s, spans)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestScanner_ends_where_the_topic_ended(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	cfg := configFor(cluster)
	cl := newClient(t, cfg, quiet(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	write(t, cl, 0, 3)
	s := newScanner(t, cfg)
	spans, err := s.Spans(t.Context(), kafka.Start(), "results")
	if err != nil {
		t.Fatal(err)
	}
	write(t, cl, 3, 3)
	if diff := cmp.Diff([]string{"0", "1", "2"}, scan(t, s, spans)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	var got []string
	enough := errors.New("enough")
	err = s.Scan(patiently(t), spans, true, func(r *kgo.Record) error {
		got = append(got, string(r.Value))
		if len(got) == 5 {
			return enough
		}
		return nil
	})
	if diff := cmp.Diff([]string{"0", "1", "2", "3", "4"}, got); diff != "" || !errors.Is(err, enough) {
		t.Errorf("followed: %v (-want +got):\n%s", err, diff)
	}
}

func TestScanner_passes_over_what_is_gone(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	cfg := configFor(cluster)
	cl := newClient(t, cfg, quiet(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	write(t, cl, 0, 3)
	s := newScanner(t, cfg)
	spans, err := s.Spans(t.Context(), kafka.Start(), "results")
	if err != nil {
		t.Fatal(err)
	}
	var all kadm.Offsets
	all.Add(kadm.Offset{Topic: "results", Partition: 0, At: 3})
	if _, err := kadm.NewClient(cl).DeleteRecords(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, s, spans); got != nil {
		t.Errorf("got %q, want nothing and an end", got)
	}
}

func TestScanner_says_what_is_missing(t *testing.T) {
	t.Parallel()
	s := newScanner(t, configFor(newCluster(t)))
	if _, err := s.Spans(t.Context(), kafka.Start(), "results", "nowhere"); !kafka.IsSetup(err) {
		t.Errorf("got %v, want a SetupError", err)
	}
}

func TestScanner_stops_when_told(t *testing.T) {
	t.Parallel()
	s := newScanner(t, configFor(newCluster(t)))
	spans, err := s.Spans(t.Context(), kafka.Start(), "results")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Scan(ctx, spans, true, func(*kgo.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
