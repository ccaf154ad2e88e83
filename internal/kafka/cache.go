package kafka

import (
	"math"
	"sync"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// recordKey is where a record is.
type recordKey struct {
	topicID   uuid.UUID
	partition int32
	offset    int64
}

// valueCache keeps the values used last, up to a number of bytes. It is safe for concurrent use.
type valueCache struct {
	limit int // bytes

	mu     sync.Mutex
	values *simplelru.LRU[recordKey, []byte]
	bytes  int
}

// entryOverhead is about what an entry costs beside its value, so that a flood of tiny records is bounded too.
const entryOverhead = 200

func newValueCache(limitBytes int) *valueCache {
	c := &valueCache{limit: limitBytes}
	lru, err := simplelru.NewLRU(math.MaxInt, func(_ recordKey, value []byte) { c.bytes -= len(value) + entryOverhead })
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	c.values = lru
	return c
}

func (c *valueCache) get(key recordKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values.Get(key)
}

func (c *valueCache) put(key recordKey, value []byte) {
	if len(value)+entryOverhead > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values.Remove(key)
	c.values.Add(key, value)
	c.bytes += len(value) + entryOverhead
	for c.bytes > c.limit {
		c.values.RemoveOldest()
	}
}

func (c *valueCache) remove(key recordKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values.Remove(key)
}
