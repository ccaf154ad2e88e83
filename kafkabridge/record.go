package kafkabridge

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
)

// result is a record that was understood: whom it is for and what to tell them.
type result struct {
	video  contract.VideoID
	signal string
	ref    contract.Reference
	// mismatch is an id in the record that differs from the video's, clipped; empty when there is none.
	mismatch string
	// origin says what is wrong with the headers that claim an origin; nil when there are none or they make sense.
	origin error
	// taken is for the record's span; nil when nothing is traced.
	taken *taken
}

// decoder understands the records of one source. It returns the part of the reference that depends on the kind of
// result, and nothing that keeps the key or the value in memory; its error is a *contract.PoisonError.
type decoder func(key, value []byte) (result, error)

func decodeTranscription(key, value []byte) (result, error) {
	r, err := contract.DecodeTranscription(key, value)
	if err != nil {
		return result{}, err
	}
	// A pointer to the summary within r would keep all of r, and with it a batch of records.
	summary := r.Summary
	summary.Language = strings.Clone(summary.Language)
	return result{
		video:    contract.VideoID(strings.Clone(r.VideoID.String())),
		mismatch: r.KeyMismatch,
		ref:      contract.Reference{Transcript: &summary},
	}, nil
}

func decodeCompression(key, value []byte) (result, error) {
	r, err := contract.DecodeCompression(key, value)
	if err != nil {
		return result{}, err
	}
	return result{
		video:    contract.VideoID(strings.Clone(r.VideoID.String())),
		mismatch: strings.Clone(r.ValueID),
		ref:      contract.Reference{URL: strings.Clone(r.URL)},
	}, nil
}

// understand makes a result of a record that was read at now from the topic with the given id.
func understand(decode decoder, rec *kgo.Record, topicID uuid.UUID, now time.Time) (result, error) {
	r, err := decode(rec.Key, rec.Value)
	if err != nil {
		return result{}, err
	}
	hash := sha256.Sum256(rec.Value)
	r.ref.Topic = rec.Topic
	r.ref.TopicID = topicID
	r.ref.Partition = rec.Partition
	r.ref.Offset = rec.Offset
	r.ref.Size = len(rec.Value)
	r.ref.SHA256 = hash[:]
	r.ref.Position, r.origin = position(rec, topicID, now)
	return r, nil
}

// position is where a record came from, for order. A record that was sent back from the dead-letter topic keeps the
// position of its origin; headers that claim an origin and make no sense are an error beside the record's own position.
func position(rec *kgo.Record, topicID uuid.UUID, now time.Time) (contract.Position, error) {
	own := contract.NewPosition(topicID, rec.Partition, rec.Offset, rec.Timestamp, now)
	origin := make(map[string]string)
	for _, h := range rec.Headers {
		switch h.Key {
		case contract.HeaderOriginTopic, contract.HeaderOriginTopicID, contract.HeaderOriginPartition,
			contract.HeaderOriginOffset, contract.HeaderOriginTime:
			origin[h.Key] = string(h.Value)
		}
	}
	if len(origin) == 0 {
		return own, nil
	}
	if topic := origin[contract.HeaderOriginTopic]; topic != rec.Topic {
		return own, fmt.Errorf("its origin is said to be topic %q", contract.Clip(topic, 100))
	}
	id, errID := uuid.Parse(origin[contract.HeaderOriginTopicID])
	partition, errPartition := strconv.ParseInt(origin[contract.HeaderOriginPartition], 10, 32)
	offset, errOffset := strconv.ParseInt(origin[contract.HeaderOriginOffset], 10, 64)
	millis, errTime := strconv.ParseInt(origin[contract.HeaderOriginTime], 10, 64)
	if err := errors.Join(errID, errPartition, errOffset, errTime); err != nil {
		return own, fmt.Errorf("the headers of its origin make no sense: %w", err)
	}
	if partition < 0 || offset < 0 {
		return own, fmt.Errorf("its origin is said to be partition %d, offset %d", partition, offset)
	}
	return contract.NewPosition(id, int32(partition), offset, time.UnixMilli(millis), now), nil
}
