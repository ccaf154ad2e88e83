package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics of a pipeline.
type Topics struct {
	Asks, Transcriptions, Compressions string
	// Groups that consume the results.
	TranscriptionGroup, CompressionGroup string
}

const deadLetterSuffix = ".dlq"

// read reads all topics from their beginning to their end.
func (t Topics) read(ctx context.Context, brokers []string, take func(r *kgo.Record, topic kadm.TopicID) error) error {
	names := []string{t.Asks, t.Transcriptions, t.Compressions, t.Transcriptions + deadLetterSuffix, t.Compressions + deadLetterSuffix}
	offsets := map[string]map[int32]kgo.Offset{}
	reader, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("audit"),
		kgo.ConsumePartitions(nil), kgo.FetchMaxPartitionBytes(32<<20), kgo.MaxConcurrentFetches(1))
	if err != nil {
		return err
	}
	defer reader.Close()
	admin := kadm.NewClient(reader)
	details, err := admin.ListTopics(ctx, names...)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return fmt.Errorf("list the topics: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("list the ends of the topics: %w", err)
	}
	left := map[Place]bool{} // the last record of each partition
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset == 0 {
			return
		}
		if offsets[o.Topic] == nil {
			offsets[o.Topic] = map[int32]kgo.Offset{}
		}
		offsets[o.Topic][o.Partition] = kgo.NewOffset().AtStart()
		left[Place{o.Topic, o.Partition, o.Offset - 1}] = true
	})
	reader.AddConsumePartitions(offsets)
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read the topics: %w", err)
		}
		for r := range fetches.RecordsAll() {
			if err := take(r, details[r.Topic].ID); err != nil {
				return err
			}
			delete(left, Place{r.Topic, r.Partition, r.Offset})
		}
	}
	return nil
}

// published is what was published, in all topics.
func (e *Evidence) published(ctx context.Context, brokers []string, t Topics) error {
	e.DeadLetters = map[Place]int{}
	return t.read(ctx, brokers, func(r *kgo.Record, topic kadm.TopicID) error {
		switch r.Topic {
		case t.Asks:
			e.Asks = append(e.Asks, ask(r))
		case t.Transcriptions:
			e.Records = append(e.Records, result(r, topic, Transcription))
		case t.Compressions:
			e.Records = append(e.Records, result(r, topic, Compressed))
		default:
			origin, err := originOf(r)
			if err != nil {
				return err
			}
			e.DeadLetters[origin]++
		}
		return nil
	})
}

func ask(r *kgo.Record) Ask {
	a := Ask{
		Video: string(r.Key), Key: header(r, "idempotency-key"), Bytes: string(r.Value), Time: r.Timestamp,
		Offset: Place{r.Topic, r.Partition, r.Offset},
	}
	a.N, _ = strconv.Atoi(a.Key[strings.LastIndex(a.Key, "/")+1:]) // 0 for a key of another form
	return a
}

func result(r *kgo.Record, topic kadm.TopicID, track Track) Record {
	rec := Record{
		Place:    Place{r.Topic, r.Partition, r.Offset},
		Position: Position{Topic: topic, Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp},
		Track:    track,
		Poison:   header(r, PoisonHeader) != "",
	}
	if rec.Poison {
		return rec
	}
	var err error
	if track == Transcription {
		var stored []byte
		rec.Video, stored, err = Transcript(r.Key, r.Value)
		rec.Stored = sha256.Sum256(stored)
	} else {
		rec.Video, rec.URL, err = Compression(r.Key, r.Value)
	}
	if err != nil {
		rec.Unreadable = err.Error()
	}
	return rec
}

// originOf is where a dead letter says that it came from.
func originOf(r *kgo.Record) (Place, error) {
	partition, err := strconv.ParseInt(header(r, "vidflow-origin-partition"), 10, 32)
	if err != nil {
		return Place{}, fmt.Errorf("dead letter %s/%d@%d: origin: %w", r.Topic, r.Partition, r.Offset, err)
	}
	offset, err := strconv.ParseInt(header(r, "vidflow-origin-offset"), 10, 64)
	if err != nil {
		return Place{}, fmt.Errorf("dead letter %s/%d@%d: origin: %w", r.Topic, r.Partition, r.Offset, err)
	}
	return Place{header(r, "vidflow-origin-topic"), int32(partition), offset}, nil
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if strings.EqualFold(h.Key, name) {
			return string(h.Value)
		}
	}
	return ""
}

// lag says of each group where it is behind.
func lag(ctx context.Context, brokers []string, t Topics) ([]string, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("audit"))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	var behind []string
	for _, g := range []struct{ group, topic string }{
		{t.TranscriptionGroup, t.Transcriptions}, {t.CompressionGroup, t.Compressions},
	} {
		ends, err := admin.ListEndOffsets(ctx, g.topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return nil, err
		}
		committed, err := admin.FetchOffsets(ctx, g.group)
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // then it has committed nothing
			return nil, err
		}
		ends.Each(func(end kadm.ListedOffset) {
			at := int64(0)
			if c, ok := committed.Lookup(end.Topic, end.Partition); ok && c.Err == nil {
				at = max(0, c.At)
			}
			if at < end.Offset {
				behind = append(behind, fmt.Sprintf("group %s has committed %d of %d records of %s/%d",
					g.group, at, end.Offset, end.Topic, end.Partition))
			}
		})
	}
	return behind, nil
}
