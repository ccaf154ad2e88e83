package e2e

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/control"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// TestOutage is not parallel: it takes the servers away from everybody.
func TestOutage(t *testing.T) {
	servers := control.Client{URL: need(t, "VIDFLOW_TEST_CONTROL")}
	p := newPipeline(t)
	p.start(everyProcess...)
	p.simulate(soon())
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	const length = 10 * time.Second
	before := p.create(length)
	p.awaitDone(ctx, soon(), length, before)

	both := []string{"temporal", "kafka"}
	for _, name := range both {
		if err := servers.StopServer(ctx, name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := servers.StartServer(context.Background(), name); err != nil {
				t.Errorf("start %s for those who come after: %v", name, err)
			}
		})
	}
	for _, variable := range []string{"TEMPORAL_ADDRESS", "KAFKA_BROKERS"} {
		if conn, err := net.Dial("tcp", os.Getenv(variable)); err == nil {
			_ = conn.Close()
			t.Fatalf("%s still answers", variable)
		}
	}

	created := []contract.VideoID{p.create(length), p.create(length), p.create(length)}
	p.saysWhatIsAway(created[0])
	for _, id := range created {
		v, err := p.places.API.Pipeline(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Pipeline.Transcription; got.State != contract.Waiting || got.Asks != 0 {
			t.Errorf("transcription of a video that was created in the outage is %+v, want it waiting and not asked for", got)
		}
	}
	deleted := created[2]
	if err := p.places.API.Delete(ctx, deleted); err != nil {
		t.Errorf("delete in the outage: %v", err)
	}
	// An API that is started in the outage serves, and says what it lacks.
	p.stop(starter)
	p.launch(starter)
	p.awaitStatus(starter, "degraded")
	created = append(created[:2], p.create(length))

	for _, name := range both {
		if err := servers.StartServer(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	p.awaitDone(ctx, soon(), length, created...)
	p.await("nothing is left of the deleted video", func(ctx context.Context) error { return p.places.CheckGone(ctx, deleted) })
	for _, name := range everyProcess {
		p.awaitStatus(name, "ready")
	}
}

// TestRestart stops each process in the middle of the work of three videos, and goes on.
func TestRestart(t *testing.T) {
	t.Parallel()
	ways := map[string]func(*pipeline, string){"stopped": (*pipeline).stop, "killed": (*pipeline).kill}
	for _, name := range everyProcess {
		for way, end := range ways {
			t.Run(name+"_"+way, func(t *testing.T) {
				t.Parallel()
				p := newPipeline(t)
				p.start(everyProcess...)
				b := soon()
				// Some results come while the process is away and some after.
				b.TranscriptionDelay = simulator.Range{Max: simulator.Duration(3 * time.Second)}
				b.CompressionDelay = b.TranscriptionDelay
				p.simulate(b)
				ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
				defer cancel()
				const length = 10 * time.Second
				ids := []contract.VideoID{p.create(length), p.create(length), p.create(length)}
				if _, err := p.places.API.Await(ctx, ids[0], asked); err != nil {
					t.Fatal(err)
				}

				end(p, name)
				if name == starter {
					// The others go on without it.
					p.await("a run is done without the starter", func(ctx context.Context) error {
						return p.places.Temporal.GetWorkflow(ctx, "video/"+string(ids[0]), "").Get(ctx, nil)
					})
				} else {
					ids = append(ids, p.create(length))
				}
				p.start(name)

				p.awaitDone(ctx, b, length, ids...)
			})
		}
	}
}

func asked(v api.Video) bool { return v.Pipeline.Transcription.Asks > 0 }
