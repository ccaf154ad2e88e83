package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// ShutdownGrace is what the parts get on top of the limit, which they keep themselves, before they are left behind.
const ShutdownGrace = 3 * time.Second

// ErrLeftBehind says that parts still worked when Run returned. What they use must not be waited for.
var ErrLeftBehind = errors.New("did not end within the shutdown time-out")

// Part is one of the processes that run together in one operating-system process.
type Part struct {
	// Name of the command: "worker".
	Name string
	// Checks are the things it needs. It is run when the required ones are there.
	Checks []Check
	// Serves says that the part takes traffic from outside. Readiness decides about traffic: where a part of a process
	// serves, the needs of those that do not serve can only degrade it.
	Serves bool
	// Run works until its context is cancelled, then ends what it has in hand and returns nil.
	Run func(context.Context) error
}

// Options of Run.
type Options struct {
	Log *slog.Logger
	// Ops is told of the parts and what becomes of them.
	Ops *Ops
	// ShutdownTimeout is how long the parts may take to end once ctx is cancelled. They must keep it themselves; three
	// seconds later Run returns without them.
	ShutdownTimeout time.Duration

	grace time.Duration // ShutdownGrace, shorter in tests
}

// Run runs the parts until ctx is cancelled or one of them fails, which ends the others. It returns nil when all ended
// cleanly after ctx was cancelled.
func Run(ctx context.Context, o Options, parts ...Part) error {
	status := o.Ops.expect(parts)

	told := ctx
	group, ctx := errgroup.WithContext(told)
	for _, part := range parts {
		group.Go(func() error {
			defer status.set(part.Name, ended)
			return runPart(ctx, o.Log.With("process", part.Name), part, status)
		})
	}
	result := make(chan error, 1)
	go func() { result <- group.Wait() }()

	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		status.stop()
	}
	limit := time.NewTimer(o.ShutdownTimeout + cmp.Or(o.grace, ShutdownGrace))
	defer limit.Stop()
	select {
	case err := <-result:
		return err
	case <-limit.C:
		err := fmt.Errorf("%s: %w of %s", strings.Join(status.open(), ", "), ErrLeftBehind, o.ShutdownTimeout)
		if told.Err() == nil {
			err = errors.Join(context.Cause(ctx), err) // it was a failure of another part that began the end
		}
		return err
	}
}

func runPart(ctx context.Context, log *slog.Logger, part Part, status *statuses) error {
	var required, others []Check
	for _, check := range part.Checks {
		if check.Required {
			required = append(required, check)
		} else {
			others = append(others, check)
		}
	}
	watched := make(chan struct{})
	watching, stopWatching := context.WithCancel(ctx)
	go func() {
		defer close(watched)
		watch(watching, log, others)
	}()
	defer func() { stopWatching(); <-watched }()

	if err := WaitFor(ctx, log, required...); err != nil {
		if ctx.Err() != nil && !CanNeverWork(err) {
			return nil // told to stop while it waited
		}
		return fmt.Errorf("%s: %w", part.Name, err)
	}
	status.set(part.Name, running)
	log.Info("process runs")
	err := part.Run(ctx)
	switch {
	case err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)):
		return fmt.Errorf("%s: %w", part.Name, err)
	case ctx.Err() == nil:
		return fmt.Errorf("%s ended by itself", part.Name)
	}
	log.Info("process has stopped")
	return nil
}

// watch says of each thing that the part can do without whether it was there from the start, and what is wrong with it
// when waiting will not mend it.
func watch(ctx context.Context, log *slog.Logger, checks []Check) {
	var group sync.WaitGroup
	for _, check := range checks {
		group.Go(func() {
			if err := WaitFor(ctx, log, check); err != nil && ctx.Err() == nil {
				log.Error("dependency cannot be used, going on without it", "dependency", check.Name, "error", err)
			}
		})
	}
	group.Wait()
}

// state of a part.
type state string

const (
	waiting  state = "waiting" // for what it needs
	running  state = "running"
	stopping state = "stopping"
	ended    state = "ended"
)

// statuses of the parts, by name.
type statuses struct {
	mu sync.Mutex
	of map[string]state
}

// set moves a part forward; it never goes back from stopping to running.
func (s *statuses) set(part string, to state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to == running && s.of[part] != waiting {
		return
	}
	s.of[part] = to
}

// stop marks every part that has not ended, so that traffic is taken away while it still can be answered.
func (s *statuses) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for part, state := range s.of {
		if state != ended {
			s.of[part] = stopping
		}
	}
}

func (s *statuses) get(part string) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[part]
}

// open names the parts that have not ended.
func (s *statuses) open() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, state := range s.of {
		if state != ended {
			names = append(names, name)
		}
	}
	return names
}
