package kafkabridge

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitOften commits at the interval until ctx is cancelled.
func (s *session) commitOften(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.CommitInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.commit(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// errNothing stops a commit of nothing.
var errNothing = errors.New("nothing to commit")

// commit commits what is settled in a row and is not committed yet. It is called from the interval, from the callbacks of
// a rebalance and at the end; the client lets one through at a time.
func (s *session) commit(ctx context.Context) {
	due := s.due()
	if len(due) == 0 {
		return
	}
	ctx = kgo.PreCommitFnContext(ctx, s.lastLook)
	s.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{s.topic: due},
		func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			if errors.Is(err, errNothing) {
				return
			}
			if err == nil {
				err = s.committed(req, resp)
			}
			if err != nil {
				s.metrics.commits.WithLabelValues(s.topic, commitRefused).Inc()
				if !errors.Is(err, context.Canceled) {
					s.log.Warn("Kafka commit failed; it is made again", "topic", s.topic, "group", s.group, "error", err)
				}
				return
			}
			s.metrics.commits.WithLabelValues(s.topic, commitTaken).Inc()
			s.log.Debug("Kafka offsets committed", "topic", s.topic, "group", s.group, "partitions", len(due))
		})
}

func (s *session) due() map[int32]kgo.EpochOffset {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := make(map[int32]kgo.EpochOffset)
	for number, p := range s.partitions {
		if m, ok := p.tracker.commit(); ok && m != p.committed {
			due[number] = kgo.EpochOffset{Epoch: m.epoch, Offset: m.offset}
		}
	}
	return due
}

// lastLook is called when the commit is about to go out, and no other is on its way. Since it was put together it may have
// waited for others, and for a rebalance: a partition that has left must not be committed, and one that stayed not at an
// offset that another commit has passed. It also writes the topic's id beside each offset, so that nobody takes it for an
// offset of a later topic of the same name.
func (s *session) lastLook(req *kmsg.OffsetCommitRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	note := topicNote(s.topicID)
	left := 0
	for i := range req.Topics {
		t := &req.Topics[i]
		kept := t.Partitions[:0]
		for _, rp := range t.Partitions {
			p := s.partitions[rp.Partition]
			if p == nil {
				continue
			}
			// Never less than what was committed before: offsets only grow within a stay.
			if m, ok := p.tracker.commit(); ok {
				rp.Offset, rp.LeaderEpoch, rp.Metadata = m.offset, m.epoch, &note
				kept = append(kept, rp)
			}
		}
		t.Partitions = kept
		left += len(kept)
	}
	if left == 0 {
		return errNothing
	}
	return nil
}

// committed notes what the broker took, and returns one of its refusals.
func (s *session) committed(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) (err error) {
	refused := make(map[int32]bool)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if e := kerr.ErrorForCode(p.ErrorCode); e != nil {
				refused[p.Partition], err = true, e
			}
		}
	}
	if errors.Is(err, kerr.UnknownTopicID) {
		s.suspectRemade()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range req.Topics {
		for _, rp := range t.Partitions {
			if p := s.partitions[rp.Partition]; p != nil && !refused[rp.Partition] && rp.Offset > p.committed.offset {
				p.committed = mark{offset: rp.Offset, epoch: rp.LeaderEpoch}
			}
		}
	}
	return err
}

// topicNotePrefix begins the note beside a committed offset.
const topicNotePrefix = "vidflow topic="

func topicNote(id uuid.UUID) string { return topicNotePrefix + id.String() }

// notedTopic is the topic id that a note names.
func notedTopic(note *string) (uuid.UUID, bool) {
	if note == nil || !strings.HasPrefix(*note, topicNotePrefix) {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(strings.TrimPrefix(*note, topicNotePrefix))
	return id, err == nil
}
