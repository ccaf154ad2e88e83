package kafkabridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
)

// fakeHolder notes how each offset was settled.
type fakeHolder struct {
	mu     sync.Mutex
	gone   bool
	how    map[int64]outcome
	repeat []int64
}

func newHolder() *fakeHolder { return &fakeHolder{how: make(map[int64]outcome)} }

func (h *fakeHolder) settle(offset int64, _ int, how outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, again := h.how[offset]; again {
		h.repeat = append(h.repeat, offset)
	}
	h.how[offset] = how
}

func (h *fakeHolder) lost() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone
}

func (h *fakeHolder) lose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
}

func (h *fakeHolder) settled(how outcome) []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	var offsets []int64
	for offset, got := range h.how {
		if got == how {
			offsets = append(offsets, offset)
		}
	}
	slices.Sort(offsets)
	return offsets
}

// bench is a set of lanes in a bubble of synctest, with a clock that stands still while anybody works.
type bench struct {
	*lanes
	temporal *fakeTemporal
	holder   *fakeHolder
	drain    func()
	giveUp   func()
	began    time.Time
}

func newBench(answer func(context.Context, signal) error) *bench {
	work, giveUp := context.WithCancel(context.Background())
	draining := make(chan struct{})
	temporal := newFakeTemporal(answer)
	cfg := Config{MaxSignals: 4}.withDefaults()
	return &bench{
		lanes:    newLanes(work, draining, cfg, temporal, newMetrics(), quiet()),
		temporal: temporal,
		holder:   newHolder(),
		drain:    sync.OnceFunc(func() { close(draining) }),
		giveUp:   giveUp,
		began:    time.Now(),
	}
}

// end drains the lanes and checks what must hold of every run.
func (b *bench) end(t *testing.T) {
	t.Helper()
	b.drain()
	b.wait()
	b.giveUp()
	for _, problem := range b.temporal.faults() {
		t.Error(problem)
	}
	if len(b.holder.repeat) > 0 {
		t.Errorf("offsets settled twice: %v", b.holder.repeat)
	}
	if len(b.lanes.lanes) > 0 || len(b.ready) > 0 {
		t.Errorf("%d lanes are left", len(b.lanes.lanes))
	}
}

// bring delivers a record of a partition; its position is where it was read.
func (b *bench) bring(video int, partition int32, offset int64) {
	b.bringAt(video, partition, offset, contract.Position{Partition: partition, Offset: offset})
}

func (b *bench) bringAt(video int, partition int32, offset int64, at contract.Position) {
	b.deliver(result{
		video:  videoID(video),
		signal: "s",
		ref:    contract.Reference{Partition: partition, Offset: offset, Position: at},
	}, receipt{holder: b.holder, offset: offset})
}

// offsets of the signals that were accepted.
func (b *bench) offsets() (out []int64) {
	for _, s := range b.temporal.signals() {
		out = append(out, s.Ref.Offset)
	}
	return out
}

// pass lets time pass in a bubble of synctest, which takes none.
func pass(d time.Duration) { <-time.After(d) }

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestLanes_merge_what_waits_to_the_newest_of_each_partition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(nil)
		b.bring(1, 0, 10)
		synctest.Wait()
		for offset := int64(11); offset <= 20; offset++ {
			b.bring(1, 0, offset)
		}
		b.bring(1, 1, 5)
		b.bring(1, 1, 6)
		synctest.Wait()
		equal(t, "signals at once", b.offsets(), []int64{10})
		pass(time.Second)
		synctest.Wait()
		equal(t, "signals after a second", b.offsets(), []int64{10, 20})
		equal(t, "accepted after a second", b.holder.settled(accepted), []int64{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
		pass(time.Second)
		synctest.Wait()
		equal(t, "signals after two", b.offsets(), []int64{10, 20, 6})
		b.end(t)
		equal(t, "accepted in the end", len(b.holder.settled(accepted)), 13)
	})
}

func TestLanes_keep_the_newest_position_whatever_the_order_of_reading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(nil)
		b.bring(1, 0, 100)
		synctest.Wait()
		b.bring(1, 0, 101)
		b.bringAt(1, 0, 102, contract.Position{Offset: 7})   // redriven: read late, from an older origin
		b.bringAt(1, 0, 103, contract.Position{Offset: 101}) // redriven: the same record again, kept longer
		pass(time.Second)
		synctest.Wait()
		equal(t, "signals", b.offsets(), []int64{100, 103})
		b.end(t)
		equal(t, "accepted", b.holder.settled(accepted), []int64{100, 101, 102, 103})
	})
}

func TestLanes_do_not_merge_different_topics_and_signals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(nil)
		b.bring(1, 0, 1)
		synctest.Wait()
		b.bring(1, 0, 2)
		b.bringAt(1, 0, 3, contract.Position{TopicID: uuid.New(), Offset: 3})
		b.deliver(result{video: videoID(1), signal: "other", ref: contract.Reference{Offset: 4}}, receipt{holder: b.holder, offset: 4})
		pass(10 * time.Second)
		equal(t, "signals", b.offsets(), []int64{1, 2, 3, 4})
		b.end(t)
	})
}

func TestLanes_signal_a_video_at_most_once_a_second_and_others_meanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		var times []time.Duration
		b = newBench(func(_ context.Context, s signal) error {
			if s.Video == videoID(0) {
				times = append(times, time.Since(b.began))
			}
			return nil
		})
		for tick := range int64(50) { // five seconds of ten a second
			b.bring(0, 0, tick)
			b.bring(1000+int(tick), 1, 1000+tick)
			synctest.Wait()
			if got := len(b.holder.settled(accepted)); got < int(tick)+1 {
				t.Fatalf("after %d ticks %d records are accepted: the others wait for the busy video", tick, got)
			}
			pass(100 * time.Millisecond)
		}
		b.end(t)
		equal(t, "times of the signals", times, []time.Duration{0, 1e9, 2e9, 3e9, 4e9, 5e9})
		equal(t, "accepted", len(b.holder.settled(accepted)), 100)
	})
}

func TestLanes_send_at_the_same_time_within_the_bound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(func(context.Context, signal) error { pass(time.Second); return nil })
		for video := range 40 {
			b.bring(video, 0, int64(video))
		}
		b.end(t)
		if got := time.Since(b.began); got != 10*time.Second {
			t.Errorf("40 signals of a second, 4 at a time, took %s", got)
		}
		equal(t, "most at once", b.temporal.mostBusy, 4)
	})
}

func TestLanes_hold_back_what_Temporal_refuses_and_nothing_else(t *testing.T) {
	t.Parallel()
	for name, tt := range refusedBy {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mended atomic.Bool
				b := newBench(func(_ context.Context, s signal) error {
					if s.Video == videoID(0) && !mended.Load() {
						return fmt.Errorf("wrapped: %w", tt.err)
					}
					return nil
				})
				b.bring(0, 0, 1)
				b.bring(1, 0, 2)
				pass(time.Minute)
				b.bring(0, 0, 3) // waits with the first
				pass(time.Hour)
				equal(t, "accepted while it is refused", b.holder.settled(accepted), []int64{2})
				if n := total(b.metrics.heldBack, string(tt.want)); n < 3600/15 || n > 3600/5 {
					t.Errorf("%d attempts in an hour, want one each 7.5 to 15 s", n)
				}
				mended.Store(true)
				pass(15 * time.Second)
				equal(t, "accepted afterwards", b.holder.settled(accepted), []int64{1, 2, 3})
				equal(t, "signals", b.offsets(), []int64{2, 3})
				b.end(t)
			})
		})
	}
}

func TestLanes_give_an_attempt_its_time_and_no_more(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := true
		b := newBench(func(ctx context.Context, _ signal) error {
			if hang {
				hang = false
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		b.bring(0, 0, 1)
		pass(11 * time.Second)
		equal(t, "accepted", b.holder.settled(accepted), []int64{1})
		b.end(t)
	})
}

func TestLanes_drop_what_another_instance_has_now(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(func(context.Context, signal) error { return errors.New("away") })
		b.bring(0, 0, 1)
		synctest.Wait()
		b.holder.lose()
		pass(time.Minute)
		if n := total(b.metrics.heldBack); n != 1 {
			t.Errorf("%d attempts, want 1: there is no use in more", n)
		}
		b.end(t)
	})
}

func TestLanes_end_what_is_in_hand_when_they_are_drained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(func(_ context.Context, s signal) error {
			if s.Video == videoID(9) {
				return errors.New("away")
			}
			pass(2 * time.Second)
			return nil
		})
		b.bring(1, 0, 1) // being sent
		b.bring(9, 0, 9) // held back
		synctest.Wait()
		b.bring(1, 0, 2) // behind the first
		began := time.Now()
		b.end(t)
		equal(t, "accepted", b.holder.settled(accepted), []int64{1, 2})
		equal(t, "abandoned", b.holder.settled(abandoned), []int64{9})
		if took := time.Since(began); took != 5*time.Second { // two signals of 2 s and the second between them
			t.Errorf("draining took %s", took)
		}
	})
}

func TestLanes_give_up_at_the_limit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(func(ctx context.Context, _ signal) error { <-ctx.Done(); return ctx.Err() })
		for video := range 10 { // more than there are slots
			b.bring(video, 0, int64(video))
		}
		synctest.Wait()
		b.drain()
		b.giveUp()
		b.end(t)
		equal(t, "abandoned", len(b.holder.settled(abandoned)), 10)
	})
}

func TestBackoff_stays_within_its_bounds(t *testing.T) {
	t.Parallel()
	for failures := range 200 {
		got := backoff(500*time.Millisecond, 15*time.Second, failures)
		if got < 250*time.Millisecond || got > 15*time.Second || failures > 10 && got < 7500*time.Millisecond {
			t.Errorf("after %d failures: %s", failures, got)
		}
	}
}
