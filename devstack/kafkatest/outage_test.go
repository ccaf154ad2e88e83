package kafkatest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/devstack/control"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// TestOutage is not parallel: it takes the broker away from everybody. While it is away nothing is lost and nothing is
// taken for a mistake of somebody's.
func TestOutage(t *testing.T) {
	c := newCrossing(t, nil)
	servers := control.Client{URL: need(t, "VIDFLOW_TEST_CONTROL")}
	c.start()
	log := logOf(t)
	// Patient enough for an outage: it goes on trying for two minutes.
	cfg := c.config(apache.VidflowStart, kafka.MechanismScramSHA256)
	cfg.Retries = 1000
	producer := newProducer(t, cfg, logTo(log))
	publish := func(r *kgo.Record) error {
		_, _, err := producer.Publish(within(t, 2*patience), c.names.Transcribed, r.Key, r.Value)
		return err
	}
	before := transcripts(20, 2000)
	for _, r := range before {
		if err := publish(r); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitRead(before...)

	for _, way := range []struct {
		name string
		end  func(context.Context, string) error
	}{{"stopped", servers.StopServer}, {"killed", servers.KillServer}} {
		t.Run(way.name, func(t *testing.T) {
			during := transcripts(200, 2000)
			published := make(chan error, 1)
			half := make(chan struct{})
			go func() {
				for i, r := range during {
					if i == len(during)/4 {
						close(half)
					}
					if err := publish(r); err != nil {
						published <- err
						return
					}
				}
				published <- nil
			}()
			<-half
			if err := way.end(t.Context(), "kafka"); err != nil {
				t.Fatal(err)
			}
			err := kafka.CheckTopics(within(t, seconds), newClient(t, cfg, quiet()), c.names.Transcribed)
			if err == nil || kafka.IsSetup(err) {
				t.Errorf("while it is away: %v, want an error that may pass", err)
			}
			began := time.Now()
			if err := servers.StartServer(t.Context(), "kafka"); err != nil {
				t.Fatal(err)
			}
			t.Logf("the broker was back after %s", time.Since(began))
			if err := <-published; err != nil {
				t.Fatalf("publish in the outage: %v", err)
			}
			c.awaitRead(append(before, during...)...)
			c.awaitCommitted()
		})
	}
	for _, said := range []*process.Output{log, c.log} {
		if text := said.String(); strings.Contains(text, "Kafka login refused") || strings.Contains(text, "cannot be connected to") {
			t.Error("an outage was taken for a mistake in the set-up")
		}
	}
}
