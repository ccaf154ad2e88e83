package process

import (
	"context"
	"errors"
	"sync/atomic"
)

// Check finds out whether one thing that a process needs is there.
type Check struct {
	// Name of the thing as operators know it: "Postgres", "Kafka producer".
	Name string
	// Required says that the process is not ready without it. What is not required degrades the process only.
	Required bool
	// Alarm says that somebody has to act when it stays away: it is then logged as an error.
	Alarm bool
	// Probe asks it, and returns nil when it is there. It must obey its context. Its error is shown to whoever asks
	// /readyz. An error made by Never cannot be mended by waiting.
	Probe func(context.Context) error
}

// FirstThen makes a probe that asks thoroughly until that has succeeded once, and from then on only whether it is there: a
// thing that was set up right at the start is not examined again for every probe of an orchestrator.
func FirstThen(thorough, quick func(context.Context) error) func(context.Context) error {
	var passed atomic.Bool
	return func(ctx context.Context) error {
		if passed.Load() {
			return quick(ctx)
		}
		err := thorough(ctx)
		if err == nil {
			passed.Store(true)
		}
		return err
	}
}

// Never marks an error as one that waiting cannot mend: a missing topic, a refused login. It leaves nil alone.
func Never(err error) error {
	if err == nil {
		return nil
	}
	return &neverError{err}
}

// CanNeverWork reports whether err is, or wraps, an error that Never made.
func CanNeverWork(err error) bool {
	var never *neverError
	return errors.As(err, &never)
}

type neverError struct{ err error }

func (e *neverError) Error() string { return e.err.Error() }
func (e *neverError) Unwrap() error { return e.err }
