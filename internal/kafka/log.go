package kafka

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

// clientLog hands what franz-go logs to slog, in messages that begin with "Kafka". The library calls many things an
// error that it then mends itself, so nothing of it is logged above a warning, and its info is our debug.
type clientLog struct {
	log *slog.Logger
	// connections is here so that it can be found again: a client hands its logger out, and no hook.
	connections *connections
}

// Level implements kgo.Logger.
func (clientLog) Level() kgo.LogLevel { return kgo.LogLevelInfo }

// Log implements kgo.Logger.
func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] == "err" {
			keyvals[i] = "error"
		}
	}
	to := slog.LevelDebug
	if level <= kgo.LogLevelWarn {
		to = slog.LevelWarn
	}
	l.log.Log(context.Background(), to, "Kafka client: "+msg, keyvals...)
}
