package starter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
)

// TestLargeReader: past a size one transcript is read at a time, and who waits for it gives up in time.
func TestLargeReader(t *testing.T) {
	t.Parallel()
	one := semaphore.NewWeighted(1)
	open := func(ctx context.Context, size int) *largeReader {
		return &largeReader{Reader: bytes.NewReader(make([]byte, size)), ctx: ctx, large: one}
	}
	first := open(t.Context(), 2*largeBytes)
	if _, err := io.ReadAll(first); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(open(t.Context(), largeBytes)); err != nil {
		t.Errorf("one that is not large: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := io.ReadAll(open(ctx, 2*largeBytes)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second large one beside the first: %v", err)
	}
	first.release()
	if n, err := io.Copy(io.Discard, open(t.Context(), 2*largeBytes)); err != nil || n != 2*largeBytes {
		t.Errorf("after it: %d bytes, %v", n, err)
	}
}

// TestKeptFiles keeps what was asked for last, in so many bytes.
func TestKeptFiles(t *testing.T) {
	t.Parallel()
	k := newKeptFiles(100)
	k.add("a", make([]byte, 30))
	k.add("b", make([]byte, 30))
	k.add("a", make([]byte, 40)) // anew
	k.get("b")
	k.add("c", make([]byte, 50)) // too much: a was asked for longest ago
	k.add("d", make([]byte, 51)) // more than half of all
	for key, want := range map[string]bool{"a": false, "b": true, "c": true, "d": false} {
		if _, got := k.get(key); got != want {
			t.Errorf("%s is there: %t, want %t", key, got, want)
		}
	}
	if k.bytes != 80 {
		t.Errorf("%d bytes, want 80", k.bytes)
	}
}
