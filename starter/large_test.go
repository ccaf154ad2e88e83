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
