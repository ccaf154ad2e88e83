package kafkabridge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// publisher is what dead letters are written with.
type publisher interface {
	Publish(
		ctx context.Context, topic string, key, value []byte, headers ...kafka.Header,
	) (partition int32, offset int64, err error)
}

const (
	// buriedAtOnce bounds the dead letters that are being written at one time, and with them the memory of a batch.
	buriedAtOnce = 16
	// buryTimeout bounds one attempt.
	buryTimeout = 30 * time.Second
)

// letter is a record that can never be understood, with memory of its own.
type letter struct {
	topic     string
	partition int32
	offset    int64
	key       []byte
	value     []byte
	headers   []kafka.Header
	class     string
	video     contract.VideoID // whom it seems to be about; may be empty
	receipt   receipt
}

// weight is what it counts against the window, in bytes.
func (m *letter) weight() int {
	n := recordOverhead + len(m.key) + len(m.value)
	for _, h := range m.headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// newLetter copies what the dead letter of a record needs. Headers that tell of an earlier death of the same record are
// replaced, all others are kept as they are.
func newLetter(cfg Config, rec *kgo.Record, origin contract.Position, poison *contract.PoisonError) *letter {
	m := &letter{
		topic:     rec.Topic,
		partition: rec.Partition,
		offset:    rec.Offset,
		key:       bytes.Clone(rec.Key),
		value:     bytes.Clone(rec.Value),
		class:     poison.Class,
		video:     contract.GuessVideoID(rec.Key, rec.Value),
	}
	for _, h := range rec.Headers {
		if !slices.Contains(ownHeaders, h.Key) {
			m.headers = append(m.headers, kafka.Header{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)})
		}
	}
	m.set(contract.HeaderOriginTopic, rec.Topic)
	m.set(contract.HeaderOriginTopicID, origin.TopicID.String())
	m.set(contract.HeaderOriginPartition, strconv.FormatInt(int64(origin.Partition), 10))
	m.set(contract.HeaderOriginOffset, strconv.FormatInt(origin.Offset, 10))
	m.set(contract.HeaderOriginTime, strconv.FormatInt(origin.Time.UnixMilli(), 10))
	m.set(contract.HeaderReason, poison.Reason)
	m.set(contract.HeaderClass, poison.Class)
	m.set(contract.HeaderVersion, cfg.Version)
	m.set(contract.HeaderHost, cfg.Host)
	return m
}

// ownHeaders are those that a dead letter sets itself.
var ownHeaders = []string{
	contract.HeaderOriginTopic, contract.HeaderOriginTopicID, contract.HeaderOriginPartition,
	contract.HeaderOriginOffset, contract.HeaderOriginTime,
	contract.HeaderReason, contract.HeaderClass, contract.HeaderVersion, contract.HeaderHost,
	contract.HeaderSize, contract.HeaderSHA256,
}

func (m *letter) set(key, value string) {
	m.headers = append(m.headers, kafka.Header{Key: key, Value: []byte(value)})
}

// shed leaves the value out and says what it was.
func (m *letter) shed() {
	sum := sha256.Sum256(m.value)
	m.set(contract.HeaderSize, strconv.Itoa(len(m.value)))
	m.set(contract.HeaderSHA256, hex.EncodeToString(sum[:]))
	m.value = nil
}

// deadLetters writes the dead letters of one source. While its topic cannot be written they wait, their offsets are not
// committed, and the source's window fills until nothing more is polled.
type deadLetters struct {
	cfg     Config
	topic   string
	to      publisher
	metrics *metrics
	log     *slog.Logger

	work     context.Context // cancelled to give up what is in hand
	draining <-chan struct{} // closed when what fails is no longer tried again
	arrived  chan struct{}   // capacity 1: there is something that the writer has not looked at

	mu    sync.Mutex
	queue []*letter // oldest first
}

func newDeadLetters(
	work context.Context, draining <-chan struct{}, cfg Config, topic string, to publisher,
	metrics *metrics, log *slog.Logger,
) *deadLetters {
	return &deadLetters{
		cfg: cfg, topic: topic, to: to, metrics: metrics, log: log,
		work: work, draining: draining, arrived: make(chan struct{}, 1),
	}
}

// bury takes a letter in hand and returns at once. Its receipt is settled when the topic has it.
func (d *deadLetters) bury(m *letter) {
	d.mu.Lock()
	d.queue = append(d.queue, m)
	d.mu.Unlock()
	select {
	case d.arrived <- struct{}{}:
	default:
	}
}

// run writes letters until draining is closed and nothing is left that can be written.
func (d *deadLetters) run() {
	failures := 0
	for {
		batch := d.take()
		if len(batch) == 0 {
			select {
			case <-d.arrived:
				continue
			case <-d.draining:
			}
			// Whoever closed draining has stopped to bury.
			if batch = d.take(); len(batch) == 0 {
				return
			}
		}
		failed, err := d.write(batch)
		if len(failed) == 0 {
			failures = 0
			continue
		}
		failures++
		d.metrics.deadLetterFails.WithLabelValues(batch[0].topic).Add(float64(len(failed)))
		d.mu.Lock()
		d.queue = slices.Insert(d.queue, 0, failed...)
		waiting := len(d.queue)
		d.mu.Unlock()
		if !d.holdBack(failures, waiting, err) {
			d.abandon()
			return
		}
	}
}

// take returns the oldest letters whose partitions are still ours.
func (d *deadLetters) take() []*letter {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = slices.DeleteFunc(d.queue, func(m *letter) bool { return m.receipt.holder.lost() })
	n := min(len(d.queue), buriedAtOnce)
	batch := slices.Clone(d.queue[:n])
	d.queue = slices.Delete(d.queue, 0, n)
	return batch
}

// write tries each letter once and returns those that failed, in order, with one of their errors.
func (d *deadLetters) write(batch []*letter) (failed []*letter, err error) {
	errs := make([]error, len(batch))
	var wg sync.WaitGroup
	for i, m := range batch {
		wg.Go(func() { errs[i] = d.writeOne(m) })
	}
	wg.Wait()
	for i, m := range batch {
		if errs[i] != nil {
			failed, err = append(failed, m), errs[i]
		}
	}
	return failed, err
}

func (d *deadLetters) writeOne(m *letter) error {
	ctx, cancel := context.WithTimeout(d.work, buryTimeout)
	defer cancel()
	_, _, err := d.to.Publish(ctx, d.topic, m.key, m.value, m.headers...)
	if errors.Is(err, kafka.ErrTooLarge) && m.value != nil {
		m.shed()
		_, _, err = d.to.Publish(ctx, d.topic, m.key, nil, m.headers...)
	}
	if err != nil {
		return err
	}
	d.metrics.deadLetters.WithLabelValues(m.topic, m.class).Inc()
	d.metrics.records.WithLabelValues(m.topic, recordDeadLettered).Inc()
	settle([]receipt{m.receipt}, accepted)
	attrs := []any{
		"topic", m.topic, "partition", m.partition, "offset", m.offset, "class", m.class,
		"reason", m.header(contract.HeaderReason), "dead_letter_topic", d.topic,
		"without_value", m.header(contract.HeaderSize) != "",
	}
	if m.video != "" {
		attrs = append(attrs, "video_id", m.video)
	}
	d.log.Warn("Kafka message dead-lettered", attrs...)
	return nil
}

func (m *letter) header(key string) string {
	for _, h := range m.headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// holdBack waits until the topic may be tried again, and reports whether it is to be.
func (d *deadLetters) holdBack(failures, waiting int, err error) bool {
	select {
	case <-d.draining:
		return false
	default:
	}
	pause := backoff(d.cfg.RetryInitial, d.cfg.RetryMax, failures)
	d.log.Error("Kafka dead-letter topic cannot be written, its source waits", "topic", d.topic, "waiting", waiting,
		"attempt", failures, "retry_in", pause, "error", err)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.draining:
		return false
	case <-d.work.Done():
		return false
	}
}

// abandon lets go of what could not be written; it comes again, since its offsets are not committed.
func (d *deadLetters) abandon() {
	d.mu.Lock()
	left := d.queue
	d.queue = nil
	d.mu.Unlock()
	for _, m := range left {
		settle([]receipt{m.receipt}, abandoned)
	}
}
