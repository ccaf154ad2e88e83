package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// From says where in a partition a Scan begins.
type From struct {
	kind  fromKind
	value int64
}

type fromKind int

const (
	fromStart fromKind = iota
	fromOffset
	fromLast
	fromTime
)

// Start is the oldest record that is kept; it is what a zero From means.
func Start() From { return From{} }

// End is after the newest record.
func End() From { return Last(0) }

// Offset is the record with this offset, or the oldest that is kept if that is newer.
func Offset(n int64) From { return From{fromOffset, n} }

// Last is the n-th from the end, or the oldest that is kept.
func Last(n int64) From { return From{fromLast, n} }

// At is the first record with this time or a later one.
func At(t time.Time) From { return From{fromTime, t.UnixMilli()} }

// Span is a part of one partition.
type Span struct {
	Topic     string
	TopicID   uuid.UUID
	Partition int32
	// Begin is the offset of the first record, and End that after the last.
	Begin, End int64
}

// scanIdle is how long a Scan waits for records before it looks whether the rest of its spans is there at all.
const scanIdle = 3 * time.Second

// Scanner reads whole topics: no group, nothing committed. Close it. It is for one goroutine.
type Scanner struct {
	log *slog.Logger
	cl  *kgo.Client
	adm *kadm.Client
}

// NewScanner does not connect yet. The role names the client in the log.
func NewScanner(cfg Config, log *slog.Logger, role string) (*Scanner, error) {
	cl, err := NewClient(cfg, log, role,
		kgo.KeepControlRecords(), // so that the end of a span is seen, whatever is there
		kgo.FetchMaxBytes(16<<20), kgo.FetchMaxPartitionBytes(4<<20),
	)
	if err != nil {
		return nil, err
	}
	return &Scanner{log: log, cl: cl, adm: kadm.NewClient(cl)}, nil
}

// Close ends the client.
func (s *Scanner) Close() { s.cl.Close() }

// Spans finds out what the topics hold from there to their ends as they are now. Partitions that hold nothing have a
// span too. The error is a SetupError for a topic that is missing or forbidden.
func (s *Scanner) Spans(ctx context.Context, from From, topics ...string) ([]Span, error) {
	if err := CheckTopics(ctx, s.cl, topics...); err != nil {
		return nil, err
	}
	details, err := s.adm.ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list Kafka topics: %w", classify(err))
	}
	starts, err := offsets(s.adm.ListStartOffsets(ctx, topics...))
	if err != nil {
		return nil, err
	}
	ends, err := offsets(s.adm.ListEndOffsets(ctx, topics...))
	if err != nil {
		return nil, err
	}
	begins := starts
	if from.kind == fromTime {
		if begins, err = offsets(s.adm.ListOffsetsAfterMilli(ctx, from.value, topics...)); err != nil {
			return nil, err
		}
	}
	var spans []Span
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		begin := start.Offset
		switch from.kind {
		case fromOffset:
			begin = from.value
		case fromLast:
			begin = end.Offset - from.value
		case fromTime:
			at, _ := begins.Lookup(end.Topic, end.Partition)
			begin = at.Offset
		}
		spans = append(spans, Span{
			Topic: end.Topic, TopicID: uuid.UUID(details[end.Topic].ID), Partition: end.Partition,
			Begin: min(max(begin, start.Offset), end.Offset), End: end.Offset,
		})
	})
	slices.SortFunc(spans, func(a, b Span) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return spans, nil
}

func offsets(listed kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list Kafka offsets: %w", classify(err))
	}
	return listed, nil
}

// Scan hands over the records of the spans, in order within each partition, and returns after the last; with follow, it
// goes on with what comes after them until ctx ends. What retention removes meanwhile is passed over. It ends early with
// the error that visit returns. The record is visit's only until it returns.
func (s *Scanner) Scan(ctx context.Context, spans []Span, follow bool, visit func(*kgo.Record) error) error {
	open := make(map[string]map[int32]int64) // ends of the spans that are not through
	from := make(map[string]map[int32]kgo.Offset)
	left := 0
	for _, span := range spans {
		if span.Begin >= span.End && !follow {
			continue
		}
		if open[span.Topic] == nil {
			open[span.Topic], from[span.Topic] = make(map[int32]int64), make(map[int32]kgo.Offset)
		}
		open[span.Topic][span.Partition] = span.End
		from[span.Topic][span.Partition] = kgo.NewOffset().At(span.Begin)
		left++
	}
	if left == 0 && !follow {
		return nil
	}
	s.cl.AddConsumePartitions(from)
	defer func() {
		topics := make([]string, 0, len(from))
		for topic := range from {
			topics = append(topics, topic)
		}
		s.cl.PurgeTopicsFromConsuming(topics...)
	}()
	done := func(topic string, partition int32) {
		if _, ok := open[topic][partition]; ok {
			delete(open[topic], partition)
			left--
			s.cl.PauseFetchPartitions(map[string][]int32{topic: {partition}})
		}
	}
	defer s.cl.ResumeFetchPartitions(pairs(spans))
	for follow || left > 0 {
		fetches, err := s.poll(ctx, follow)
		if err != nil {
			return err
		}
		if fetches.Empty() && !follow {
			if err := s.passVanished(ctx, open, done); err != nil {
				return err
			}
			continue
		}
		for it := fetches.RecordIter(); !it.Done(); {
			rec := it.Next()
			end, wanted := open[rec.Topic][rec.Partition]
			if (follow || wanted && rec.Offset < end) && !rec.Attrs.IsControl() {
				if err := visit(rec); err != nil {
					return err
				}
			}
			if !follow && rec.Offset >= end-1 {
				done(rec.Topic, rec.Partition)
			}
		}
	}
	return nil
}

func pairs(spans []Span) map[string][]int32 {
	m := make(map[string][]int32)
	for _, s := range spans {
		m[s.Topic] = append(m[s.Topic], s.Partition)
	}
	return m
}

// poll waits for records; without follow no longer than scanIdle. Errors that may pass are left to the client's retries.
func (s *Scanner) poll(ctx context.Context, follow bool) (kgo.Fetches, error) {
	waiting := ctx
	if !follow {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, scanIdle)
		defer cancel()
	}
	fetches := s.cl.PollFetches(waiting)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var failed error
	fetches.EachError(func(topic string, partition int32, err error) {
		switch err := classify(err); {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		case IsSetup(err), errors.Is(err, kgo.ErrClientClosed):
			failed = err
		default:
			s.log.Warn("Kafka partition not read, will be tried again", "topic", topic, "partition", partition, "error", err)
		}
	})
	return fetches, failed
}

// passVanished is done with the spans whose records are no longer there.
func (s *Scanner) passVanished(
	ctx context.Context, open map[string]map[int32]int64, done func(topic string, partition int32),
) error {
	if err := Ping(ctx, s.cl); err != nil {
		return err
	}
	for topic, ends := range open {
		starts, err := offsets(s.adm.ListStartOffsets(ctx, topic))
		if err != nil {
			return err
		}
		for partition, end := range ends {
			if start, ok := starts.Lookup(topic, partition); !ok || start.Offset >= end {
				done(topic, partition)
			}
		}
	}
	return nil
}
