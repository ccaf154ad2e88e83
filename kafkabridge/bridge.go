package kafkabridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/workflows"
)

// Bridge consumes both result topics, each in a consumer group of its own, and signals their workflows. Any number of
// instances may run beside each other.
type Bridge struct {
	cfg       Config
	signaller Signaller
	log       *slog.Logger
	letters   *kafka.Producer
	metrics   *metrics
	running   atomic.Bool
	consumers []*consumer
}

// New makes a Bridge that has not connected to anything yet. Close it after Run, or instead of it.
func New(cfg Config, signaller Signaller, log *slog.Logger) (*Bridge, error) {
	cfg = cfg.withDefaults()
	forLetters := cfg.Kafka
	forLetters.Traces = nil // a dead letter keeps the trace context that it had
	letters, err := kafka.NewProducer(forLetters, log, "bridge/dead_letters")
	if err != nil {
		return nil, err
	}
	b := &Bridge{cfg: cfg, signaller: signaller, log: log, letters: letters, metrics: newMetrics()}
	b.consumers = []*consumer{
		b.newConsumer(cfg.Transcription, workflows.SignalTranscribed, decodeTranscription),
		b.newConsumer(cfg.Compression, workflows.SignalCompressed, decodeCompression),
	}
	if err := b.register(cfg.Metrics); err != nil {
		letters.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bridge) register(to prometheus.Registerer) error {
	for _, c := range b.consumers {
		b.metrics.start(c.topic)
	}
	if to == nil {
		return nil
	}
	if err := errors.Join(to.Register(b.metrics), to.Register(flight(b.consumers))); err != nil {
		return fmt.Errorf("register the metrics of the bridge: %w", err)
	}
	return nil
}

func (b *Bridge) newConsumer(from Source, signalName string, decode decoder) *consumer {
	return &consumer{
		cfg:        b.cfg,
		topic:      from.Topic,
		group:      from.Group,
		signalName: signalName,
		decode:     decode,
		letters:    b.letters,
		metrics:    b.metrics,
		log:        b.log,
		loud:       newThrottle(b.log, 10*time.Second),
	}
}

// Run consumes until ctx is cancelled. It then takes no more records, ends what is in hand within DrainTimeout, commits,
// leaves both groups and returns nil. What Temporal or a dead-letter topic does not accept in that time is left
// uncommitted, and comes again. Run may be called once.
func (b *Bridge) Run(ctx context.Context) error {
	if b.running.Swap(true) {
		return errors.New("the bridge has run already")
	}
	work, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	draining := make(chan struct{})
	lanes := newLanes(work, draining, b.cfg, b.signaller, b.metrics, b.log)

	var polled, writers, consumers sync.WaitGroup
	errs := make([]error, len(b.consumers))
	for i, c := range b.consumers {
		c.work, c.lanes, c.polled = work, lanes, &polled
		c.dead = newDeadLetters(work, draining, b.cfg, c.topic+contract.DeadLetterSuffix, b.letters, b.metrics, b.log)
		polled.Add(1)
		writers.Go(c.dead.run)
		consumers.Go(func() { errs[i] = c.run(ctx) })
	}

	<-ctx.Done()
	limit := time.AfterFunc(b.cfg.DrainTimeout, giveUp)
	defer limit.Stop()
	polled.Wait()
	close(draining)
	consumers.Wait()
	lanes.wait()
	writers.Wait()
	return errors.Join(errs...)
}

// Close ends the client that writes dead letters.
func (b *Bridge) Close() { b.letters.Close() }

// Checks are what the bridge needs of Kafka. Until Run they ask whether its topics are there and its groups open to it, and
// an error that waiting cannot mend says so; from then on, whether a broker answers each of its clients.
func (b *Bridge) Checks() []process.Check {
	checks := []process.Check{{
		Name:     "Kafka dead letters",
		Required: true,
		Probe: b.probe(b.letters.Ready, func(ctx context.Context) error {
			return b.letters.CheckTopics(ctx,
				b.cfg.Transcription.Topic+contract.DeadLetterSuffix, b.cfg.Compression.Topic+contract.DeadLetterSuffix)
		}),
	}}
	for _, c := range b.consumers {
		checks = append(checks, process.Check{
			Name:     "Kafka consumer " + c.topic,
			Required: true,
			Probe: b.probe(c.ready, func(ctx context.Context) error {
				if err := b.letters.CheckTopics(ctx, c.topic); err != nil {
					return err
				}
				return b.letters.CheckGroup(ctx, c.group)
			}),
		})
	}
	return checks
}

// probe asks setUp before Run and ready from then on.
func (b *Bridge) probe(ready, setUp func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ask := setUp
		if b.running.Load() {
			ask = ready
		}
		err := ask(ctx)
		if kafka.IsSetup(err) {
			return process.Never(err)
		}
		return err
	}
}
