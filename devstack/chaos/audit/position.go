package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"time"
)

// Position is where a result came from, as far as order needs it.
type Position struct {
	Topic     [16]byte // the id that the broker gave the topic
	Partition int32
	Offset    int64
	Time      time.Time
}

// Same says whether both are one record.
func (p Position) Same(q Position) bool {
	return p.Topic == q.Topic && p.Partition == q.Partition && p.Offset == q.Offset
}

// After says whether p is newer than q: by offset within a partition, else by time, and then by topic and partition.
func (p Position) After(q Position) bool {
	if p.Topic == q.Topic && p.Partition == q.Partition {
		return p.Offset > q.Offset
	}
	if by := p.Time.UnixMilli() - q.Time.UnixMilli(); by != 0 {
		return by > 0
	}
	return cmp.Or(bytes.Compare(p.Topic[:], q.Topic[:]), cmp.Compare(p.Partition, q.Partition)) > 0
}

// String names the record.
func (p Position) String() string {
	return fmt.Sprintf("%x/%d@%d", p.Topic[:4], p.Partition, p.Offset)
}
