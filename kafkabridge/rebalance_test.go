package kafkabridge

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/contract"
)

// owned is the number of partitions of its first source that a bridge has in hand or had.
func (b *running) assigned() bool {
	live := b.consumers[0].current.Load()
	return live != nil && live.joined() == nil
}

func TestBridge_instances_come_and_go_and_nobody_stops(t *testing.T) {
	t.Parallel()
	const partitions, records = 6, 3000
	r := newRig(t, partitions)

	producing, stopProducing := context.WithCancel(t.Context())
	produced := make(chan int)
	go func() {
		n := 0
		for ; n < records || producing.Err() == nil; n += 10 {
			r.put(transcripts, int32(n/10%partitions), each(n, n+10, small)...)
		}
		produced <- n
	}()

	var temporals []*fakeTemporal
	start := func() *running {
		f := newFakeTemporal(func(context.Context, signal) error {
			<-time.After(time.Millisecond) // Temporal takes its time
			return nil
		})
		temporals = append(temporals, f)
		b := r.start(f, func(c *Config) { // however slow the machine: what is let go comes again
			c.RevokeTimeout, c.DrainTimeout, c.RebalanceTimeout = patience/2, patience/2, patience
		})
		r.eventually("it has joined", b.assigned)
		r.eventually("it works", func() bool { return len(f.signals()) > 0 })
		return b
	}
	// Three instances, restarted in turn.
	running := []*running{start(), start(), start()}
	for i := range running {
		running[i].stop()
		running[i] = start()
	}
	stopProducing()
	n := <-produced
	r.eventually("everything is committed", func() bool {
		var sum int64
		for _, offset := range r.offsets(transcriptGroup) {
			sum += offset
		}
		return sum == int64(n)
	})

	seen := make(map[contract.VideoID]int)
	for _, f := range temporals {
		for _, s := range f.signals() {
			seen[s.Video]++
		}
		equal(t, "problems", f.faults(), []string(nil))
	}
	equal(t, "videos signalled", len(seen), n)
	repeats := 0
	for _, times := range seen {
		repeats += times - 1
	}
	t.Logf("%d records, %d repeated", n, repeats)
	if repeats > n/100 {
		t.Errorf("%d of %d records were repeated, want next to none", repeats, n)
	}
	for p := range int32(partitions) {
		var offsets []int64
		for _, c := range r.commitsOf(transcriptGroup) {
			if c.Partition == p {
				offsets = append(offsets, c.Offset)
			}
		}
		if !slices.IsSorted(offsets) {
			t.Errorf("commits of partition %d went back: %v", p, offsets)
		}
	}
}

func TestBridge_does_not_commit_a_partition_that_has_gone_to_another_instance(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	release := make(chan struct{})
	slow := newFakeTemporal(func(ctx context.Context, _ signal) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	hurry := func(c *Config) {
		c.RevokeTimeout = 10 * time.Millisecond
		c.SignalTimeout = time.Hour
		c.DrainTimeout = time.Minute
	}
	a := r.start(slow, hurry)
	r.put(transcripts, 0, each(0, 5, small)...)
	r.put(transcripts, 1, each(5, 10, small)...)
	r.eventually("the first has all in hand", func() bool { return a.Stats().Received == 10 })

	fast := newFakeTemporal(nil)
	b := r.start(fast, hurry)
	r.eventually("the second has taken over a partition", func() bool { return len(r.offsets(transcriptGroup)) == 1 })
	var taken int32
	for p := range r.offsets(transcriptGroup) {
		taken = p
	}
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{taken: 5})
	equal(t, "records that the first let go", a.Stats().Revoked, int64(5))
	r.put(transcripts, taken, each(20, 25, small)...)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{taken: 10})

	close(release)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{taken: 10, 1 - taken: 5})
	a.stop()
	b.stop()
	// Whoever was last alone takes over the other's; nothing is repeated, nothing goes back.
	equal(t, "committed in the end", r.offsets(transcriptGroup), map[int32]int64{taken: 10, 1 - taken: 5})
	members := make(map[string]bool)
	for _, c := range r.commitsOf(transcriptGroup) {
		if c.Partition == taken {
			members[c.Member] = true
		}
	}
	equal(t, "members that committed the partition", len(members), 1)
}

func TestBridge_that_lost_its_partitions_does_no_harm_when_it_wakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	sent, release := make(chan struct{}, 100), make(chan struct{})
	temporal := newFakeTemporal(func(ctx context.Context, _ signal) error {
		sent <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	b := r.start(temporal, func(c *Config) { c.SignalTimeout, c.RevokeTimeout = time.Hour, 10*time.Millisecond })
	r.put(transcripts, 0, each(0, 3, small)...)
	for range 3 {
		<-sent
	}
	// What a member hears whose session has run out.
	r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: transcriptGroup, Err: kerr.UnknownMemberID})
	r.eventually("its partition is lost", func() bool { return b.Stats().Revoked == 3 })
	r.eventually("the records have come again", func() bool { return b.Stats().Received == 6 })
	equal(t, "commits so far", r.commitsOf(transcriptGroup), []committed(nil))
	close(release)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 3})
	equal(t, "problems", temporal.faults(), []string(nil))
}

func TestBridge_goes_on_without_a_member_that_was_killed(t *testing.T) {
	t.Parallel()
	r := newRig(t, defaultPartitions)
	dead := kmsg.NewPtrJoinGroupRequest()
	dead.Group, dead.ProtocolType = transcriptGroup, "consumer"
	dead.SessionTimeoutMillis, dead.RebalanceTimeoutMillis = 45_000, 500
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = kgo.CooperativeStickyBalancer().ProtocolName()
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{transcripts}
	protocol.Metadata = metadata.AppendTo(nil)
	dead.Protocols = append(dead.Protocols, protocol)
	joined, err := dead.RequestWith(t.Context(), r.cl)
	if err == nil && joined.ErrorCode == kerr.MemberIDRequired.Code {
		dead.MemberID = joined.MemberID
		joined, err = dead.RequestWith(t.Context(), r.cl)
	}
	if err != nil || joined.ErrorCode != 0 {
		t.Fatalf("join: %v, %v", err, kerr.ErrorForCode(joined.ErrorCode))
	}
	r.put(transcripts, 0, each(0, 10, small)...)

	f := newFakeTemporal(nil)
	r.start(f, func(c *Config) { c.RebalanceTimeout = 500 * time.Millisecond })
	r.eventually("it has the records", func() bool { return len(f.signals()) > 0 })
}
