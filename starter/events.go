package starter

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

const (
	// pollInterval is how often changes are looked for where the database cannot say them by itself.
	pollInterval = time.Second
	// readBatch is how many videos one query reads.
	readBatch = 200
	// Pauses between attempts to listen to the database, doubled from the first up to the longest; polled meanwhile.
	firstListenPause, longestListenPause = time.Second, 30 * time.Second
	// deafPause is the pause after an attempt that no repetition is likely to mend.
	deafPause = 5 * time.Minute
	// readPause is the pause after a query that failed.
	readPause = time.Second
)

// Notifications are the database's own. Listen hands on every change that is committed after it called started, and
// returns an error when it no longer can.
type Notifications interface {
	Listen(ctx context.Context, started func(), changed func(postgres.Change)) error
}

// EventStore is what events are made of.
type EventStore interface {
	Videos(ctx context.Context, ids []contract.VideoID) (map[contract.VideoID]postgres.Marked, error)
	Look(ctx context.Context, videos []contract.VideoID, courses []string) ([]postgres.Seen, error)
	Owners(ctx context.Context, courses []string) (map[string]string, error)
	Roles(ctx context.Context, users []string) (map[string]string, error)
	Changes(ctx context.Context, since time.Time, videos []contract.VideoID, courses []string) ([]postgres.Change, time.Time, error)
	CourseVideos(ctx context.Context, q postgres.ListQuery) ([]postgres.Loaded, *postgres.Cursor, error)
	CourseChanges(ctx context.Context, courseID string, after postgres.ChangeCursor, limit int) ([]contract.VideoID, *postgres.ChangeCursor, error)
	UntrackedSince(ctx context.Context, courseID string, since time.Time) ([]contract.VideoID, error)
	Now(ctx context.Context) (time.Time, error)
}

// Events tells listeners of every change of the videos and courses that they listen to. It learns of changes from the
// database's notifications or by one query a second, reads each changed video once, however many listen to it and
// however often it changed meanwhile, and hands all of them the same bytes. It asks nothing while nobody listens.
type Events struct {
	store  EventStore
	source Notifications // nil: polled
	log    *slog.Logger

	lookInterval time.Duration

	listening *prometheus.GaugeVec // by kind
	mode      *prometheus.GaugeVec

	work    chan struct{} // capacity 1: any number of wishes is one look at what there is to do
	stopped chan struct{} // closed when every stream is to end

	mu       sync.Mutex
	closed   bool
	open     int // streams
	videos   map[contract.VideoID]*topic
	courses  map[string]*topic
	dirty    map[contract.VideoID]struct{} // to be read
	lookDue  bool                          // at everything
	newcomer bool                          // a topic is not ready
	batch    int64                         // of the last read that began
}

// topic is a video or a course that somebody listens to.
type topic struct {
	listeners map[*listener]struct{}
	course    string // of the video, or the course itself; empty while it is not known
	// known are the marks of what listeners were last told or read themselves; of a video, itself alone.
	known map[contract.VideoID]postgres.Mark
	// latest is what a video's next listener is told at once; nil for courses, and while it is not read.
	latest *frame
	// ready is closed when a course's known videos are.
	ready chan struct{}
}

// frame is the state of a video as it is sent, shared by all listeners.
type frame struct {
	id       contract.VideoID
	revision int64
	changed  time.Time // zero for an untracked video
	data     []byte    // JSON without line breaks
	gone     bool      // deleted, or no longer in the course
	batch    int64     // in which it was read
}

// listener is one stream.
type listener struct {
	caller Caller
	// asked says that the caller's role is in the database and not in the token.
	asked   bool
	video   contract.VideoID // or
	course  string
	wake    chan struct{}               // capacity 1
	ended   chan struct{}               // closed when the caller may no longer listen
	pending map[contract.VideoID]*frame // the newest of each video that is not yet sent; bounded by the number of videos
}

func newEvents(store EventStore, source Notifications, lookInterval time.Duration, log *slog.Logger) *Events {
	e := &Events{
		store: store, source: source, lookInterval: lookInterval, log: log,
		listening: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vidflow_starter_event_listeners", Help: "Streams of events that are open.",
		}, []string{"kind"}),
		mode: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vidflow_starter_event_source", Help: "1 for where changes of videos are learnt from at present.",
		}, []string{"mode"}),
		work: make(chan struct{}, 1), stopped: make(chan struct{}),
		videos: map[contract.VideoID]*topic{}, courses: map[string]*topic{}, dirty: map[contract.VideoID]struct{}{},
	}
	for _, kind := range []string{"video", "course"} {
		e.listening.WithLabelValues(kind).Set(0)
	}
	e.setMode("poll")
	return e
}

// Run works until ctx ends, and ends every stream then.
func (e *Events) Run(ctx context.Context) error {
	defer e.stop()
	var g errgroup.Group
	g.Go(func() error { e.follow(ctx); return nil })
	g.Go(func() error { e.serve(ctx); return nil })
	return g.Wait()
}

// stop ends all streams, and those that come later as they begin.
func (e *Events) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		close(e.stopped)
	}
}

// full reports whether there are as many streams as there may be.
func (e *Events) full() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open >= maxListeners
}

// listenVideo has a listener told of a video: of its present state first. The function that is returned ends that.
func (e *Events) listenVideo(l *listener) (leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.videos[l.video]
	if t == nil {
		t = &topic{listeners: map[*listener]struct{}{}, known: map[contract.VideoID]postgres.Mark{}}
		e.videos[l.video] = t
	}
	t.listeners[l] = struct{}{}
	e.count("video", 1)
	if t.latest != nil {
		l.tell(t.latest)
	} else {
		e.dirty[l.video] = struct{}{}
		e.wake()
	}
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.count("video", -1)
		if delete(t.listeners, l); len(t.listeners) == 0 {
			delete(e.videos, l.video)
		}
	})
}

// listenCourse has a listener told of every change in a course from now on. What the listener reads once ready is
// closed leaves no gap.
func (e *Events) listenCourse(l *listener) (ready <-chan struct{}, leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.courses[l.course]
	if t == nil {
		t = &topic{listeners: map[*listener]struct{}{}, course: l.course, ready: make(chan struct{})}
		e.courses[l.course] = t
		e.newcomer = true
		e.wake()
	}
	t.listeners[l] = struct{}{}
	e.count("course", 1)
	return t.ready, sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.count("course", -1)
		if delete(t.listeners, l); len(t.listeners) == 0 {
			delete(e.courses, l.course)
		}
	})
}

// saw notes that a listener of a course was sent a video that it read itself. One that nobody announced may be there and
// gone between two looks, and then the listener would never be told.
func (e *Events) saw(course string, id contract.VideoID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.courses[course]
	if t == nil {
		return
	}
	if _, known := t.known[id]; !known {
		t.known[id] = postgres.Mark{} // another than any: the next look has it read
	}
}

// count is to be called under the lock.
func (e *Events) count(kind string, n int) {
	e.open += n
	e.listening.WithLabelValues(kind).Add(float64(n))
}

// take is what a listener is to be sent now, in the order of the changes.
func (e *Events) take(l *listener) []*frame {
	e.mu.Lock()
	pending := l.pending
	l.pending = nil
	e.mu.Unlock()
	frames := make([]*frame, 0, len(pending))
	for _, f := range pending {
		frames = append(frames, f)
	}
	slices.SortFunc(frames, func(a, b *frame) int {
		return cmp.Or(a.changed.Compare(b.changed), cmp.Compare(a.id, b.id))
	})
	return frames
}

// begun is the batch that began last. What a listener reads itself from now on is no older than what that holds.
func (e *Events) begun() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.batch
}

// tell never blocks: a listener that is slow is told the newest state of each video later. Under the lock of Events.
func (l *listener) tell(f *frame) {
	if l.pending == nil {
		l.pending = map[contract.VideoID]*frame{}
	}
	l.pending[f.id] = f
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *listener) end() {
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
}

func (e *Events) wake() {
	select {
	case e.work <- struct{}{}:
	default:
	}
}

// changed notes that a video is to be read, if somebody listens to it.
func (e *Events) changed(c postgres.Change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.news(e.videos[c.VideoID], c) || e.news(e.courses[c.CourseID], c) {
		e.dirty[c.VideoID] = struct{}{}
		e.wake()
	}
}

func (e *Events) news(t *topic, c postgres.Change) bool {
	return t != nil && c.Revision > t.known[c.VideoID].Revision
}

// lookSoon has everything that is listened to compared with the database.
func (e *Events) lookSoon() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lookDue = true
	e.wake()
}

// follow learns of changes until ctx ends. While the database cannot be listened to, it is polled.
func (e *Events) follow(ctx context.Context) {
	if e.source == nil {
		e.log.LogAttrs(ctx, slog.LevelInfo, "changes of videos are polled, since DATABASE_LISTEN_URL is not set",
			slog.Duration("interval", pollInterval))
		e.poll(ctx)
		return
	}
	pause := firstListenPause
	for ctx.Err() == nil {
		err := e.source.Listen(ctx, func() {
			e.log.LogAttrs(ctx, slog.LevelInfo, "changes of videos are learnt from the database's notifications")
			pause = firstListenPause
			e.setMode("listen")
			e.lookSoon() // at what changed before
		}, e.changed)
		if ctx.Err() != nil {
			return
		}
		wait, level := jitter(pause), slog.LevelWarn
		if setup := (*postgres.SetupError)(nil); errors.As(err, &setup) {
			wait, level = jitter(deafPause), slog.LevelError
		}
		e.log.LogAttrs(ctx, level, "notifications of the database not heard, changes are polled meanwhile",
			slog.Duration("again_in", wait), slog.Any("error", err))
		pause = min(2*pause, longestListenPause)
		e.setMode("poll")
		e.lookSoon()
		meanwhile, cancel := context.WithTimeout(ctx, wait)
		e.poll(meanwhile)
		cancel()
	}
}

func (e *Events) setMode(mode string) {
	for _, m := range []string{"listen", "poll"} {
		value := 0.0
		if m == mode {
			value = 1
		}
		e.mode.WithLabelValues(m).Set(value)
	}
}

// poll asks for changes of what is listened to, with one query whatever that is.
func (e *Events) poll(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var since time.Time
	failed := false
	for {
		if videos, courses := e.topics(); len(videos)+len(courses) == 0 {
			since = time.Time{} // who listens next reads first
		} else {
			changes, now, err := e.store.Changes(ctx, since, videos, courses)
			switch {
			case err == nil:
				since = now
				for _, c := range changes {
					e.changed(c)
				}
			case ctx.Err() == nil && !failed:
				e.log.LogAttrs(ctx, slog.LevelWarn, "changes of videos not polled, will be tried again", slog.Any("error", err))
			}
			failed = err != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (e *Events) topics() (videos []contract.VideoID, courses []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range e.videos {
		videos = append(videos, id)
	}
	for id := range e.courses {
		courses = append(courses, id)
	}
	return videos, courses
}

// serve reads what changed and tells the listeners: one query at a time.
func (e *Events) serve(ctx context.Context) {
	look := time.NewTimer(jitter(e.lookInterval))
	defer look.Stop()
	failed := false
	for {
		more, err := e.step(ctx)
		if err != nil {
			if !failed && ctx.Err() == nil {
				e.log.LogAttrs(ctx, slog.LevelWarn, "videos not read for listeners, will be tried again", slog.Any("error", err))
			}
			failed = true
			select {
			case <-ctx.Done():
				return
			case <-time.After(jitter(readPause)):
			}
			continue
		}
		failed = false
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-e.work:
		case <-look.C:
			look.Reset(jitter(e.lookInterval))
			e.lookSoon()
		}
	}
}

// step does one of the things that are to be done, and reports whether there was one. What fails stays to be done.
func (e *Events) step(ctx context.Context) (more bool, err error) {
	e.mu.Lock()
	all, newcomer := e.lookDue, e.newcomer
	e.mu.Unlock()
	if all || newcomer {
		return true, e.look(ctx, all)
	}
	ids, batch := e.takeDirty()
	if len(ids) == 0 {
		return false, nil
	}
	read, err := e.store.Videos(ctx, ids)
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, id := range ids {
			e.dirty[id] = struct{}{}
		}
		return true, err
	}
	e.publish(read, batch)
	return true, nil
}

func (e *Events) takeDirty() (ids []contract.VideoID, batch int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range e.dirty {
		if len(ids) == readBatch {
			break
		}
		delete(e.dirty, id)
		ids = append(ids, id)
	}
	if len(ids) > 0 {
		e.batch++
	}
	return ids, e.batch
}

// publish tells all listeners of a video and of its course, and those of a course that it is no longer in.
func (e *Events) publish(read map[contract.VideoID]postgres.Marked, batch int64) {
	frames := make([]*frame, 0, len(read))
	for id, m := range read {
		frames = append(frames, newFrame(id, m.Loaded, batch))
	}
	slices.SortFunc(frames, func(a, b *frame) int { return a.changed.Compare(b.changed) })
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range frames {
		m := read[f.id]
		course := ""
		if !f.gone {
			course = m.Video.CourseID
		}
		if t := e.videos[f.id]; t != nil && (t.latest == nil || t.known[f.id] != m.Mark) {
			t.latest, t.known[f.id] = f, m.Mark
			t.course = cmp.Or(course, t.course)
			t.tell(f)
		}
		for id, t := range e.courses {
			mark, known := t.known[f.id]
			switch {
			case id == course && (!known || mark != m.Mark):
				if t.known != nil {
					t.known[f.id] = m.Mark
				}
				t.tell(f)
			case id != course && known:
				delete(t.known, f.id)
				left := *f
				left.gone, left.data = true, goneData(f.id)
				t.tell(&left)
			}
		}
	}
}

func (t *topic) tell(f *frame) {
	for l := range t.listeners {
		l.tell(f)
	}
}

func newFrame(id contract.VideoID, l postgres.Loaded, batch int64) *frame {
	f := &frame{id: id, batch: batch, gone: l.Gone()}
	if p := l.Pipeline; p != nil {
		f.revision, f.changed = p.Revision, p.UpdatedAt
	}
	if f.gone {
		f.data = goneData(id)
		return f
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(viewVideo(l)) // a struct of plain values
	f.data = bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	return f
}

func goneData(id contract.VideoID) []byte { return []byte(`{"id":"` + id.String() + `"}`) }
