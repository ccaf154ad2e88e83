package kafkabridge

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Stats are the metrics of a bridge over both topics.
type Stats struct {
	Received, Signals, Accepted, Retries, DeadLetters, Unburied, Revoked, Remade, Commits, CommitFails int64
}

func (b *Bridge) Stats() Stats {
	m := b.metrics
	signals := total(m.records, recordSignalled)
	return Stats{
		Received:    total(m.received),
		Signals:     signals,
		Accepted:    signals + total(m.records, recordMerged),
		Retries:     total(m.heldBack),
		DeadLetters: total(m.records, recordDeadLettered),
		Unburied:    total(m.deadLetterFails),
		Revoked:     total(m.records, recordReturned),
		Remade:      total(m.remade),
		Commits:     total(m.commits, commitTaken),
		CommitFails: total(m.commits, commitRefused),
	}
}

// total of the series that have the label values.
func total(c prometheus.Collector, values ...string) (sum int64) {
	series := make(chan prometheus.Metric)
	go func() {
		defer close(series)
		c.Collect(series)
	}()
	for s := range series {
		var m dto.Metric
		if err := s.Write(&m); err != nil {
			panic(err)
		}
		has := 0
		for _, label := range m.GetLabel() {
			for _, value := range values {
				if label.GetValue() == value {
					has++
				}
			}
		}
		if has == len(values) {
			sum += int64(m.GetCounter().GetValue() + m.GetGauge().GetValue())
		}
	}
	return sum
}
