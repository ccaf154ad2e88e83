package simulator

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// progress knows which requests of each partition are still to be answered, so that an offset is committed only when
// everything up to it is. Requests that were being answered when the simulator stopped come again.
type progress struct {
	mark func(*kgo.Record)

	mu         sync.Mutex
	partitions map[partition]*queue
}

type partition struct {
	topic string
	id    int32
}

// queue is a partition's requests in the order of their offsets; a partition that comes back has a new one.
type queue struct {
	requests []*inHand
	revoked  bool
}

type inHand struct {
	record *kgo.Record // without its bytes
	done   bool
	queue  *queue
}

func newProgress(mark func(*kgo.Record)) *progress {
	return &progress{mark: mark, partitions: map[partition]*queue{}}
}

func (p *progress) begin(r *kgo.Record) *inHand {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := partition{r.Topic, r.Partition}
	q := p.partitions[key]
	if q == nil {
		q = &queue{}
		p.partitions[key] = q
	}
	bare := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, LeaderEpoch: r.LeaderEpoch}
	h := &inHand{record: bare, queue: q}
	q.requests = append(q.requests, h)
	return h
}

// done marks what may be committed now: nothing of a partition that is another's.
func (p *progress) done(h *inHand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.done = true
	q := h.queue
	var last *kgo.Record
	for len(q.requests) > 0 && q.requests[0].done {
		last, q.requests = q.requests[0].record, q.requests[1:]
	}
	if last != nil && !q.revoked {
		p.mark(last)
	}
}

func (p *progress) revoke(lost map[string][]int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, ids := range lost {
		for _, id := range ids {
			key := partition{topic, id}
			if q := p.partitions[key]; q != nil {
				q.revoked = true
				delete(p.partitions, key)
			}
		}
	}
}
