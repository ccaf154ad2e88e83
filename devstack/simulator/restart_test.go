package simulator_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/simulator"
)

// A broker that goes away and comes back, with what it had, is worked with on.
func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func(port int) *kfake.Cluster {
		t.Helper()
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(dir),
			kfake.SeedTopics(3, requests, transcriptions, compressions))
		if err != nil {
			t.Fatal(err)
		}
		return cluster
	}
	port, err := ports.Unused(1) // which no client's own connection can have when the broker comes back
	if err != nil {
		t.Fatal(err)
	}
	cluster := start(port)
	client, err := kgo.NewClient(kgo.SeedBrokers(fmt.Sprintf("127.0.0.1:%d", port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b := &bundle{brokers: cluster.ListenAddrs(), client: client}
	s, _ := b.start(t, prompt())
	b.ask(t, "", videoID(1))
	wait(t, s, "answers before", func(s simulator.Stats) bool { return s.Transcriptions == 1 && s.Compressions == 1 })

	cluster.Close()
	cluster = start(port)
	t.Cleanup(cluster.Close)

	b.ask(t, "", videoID(2))
	wait(t, s, "answers after", func(s simulator.Stats) bool { return s.Transcriptions >= 2 && s.Compressions >= 2 })
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if _, err := s.Emit(ctx, simulator.Emission{VideoID: string(videoID(3))}); err != nil {
		t.Error(err)
	}
}
