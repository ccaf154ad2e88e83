package deadletter_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/deadletter"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

const group = "vidflow-dead-letters"

// flaky is away for its first calls.
type flaky struct {
	deadletter.Store
	away atomic.Int64
}

func (f *flaky) RecordDeadLetters(ctx context.Context, letters []postgres.DeadLetter, redriven []postgres.Redriven) error {
	if f.away.Add(-1) >= 0 {
		return errors.New("the database is away")
	}
	return f.Store.RecordDeadLetters(ctx, letters, redriven)
}

func (r *rig) watch(store deadletter.Store, log *slog.Logger) (stop func()) {
	r.t.Helper()
	w, err := deadletter.NewWatcher(deadletter.WatcherConfig{
		Kafka: r.cfg, Group: group,
		Tracks: map[string]contract.Track{transcripts: contract.TranscriptionTrack, compressions: contract.CompressionTrack},
	}, store, log)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := w.CheckTopics(r.ctx()); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var once bool
	stop = func() {
		if once {
			return
		}
		once = true
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("Run: %v", err)
		}
		w.Close()
	}
	r.t.Cleanup(stop)
	return stop
}

func TestWatcher_tells_the_database(t *testing.T) {
	t.Parallel()
	r, db := newRig(t), postgrestest.New(t)
	course, _ := db.Course(t)
	id := db.Video(t, course)
	letters := func() postgres.DeadLetters {
		l, err := db.Store.Video(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return l.DeadLetters
	}
	store := &flaky{Store: db.Store}
	store.away.Store(1)
	log := &logBuffer{}
	r.bury(
		death{origin: 1, minute: 1, key: id.String(), class: "json", reason: "first"},
		death{origin: 2, minute: 2, class: "schema", reason: "second", value: `{"video_id":"` + id.String() + `"}`},
	)
	stop := r.watch(store, slog.New(slog.NewTextHandler(log, nil)))
	r.eventually("two letters", func() bool { return letters().Count == 2 })
	if got := letters(); got.Open != 2 || got.Latest.Reason != "second" || got.Latest.Track != contract.TranscriptionTrack {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(log.String(), "dead letters not recorded, will be tried again") {
		t.Errorf("the outage of the database is not in the log:\n%s", log)
	}
	box := r.box()
	entries, err := box.List(r.ctx(), deadletter.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Redrive(r.ctx(), r.producer(), entries, func(deadletter.Redriven) {}); err != nil {
		t.Fatal(err)
	}
	r.eventually("none open", func() bool { return letters().Open == 0 })
	r.eventually("offsets committed", func() bool { return r.committed(group) == 4 })
	stop()

	// What comes while nobody watches is seen afterwards.
	r.bury(death{topic: compressions, origin: 3, minute: 3, key: id.String(), class: "url", reason: "third"})
	r.watch(db.Store, quiet())
	r.eventually("the third", func() bool { return letters().Count == 3 })
	if got := letters(); got.Open != 1 || got.Latest.Track != contract.CompressionTrack {
		t.Errorf("got %+v", got)
	}
}

func TestWatcher_says_what_it_may_not_do(t *testing.T) {
	t.Parallel()
	letters := transcripts + contract.DeadLetterSuffix
	acl := func(resource kmsg.ACLResourceType, name string) kfake.ACL {
		return kfake.ACL{
			Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationRead, Allow: true,
		}
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, letters), kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.Superuser("PLAIN", "admin", "admin"), kfake.User("PLAIN", "starter", "secret",
			acl(kmsg.ACLResourceTypeTopic, letters), acl(kmsg.ACLResourceTypeGroup, group)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for name, row := range map[string]struct {
		group string
		want  string // in the error; none when empty
	}{
		"its group":   {group, ""},
		"another one": {"another", "no permission for consumer group another"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := deadletter.NewWatcher(deadletter.WatcherConfig{
				Kafka: kafka.Config{
					Brokers: cluster.ListenAddrs(), Username: "starter", Password: "secret", Mechanism: kafka.MechanismPlain,
				},
				Group: row.group, Tracks: map[string]contract.Track{transcripts: contract.TranscriptionTrack},
			}, nil, quiet())
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			err = w.CheckTopics(t.Context())
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestWatcher_says_what_is_missing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w, err := deadletter.NewWatcher(deadletter.WatcherConfig{
		Kafka: r.cfg, Group: group, Tracks: map[string]contract.Track{"nowhere": contract.TranscriptionTrack},
	}, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.CheckTopics(r.ctx()); !kafka.IsSetup(err) || !strings.Contains(err.Error(), "nowhere.dlq") {
		t.Errorf("got %v, want a SetupError that names the topic", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.Run(ctx); err != nil {
		t.Errorf("Run: %v, want it to wait for the topic until it is told to stop", err)
	}
}
