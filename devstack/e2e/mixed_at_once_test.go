package e2e

import (
	"context"
	"fmt"
	"strings"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/outcome"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// atOnce goes from the older version to the newer one as those do who skip releases: all old processes are stopped, then come the
// gate, the migration and the role, then all new processes. Until then there are videos in every state that lasts.
func (m *mixed) atOnce() {
	m.t.Helper()
	for _, name := range everyProcess {
		m.begin(older, name)
	}
	p := m.sides[older]
	create := func(state string) contract.VideoID {
		v, err := p.places.API.Create(m.t.Context(), seed.Courses[0].ID, titled(state))
		if err != nil {
			m.t.Fatalf("%s: %v", state, err)
		}
		return v.ID
	}
	transcribe := func(id contract.VideoID) { m.transcribe(id, simulator.Take(1)) }
	const (
		done = iota
		asked
		hasTranscript
		hasCompression
		signalled      // while no worker runs
		begun          // by nobody but Temporal
		inKafka        // both results
		inDatabase     // an intent to start its run
		states     int = iota
	)
	var videos [states]contract.VideoID
	for state := done; state < begun; state++ {
		videos[state] = create(fmt.Sprint("state ", state))
	}
	videos[inKafka] = create("in Kafka")
	for _, id := range videos {
		if id != "" {
			if err := newLoad(m.pipeline).awaitAsked(id); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	transcribe(videos[done])
	m.compress(videos[done])
	transcribe(videos[hasTranscript])
	m.compress(videos[hasCompression])
	m.produce(m.topics.compressed, []byte(videos[asked]), []byte("{")) // a dead letter
	for state, reached := range map[int]func(api.Video) bool{
		done: api.Video.Done, hasTranscript: transcribed,
		hasCompression: func(v api.Video) bool { return v.Pipeline.Compression.State == contract.Done },
	} {
		if _, err := p.places.API.Await(m.t.Context(), videos[state], reached); err != nil {
			m.t.Fatal(err)
		}
	}

	p.stop(worker)
	transcribe(videos[signalled])
	m.awaitAcknowledged()
	p.stop(bridge)
	m.compress(videos[signalled])
	transcribe(videos[inKafka])
	m.compress(videos[inKafka])
	videos[begun] = create("begun")
	m.pipeline.runs(states - 1)
	p.stop(starter)
	m.withoutTemporal(older, func() { videos[inDatabase] = create("in the database") })

	m.replay(newer)
	m.version.migrate(m.t, m.binary, m.db)
	grant(m.t, m.binary, m.db)
	m.db.Store = postgrestest.Open(m.t, m.db.URL)
	for _, name := range everyProcess {
		m.begin(newer, name)
	}
	for _, state := range []int{asked, hasCompression, begun, inDatabase} {
		transcribe(videos[state])
	}
	for _, state := range []int{asked, hasTranscript, begun, inDatabase} {
		m.compress(videos[state])
	}
	now := m.sides[newer].in(m.t)
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	for _, id := range videos {
		stored, err := simulator.Stored(id, simulator.Nested, simulator.Take(1))
		if err != nil {
			m.t.Fatal(err)
		}
		now.checkDone(ctx, id, outcome.Wanted{Stored: stored, Compressed: simulator.CompressedURL(id)})
	}
	if said := now.tool("adopt", "--dry-run"); !strings.Contains(said, "0 runs would be started") {
		m.t.Errorf("there are videos without a run: %s", said)
	}
	if letters := m.letters(newer); len(letters) != 1 || letters[0].Version != previousBuild {
		m.t.Errorf("the dead letters are %+v, want the one of the old version", letters)
	}
	m.checkGoneOn(videos[:])
	m.checkErrors()
}

// checkGoneOn: the newer worker has gone on with runs of the older one, and no task has failed.
func (m *mixed) checkGoneOn(videos []contract.VideoID) {
	m.t.Helper()
	var total mixture
	for _, runs := range m.pipeline.runs(len(videos)) {
		for _, run := range runs {
			events, err := m.events(run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId())
			if err == nil {
				err = total.add(events, m.who)
			}
			if err != nil {
				m.t.Error(err)
			}
		}
	}
	m.t.Logf("all at once: begun by old and worked on by new %d, signals of old worked on by new %d, runs of old gone on with by new %d",
		total.started[older], total.signals[older], total.replayed[older])
	if total.started[older] == 0 || total.signals[older] == 0 || total.replayed[older] == 0 {
		m.t.Errorf("of what the old version did, the new has not read everything: %+v", total)
	}
}
