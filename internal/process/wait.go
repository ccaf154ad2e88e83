package process

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// How WaitFor tries: soon at first, then at most every maxPause, each try for at most probeTimeout. What stays away is
// said again after firstReminder, and then at intervals that double.
const (
	firstPause    = 200 * time.Millisecond
	maxPause      = 5 * time.Second
	probeTimeout  = 10 * time.Second
	firstReminder = 15 * time.Second
	maxReminder   = 10 * time.Minute
)

// WaitFor returns when every check has succeeded once. What is away it says, at growing intervals, and goes on when it is
// there, so that processes and servers may start in any order. What can never work ends the waiting at once with an error
// that names it; so does the end of ctx, with ctx's error.
func WaitFor(ctx context.Context, log *slog.Logger, checks ...Check) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, check := range checks {
		group.Go(func() error { return waitFor(ctx, log, check) })
	}
	return group.Wait()
}

func waitFor(ctx context.Context, log *slog.Logger, check Check) error {
	log = log.With("dependency", check.Name)
	started := time.Now()
	said, reminder := time.Time{}, firstReminder
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := probe(ctx, check, probeTimeout)
		switch {
		case err == nil:
			log.Info("dependency is there", "after", time.Since(started).Round(time.Millisecond))
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case CanNeverWork(err):
			return fmt.Errorf("%s cannot be used: %w", check.Name, err)
		case said.IsZero():
			log.Warn("dependency is away, waiting for it", "error", err)
			said = time.Now()
		case time.Since(said) >= reminder:
			level := slog.LevelWarn
			if check.Alarm {
				level = slog.LevelError
			}
			log.Log(ctx, level, "dependency is still away", "error", err, "after", time.Since(started).Round(time.Second))
			said, reminder = time.Now(), min(2*reminder, maxReminder)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// probe gives the check a limited time, and says so when it ran out.
func probe(ctx context.Context, check Check, limit time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := check.Probe(limited)
	if err != nil && ctx.Err() == nil && limited.Err() != nil && !CanNeverWork(err) {
		return fmt.Errorf("no answer within %s: %w", limit, err)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
