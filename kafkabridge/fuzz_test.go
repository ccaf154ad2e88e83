package kafkabridge

import (
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
)

// FuzzTracker takes each byte for an event of a partition and holds the tracker against the rule: what may be committed is
// everything before the first record that is not settled.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0x83, 0x81, 0x82})
	f.Add([]byte{0x40, 0x3f, 0x80, 0x80, 0xff, 0, 0x81})
	f.Fuzz(func(t *testing.T, events []byte) {
		var (
			subject tracker
			offsets []int64 // in hand, in order
			settled = make(map[int64]bool)
			next    int64
			want    int64
		)
		for _, event := range events {
			if event < 0x80 { // another record, after a gap
				next += int64(event % 4)
				if !subject.ascends(next) {
					t.Fatalf("offset %d is said not to ascend", next)
				}
				subject.add(next, 0, time.Time{})
				offsets = append(offsets, next)
				next++
			} else { // settle one near the first that is open, or one that is not in hand
				offset := want + int64(event%0x80) - 8
				subject.done(offset)
				settled[offset] = true
			}
			inHand := offsets[:0]
			for _, offset := range offsets {
				if len(inHand) == 0 && settled[offset] {
					want = offset + 1
					continue
				}
				inHand = append(inHand, offset)
			}
			offsets = inHand
			if m, ok := subject.commit(); ok && m.offset != want || !ok && want != 0 {
				t.Fatalf("may commit %d (%t), want %d", m.offset, ok, want)
			}
			if subject.len() != len(offsets) {
				t.Fatalf("%d in hand, want %d", subject.len(), len(offsets))
			}
			// What is settled before it is in hand counts for nothing.
			for offset := range settled {
				if offset >= next {
					delete(settled, offset)
				}
			}
		}
	})
}

// FuzzPosition: whatever the headers claim, a record has a position, and one that can be ordered.
func FuzzPosition(f *testing.F) {
	id := uuid.New().String()
	f.Add(transcripts, id, "1", "42", "1700000000000", int64(1_700_000_000_000))
	f.Add("other", "", "-1", "9223372036854775807", "-9223372036854775808", int64(0))
	f.Fuzz(func(t *testing.T, topic, topicID, partition, offset, millis string, stamp int64) {
		rec := &kgo.Record{Topic: transcripts, Partition: 3, Offset: 7, Timestamp: time.UnixMilli(stamp)}
		for key, value := range map[string]string{
			contract.HeaderOriginTopic: topic, contract.HeaderOriginTopicID: topicID, contract.HeaderOriginPartition: partition,
			contract.HeaderOriginOffset: offset, contract.HeaderOriginTime: millis,
		} {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
		now := time.UnixMilli(1_700_000_000_000)
		p, err := position(rec, uuid.Max, now)
		if own := contract.NewPosition(uuid.Max, 3, 7, rec.Timestamp, now); err != nil && p != own {
			t.Errorf("with headers that make no sense (%v) it is at %v, want %v", err, p, own)
		}
		if p.Partition < 0 || p.Offset < 0 || p.Time.After(now) || p.Compare(p) != 0 {
			t.Errorf("position %v", p)
		}
	})
}

// FuzzBackoff holds the pauses within their bounds.
func FuzzBackoff(f *testing.F) {
	f.Add(int64(500*time.Millisecond), int64(15*time.Second), 3)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), 64)
	f.Fuzz(func(t *testing.T, initial, longest int64, failures int) {
		if initial <= 0 || longest <= 1 {
			t.Skip("no configuration")
		}
		if got := backoff(time.Duration(initial), time.Duration(longest), failures); got < 0 || got > time.Duration(longest) {
			t.Errorf("got %s", got)
		}
	})
}
