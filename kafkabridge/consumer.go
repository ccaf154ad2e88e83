package kafkabridge

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/kafka"
)

// consumer consumes one source, in one session after the other.
type consumer struct {
	cfg        Config
	topic      string
	group      string
	signalName string
	decode     decoder

	letters *kafka.Producer
	lanes   *lanes
	dead    *deadLetters
	metrics *metrics
	log     *slog.Logger
	loud    *throttle
	// work is cancelled when what is in hand has to be given up.
	work context.Context
	// polled is done once no record will be taken in hand any more.
	polled *sync.WaitGroup

	current atomic.Pointer[liveSession]
}

// liveSession is the present session, with its probe.
type liveSession struct {
	*session
	probe func(context.Context) error
}

// run returns nil once ctx is cancelled and what is in hand has ended.
func (c *consumer) run(ctx context.Context) error {
	fresh := false
	for failures := 0; ; {
		id, err := c.findTopic(ctx)
		var s *session
		if err == nil {
			s, err = c.open(id, fresh)
		}
		if ctx.Err() != nil {
			if s != nil {
				s.close()
			}
			c.polled.Done()
			return nil
		}
		if err != nil {
			failures++
			c.loud.say(slog.LevelError, "Kafka topic cannot be consumed yet", "topic", c.topic, "group", c.group, "error", err)
			sleep(ctx, backoff(c.cfg.RetryInitial, c.cfg.RetryMax, failures))
			continue
		}
		failures = 0
		c.current.Store(&liveSession{session: s, probe: kafka.NewProbe(s.client)})
		c.log.Info("Kafka consumer started", "topic", c.topic, "group", c.group, "topic_id", id, "from_start", fresh)
		err = s.run(ctx)
		c.current.Store(nil)
		if !errors.Is(err, errRemade) {
			c.log.Info("Kafka consumer stopped", "topic", c.topic, "group", c.group)
			return err
		}
		fresh = true
	}
}

// findTopic asks for the topic's present id with a client of its own: a session is for one topic id from its beginning.
func (c *consumer) findTopic(ctx context.Context) (uuid.UUID, error) {
	cl, err := kafka.NewClient(c.cfg.Kafka, c.log, "bridge/"+c.topic)
	if err != nil {
		return uuid.Nil, err
	}
	defer cl.Close()
	if err := kafka.CheckTopics(ctx, cl, c.topic); err != nil {
		return uuid.Nil, err
	}
	return topicID(ctx, cl, c.topic)
}

// ready is nil when a broker answers the consumer's client and the group has it.
func (c *consumer) ready(ctx context.Context) error {
	live := c.current.Load()
	if live == nil {
		return errors.New("not consuming")
	}
	if err := live.probe(ctx); err != nil {
		return err
	}
	return live.joined()
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
