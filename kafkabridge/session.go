package kafkabridge

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

const (
	// pollRecords is the most that is taken from the client's buffer at once, while a rebalance has to wait.
	pollRecords = 500
	// recordOverhead is about what a record in flight costs beside a value that is kept, in bytes.
	recordOverhead = 1 << 10
)

// errRemade ends a session whose topic was made anew.
var errRemade = errors.New("the topic was made anew")

// session is one client in the consumer group of one source, from joining to leaving, on one topic id.
type session struct {
	*consumer
	client  *kgo.Client
	topicID uuid.UUID
	// fresh says that the topic was made anew while this process consumed it: it is read from its start, and commits that
	// do not name its id are not believed.
	fresh bool
	// suspect holds at most one token: something looks as if the topic was made anew.
	suspect chan struct{}

	mu         sync.Mutex
	changed    chan struct{} // closed and replaced when anything below changes
	partitions map[int32]*partition
	records    int // in flight
	bytes      int // of them
	// restart names the partitions whose committed offset is not to be used.
	restart map[int32]bool
	// member says that the group has told which partitions are here, and that they were not lost since.
	member bool
	// heldBy names the members of another kind that keep the client out of the group; refused holds at most one token: it was
	// refused for them.
	heldBy  string
	refused chan struct{}
	// lags has each partition that is assigned; lagsAt is when the broker last told of them all, and measure holds at most one
	// token: there is one that it was not asked about.
	lags    map[int32]*lag
	lagsAt  time.Time
	measure chan struct{}
}

// open joins the group.
func (c *consumer) open(topicID uuid.UUID, fresh bool) (*session, error) {
	s := &session{
		consumer:   c,
		topicID:    topicID,
		fresh:      fresh,
		suspect:    make(chan struct{}, 1),
		refused:    make(chan struct{}, 1),
		changed:    make(chan struct{}),
		partitions: make(map[int32]*partition),
		lags:       make(map[int32]*lag),
		measure:    make(chan struct{}, 1),
	}
	start := kgo.NewOffset().AtStart()
	if c.cfg.StartLatest {
		start = kgo.NewOffset().AtEnd()
	}
	client, err := kafka.NewClient(c.cfg.Kafka, c.log, "bridge/"+c.topic,
		kgo.ConsumeTopics(c.topic),
		kgo.ConsumerGroup(c.group),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.RebalanceTimeout(c.cfg.RebalanceTimeout),
		// Where there is no committed offset, and where the committed one is no longer in the log: there nothing may be
		// left out, whatever a new group would do.
		kgo.ConsumeStartOffset(start),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// What a producer took back is no result.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(int32(c.cfg.FetchBytes)),
		kgo.FetchMaxPartitionBytes(int32(min(c.cfg.FetchBytes, 1<<20))),
		kgo.MaxConcurrentFetches(2),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		// UNKNOWN_TOPIC_ID is retriable to the client, which then waits for ever.
		kgo.KeepRetryableFetchErrors(),
		kgo.OnOffsetsFetched(s.distrust),
		kgo.AdjustFetchOffsetsFn(s.adjust),
		kgo.OnPartitionsAssigned(s.assigned),
		kgo.OnPartitionsRevoked(s.revoked),
		kgo.OnPartitionsLost(s.lost),
	)
	if err != nil {
		return nil, err
	}
	s.client = client
	return s, nil
}

// run polls until ctx is cancelled, which ends it with nil, or the topic was made anew, which ends it with errRemade. It
// closes the client.
func (s *session) run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	polling, remade := context.WithCancelCause(ctx)
	defer remade(nil)
	var wg sync.WaitGroup
	wg.Go(func() { s.commitOften(background) })
	wg.Go(func() { s.watchTopic(polling, remade) })
	wg.Go(func() { s.watchLag(background) })
	wg.Go(func() { s.watchStrangers(polling) })

	s.poll(polling)

	if errors.Is(context.Cause(polling), errRemade) {
		stop()
		wg.Wait()
		s.endAll() // before the client can commit for the new topic what was acknowledged on the old one
		s.close()
		return errRemade
	}
	s.polled.Done()
	if !s.await(s.work, func() bool { return s.records == 0 }) {
		left, _ := s.inFlight()
		s.log.Warn("Kafka messages in hand are left to the next who consume them", "in_flight", left)
	}
	stop()
	wg.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	s.commit(last)
	s.endAll()
	s.close()
	return nil
}

// poll takes records in hand as long as there is room for them.
func (s *session) poll(ctx context.Context) {
	room := 0
	for s.await(ctx, func() bool {
		room = s.cfg.MaxRecords - s.records
		return room > 0 && s.bytes < s.cfg.MaxBytes
	}) {
		fetches := s.client.PollRecords(ctx, min(room, pollRecords))
		for _, fetch := range fetches {
			for _, topic := range fetch.Topics {
				for _, p := range topic.Partitions {
					s.take(uuid.UUID(topic.TopicID), p)
				}
			}
		}
		s.client.AllowRebalance()
	}
}

// take takes the records of one partition in hand.
func (s *session) take(topicID uuid.UUID, fetched kgo.FetchPartition) {
	if fetched.Err != nil {
		s.fetchFailed(fetched.Partition, fetched.Err)
	}
	if len(fetched.Records) == 0 {
		return
	}
	if topicID != uuid.Nil && topicID != s.topicID {
		s.suspectRemade() // these records will come again, in another session
		return
	}
	for _, rec := range fetched.Records {
		s.takeOne(rec)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sawEnd(fetched)
	if p := s.partitions[fetched.Partition]; p != nil && !p.paused && p.full() {
		p.paused = true
		s.client.PauseFetchPartitions(map[string][]int32{s.topic: {p.number}})
		s.loud.say(slog.LevelInfo, "Kafka partition paused: enough of it is in flight",
			"topic", s.topic, "partition", p.number, "records", p.records, "bytes", p.bytes)
	}
}

func (s *session) takeOne(rec *kgo.Record) {
	s.metrics.received.WithLabelValues(s.topic).Inc()
	at := []any{"topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset}
	now := s.cfg.Now()
	r, err := understand(s.decode, rec, s.topicID, now)
	if err != nil {
		var poison *contract.PoisonError
		if !errors.As(err, &poison) {
			poison = &contract.PoisonError{Class: "unknown", Reason: err.Error()}
		}
		origin, _ := position(rec, s.topicID, now)
		m := newLetter(s.cfg, rec, origin, poison)
		m.receipt = s.begin(rec, m.weight())
		s.lanes.spans.bury(s.lanes.spans.take(rec, s.group, now), rec, m, poison.Reason)
		s.log.Info("Kafka message received", append(at, "bytes", len(rec.Value), "poison", poison.Class)...)
		s.dead.bury(m)
		return
	}
	r.signal = s.signalName
	r.taken = s.lanes.spans.take(rec, s.group, now)
	s.log.Info("Kafka message received", append(at, "video_id", r.video, "bytes", len(rec.Value))...)
	if r.mismatch != "" {
		s.log.Warn("Kafka message names two videos, one of them in its key",
			append(at, "video_id", r.video, "other", r.mismatch)...)
	}
	if r.origin != nil {
		s.log.Warn("Kafka message claims an origin that it cannot have",
			append(at, "video_id", r.video, "error", r.origin)...)
	}
	s.lanes.deliver(r, s.begin(rec, recordOverhead+len(r.ref.URL)))
}

// begin takes a record in flight.
func (s *session) begin(rec *kgo.Record, weight int) receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partitions[rec.Partition]
	if p != nil && !p.tracker.ascends(rec.Offset) {
		// The log was cut, and the client has gone back: other records are at these offsets now.
		s.log.Warn("Kafka partition was rewound", "topic", s.topic, "partition", rec.Partition, "offset", rec.Offset)
		p.end()
		p = nil
	}
	if p == nil {
		p = &partition{session: s, number: rec.Partition, topicID: s.topicID}
		s.partitions[rec.Partition] = p
	}
	p.tracker.add(rec.Offset, rec.LeaderEpoch, rec.Timestamp)
	p.records++
	p.bytes += weight
	s.records++
	s.bytes += weight
	return receipt{holder: p, offset: rec.Offset, weight: weight}
}

// signal wakes those who await a change; s.mu is held.
func (s *session) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await returns true once ok, which is called with s.mu held, and false once ctx is cancelled.
func (s *session) await(ctx context.Context, ok func() bool) bool {
	for {
		s.mu.Lock()
		done, changed := ok(), s.changed
		s.mu.Unlock()
		if ctx.Err() != nil {
			return false
		}
		if done {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (s *session) inFlight() (records, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records, s.bytes
}

// fetchFailed says what is wrong with a partition or the group; the client tries again by itself.
func (s *session) fetchFailed(number int32, err error) {
	attrs := []any{"topic", s.topic, "partition", number, "group", s.group, "error", err}
	var lost *kgo.ErrDataLoss
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, kgo.ErrClientClosed):
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID),
		errors.Is(err, kerr.UnknownTopicOrPartition):
		s.suspectRemade()
	case errors.As(err, &lost):
		s.log.Error("Kafka has lost records", attrs...)
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		select {
		case s.refused <- struct{}{}:
		default:
		}
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed):
		s.loud.say(slog.LevelError, "Kafka permission is missing", attrs...)
	case kerr.IsRetriable(err), kgo.IsRetryableBrokerErr(err):
		s.loud.say(slog.LevelDebug, "Kafka fetch failed, trying again", attrs...)
	default:
		s.loud.say(slog.LevelWarn, "Kafka fetch failed, trying again", attrs...)
	}
}

// close leaves the group and ends the client, within a time.
func (s *session) close() {
	s.client.AllowRebalance()
	if err := kafka.Leave(s.client, leaveTimeout); err != nil {
		s.log.Warn("Kafka group was not left in time; its partitions wait for the session to run out", "group", s.group, "error", err)
	}
}

// assigned hears which partitions have come, also when none have.
func (s *session) assigned(_ context.Context, cl *kgo.Client, gained map[string][]int32) {
	if len(gained[s.topic]) > 0 {
		// A pause outlives the stay in which it was made.
		cl.ResumeFetchPartitions(map[string][]int32{s.topic: gained[s.topic]})
	}
	s.mu.Lock()
	s.member, s.heldBy = true, ""
	for _, number := range gained[s.topic] {
		s.lags[number] = newLag()
	}
	s.mu.Unlock()
	if len(gained[s.topic]) == 0 {
		return
	}
	s.log.Info("Kafka partitions assigned", "topic", s.topic, "group", s.group, "partitions", gained[s.topic])
}

// revoked gives partitions away: what is in flight gets a moment to end, what is settled is committed, and what settles
// later is ignored. With no partitions it is the end of a generation, and a good time to commit.
func (s *session) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	numbers := gone[s.topic]
	if len(numbers) > 0 {
		waiting, cancel := context.WithTimeout(ctx, s.cfg.RevokeTimeout)
		s.await(waiting, func() bool { return s.inFlightOf(numbers) == 0 })
		cancel()
	}
	committing, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	s.commit(committing)
	if len(numbers) > 0 {
		s.endStay(numbers)
		s.log.Info("Kafka partitions revoked", "topic", s.topic, "group", s.group, "partitions", numbers)
	}
}

// lost hears that the group goes on without this client, and that partitions are another's already: nothing can be
// committed for them.
func (s *session) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	s.mu.Lock()
	s.member = false
	s.mu.Unlock()
	if len(gone[s.topic]) > 0 {
		s.endStay(gone[s.topic])
		s.log.Warn("Kafka partitions lost", "topic", s.topic, "group", s.group, "partitions", gone[s.topic])
	}
}

// inFlightOf is called with s.mu held.
func (s *session) inFlightOf(numbers []int32) (n int) {
	for _, number := range numbers {
		if p := s.partitions[number]; p != nil {
			n += p.records
		}
	}
	return n
}

func (s *session) endStay(numbers []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, number := range numbers {
		delete(s.lags, number)
		if p := s.partitions[number]; p != nil {
			p.end()
		}
	}
}

func (s *session) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.member = false
	clear(s.lags)
	for _, p := range s.partitions {
		p.end()
	}
}
