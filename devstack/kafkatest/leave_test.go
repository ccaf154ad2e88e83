package kafkatest

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestEndWhileJoining: a bridge that is told to end while its group waits for a member that hangs, a minute at most, does
// not wait with it.
func TestEndWhileJoining(t *testing.T) {
	t.Parallel()
	c := newCrossing(t, nil)
	hung, err := kgo.NewClient(
		kgo.SeedBrokers(need(t, "VIDFLOW_TEST_KAFKA_BROKERS")), kgo.ConsumerGroup(c.names.TranscriptionGroup),
		kgo.ConsumeTopics(c.names.Transcribed), kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.RebalanceTimeout(time.Minute),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())
	if err != nil {
		t.Fatal(err)
	}
	defer hung.CloseAllowingRebalance()
	c.put(c.names.Transcribed, transcript(100))
	if err := hung.PollFetches(within(t, patience)).Err(); err != nil {
		t.Fatal(err)
	}

	stop := c.start()
	c.awaitState("PreparingRebalance")
	began := time.Now()
	stop()
	if took := time.Since(began); took > 40*time.Second { // the member may take a minute
		t.Errorf("it took %s to end", took)
	}
}
