package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// readiness is the answer of a process's /readyz, as far as it matters here.
type readiness struct {
	Status string `json:"status"`
	Checks []struct {
		Name  string `json:"name"`
		State string `json:"state"`
		Error string `json:"error"`
	} `json:"checks"`
}

// missing says what the process waits for; empty when it is ready.
func (r readiness) missing() string {
	if r.Status == "ready" {
		return ""
	}
	var missing []string
	for _, c := range r.Checks {
		if c.State != "up" {
			missing = append(missing, strings.TrimSuffix(c.Name+": "+c.Error, ": "))
		}
	}
	if len(missing) == 0 {
		return r.Status
	}
	return strings.Join(missing, "; ")
}

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
		missing := s.missing(ctx, name)
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

func (s *session) missing(ctx context.Context, name string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.block.URL(opsPort[name])+"/readyz", nil)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "its probes do not answer yet"
	}
	defer func() { _ = resp.Body.Close() }()
	var r readiness
	const most = 64 << 10
	if err := json.NewDecoder(io.LimitReader(resp.Body, most)).Decode(&r); err != nil {
		return fmt.Sprintf("its probes answered %s, which makes no sense: %v", resp.Status, err)
	}
	return r.missing()
}
