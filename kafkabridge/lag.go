package kafkabridge

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// lag is what is known of an assigned partition beside what was taken of it: how far it reaches, also while nothing is
// fetched. The session's mutex guards it.
type lag struct {
	// base is the offset at which this stay began; -1 until it is known.
	base int64
	// asked says that the group's offset has come, so that base may be made up where there is none.
	asked bool
	// end is the offset after the last committed record; -1 until it is known.
	end int64
	// waiting is an offset at which nothing was taken when it was last looked; -1 when there was none. When it is so again,
	// the record there is looked up.
	waiting int64
	// written is when the record at looked was written; it is zero when there is none up to end.
	looked, lookedEnd int64
	written           time.Time
}

func newLag() *lag { return &lag{base: -1, end: -1, waiting: -1, looked: -1} }

// sawEnd notes how far a partition reaches, as a fetch says; s.mu is held.
func (s *session) sawEnd(fetched kgo.FetchPartition) {
	if l := s.lags[fetched.Partition]; l != nil {
		l.end = max(l.end, fetched.LastStableOffset)
	}
}

// beginsAt notes what the group had committed for partitions that have come, -1 for nothing; s.mu is held.
func (s *session) beginsAt(restart map[int32]bool, committed map[int32]int64) {
	for number, l := range s.lags {
		if offset, ok := committed[number]; ok {
			l.base, l.asked = offset, true
		} else if restart[number] {
			l.base, l.asked = -1, true
		}
	}
	select {
	case s.measure <- struct{}{}:
	default:
	}
}

// watchLag asks the broker at the interval, and when partitions have come, until ctx is cancelled.
func (s *session) watchLag(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.LagInterval)
	defer ticker.Stop()
	admin := kadm.NewClient(s.client)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.measure:
		}
		if err := s.measureLag(ctx, admin); err != nil && ctx.Err() == nil {
			s.loud.say(slog.LevelDebug, "Kafka partitions not measured, will be tried again", "topic", s.topic, "error", err)
		}
	}
}

// lagTimeout bounds one measurement.
const lagTimeout = 10 * time.Second

func (s *session) measureLag(ctx context.Context, admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	ends, err := admin.ListCommittedOffsets(ctx, s.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	starts, err := admin.ListStartOffsets(ctx, s.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return err
	}
	for number, l := range s.reach(starts, ends) {
		written, found, err := s.letters.FirstWritten(ctx, s.topic, s.topicID, number, l.waiting, l.end)
		if err != nil {
			return err
		}
		if !found {
			written = time.Time{}
		}
		s.mu.Lock()
		if now := s.lags[number]; now != nil && now.waiting == l.waiting {
			now.looked, now.lookedEnd, now.written = l.waiting, l.end, written
		}
		s.mu.Unlock()
	}
	return nil
}

// reach notes how far the partitions reach, and returns those whose next record is to be looked up.
func (s *session) reach(starts, ends kadm.ListedOffsets) map[int32]lag {
	s.mu.Lock()
	defer s.mu.Unlock()
	lookUp := make(map[int32]lag)
	for number, l := range s.lags {
		start, ok := starts.Lookup(s.topic, number)
		end, ok2 := ends.Lookup(s.topic, number)
		if !ok || !ok2 {
			continue
		}
		l.end = max(l.end, end.Offset)
		if l.asked && l.base < 0 {
			l.base = start.Offset
			if s.cfg.StartLatest && !s.restart[number] {
				l.base = end.Offset
			}
		}
		if l.base < 0 {
			continue
		}
		if l.base > end.Offset {
			l.base = start.Offset // the log was cut, and is read from its start
		}
		l.base = max(l.base, start.Offset) // retention has the rest
		accepted, _, untaken := s.progress(number, l)
		again := l.waiting == accepted
		l.waiting = -1
		if untaken && accepted < l.end {
			l.waiting = accepted
			if again && !l.knows(accepted) {
				lookUp[number] = *l
			}
		}
	}
	s.lagsAt = s.cfg.Now()
	return lookUp
}

// knows reports whether what is at the offset was looked up and is still so.
func (l *lag) knows(offset int64) bool {
	return l.looked == offset && (!l.written.IsZero() || l.lookedEnd >= l.end)
}

// progress is up to where everything was accepted, and up to where that is committed; untaken says that nothing is in
// hand. s.mu is held, and the lag has its base.
func (s *session) progress(number int32, l *lag) (accepted, committed int64, untaken bool) {
	accepted, committed, untaken = l.base, l.base, true
	if p := s.partitions[number]; p != nil {
		if m, ok := p.tracker.commit(); ok {
			accepted = max(accepted, m.offset)
		}
		committed = max(committed, p.committed.offset)
		untaken = p.tracker.len() == 0
	}
	return accepted, committed, untaken
}

// lag is how many records of the partitions here are not committed, and how old the oldest is that was not accepted;
// known is false when the group has not said which partitions are here, or the broker for a while not how far they reach.
func (s *session) lag() (records int64, oldest time.Duration, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	known = s.member && (len(s.lags) == 0 || now.Sub(s.lagsAt) < 4*s.cfg.LagInterval)
	for number, l := range s.lags {
		if l.base < 0 || l.end < 0 {
			return 0, 0, false
		}
		accepted, committed, untaken := s.progress(number, l)
		if untaken && accepted < l.end && l.knows(accepted) && l.written.IsZero() {
			continue // nothing but marks of transactions
		}
		records += max(0, l.end-committed)
		if !untaken {
			written, _ := s.partitions[number].tracker.oldest()
			oldest = max(oldest, now.Sub(written))
		} else if accepted < l.end && l.knows(accepted) {
			oldest = max(oldest, now.Sub(l.written))
		}
	}
	return records, oldest, known
}

// held is how many partitions are here.
func (s *session) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lags)
}
