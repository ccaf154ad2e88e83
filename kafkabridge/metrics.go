package kafkabridge

import "github.com/prometheus/client_golang/prometheus"

// metrics of a Bridge, for Prometheus. Every label has few values: the two topics, and the classes that this package and
// contract name. What was received and has no outcome yet is in flight.
type metrics struct {
	received        *prometheus.CounterVec // by topic
	records         *prometheus.CounterVec // by topic and outcome
	heldBack        *prometheus.CounterVec // by class
	deadLetters     *prometheus.CounterVec // by topic and class
	deadLetterFails *prometheus.CounterVec // by topic
	commits         *prometheus.CounterVec // by topic and outcome
	remade          *prometheus.CounterVec // by topic
}

// What becomes of a record.
const (
	recordSignalled    = "signalled"     // Temporal took a signal for it
	recordMerged       = "merged"        // a newer one of its video and partition was signalled in its place
	recordDeadLettered = "dead_lettered" // the dead-letter topic has it
	recordReturned     = "returned"      // its partition went away first: whoever has that now gets it again
)

// What becomes of a commit.
const (
	commitTaken   = "taken"
	commitRefused = "refused" // by the broker, in whole or in part, or the broker did not answer
)

const metricsPrefix = "vidflow_bridge_"

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help}, labels)
	}
	return &metrics{
		received: counter("received_total",
			"Records taken from Kafka.", "topic"),
		records: counter("records_total",
			"Records that are done with, by what became of them.", "topic", "outcome"),
		heldBack: counter("held_back_total",
			"Signals that Temporal did not take and that are sent again, by the class of its error.", "class"),
		deadLetters: counter("dead_letters_total",
			"Records written to the dead-letter topic, by the class of their fault.", "topic", "class"),
		deadLetterFails: counter("dead_letter_failures_total",
			"Attempts to write dead letters that failed and are made again.", "topic"),
		commits: counter("commits_total",
			"Commits of offsets, by whether the broker took them.", "topic", "outcome"),
		remade: counter("topics_remade_total",
			"Topics that were made anew while they were consumed.", "topic"),
	}
}

// start gives those their zero that somebody will want a rate of: a series that begins with its first fault hides it.
func (m *metrics) start(topic string) {
	m.received.WithLabelValues(topic)
	for _, outcome := range []string{recordSignalled, recordMerged, recordDeadLettered, recordReturned} {
		m.records.WithLabelValues(topic, outcome)
	}
	for _, class := range refusals {
		m.heldBack.WithLabelValues(string(class))
	}
	m.deadLetterFails.WithLabelValues(topic)
	m.commits.WithLabelValues(topic, commitTaken)
	m.commits.WithLabelValues(topic, commitRefused)
	m.remade.WithLabelValues(topic)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(descs)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(into chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(into)
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.received, m.records, m.heldBack, m.deadLetters, m.deadLetterFails, m.commits, m.remade}
}

// flight tells what is in flight, and what is still to come, at the moment that it is asked.
type flight []*consumer

var (
	recordsInFlight = prometheus.NewDesc(metricsPrefix+"records_in_flight",
		"Records taken from Kafka that neither Temporal nor the dead-letter topic has yet.", []string{"topic"}, nil)
	bytesInFlight = prometheus.NewDesc(metricsPrefix+"bytes_in_flight",
		"About the memory that they keep.", []string{"topic"}, nil)
	assigned = prometheus.NewDesc(metricsPrefix+"partitions",
		"Partitions that this instance has. Over all instances: the sum, which is 0 when nobody reads the topic.", []string{"topic"}, nil)
	lagRecords = prometheus.NewDesc(metricsPrefix+"lag_records",
		"Records between the committed offset and the end, of the partitions that this instance has. Absent while the broker "+
			"does not say. Over all instances: the sum.", []string{"topic"}, nil)
	lagSeconds = prometheus.NewDesc(metricsPrefix+"lag_seconds",
		"Age, by its own timestamp, of the oldest record of these partitions that neither Temporal nor the dead-letter topic has "+
			"yet, 0 when there is none. Absent while the broker does not say. Over all instances: the maximum.", []string{"topic"}, nil)
)

// Describe implements prometheus.Collector.
func (flight) Describe(descs chan<- *prometheus.Desc) {
	descs <- recordsInFlight
	descs <- bytesInFlight
	descs <- assigned
	descs <- lagRecords
	descs <- lagSeconds
}

// Collect implements prometheus.Collector.
func (f flight) Collect(into chan<- prometheus.Metric) {
	for _, c := range f {
		var records, bytes, partitions int
		if live := c.current.Load(); live != nil {
			records, bytes = live.inFlight()
			partitions = live.held()
			if behind, age, known := live.lag(); known {
				into <- prometheus.MustNewConstMetric(lagRecords, prometheus.GaugeValue, float64(behind), c.topic)
				into <- prometheus.MustNewConstMetric(lagSeconds, prometheus.GaugeValue, age.Seconds(), c.topic)
			}
		}
		into <- prometheus.MustNewConstMetric(recordsInFlight, prometheus.GaugeValue, float64(records), c.topic)
		into <- prometheus.MustNewConstMetric(bytesInFlight, prometheus.GaugeValue, float64(bytes), c.topic)
		into <- prometheus.MustNewConstMetric(assigned, prometheus.GaugeValue, float64(partitions), c.topic)
	}
}
