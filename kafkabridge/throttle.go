package kafkabridge

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// throttle keeps a fault that hits thousands of records at once from writing thousands of lines: of the same message at
// most one goes out per interval, with the number of those kept back since the last.
type throttle struct {
	log      *slog.Logger
	interval time.Duration

	mu   sync.Mutex
	said map[string]*saidState
}

type saidState struct {
	at       time.Time
	withheld int
}

func newThrottle(log *slog.Logger, interval time.Duration) *throttle {
	return &throttle{log: log, interval: interval, said: make(map[string]*saidState)}
}

func (t *throttle) say(level slog.Level, msg string, attrs ...any) {
	t.mu.Lock()
	state, again := t.said[msg]
	if !again {
		state = &saidState{}
		t.said[msg] = state
	}
	now := time.Now()
	if again && now.Sub(state.at) < t.interval {
		state.withheld++
		t.mu.Unlock()
		return
	}
	withheld := state.withheld
	state.at, state.withheld = now, 0
	t.mu.Unlock()
	if withheld > 0 {
		attrs = append(attrs, "withheld", withheld)
	}
	t.log.Log(context.Background(), level, msg, attrs...) //nolint:sloglint // callers pass constants
}
