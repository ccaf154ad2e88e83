package postgres

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// announceGap is the least time between two announcements: what is committed meanwhile goes with the second.
	announceGap = 20 * time.Millisecond
	// announceTimeout bounds one announcement, waiting for a connection included.
	announceTimeout = 5 * time.Second
	// Pauses after an announcement that failed, doubled from the first up to the longest.
	firstAnnouncePause, longestAnnouncePause = time.Second, 30 * time.Second
	// lastAnnouncement bounds the one that Close waits for.
	lastAnnouncement = time.Second
	// mostUnannounced is how many changes are kept while none can be announced; the oldest are forgotten then.
	mostUnannounced = 10_000
)

// announcer tells whoever listens of changes that are committed, in the background and many at once. Not in the
// transaction that makes a change: the server lets those that announce something commit one after the other, each waiting
// for the disk. A transaction that does nothing else does not wait for it.
//
// What is not announced, since this process was killed or the database away, the listeners find by themselves: when they
// listen again, and else by comparing.
type announcer struct {
	pool    *pgxpool.Pool
	closing chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	busy    bool // somebody announces
	pending []Change
}

func newAnnouncer(pool *pgxpool.Pool) *announcer {
	return &announcer{pool: pool, closing: make(chan struct{})}
}

// announce never blocks and never fails. The changes must be committed.
func (a *announcer) announce(changes ...Change) {
	if len(changes) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = append(a.pending, changes...)
	if surplus := len(a.pending) - mostUnannounced; surplus > 0 {
		a.pending = append([]Change(nil), a.pending[surplus:]...)
	}
	if !a.busy && !a.closed {
		a.busy = true
		a.running.Go(a.run)
	}
}

// close announces what is left, once.
func (a *announcer) close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
	a.mu.Unlock()
	a.running.Wait()
}

// run announces until there is nothing left.
func (a *announcer) run() {
	pause := firstAnnouncePause
	for {
		a.mu.Lock()
		changes, closed := a.pending, a.closed
		a.pending, a.busy = nil, len(changes) > 0
		a.mu.Unlock()
		if len(changes) == 0 {
			return
		}
		wait := announceGap
		if err := a.send(changes, closed); err != nil {
			if closed {
				return
			}
			wait, pause = pause, min(2*pause, longestAnnouncePause)
			a.mu.Lock()
			a.pending = append(changes, a.pending...)
			a.mu.Unlock()
		} else {
			pause = firstAnnouncePause
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-a.closing:
			timer.Stop()
		}
	}
}

func (a *announcer) send(changes []Change, last bool) error {
	timeout := announceTimeout
	if last {
		timeout = lastAnnouncement
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var lines strings.Builder
	for i, c := range changes {
		if i > 0 {
			lines.WriteByte('\n')
		}
		lines.WriteString(c.payload())
	}
	_, err := a.pool.Exec(ctx, `select pg_notify($1::text, line) from unnest(string_to_array($2::text, E'\n')) line`,
		changesChannel, lines.String())
	return err
}

// payload is what parseChange reads.
func (c Change) payload() string {
	return c.VideoID.String() + " " + strconv.FormatInt(c.Revision, 10) + " " + c.CourseID
}

// changeColumns of pipeline.videos p, for a statement that changes rows to return.
const changeColumns = `p.video_id::text, p.revision, coalesce(p.course_id::text, '')`

func (c *Change) dest() []any { return []any{&c.VideoID, &c.Revision, &c.CourseID} }

func collectChanges(rows pgx.Rows) (changes []Change, err error) {
	var c Change
	_, err = pgx.ForEachRow(rows, c.dest(), func() error {
		changes = append(changes, c)
		return nil
	})
	return changes, err
}
