package kafkabridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/kafka"
)

// suspectRemade has it looked at whether the topic was made anew.
func (s *session) suspectRemade() {
	select {
	case s.suspect <- struct{}{}:
	default:
	}
}

// suspicionPause is the least time between two looks that suspicion asked for.
const suspicionPause = 200 * time.Millisecond

// watchTopic calls remade with errRemade once the topic has another id than the session's.
func (s *session) watchTopic(ctx context.Context, remade context.CancelCauseFunc) {
	ticker := time.NewTicker(s.cfg.TopicCheckInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.suspect:
		}
		id, err := topicID(ctx, s.client, s.topic)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			s.loud.say(slog.LevelError, "Kafka topic is missing; it is consumed again when it is there", "topic", s.topic)
			s.suspectRemade()
		case err != nil:
			s.loud.say(slog.LevelWarn, "Kafka topic could not be looked at", "topic", s.topic, "error", err)
		case id != s.topicID:
			s.log.Warn("Kafka topic was made anew and is consumed from its start; what was acknowledged on the old one is dropped",
				"topic", s.topic, "old_id", s.topicID, "new_id", id)
			s.metrics.remade.WithLabelValues(s.topic).Inc()
			remade(errRemade)
			return
		}
		timer := time.NewTimer(suspicionPause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// topicID asks for the id that the topic has now.
func topicID(ctx context.Context, cl *kgo.Client, topic string) (uuid.UUID, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return uuid.Nil, err
	}
	if len(resp.Topics) != 1 {
		return uuid.Nil, errors.New("the broker answered for another topic")
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return uuid.Nil, err
	}
	id := uuid.UUID(resp.Topics[0].TopicID)
	if id == uuid.Nil {
		return id, &kafka.SetupError{Reason: fmt.Sprintf("the Kafka broker gives topic %s no id; brokers do since 3.1", topic)}
	}
	return id, nil
}

// distrust looks at the offsets that the group had committed, before they are used. One that was committed for another
// topic of the same name means nothing for this one. So does, once the topic was made anew, one that does not say which
// topic it is for; a group that another program has left behind is believed at any other time.
func (s *session) distrust(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	restart := make(map[int32]bool)
	committed := make(map[int32]int64)
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				noted, says := notedTopic(p.Metadata)
				stale := p.Offset >= 0 && says && noted != s.topicID
				unsaid := s.fresh && (p.Offset < 0 || !says)
				if stale || unsaid {
					restart[p.Partition] = true
				} else {
					committed[p.Partition] = p.Offset
				}
				if stale {
					s.log.Warn("Kafka offset was committed for an older topic of the same name and is dropped",
						"topic", s.topic, "partition", p.Partition, "offset", p.Offset, "old_id", noted)
				}
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restart = restart
	s.beginsAt(restart, committed)
	return nil
}

// adjust is called after distrust, for the same partitions.
func (s *session) adjust(
	_ context.Context, offsets map[string]map[int32]kgo.Offset,
) (map[string]map[int32]kgo.Offset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for number := range offsets[s.topic] {
		if s.restart[number] {
			offsets[s.topic][number] = kgo.NewOffset().AtStart()
		}
	}
	return offsets, nil
}
