package kafkabridge

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTracker_commits_only_the_settled_run compares the tracker with the rule, said plainly, over every order of events
// that rapid thinks of.
func TestTracker_commits_only_the_settled_run(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var (
			subject tracker
			added   []mark // offset and epoch of each record
			settled = make(map[int64]bool)
			next    = rapid.Int64Range(0, 1<<40).Draw(t, "first offset")
			epoch   int32
		)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				next += rapid.Int64Range(0, 3).Draw(t, "gap")
				epoch += rapid.Int32Range(0, 1).Draw(t, "epoch")
				if !subject.ascends(next) {
					t.Fatalf("offset %d is said not to ascend", next)
				}
				subject.add(next, epoch, time.Time{})
				added = append(added, mark{offset: next, epoch: epoch})
				next++
			},
			"settle": func(t *rapid.T) {
				if len(added) == 0 {
					t.Skip("nothing is in hand")
				}
				offset := rapid.SampledFrom(added).Draw(t, "record").offset
				subject.done(offset)
				settled[offset] = true
			},
			"settle a stranger": func(t *rapid.T) {
				subject.done(next + rapid.Int64Range(0, 5).Draw(t, "offset"))
				if len(added) > 0 {
					subject.done(added[0].offset - 1)
				}
			},
			"": func(t *rapid.T) {
				want, some, open := mark{}, false, 0
				for i, r := range added {
					if !settled[r.offset] {
						open = len(added) - i
						break
					}
					want, some = mark{offset: r.offset + 1, epoch: r.epoch}, true
				}
				if got, ok := subject.commit(); ok != some || got != want {
					t.Fatalf("commit: got %v, %t, want %v, %t", got, ok, want, some)
				}
				if got := subject.len(); got != open {
					t.Fatalf("len: got %d, want %d", got, open)
				}
				if len(added) > 0 && subject.ascends(added[len(added)-1].offset) {
					t.Fatal("a record that was added before is said to ascend")
				}
			},
		})
	})
}

func TestTracker_uses_constant_memory_for_a_stream(t *testing.T) {
	t.Parallel()
	var subject tracker
	for offset := range int64(1_000_000) {
		subject.add(offset, 0, time.Time{})
		if offset >= 10 {
			subject.done(offset - 10)
		}
	}
	if got := cap(subject.open); got > 100 {
		t.Errorf("room for %d records is kept for 10 in hand", got)
	}
}
