package starter

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// TestRounds: whoever asks while an answer is sought shares the next one, whatever the first one's fate.
func TestRounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRounds[string, int](make(chan struct{}, 1))
		release, failed := make(chan error), errors.New("broken")
		seeks := 0
		var asking sync.WaitGroup
		ask := func(key string, want int, fate error) {
			asking.Go(func() {
				got, err := r.do(t.Context(), key, func(context.Context, string) (int, error) {
					seeks++
					return seeks, <-release
				})
				if got != want || !errors.Is(err, fate) {
					t.Errorf("got %d, %v; want %d, %v", got, err, want, fate)
				}
			})
			synctest.Wait() // it is sought, or waited for
		}
		ask("key", 1, failed)
		for range 10 {
			ask("key", 2, nil)
		}
		impatient, cancel := context.WithCancel(t.Context())
		asking.Go(func() {
			if _, err := r.do(impatient, "key", nil); !errors.Is(err, context.Canceled) {
				t.Errorf("who no longer waits gets %v", err)
			}
		})
		synctest.Wait()
		cancel()
		release <- failed
		release <- nil
		asking.Wait()
		ask("key", 3, nil)
		release <- nil
		asking.Wait()
		synctest.Wait()
		if seeks != 3 || len(r.next)+len(r.running)+len(r.slots) != 0 {
			t.Errorf("%d answers sought, want 3; left: %v %v", seeks, r.next, r.running)
		}
	})
}
