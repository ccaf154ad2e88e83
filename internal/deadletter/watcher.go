package deadletter

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
)

const (
	// watchedAtOnce is how many records are told to the database at one time.
	watchedAtOnce = 200
	// Pauses between attempts while the database is away: doubled from the first up to the longest.
	firstPause, longestPause = time.Second, 30 * time.Second
)

// Store remembers letters. It must not mind being told twice.
type Store interface {
	RecordDeadLetters(ctx context.Context, letters []postgres.DeadLetter, redriven []postgres.Redriven) error
}

// WatcherConfig says what a Watcher reads.
type WatcherConfig struct {
	Kafka kafka.Config
	// Group is the consumer group. Any number of watchers share it.
	Group string
	// Tracks are the topics whose dead letters are watched, and what their results are for.
	Tracks map[string]contract.Track
}

// Watcher tells the database of dead letters and of those that were sent back. An offset is committed when the database
// has what is before it; what is read again changes nothing.
type Watcher struct {
	cl     *kgo.Client
	group  string
	topics []string
	tracks map[string]contract.Track
	store  Store
	probe  func(context.Context) error
	log    *slog.Logger
}

// NewWatcher does not connect yet.
func NewWatcher(cfg WatcherConfig, store Store, log *slog.Logger) (*Watcher, error) {
	w := &Watcher{group: cfg.Group, tracks: make(map[string]contract.Track), store: store, log: log}
	for topic, track := range cfg.Tracks {
		w.tracks[topic+contract.DeadLetterSuffix] = track
	}
	w.topics = slices.Sorted(maps.Keys(w.tracks))
	cl, err := kafka.NewClient(cfg.Kafka, log, "starter/dead_letters",
		kgo.ConsumerGroup(cfg.Group),
		kgo.ConsumeTopics(w.topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(1<<20), // of values that are not looked at
	)
	if err != nil {
		return nil, err
	}
	w.cl, w.probe = cl, kafka.NewProbe(cl)
	return w, nil
}

// CheckTopics looks for the topics and the permission to be in the group. It fails with a kafka.SetupError for what a person
// must mend.
func (w *Watcher) CheckTopics(ctx context.Context) error {
	if err := kafka.CheckTopics(ctx, w.cl, w.topics...); err != nil {
		return err
	}
	return kafka.CheckGroup(ctx, w.cl, w.group)
}

// Ready is a probe of the client.
func (w *Watcher) Ready(ctx context.Context) error { return w.probe(ctx) }

// Run works until ctx ends, and returns nil then. It outlives every outage.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		fetches := w.cl.PollRecords(ctx, watchedAtOnce)
		if fetches.IsClientClosed() {
			break
		}
		w.sayErrors(fetches)
		letters, redriven := w.read(fetches)
		if len(letters)+len(redriven) > 0 && !w.record(ctx, letters, redriven) {
			break
		}
		if err := w.cl.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("Kafka offsets of dead letters not committed, they will be read again", "error", err)
		}
	}
	return nil
}

// leaveTimeout bounds Close.
const leaveTimeout = 3 * time.Second

// Close leaves the group, within a time.
func (w *Watcher) Close() {
	if err := kafka.Leave(w.cl, leaveTimeout); err != nil {
		w.log.Warn("Kafka group was not left in time; others wait for the session to run out", "group", w.group, "error", err)
	}
}

func (w *Watcher) sayErrors(fetches kgo.Fetches) {
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.Canceled) {
			w.log.Warn("Kafka dead letters not read, will be tried again", "topic", topic, "partition", partition, "error", err)
		}
	})
}

func (w *Watcher) read(fetches kgo.Fetches) (letters []postgres.DeadLetter, redriven []postgres.Redriven) {
	for it := fetches.RecordIter(); !it.Done(); {
		rec := it.Next()
		l, r := parse(rec)
		switch {
		case l != nil:
			letters = append(letters, postgres.DeadLetter{
				Origin: l.Origin, Topic: l.OriginTopic, Track: w.tracks[rec.Topic], VideoID: l.VideoID, Class: l.Class,
				Reason: l.Reason, WithoutValue: l.WithoutValue, Letter: letterKey(l.Place), DiedAt: l.DiedAt,
			})
		case r != nil:
			redriven = append(redriven, postgres.Redriven{
				Origin: r.origin, VideoID: contract.GuessVideoID(r.key, nil), Letters: r.letters, At: r.at,
			})
		}
	}
	return letters, redriven
}

// record tries until the database has it; false when ctx ended before.
func (w *Watcher) record(ctx context.Context, letters []postgres.DeadLetter, redriven []postgres.Redriven) bool {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := w.store.RecordDeadLetters(ctx, letters, redriven)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		w.log.Warn("dead letters not recorded, will be tried again", "letters", len(letters), "retry_in", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}
