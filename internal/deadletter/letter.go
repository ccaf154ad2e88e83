package deadletter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// Place is where a record is in a topic.
type Place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// String is the form that people copy from a list: update_transcribe.dlq/0@12.
func (p Place) String() string { return fmt.Sprintf("%s/%d@%d", p.Topic, p.Partition, p.Offset) }

// ParsePlace reads what String writes.
func ParsePlace(s string) (Place, error) {
	topic, rest, ok := strings.Cut(s, "/")
	partition, offset, ok2 := strings.Cut(rest, "@")
	p, errPartition := strconv.ParseInt(partition, 10, 32)
	n, errOffset := strconv.ParseInt(offset, 10, 64)
	if !ok || !ok2 || topic == "" || errors.Join(errPartition, errOffset) != nil || p < 0 || n < 0 {
		return Place{}, fmt.Errorf("%q names no dead letter; want topic/partition@offset, such as update_transcribe.dlq/0@12", s)
	}
	return Place{topic, int32(p), n}, nil
}

// Letter is a dead letter.
type Letter struct {
	Place
	// DiedAt is when it was written.
	DiedAt time.Time
	// OriginTopic and Origin say which record it was.
	OriginTopic string
	Origin      contract.Position
	// VideoID is a guess; empty when neither key nor value tell.
	VideoID contract.VideoID
	Class   string
	Reason  string
	// Version and Host are of the program that gave up on the record.
	Version string
	Host    string
	// Key, Value and Headers are the record's own.
	Key     []byte
	Value   []byte
	Headers []kafka.Header
	// Size and SHA256 are of the value. WithoutValue says that the letter went without it, too large for its topic.
	Size         int
	SHA256       string
	WithoutValue bool
}

// receipt says that letters were sent back.
type receipt struct {
	origin  contract.Position
	key     []byte
	letters []string // partition/offset of each
	to      string   // partition@offset of the record that was written
	at      time.Time
}

// parse reads a record of a dead-letter topic: a letter, a receipt, or neither, which is nobody's business here. It copies
// what it keeps, but for the value and headers of a letter.
func parse(rec *kgo.Record) (*Letter, *receipt) {
	headers := make(map[string]string)
	for _, h := range rec.Headers {
		headers[h.Key] = string(h.Value)
	}
	origin, err := parseOrigin(headers)
	if err != nil {
		return nil, nil
	}
	if letters, ok := headers[contract.HeaderRedriven]; ok {
		return nil, &receipt{
			origin: origin, key: bytes.Clone(rec.Key), letters: strings.Fields(letters),
			to: headers[contract.HeaderRedrivenTo], at: rec.Timestamp.UTC(),
		}
	}
	l := &Letter{
		Place:       Place{rec.Topic, rec.Partition, rec.Offset},
		DiedAt:      rec.Timestamp.UTC(),
		OriginTopic: headers[contract.HeaderOriginTopic],
		Origin:      origin,
		VideoID:     contract.GuessVideoID(rec.Key, rec.Value),
		Class:       headers[contract.HeaderClass],
		Reason:      headers[contract.HeaderReason],
		Version:     headers[contract.HeaderVersion],
		Host:        headers[contract.HeaderHost],
		Key:         bytes.Clone(rec.Key),
		Value:       rec.Value,
		Size:        len(rec.Value),
	}
	if size, ok := headers[contract.HeaderSize]; ok {
		l.WithoutValue = true
		l.Size, _ = strconv.Atoi(size)
		l.SHA256 = headers[contract.HeaderSHA256]
	}
	for _, h := range rec.Headers {
		if !slices.Contains(ourHeaders, h.Key) {
			l.Headers = append(l.Headers, h)
		}
	}
	return l, nil
}

// ourHeaders are those that a dead letter has beside the record's own.
var ourHeaders = []string{
	contract.HeaderOriginTopic, contract.HeaderOriginTopicID, contract.HeaderOriginPartition, contract.HeaderOriginOffset,
	contract.HeaderOriginTime, contract.HeaderReason, contract.HeaderClass, contract.HeaderVersion, contract.HeaderHost,
	contract.HeaderSize, contract.HeaderSHA256,
}

func parseOrigin(headers map[string]string) (contract.Position, error) {
	if headers[contract.HeaderOriginTopic] == "" {
		return contract.Position{}, errors.New("no origin")
	}
	id, errID := uuid.Parse(headers[contract.HeaderOriginTopicID])
	partition, errPartition := strconv.ParseInt(headers[contract.HeaderOriginPartition], 10, 32)
	offset, errOffset := strconv.ParseInt(headers[contract.HeaderOriginOffset], 10, 64)
	millis, errTime := strconv.ParseInt(headers[contract.HeaderOriginTime], 10, 64)
	return contract.Position{
		TopicID: id, Partition: int32(partition), Offset: offset, Time: time.UnixMilli(millis).UTC(),
	}, errors.Join(errID, errPartition, errOffset, errTime)
}

// originHeaders are those that a record which is sent back carries, for the bridge to give it the position it had.
func originHeaders(topic string, p contract.Position) []kafka.Header {
	return []kafka.Header{
		{Key: contract.HeaderOriginTopic, Value: []byte(topic)},
		{Key: contract.HeaderOriginTopicID, Value: []byte(p.TopicID.String())},
		{Key: contract.HeaderOriginPartition, Value: strconv.AppendInt(nil, int64(p.Partition), 10)},
		{Key: contract.HeaderOriginOffset, Value: strconv.AppendInt(nil, p.Offset, 10)},
		{Key: contract.HeaderOriginTime, Value: strconv.AppendInt(nil, p.Time.UnixMilli(), 10)},
	}
}

// letterKey names a letter within its topic, as receipts do.
func letterKey(p Place) string { return fmt.Sprintf("%d/%d", p.Partition, p.Offset) }

// OriginTopic is the topic whose dead letters the place's topic holds; false when that is no dead-letter topic.
func (p Place) OriginTopic() (string, bool) {
	return strings.CutSuffix(p.Topic, contract.DeadLetterSuffix)
}
