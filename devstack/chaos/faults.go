package chaos

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// faults carries out those of a plan.
type faults struct {
	*world
	note func(format string, args ...any)

	mu   sync.Mutex
	done map[string]int // by name
}

// run carries the faults out at their times and returns when the last one is taken back.
func (fs *faults) run(ctx context.Context, started time.Time, list []Fault) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, f := range list {
		if !sleepUntil(ctx, started.Add(f.At)) {
			return
		}
		all.Go(func() {
			if err := fs.do(ctx, f); err != nil {
				fs.note("%s: %v", f.Name(), err)
				return
			}
			fs.mu.Lock()
			defer fs.mu.Unlock()
			fs.done[f.Name()]++
		})
	}
}

func (fs *faults) do(ctx context.Context, f Fault) error {
	fs.note("%s instance %d for %s", f.Name(), f.Instance+1, f.For)
	switch f.Kind {
	case Cut, Reset, Slow, HalfOpen:
		if err := fs.proxies.add(f); err != nil {
			return err
		}
		sleep(ctx, f.For)
		return fs.proxies.remove(ctx, f)
	case Answer:
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return fs.storage().Order(ctx, f.Storage) // not there: it is down
	case Rolling:
		return fs.roll(ctx)
	}
	if f.Target == postgres {
		return fs.database(ctx, f)
	}
	c := fs.target(f)
	if !c.turn.TryLock() {
		return fmt.Errorf("%s is busy", c.name)
	}
	defer c.turn.Unlock()
	if f.Kind == Freeze {
		c.signal(syscall.SIGSTOP)
		sleep(ctx, f.For)
		c.signal(syscall.SIGCONT)
		return nil
	}
	c.kill()
	sleep(ctx, f.For)
	return c.start()
}

func (fs *faults) target(f Fault) *child {
	if c := fs.servers[f.Target]; c != nil {
		return c
	}
	return fs.processes[f.Target][f.Instance]
}

// roll restarts every process in good order, one after the other, each once the one before is ready, or is not for
// long because something else is away.
func (fs *faults) roll(ctx context.Context) error {
	const patience = 10 * time.Second
	for _, process := range []string{worker, starter, bridge} {
		for _, c := range fs.processes[process] {
			if !c.turn.TryLock() {
				continue
			}
			c.stop(ctx)
			err := c.start()
			c.turn.Unlock()
			if err != nil {
				return err
			}
			readyCtx, cancel := context.WithTimeout(ctx, patience)
			_ = ready(readyCtx, "http://"+fs.ops[c])
			cancel()
		}
	}
	return nil
}

// database does to Postgres what f says, and takes it back.
func (fs *faults) database(ctx context.Context, f Fault) error {
	fs.databaseTurn.Lock()
	defer fs.databaseTurn.Unlock()
	switch f.Kind {
	case Kill, Failover:
		down := fs.Postgres.Kill
		if f.Kind == Failover {
			down = func() error { return fs.Postgres.Stop(ctx) }
		}
		if err := down(); err != nil {
			return err
		}
		sleep(ctx, f.For)
		return fs.Postgres.Start(ctx)
	case ReadOnly:
		if err := fs.sql(ctx, "alter system set default_transaction_read_only = on", "select pg_reload_conf()"); err != nil {
			return err
		}
	case Crowded:
		if err := fs.sql(ctx, "alter role "+pgx.Identifier{fs.Role}.Sanitize()+" connection limit 0", fs.endSessions()); err != nil {
			return err
		}
	}
	sleep(ctx, f.For)
	return fs.healDatabase(ctx)
}

func (r *world) healDatabase(ctx context.Context) error {
	return r.sql(ctx, "alter system reset default_transaction_read_only", "select pg_reload_conf()",
		"set default_transaction_read_only = off", "alter role "+pgx.Identifier{r.Role}.Sanitize()+" connection limit -1")
}

func (r *world) endSessions() string {
	return "select pg_terminate_backend(pid) from pg_stat_activity where usename = '" + r.Role + "'"
}

// sql carries out statements as the superuser, in one session.
func (r *world) sql(ctx context.Context, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, r.Postgres.URL(r.Database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// heal makes everything work that a fault may have left broken.
func (r *world) heal(ctx context.Context) error {
	for _, target := range []string{temporal, kafka, postgres, store} {
		if err := r.proxies.renew(target); err != nil {
			return err
		}
	}
	all := make([]*child, 0, len(r.servers))
	for _, c := range r.servers {
		all = append(all, c)
	}
	for _, list := range r.processes {
		all = append(all, list...)
	}
	for _, c := range all {
		c.signal(syscall.SIGCONT)
		if err := c.start(); err != nil {
			return err
		}
	}
	if err := r.Postgres.Start(ctx); err != nil {
		return err
	}
	if err := r.healDatabase(ctx); err != nil {
		return err
	}
	for _, c := range r.servers {
		if err := c.serves(ctx); err != nil {
			return err
		}
	}
	return r.storage().Clear(ctx)
}

// ready waits until the process whose probes are at url says that it is.
func ready(ctx context.Context, url string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return fmt.Errorf("%w: %w", errUnready, ctx.Err())
		}
	}
}

func sleepUntil(ctx context.Context, t time.Time) bool { return sleep(ctx, time.Until(t)) }

// sleep waits for d; false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
