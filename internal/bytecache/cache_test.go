package bytecache

import (
	"testing"

	"pgregory.net/rapid"
)

func TestCache_stays_within_its_bytes_and_keeps_what_was_used_last(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const limit, most = 10 * (entryOverhead + 100), 1500
		c := New[int64](limit, most)
		offset := rapid.Int64Range(0, 30)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				key := offset.Draw(t, "offset")
				size := rapid.IntRange(0, limit+1).Draw(t, "size")
				c.Put(key, make([]byte, size))
				if got, ok := c.Get(key); size+entryOverhead <= limit && size <= most && (!ok || len(got) != size) {
					t.Fatalf("a value of %d bytes is not there at once", size)
				} else if ok && len(got) > most {
					t.Fatalf("a value of %d bytes is kept, the most is %d", len(got), most)
				}
			},
			"get":    func(t *rapid.T) { c.Get(offset.Draw(t, "offset")) },
			"remove": func(t *rapid.T) { c.Remove(offset.Draw(t, "offset")) },
			"": func(t *rapid.T) {
				held := 0
				for _, v := range c.values.Values() {
					held += len(v) + entryOverhead
				}
				if held != c.bytes || held > limit {
					t.Fatalf("%d bytes are held, %d counted, the limit is %d", held, c.bytes, limit)
				}
			},
		})
	})
}
