// Package bytecache keeps the values that were used last, up to a number of bytes.
package bytecache

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// entryOverhead is about what an entry costs beside its value, so that a flood of tiny ones is bounded too.
const entryOverhead = 200

// Cache is safe for concurrent use. Callers share its values and must not change them.
type Cache[K comparable] struct {
	limit, most int // bytes: of all, of one

	mu     sync.Mutex
	values *simplelru.LRU[K, []byte]
	bytes  int
}

// New returns a cache of at most limit bytes, which takes no value of more than most.
func New[K comparable](limit, most int) *Cache[K] {
	c := &Cache[K]{limit: limit, most: most}
	values, err := simplelru.NewLRU(math.MaxInt, func(_ K, value []byte) { c.bytes -= len(value) + entryOverhead })
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	c.values = values
	return c
}

// Get returns the value of key, if it is there.
func (c *Cache[K]) Get(key K) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values.Get(key)
}

// Put keeps a value that is not too large, in the place of those that were not used for longest.
func (c *Cache[K]) Put(key K, value []byte) {
	if len(value) > c.most || len(value)+entryOverhead > c.limit {
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

// Remove forgets a value.
func (c *Cache[K]) Remove(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values.Remove(key)
}
