package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// State is how far an upload is.
type State string

// The states of an upload.
const (
	Received State = "received" // its body is read
	Held     State = "held"     // by a fault
	Landed   State = "landed"   // the object is there
	Refused  State = "refused"  // with an error of storage's own, such as "already exists"
	Failed   State = "failed"   // by a fault, without landing
)

// Upload is a line of the log: an upload whose body was read whole.
type Upload struct {
	// N counts uploads from 1.
	N      int    `json:"n"`
	Bucket string `json:"bucket"`
	Path   string `json:"path"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
	State  State  `json:"state"`
	// Fault is what was done to it.
	Fault Kind `json:"fault,omitempty"`
	// Landing counts the uploads that landed, from 1: of two at one path, the one with the higher number stays.
	Landing    int       `json:"landing,omitempty"`
	ReceivedAt time.Time `json:"received_at"`
	LandedAt   time.Time `json:"landed_at,omitzero"`
}

// maxUploads is how many lines are kept; the oldest go first.
const maxUploads = 20_000

// uploadLog remembers uploads and holds them.
type uploadLog struct {
	mu       sync.Mutex
	count    int
	landings int
	lines    []*Upload
	held     map[*Upload]chan bool // tells whether to land
	changed  chan struct{}         // closed and made anew with each change
}

func newUploadLog() *uploadLog {
	return &uploadLog{held: map[*Upload]chan bool{}, changed: make(chan struct{})}
}

func (l *uploadLog) received(bucket, path string, body []byte) *Upload {
	sum := sha256.Sum256(body)
	u := &Upload{
		Bucket: bucket, Path: path, Bytes: len(body), SHA256: hex.EncodeToString(sum[:]),
		State: Received, ReceivedAt: time.Now().UTC(),
	}
	l.change(func() {
		l.count++
		u.N = l.count
		l.lines = append(l.lines, u)
		if len(l.lines) > maxUploads {
			l.lines = append([]*Upload(nil), l.lines[maxUploads/10:]...)
		}
	})
	return u
}

// change makes a change with the lock and tells who waits.
func (l *uploadLog) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *uploadLog) faulted(u *Upload, k Kind) { l.change(func() { u.Fault = k }) }
func (l *uploadLog) failed(u *Upload)          { l.change(func() { u.State = Failed }) }
func (l *uploadLog) refused(u *Upload)         { l.change(func() { u.State = Refused }) }

func (l *uploadLog) landed(u *Upload) {
	l.change(func() {
		l.landings++
		u.State, u.Landing, u.LandedAt = Landed, l.landings, time.Now().UTC()
	})
}

// hold waits until u is released and says whether it is to land; ctx is the server's.
func (l *uploadLog) hold(ctx context.Context, u *Upload) bool {
	released := make(chan bool, 1) // so that release need not wait
	l.change(func() {
		u.State = Held
		l.held[u] = released
	})
	select {
	case land := <-released:
		return land
	case <-ctx.Done():
		l.change(func() { delete(l.held, u) })
		return false
	}
}

// release lets the held uploads go whose path contains path, and waits until they have landed or failed.
func (l *uploadLog) release(ctx context.Context, path string, land bool) (int, error) {
	var let []*Upload
	l.change(func() {
		for u, released := range l.held {
			if strings.Contains(u.Path, path) {
				delete(l.held, u)
				u.State = Received
				released <- land
				let = append(let, u)
			}
		}
	})
	return len(let), l.await(ctx, func() bool {
		for _, u := range let {
			if u.State == Received {
				return false
			}
		}
		return true
	})
}

// await returns when done, which is called with the lock, is true, or with the error of ctx.
func (l *uploadLog) await(ctx context.Context, done func() bool) error {
	for {
		l.mu.Lock()
		ok, changed := done(), l.changed
		l.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Uploads is what the log says of the uploads that were asked about.
type Uploads struct {
	// Count is how many there were since the start; lines past the newest 20,000 are gone.
	Count   int      `json:"count"`
	Uploads []Upload `json:"uploads"`
}

// matching is called with the lock.
func (l *uploadLog) matching(path string, state State) []Upload {
	list := []Upload{}
	for _, u := range l.lines {
		if strings.Contains(u.Path, path) && (state == "" || u.State == state) {
			list = append(list, *u)
		}
	}
	return list
}

// list returns the uploads that fit, once there are at least atLeast of them; with the error of ctx what there is by then.
func (l *uploadLog) list(ctx context.Context, path string, state State, atLeast int) (Uploads, error) {
	err := l.await(ctx, func() bool { return len(l.matching(path, state)) >= atLeast })
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.matching(path, state)
	return Uploads{Count: len(list), Uploads: list}, err
}

func (l *uploadLog) clear() { l.change(func() { l.lines = nil }) }
