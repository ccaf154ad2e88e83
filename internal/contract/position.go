package contract

import (
	"bytes"
	"cmp"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Position says where a result came from, for order alone: which of two results of a video is newer. A record that was
// sent back from a dead-letter topic is read at its new offset but keeps the Position of its origin.
type Position struct {
	// TopicID is the id the broker gave the topic; a topic deleted and made anew has another.
	TopicID uuid.UUID `json:"topicId"`
	// Partition and Offset are those of the original record.
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
	// Time is the earlier of the record's own time and the bridge's clock when it read the record, so that a producer
	// whose clock runs ahead cannot make its result the newest for ever. UTC, in milliseconds.
	Time time.Time `json:"time"`
}

// NewPosition is the position of a record read at now by the bridge.
func NewPosition(topicID uuid.UUID, partition int32, offset int64, recorded, now time.Time) Position {
	if recorded.After(now) {
		recorded = now
	}
	return Position{TopicID: topicID, Partition: partition, Offset: offset, Time: recorded.UTC().Truncate(time.Millisecond)}
}

// Compare orders positions: within one topic id and partition the offset says, else the time, then topic id and
// partition. The SQL function pipeline.newer says the same. The order is total within a partition; among three
// partitions, clocks that run backwards can make it circular, and then any of them may win.
func (p Position) Compare(q Position) int {
	if p.TopicID == q.TopicID && p.Partition == q.Partition {
		return cmp.Compare(p.Offset, q.Offset)
	}
	return cmp.Or(p.Time.Compare(q.Time), bytes.Compare(p.TopicID[:], q.TopicID[:]), cmp.Compare(p.Partition, q.Partition))
}

// Newer reports whether p is newer than q; anything is newer than nothing.
func (p Position) Newer(q *Position) bool { return q == nil || p.Compare(*q) > 0 }

// Same reports whether p and q are the same record, whatever their times.
func (p Position) Same(q *Position) bool { return q != nil && p.Compare(*q) == 0 }

// String is for logs and messages: topic id, partition and offset.
func (p Position) String() string { return fmt.Sprintf("%s/%d@%d", p.TopicID, p.Partition, p.Offset) }
