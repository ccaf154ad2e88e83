package kafka

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// clientLog hands what franz-go logs to slog, in messages that begin with "Kafka". The library calls many things an
// error that it then mends itself, so nothing of it is logged above a warning, and its info is our debug. While a broker
// is away it says the same many times a second: then a warning is one only once in repeatAfter, and debug in between.
type clientLog struct {
	log *slog.Logger
	// connections is here so that it can be found again: a client hands its logger out, and no hook.
	connections *connections

	mu     sync.Mutex
	warned map[string]time.Time // by message
}

func newClientLog(log *slog.Logger, c *connections) *clientLog {
	return &clientLog{log: log, connections: c, warned: make(map[string]time.Time)}
}

// Level implements kgo.Logger.
func (*clientLog) Level() kgo.LogLevel { return kgo.LogLevelInfo }

// Log implements kgo.Logger.
func (l *clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] == "err" {
			keyvals[i] = "error"
		}
	}
	to := slog.LevelDebug
	if level <= kgo.LogLevelWarn && l.due(msg, time.Now()) {
		to = slog.LevelWarn
	}
	l.log.Log(context.Background(), to, "Kafka client: "+msg, keyvals...) //nolint:sloglint // the messages are constants of franz-go
}

// due reports whether the message may be a warning again. What connections says as well never is.
func (l *clientLog) due(msg string, now time.Time) bool {
	if msg == "unable to open connection to broker" || msg == "unable to initialize sasl" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, said := l.warned[msg]; said && now.Sub(last) < repeatAfter {
		return false
	}
	l.warned[msg] = now
	return true
}
