package kafkabridge

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newStay is a session without a client, with partitions that have settled that many records of ten in hand.
func newStay(settled map[int32]int) *session {
	s := &session{
		consumer:   &consumer{cfg: Config{}.withDefaults(), topic: transcripts, metrics: newMetrics(), log: quiet()},
		topicID:    uuid.New(),
		suspect:    make(chan struct{}, 1),
		changed:    make(chan struct{}),
		partitions: make(map[int32]*partition),
	}
	for number, n := range settled {
		for offset := range int64(10) {
			owed := s.begin(&kgo.Record{Partition: number, Offset: offset, LeaderEpoch: 7}, 100)
			if offset < int64(n) {
				settle([]receipt{owed}, accepted)
			}
		}
	}
	return s
}

func commitOf(offsets map[int32]int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = transcripts
	for number, offset := range offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = number, offset
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

func TestSession_looks_at_a_commit_once_more_before_it_goes_out(t *testing.T) {
	t.Parallel()
	s := newStay(map[int32]int{0: 5, 1: 6, 2: 0})
	s.endStay([]int32{1})
	// Put together before: partition 0 has come further, 1 has gone to another instance, 2 was begun anew.
	req := commitOf(map[int32]int64{0: 3, 1: 4, 2: 9, 3: 9})
	if err := s.lastLook(req); err != nil {
		t.Fatal(err)
	}
	if n := len(req.Topics[0].Partitions); n != 1 {
		t.Fatalf("%d partitions are left, want 1", n)
	}
	p := req.Topics[0].Partitions[0]
	equal(t, "partition", p.Partition, int32(0))
	equal(t, "offset", p.Offset, int64(5))
	equal(t, "leader epoch", p.LeaderEpoch, int32(7))
	id, ok := notedTopic(p.Metadata)
	equal(t, "topic that is noted", id, s.topicID)
	equal(t, "topic is noted", ok, true)

	if err := s.lastLook(commitOf(map[int32]int64{1: 4})); !errors.Is(err, errNothing) {
		t.Errorf("got %v, want errNothing", err)
	}
}

func TestSession_commits_once_what_the_broker_took(t *testing.T) {
	t.Parallel()
	s := newStay(map[int32]int{0: 5, 1: 6})
	equal(t, "due", len(s.due()), 2)
	req := commitOf(map[int32]int64{0: 5, 1: 6})
	if err := s.lastLook(req); err != nil {
		t.Fatal(err)
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	topic := kmsg.NewOffsetCommitResponseTopic()
	refused := kmsg.NewOffsetCommitResponseTopicPartition()
	refused.Partition, refused.ErrorCode = 1, 3
	topic.Partitions = append(topic.Partitions, kmsg.NewOffsetCommitResponseTopicPartition(), refused)
	resp.Topics = append(resp.Topics, topic)
	if err := s.committed(req, resp); err == nil {
		t.Error("the refusal is not told")
	}
	equal(t, "due again", s.due(), map[int32]kgo.EpochOffset{1: {Epoch: 7, Offset: 6}})
}

func TestPartition_ignores_what_settles_after_its_stay(t *testing.T) {
	t.Parallel()
	s := newStay(nil)
	old := s.begin(&kgo.Record{Partition: 0, Offset: 4}, 100)
	kept := s.begin(&kgo.Record{Partition: 1, Offset: 4}, 100)
	s.endStay([]int32{0})
	equal(t, "in flight without it", s.records, 1)
	next := s.begin(&kgo.Record{Partition: 0, Offset: 4}, 100)
	settle([]receipt{old}, accepted)
	equal(t, "due", len(s.due()), 0)
	equal(t, "old stay is lost", old.holder.lost(), true)
	settle([]receipt{next, kept}, accepted)
	equal(t, "due", s.due(), map[int32]kgo.EpochOffset{0: {Offset: 5}, 1: {Offset: 5}})
	equal(t, "records in flight", s.records, 0)
	equal(t, "bytes in flight", s.bytes, 0)
}

func TestPartition_begins_anew_when_the_log_was_cut(t *testing.T) {
	t.Parallel()
	s := newStay(nil)
	lost := s.begin(&kgo.Record{Partition: 0, Offset: 9}, 1)
	other := s.begin(&kgo.Record{Partition: 0, Offset: 7}, 1) // another record than the one that was at 7
	settle([]receipt{lost}, accepted)
	equal(t, "due", len(s.due()), 0)
	settle([]receipt{other}, accepted)
	equal(t, "due", s.due(), map[int32]kgo.EpochOffset{0: {Offset: 8}})
}

func TestNotedTopic_believes_only_our_notes(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	for note, want := range map[string]bool{
		topicNote(id): true, "": false, "consumer-1-uuid": false, topicNotePrefix: false, topicNotePrefix + "x": false,
	} {
		if _, ok := notedTopic(&note); ok != want {
			t.Errorf("%q: got %t, want %t", note, ok, want)
		}
	}
	if _, ok := notedTopic(nil); ok {
		t.Error("no note is believed")
	}
}
