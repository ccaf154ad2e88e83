package starter

import (
	"context"
	"sync"
)

// rounds lets those who ask for the same at the same time share one answer: a thousand listeners who come back together
// are not to keep the database from everybody else. Nobody is given an answer that was begun before they asked.
type rounds[K comparable, V any] struct {
	slots chan struct{} // capacity: how many answers are sought at once

	mu      sync.Mutex
	next    map[K]*round[V] // that have not begun
	running map[K]bool
}

type round[V any] struct {
	done  chan struct{} // closed when the others are set
	value V
	err   error
}

func newRounds[K comparable, V any](slots chan struct{}) *rounds[K, V] {
	return &rounds[K, V]{slots: slots, next: map[K]*round[V]{}, running: map[K]bool{}}
}

// do answers with what seek does, which must be the same for everybody with this key, and bounded by itself.
func (r *rounds[K, V]) do(ctx context.Context, key K, seek func(context.Context, K) (V, error)) (v V, err error) {
	r.mu.Lock()
	mine := r.next[key]
	if mine == nil {
		mine = &round[V]{done: make(chan struct{})}
		r.next[key] = mine
	}
	if !r.running[key] {
		r.running[key] = true
		go r.run(context.WithoutCancel(ctx), key, seek) // ends when nobody asks any more
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.value, mine.err
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

func (r *rounds[K, V]) run(ctx context.Context, key K, seek func(context.Context, K) (V, error)) {
	for {
		r.slots <- struct{}{} // who asks until this one is had shares the round
		r.mu.Lock()
		current := r.next[key]
		delete(r.next, key)
		if current == nil {
			delete(r.running, key)
		}
		r.mu.Unlock()
		if current != nil {
			current.value, current.err = seek(ctx, key)
			close(current.done)
		}
		<-r.slots
		if current == nil {
			return
		}
	}
}
