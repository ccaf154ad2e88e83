package kafka

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// readCommitted is the isolation level of a consumer that is not told of what a producer took back.
const readCommitted = 1

// FirstWritten is when the first record from an offset on was written, of those that are committed; false when there is none
// before end, where only marks of transactions are, or compaction has been. It fetches one batch, or more when there is none in
// the first. The client should not be one that consumes: brokers answer the fetches of a client one after the other, and one that
// waits for records lets this one wait.
func FirstWritten(
	ctx context.Context, cl *kgo.Client, topic string, id uuid.UUID, partition int32, from, end int64,
) (time.Time, bool, error) {
	r := Reader{cl: cl}
	unpack := kgo.DefaultDecompressor()
	for from < end {
		p, err := r.batchAt(ctx, topic, recordKey{id, partition, from}, readCommitted, leaderMaxAge)
		if err == nil {
			err = kerr.ErrorForCode(p.ErrorCode)
		}
		if err != nil {
			return time.Time{}, false, classify(err)
		}
		fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Topic: topic, Partition: partition, Offset: from, IsolationLevel: kgo.ReadCommitted(),
		}, p, unpack, nil)
		switch {
		case fp.Err != nil:
			return time.Time{}, false, fp.Err
		case len(fp.Records) > 0:
			return fp.Records[0].Timestamp, true, nil
		case next <= from:
			return time.Time{}, false, nil
		}
		from = next
	}
	return time.Time{}, false, nil
}
