package kafka

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// clientMetrics are those of one client, for as long as it is open: a client that is made anew counts from zero, as a
// process that starts again does, and leaves no series behind.
type clientMetrics struct {
	*kprom.Metrics
	to         prometheus.Registerer
	registered bool
}

var _ kgo.HookClientClosed = (*clientMetrics)(nil)

func newClientMetrics(to prometheus.Registerer, role string) *clientMetrics {
	return &clientMetrics{to: to, Metrics: kprom.NewMetrics("kafka",
		kprom.Registry(nil), // we register: kprom would panic over a name that is taken
		kprom.WithStaticLabel(prometheus.Labels{"client": role}),
		kprom.FetchAndProduceDetail(kprom.ByTopic, kprom.Records, kprom.CompressedBytes, kprom.UncompressedBytes, kprom.ConsistentNaming),
		kprom.HistogramsFromOpts(kprom.HistogramOpts{
			Enable:  kprom.RequestDurationE2E,
			Buckets: []float64{.005, .025, .1, .5, 1, 5, 10, 30, 60},
		}),
	)}
}

// register is called once the client is made.
func (m *clientMetrics) register(role string) error {
	if err := m.to.Register(m.Metrics); err != nil {
		return fmt.Errorf("register the metrics of Kafka client %s: %w", role, err)
	}
	m.registered = true
	return nil
}

// OnClientClosed implements kgo.HookClientClosed.
func (m *clientMetrics) OnClientClosed(*kgo.Client) {
	if m.registered {
		m.to.Unregister(m.Metrics)
	}
}
