package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/internal/replay"
)

// replay measures `vidflow replay` over the runs that are open: those of the bursts, which wait for a compression.
func (c *command) replay(ctx context.Context, r *report) error {
	s, err := c.servers(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	m, err := s.job(ctx, "replay", "--query", replay.OpenRuns)
	if err != nil {
		return err
	}
	r.add("the histories of open runs", m)
	return nil
}

// migrate measures `vidflow migrate`, in a database that has all already.
func (c *command) migrate(ctx context.Context, r *report) error {
	s, err := c.servers(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	m, err := s.job(ctx, "migrate")
	if err != nil {
		return err
	}
	r.add("nothing to do", m)
	return nil
}

// job runs a command that ends by itself.
func (s *servers) job(ctx context.Context, name string, args ...string) (m measurement, err error) {
	cmd := exec.Command(s.binary, append([]string{name}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), s.pods[name].env...)
	cmd.Env = append(cmd.Env, "DATABASE_URL="+s.db.Config().ConnString())
	began := time.Now()
	job, err := process.Start(cmd, process.Options{})
	if err != nil {
		return m, err
	}
	defer job.Stop(context.Background())
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		// What it had in its last millisecond is nothing new.
		if bytes, err := peak(job.PID()); err == nil {
			m.peak = bytes
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return m, ctx.Err()
		case <-job.Done():
			m.took = time.Since(began)
			if err := job.Wait(); err != nil {
				return m, fmt.Errorf("it ended: %w", err)
			}
			if m.peak == 0 {
				return m, errors.New("it ended before it could be looked at")
			}
			return m, nil
		}
	}
}
