package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/control"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/internal/contract"
)

// listener reads a stream of events.
type listener struct {
	p   *pipeline
	ids chan string // of all events; closed at the end of the stream
}

func (p *pipeline) listen(path, lastEventID string) *listener {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.block.URL(ports.API)+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.places.API.Token)
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(res.Body)
		p.t.Fatalf("%s: %d %s", path, res.StatusCode, said)
	}
	l := &listener{p: p, ids: make(chan string, 1000)}
	go func() {
		defer close(l.ids)
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				l.ids <- id
			}
		}
	}()
	return l
}

// await waits for the event with this id.
func (l *listener) await(id string) {
	l.p.t.Helper()
	l.awaitThat("event "+id, func(got string) bool { return got == id })
}

// awaitRevision waits for an event of a video's stream that is of this revision or a later one: of several changes at once
// only the last may be told.
func (l *listener) awaitRevision(least int) {
	l.p.t.Helper()
	l.awaitThat(fmt.Sprintf("event of revision %d or later", least), func(got string) bool {
		revision, err := strconv.Atoi(got)
		return err == nil && revision >= least
	})
}

func (l *listener) awaitThat(what string, wanted func(id string) bool) {
	l.p.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case got, ok := <-l.ids:
			if !ok {
				l.p.t.Fatalf("the stream ended: no %s", what)
			}
			if wanted(got) {
				return
			}
		case <-timer.C:
			l.p.t.Fatalf("no %s", what)
		}
	}
}

func (l *listener) awaitEnd() {
	l.p.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case _, ok := <-l.ids:
			if !ok {
				return
			}
		case <-timer.C:
			l.p.t.Fatal("the stream does not end")
		}
	}
}

func eventsOf(id contract.VideoID) string { return "/api/videos/" + string(id) + "/events" }

// change raises the video's revision, and answers with it.
func (p *pipeline) change(id contract.VideoID) (revision string) {
	p.t.Helper()
	p.await("the video is changed", func(ctx context.Context) error {
		return p.db.Store.RecordError(ctx, id, contract.TranscriptionTrack, "at "+time.Now().String())
	})
	return p.revision(id)
}

func (p *pipeline) revision(id contract.VideoID) string {
	p.t.Helper()
	l, err := p.db.Store.Video(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return strconv.FormatInt(l.Pipeline.Revision, 10)
}

// TestEvents_whole follows a video from its creation until it is done.
func TestEvents_whole(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	b := soon()
	id := p.create(10 * time.Second)
	l := p.listen(eventsOf(id), "")
	p.simulate(b)
	p.awaitDone(t.Context(), b, 10*time.Second, id)
	l.await(p.revision(id))
}

// TestEvents_starter_restarted: who comes back with the id of the last event is told what is so now.
func TestEvents_starter_restarted(t *testing.T) {
	t.Parallel()
	for way, end := range map[string]func(*pipeline, string){"stopped": (*pipeline).stop, "killed": (*pipeline).kill} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, envfile.Var{Name: "SHUTDOWN_TIMEOUT", Value: "2m"})
			p.start(starter)
			id := p.create(10 * time.Second)
			last := p.change(id)
			one, all := p.listen(eventsOf(id), ""), p.listen("/api/courses/"+p.courseOf(id)+"/events", "")
			one.await(last)

			began := time.Now()
			end(p, starter)
			one.awaitEnd()
			all.awaitEnd()
			if took := time.Since(began); took > time.Minute {
				t.Errorf("with streams open it takes %s to end", took)
			}
			missed := p.change(id)
			p.start(starter)
			one = p.listen(eventsOf(id), last)
			one.await(missed)
			one.await(p.change(id))
		})
	}
}

func (p *pipeline) courseOf(id contract.VideoID) string {
	p.t.Helper()
	l, err := p.db.Store.Video(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return l.Video.CourseID
}

// ownServers is set for a test that runs in a stack of its own, since it takes servers away that others use.
const ownServers = "VIDFLOW_TEST_OWN_SERVERS"

// TestEvents_postgres_restarted: streams stay open while the database is away, and miss nothing.
func TestEvents_postgres_restarted(t *testing.T) {
	if os.Getenv(ownServers) == "" {
		t.Parallel()
		if onApacheKafka(t) {
			t.Skip("it runs on servers of its own, the same ones as in `make test`")
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := devstackExec(t, t.TempDir(), "--", self, "-test.run=^"+t.Name()+"$")
		cmd.Env = append(cmd.Env, ownServers+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	servers := control.Client{URL: need(t, "VIDFLOW_TEST_CONTROL")}
	for mode, settings := range map[string][]envfile.Var{
		"listen": nil, "poll": {{Name: "DATABASE_LISTEN_URL", Value: ""}},
	} {
		t.Run(mode, func(t *testing.T) {
			p := newPipeline(t, settings...)
			p.start(starter)
			p.awaitSource(mode)
			id := p.create(10 * time.Second)
			last := p.change(id)
			l := p.listen(eventsOf(id), "")
			l.await(last)
			if err := servers.KillServer(t.Context(), "postgres"); err != nil {
				t.Fatal(err)
			}
			p.awaitStatus(starter, "not ready")
			if err := servers.StartServer(t.Context(), "postgres"); err != nil {
				t.Fatal(err)
			}
			l.await(p.change(id)) // at once: the starter may not yet listen again
			p.awaitSource(mode)
			last = p.change(id)
			l.await(last)
			p.listen(eventsOf(id), "1").await(last)
		})
	}
}

// awaitSource waits until changes are learnt from "listen" or "poll".
func (p *pipeline) awaitSource(mode string) {
	p.t.Helper()
	p.await("changes are learnt by "+mode, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.block.URL(ports.StarterOps)+"/metrics", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		metrics, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		if !strings.Contains(string(metrics), fmt.Sprintf("vidflow_starter_event_source{mode=%q} 1\n", mode)) {
			return errors.New("not yet")
		}
		return nil
	})
}
