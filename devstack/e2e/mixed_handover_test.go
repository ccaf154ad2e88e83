package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// readEachOther has each version take up what the other one has left: dead letters, intents, videos without a run, and all runs.
func (m *mixed) readEachOther() {
	m.t.Helper()
	m.redrive()
	for _, s := range []side{older, newer} { // who leaves something
		m.carryOut(s)
		if s == newer && m.oneWay {
			continue
		}
		m.adopt(s)
		m.replay(s.other())
	}
}

// deadLetter is what `vidflow dlq list --json` says of one.
type deadLetter struct {
	Letter  string
	VideoID string `json:"video_id"`
	Version string
	Letters int
}

func (m *mixed) letters(s side) (list []deadLetter) {
	m.t.Helper()
	for line := range strings.Lines(m.sides[s].tool("dlq", "list", "--json")) {
		var l deadLetter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			m.t.Fatalf("%v in %s", err, line)
		}
		list = append(list, l)
	}
	return list
}

// redrive sends the letters of each version back by the tool of the other one.
func (m *mixed) redrive() {
	m.t.Helper()
	if diff := cmp.Diff(m.letters(older), m.letters(newer)); diff != "" {
		m.t.Errorf("the versions list other dead letters (-old +new):\n%s", diff)
	}
	var sent [2]bool
	for _, l := range m.letters(newer) {
		from := newer
		if l.Version == previousBuild {
			from = older
		}
		if sent[from] {
			continue
		}
		sent[from] = true
		if got := m.sides[from.other()].tool("dlq", "redrive", l.Letter); !strings.Contains(got, "1 of 1 sent back") {
			m.t.Errorf("redrive of a letter of the %s version: %s", from, got)
		}
		m.await("it has died again", func(context.Context) error {
			for _, again := range m.letters(from) {
				if again.VideoID == l.VideoID && again.Letters == 2 {
					return nil
				}
			}
			return errors.New("not yet")
		})
	}
	if !sent[older] || !sent[newer] {
		m.t.Errorf("not both versions have made dead letters: %v", sent)
	}
}

// carryOut has the starter of a version create a video while it does not reach Temporal, and end. That of the other version starts its run.
func (m *mixed) carryOut(s side) {
	m.t.Helper()
	m.sides[m.runs[starter]].stop(starter)
	var id contract.VideoID
	m.withoutTemporal(s, func() {
		v, err := m.sides[s].places.API.Create(m.t.Context(), seed.Courses[0].ID, titled("an intent of "+s.String()))
		if err != nil {
			m.t.Fatal(err)
		}
		id = v.ID
	})
	m.runs[starter] = s.other()
	m.begin(s.other(), starter)
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	if _, err := m.sides[s.other()].places.API.Await(ctx, id, api.Video.Done); err != nil {
		m.t.Fatalf("an intent of the %s version: %v", s, err)
	}
}

// withoutTemporal has a starter of that version run, which does not reach Temporal, while do is done.
func (m *mixed) withoutTemporal(s side, do func()) {
	m.t.Helper()
	p := m.sides[s]
	env := p.env
	p.env = env.With(envfile.Var{Name: "TEMPORAL_ADDRESS", Value: "127.0.0.1:1"})
	p.launch(starter)
	p.awaitStatus(starter, "degraded")
	p.env = env
	do()
	p.stop(starter)
}

// adopt has the tool of a version start the run of a video that has none. The worker of the other version works on it.
func (m *mixed) adopt(s side) {
	m.t.Helper()
	if m.runs[worker] == s {
		m.sides[s].stop(worker)
		m.runs[worker] = s.other()
		m.begin(s.other(), worker)
	}
	id := m.addWaiting(1, 0)[0]
	m.sides[s].tool("adopt")
	m.transcribe(id, simulator.Take(1))
	m.compress(id)
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	if _, err := m.sides[m.runs[starter]].places.API.Await(ctx, id, api.Video.Done); err != nil {
		m.t.Fatalf("adopted by the %s version: %v", s, err)
	}
}

// replay has a version replay all runs there are, whoever has worked on them, and say where a video is.
func (m *mixed) replay(s side) {
	m.t.Helper()
	got := m.sides[s].tool("replay", "--query", "StartTime > '2020-01-01T00:00:00Z'")
	m.t.Logf("vidflow replay of the %s version: %s", s, strings.TrimSpace(got))
	if !strings.Contains(got, " 0 incompatible") {
		m.t.Errorf("vidflow replay of the %s version: %s", s, got)
	}
	for _, id := range m.pure {
		m.sides[s].tool("status", string(id))
		return // one will do
	}
}
