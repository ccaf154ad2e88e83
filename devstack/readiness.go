package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/codeendelea/vidflow/devstack/readiness"
)

// awaitReady waits until every process that the session runs says that it has all it needs.
func (s *session) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errNotReady)
	defer cancel()
	for _, child := range s.supervisors {
		if err := s.awaitOne(ctx, child.Name()); err != nil {
			return err
		}
	}
	return nil
}

var errNotReady = errors.New("not ready in time")

func (s *session) awaitOne(ctx context.Context, name string) error {
	const sayAfter = 5 * time.Second
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	lastSaid := time.Now()
	for {
		missing := readiness.Missing(ctx, s.block.URL(opsPort[name]))
		if missing == "" {
			return nil
		}
		if time.Since(lastSaid) > sayAfter {
			s.say("waiting for %s: %s", name, missing)
			lastSaid = time.Now()
		}
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); errors.Is(cause, errNotReady) {
				return fmt.Errorf("%s is %w: %s", name, cause, missing)
			}
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
