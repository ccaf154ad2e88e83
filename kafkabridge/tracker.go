package kafkabridge

import (
	"slices"
	"time"
)

// tracker remembers which records of one partition are settled, in order to know the offset that may be committed: the one
// after the longest run of settled records. Not safe for concurrent use.
type tracker struct {
	// open holds what was added and cannot be committed yet, by ascending offset; its first is never done. first counts
	// those before it that are left over in the slice.
	open  []tracked
	first int

	committable mark
	any         bool
}

// tracked is one record.
type tracked struct {
	offset int64
	millis int64 // when it was written, by its own timestamp
	epoch  int32
	done   bool
}

// mark is an offset to commit, with the leader epoch of the record before it.
type mark struct {
	offset int64
	epoch  int32
}

// add takes a record in hand. Offsets must ascend; they may have gaps, where compaction has been or transactions end.
func (t *tracker) add(offset int64, epoch int32, written time.Time) {
	t.open = append(t.open, tracked{offset: offset, epoch: epoch, millis: written.UnixMilli()})
}

// oldest is when the first record that is not settled was written; false when all are.
func (t *tracker) oldest() (time.Time, bool) {
	if t.len() == 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(t.open[t.first].millis), true
}

// ascends reports whether a record may be added.
func (t *tracker) ascends(offset int64) bool {
	if n := len(t.open); n > t.first {
		return offset > t.open[n-1].offset
	}
	return !t.any || offset >= t.committable.offset
}

// done settles a record. One that is not in hand, or is settled already, changes nothing.
func (t *tracker) done(offset int64) {
	open := t.open[t.first:]
	i, found := slices.BinarySearchFunc(open, offset, func(r tracked, offset int64) int {
		return int(min(max(r.offset-offset, -1), 1))
	})
	if !found {
		return
	}
	open[i].done = true
	for t.first < len(t.open) && t.open[t.first].done {
		last := t.open[t.first]
		t.committable, t.any = mark{offset: last.offset + 1, epoch: last.epoch}, true
		t.first++
	}
	// Let go of what is behind once it is the larger part: each record is moved at most twice.
	if t.first > len(t.open)/2 {
		t.open = t.open[:copy(t.open, t.open[t.first:])]
		t.first = 0
	}
}

// commit returns the offset that may be committed; false until the first record in a row is settled.
func (t *tracker) commit() (mark, bool) { return t.committable, t.any }

// len is the number of records that are in hand or settled behind one that is.
func (t *tracker) len() int { return len(t.open) - t.first }
