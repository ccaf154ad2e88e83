package kafkabridge

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestBridge_names_the_members_of_another_kind_and_joins_when_they_have_left(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	other, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.ClientID("the-old-one"),
		kgo.ConsumerGroup(transcriptGroup), kgo.ConsumeTopics(transcripts), kgo.Balancers(kgo.RoundRobinBalancer()))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	r.put(transcripts, 0, small(1))
	if err := other.PollFetches(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	member, _ := other.GroupMetadata()

	temporal := newFakeTemporal(nil)
	b := r.start(temporal, nil)
	held := b.consumers[0]
	want := "waits to join consumer group " + transcriptGroup + ", which consumers of another kind hold; stop them: " +
		"the-old-one at 127.0.0.1 (" + member + ")"
	r.eventually("it names who holds the group", func() bool {
		live := held.current.Load()
		return live != nil && live.joined() != nil && live.joined().Error() == want
	})
	if ready(t, b.Bridge) == nil {
		t.Error("it is ready without the group")
	}
	if !r.logged("Kafka group is held by consumers of another kind") || !r.logged(member) {
		t.Error("the log does not name who holds the group")
	}
	if err := other.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	other.Close() // which leaves the group
	r.eventually("it is ready", func() bool { return ready(t, b.Bridge) == nil })
	r.put(transcripts, 0, small(2))
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 2})
	equal(t, "signals", len(temporal.signals()), 1)
}
