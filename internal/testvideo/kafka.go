package testvideo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/kafkatool"
)

// KafkaConfig says what to ask for and where to look.
type KafkaConfig struct {
	Kafka  kafka.Config
	Topics kafkatool.Topics
	// Group is the bridge's for transcription results; empty: it is not waited for.
	Group string

	VideoID  contract.VideoID
	VideoURL string
	// Timeout bounds the whole.
	Timeout time.Duration
}

// Step is something that happened. After is how long after the request.
type Step struct {
	After time.Duration `json:"-"`
	Name  string        `json:"step"` // asked, transcript, compression, dead_letter, taken
	Text  string        `json:"text"`
	// Place is the record, topic/partition@offset; empty where there is none.
	Place string `json:"place,omitempty"`
}

// MarshalJSON writes After in seconds.
func (s Step) MarshalJSON() ([]byte, error) {
	type plain Step
	return json.Marshal(struct {
		Seconds float64 `json:"seconds"`
		plain
	}{s.After.Seconds(), plain(s)})
}

// Names of steps.
const (
	Asked       = "asked"
	Transcript  = "transcript"
	Compression = "compression"
	DeadLetter  = "dead_letter"
	Taken       = "taken"
	Created     = "created"
	Changed     = "changed"
	Deleted     = "deleted"
)

// Errors of a test that fails.
var (
	// ErrNoAnswer says that no transcript came in time.
	ErrNoAnswer = errors.New("no transcript came")
	// ErrDied says that what came could not be understood.
	ErrDied = errors.New("the transcript became a dead letter")
	// ErrNotTaken says that the bridge did not take the transcript in time.
	ErrNotTaken = errors.New("the bridge has not taken the transcript")
)

// OverKafka asks for a transcription and waits for it, and then for the bridge to have taken it. The video needs no row
// anywhere: its run ends without doing anything.
func OverKafka(ctx context.Context, cfg KafkaConfig, log *slog.Logger, tell func(Step)) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	scanner, err := kafka.NewScanner(cfg.Kafka, log, "test video")
	if err != nil {
		return err
	}
	defer scanner.Close()
	topics := []string{cfg.Topics.Transcripts, cfg.Topics.Compressions, cfg.Topics.Transcripts + contract.DeadLetterSuffix}
	spans, err := scanner.Spans(ctx, kafka.End(), topics...) // before it is asked, so that nothing is missed
	if err != nil {
		return err
	}
	began := time.Now()
	place, err := ask(ctx, cfg, log)
	if err != nil {
		return err
	}
	tell(Step{Name: Asked, Text: "a transcription was asked for, of video " + string(cfg.VideoID), Place: place})

	var answer *kgo.Record
	enough := errors.New("enough")
	err = scanner.Scan(ctx, spans, true, func(rec *kgo.Record) error {
		m := cfg.Topics.Read(rec, false)
		if m.VideoID != cfg.VideoID {
			return nil
		}
		step := Step{
			After: time.Since(began), Name: Compression, Text: m.Says, Place: fmt.Sprintf("%s/%d@%d", rec.Topic, rec.Partition, rec.Offset),
		}
		switch {
		case rec.Topic == cfg.Topics.Transcripts && m.Understood:
			step.Name, answer = Transcript, rec
			tell(step)
			return enough
		case rec.Topic == cfg.Topics.Transcripts:
			step.Name = Transcript
		case rec.Topic != cfg.Topics.Compressions:
			step.Name = DeadLetter
			tell(step)
			return ErrDied
		}
		tell(step)
		return nil
	})
	switch {
	case errors.Is(err, enough):
		return taken(ctx, cfg, log, answer, began, tell)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w within %s: does the transcription service run, and does it read %s?", ErrNoAnswer, cfg.Timeout,
			cfg.Topics.Requests)
	default:
		return err
	}
}

// ask publishes the request as the worker does.
func ask(ctx context.Context, cfg KafkaConfig, log *slog.Logger) (place string, err error) {
	producer, err := kafka.NewProducer(cfg.Kafka, log, "test video/producer")
	if err != nil {
		return "", err
	}
	defer producer.Close()
	request := contract.NewRequest(cfg.VideoID, cfg.VideoURL, contract.RequestMetadata{Title: "Test video of vidflow"})
	value, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	first := contract.Ask{Video: cfg.VideoID, N: 1}
	partition, offset, err := producer.Publish(ctx, cfg.Topics.Requests, []byte(cfg.VideoID), value,
		kafka.Header{Key: contract.HeaderContentType, Value: []byte(contract.ContentTypeJSON)},
		kafka.Header{Key: contract.HeaderTimestamp, Value: strconv.AppendInt(nil, time.Now().UnixMilli(), 10)},
		kafka.Header{Key: contract.HeaderIdempotencyKey, Value: []byte(first.Key())},
		kafka.Header{Key: contract.HeaderTraceparent, Value: []byte(first.Traceparent())},
	)
	return fmt.Sprintf("%s/%d@%d", cfg.Topics.Requests, partition, offset), err
}

// lookEvery is how often it is looked whether something has changed that nobody tells of.
const lookEvery = 500 * time.Millisecond

// taken waits until the bridge has committed past the record.
func taken(
	ctx context.Context, cfg KafkaConfig, log *slog.Logger, rec *kgo.Record, began time.Time, tell func(Step),
) error {
	if cfg.Group == "" {
		return nil
	}
	cl, err := kafka.NewClient(cfg.Kafka, log, "test video/group")
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		offsets, err := admin.FetchOffsets(ctx, cfg.Group)
		if at, ok := offsets.Lookup(rec.Topic, rec.Partition); err == nil && ok && at.At > rec.Offset {
			tell(Step{After: time.Since(began), Name: Taken, Text: "the bridge has taken it, in group " + cfg.Group})
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			return fmt.Errorf("%w within %s: does kafkabridge run, in group %s?", ErrNotTaken, cfg.Timeout, cfg.Group)
		}
	}
}
