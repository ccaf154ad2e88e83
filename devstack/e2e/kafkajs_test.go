package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/process"
)

// oldConsumer is a process of the old server's consumers.
type oldConsumer struct {
	p      *pipeline
	name   string
	child  *process.Process
	output process.Output
}

// oldEvent is what it prints.
type oldEvent struct {
	Event     string
	GroupID   string
	Member    string
	Topic     string
	Partition int32
	Offset    int64
	Error     string
	Restart   bool
}

// startOld starts consumers of both topics by KafkaJS, under that client id.
func (p *pipeline) startOld(name string) *oldConsumer {
	p.t.Helper()
	database := p.db.Admin.Config().ConnConfig
	cmd := exec.Command("node", "old.js", "consume")
	cmd.Dir = filepath.Join("..", "kafkajs")
	cmd.Env = p.env.With(
		envfile.Var{Name: "KAFKA_USERNAME", Value: string(apache.Vidflow)},
		envfile.Var{Name: "KAFKA_PASSWORD", Value: apache.Vidflow.Password()},
		envfile.Var{Name: "KAFKA_CLIENT_ID", Value: name},
		envfile.Var{Name: "PGHOST", Value: database.Host},
		envfile.Var{Name: "PGPORT", Value: strconv.Itoa(int(database.Port))},
		envfile.Var{Name: "PGUSER", Value: database.User},
		envfile.Var{Name: "PGPASSWORD", Value: database.Password},
		envfile.Var{Name: "PGDATABASE", Value: database.Database},
	).Environ([]string{"PATH=" + os.Getenv("PATH")})
	o := &oldConsumer{p: p, name: name}
	cmd.Stdout, cmd.Stderr = &o.output, &o.output
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	o.child = child
	p.t.Cleanup(func() {
		child.Stop(context.Background(), process.Step{Signal: syscall.SIGTERM, Wait: 10 * time.Second})
		if p.t.Failed() {
			text := o.output.String()
			p.t.Logf("%s says at its end:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	return o
}

func (o *oldConsumer) events(kind string) (events []oldEvent) {
	for line := range strings.Lines(o.output.String()) {
		var e oldEvent
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &e) == nil && e.Event == kind {
			events = append(events, e)
		}
	}
	return events
}

func (o *oldConsumer) awaitJoined() {
	o.p.t.Helper()
	o.p.await(o.name+" is in both groups", func(context.Context) error {
		groups := map[string]bool{}
		for _, e := range o.events("joined") {
			groups[e.GroupID] = true
		}
		if len(groups) != 2 {
			return fmt.Errorf("it is in %v", groups)
		}
		return nil
	})
}

func (o *oldConsumer) awaitCrashed(why string) {
	o.p.t.Helper()
	o.p.await(o.name+" gives up", func(context.Context) error {
		crashed := o.events("crashed")
		if len(crashed) != 2 {
			return fmt.Errorf("%d of two consumers have", len(crashed))
		}
		for _, e := range crashed {
			if e.Restart || !strings.Contains(e.Error, why) {
				o.p.t.Fatalf("%s gives up with %+v, want %q and no restart", o.name, e, why)
			}
		}
		return nil
	})
}

// checkStillOut: who gave up does not come back by itself, and its process goes on without a word.
func (o *oldConsumer) checkStillOut() {
	o.p.t.Helper()
	select {
	case <-o.child.Done():
		o.p.t.Errorf("%s has ended", o.name)
	default:
	}
	if joined := o.events("joined"); len(joined) > 0 {
		o.p.t.Errorf("%s has joined after all: %+v", o.name, joined)
	}
}

func (o *oldConsumer) stop() {
	o.p.t.Helper()
	o.p.end(o.name, o.child)
}

// killAtWork kills it when it has handled at least so many results without having committed them.
func (o *oldConsumer) killAtWork(results int) {
	o.p.t.Helper()
	signal := func(s syscall.Signal) {
		if err := o.child.Signal(s); err != nil {
			o.p.t.Fatal(err)
		}
	}
	o.p.await(o.name+" has results in hand", func(context.Context) error {
		signal(syscall.SIGSTOP) // what is seen then stays so
		if n := len(beyond(o.p.committed(), handledBy(o))); n < results {
			signal(syscall.SIGCONT)
			return fmt.Errorf("%d, want %d", n, results)
		}
		return nil
	})
	signal(syscall.SIGKILL)
	<-o.child.Done()
}

// beyond are the places that nobody has committed.
func beyond(committed map[at]int64, places []place) (open []place) {
	for _, pl := range places {
		if pl.offset >= committed[pl.at] {
			open = append(open, pl)
		}
	}
	return open
}

func handledBy(old ...*oldConsumer) (places []place) {
	for _, o := range old {
		for _, e := range o.events("handled") {
			if e.Error != "" {
				o.p.t.Errorf("%s lost a record: %+v", o.name, e)
			}
			places = append(places, place{at{e.Topic, e.Partition}, e.Offset})
		}
	}
	return places
}

// committedBy is the last offset that they have committed of each partition.
func committedBy(old ...*oldConsumer) map[at]int64 {
	last := map[at]int64{}
	for _, o := range old {
		for _, e := range o.events("committed") {
			last[at{e.Topic, e.Partition}] = max(last[at{e.Topic, e.Partition}], e.Offset)
		}
	}
	return last
}

func (p *pipeline) awaitHandled(more int, old ...*oldConsumer) {
	p.t.Helper()
	want := len(handledBy(old...)) + more
	p.await("the old consumers handle more results", func(context.Context) error {
		if have := len(handledBy(old...)); have < want {
			return fmt.Errorf("%d of %d", have, want)
		}
		return nil
	})
}
