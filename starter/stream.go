package starter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

const (
	eventStream = "text/event-stream"
	// eventsPath is how the paths of streams end. Such a request has no time-out of its own.
	eventsPath = "/events"
	// heartbeat is how often a comment is sent: less than the idle time-out of any proxy, which is rarely under 30 s.
	heartbeat = 15 * time.Second
	// writeTimeout is how long a client may leave unread what it was sent before it counts as dead.
	writeTimeout = 30 * time.Second
	// readyTimeout is how long a course's stream may take to begin.
	readyTimeout = 10 * time.Second
	// streamPage is how many videos of a course one query reads.
	streamPage = 100
	// streamReads is how many queries for the beginnings of courses' streams may run at once. They are the large ones, and
	// the pool of connections is everybody's.
	streamReads = 2
	// maxListeners bounds the streams of an instance, and so its memory and its file descriptors.
	maxListeners = 10_000
	// resumable is for how long after its last event a course's stream is resumed instead of begun anew.
	resumable = 24 * time.Hour
)

// Names of events. A state has none, so that it is what EventSource calls a message.
const (
	eventDeleted  = "deleted"
	eventComplete = "complete"
)

type videoEventsInput struct {
	VideoID     videoIDParam `path:"videoId"`
	LastEventID string       `header:"Last-Event-ID" doc:"Sent by EventSource when it reconnects. The present state is sent in any case; for a video that is no longer there the answer is then 204, at which EventSource stops."`
}

// videoEvents streams the states of one video.
func (s *Starter) videoEvents(_ context.Context, in *videoEventsInput) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		ctx, id := hc.Context(), in.VideoID.id
		if err := s.ownVideo(ctx, callerOf(ctx), id); err != nil {
			s.refuseStream(hc, err, in.LastEventID)
			return
		}
		if s.events.full() {
			s.refuseStream(hc, tooManyStreams(), in.LastEventID)
			return
		}
		out, ok := s.open(hc)
		if !ok {
			return
		}
		l := s.listener(ctx)
		l.video = id
		leave := s.events.listenVideo(l)
		defer leave()
		s.pump(ctx, out, l, func(f *frame) (more bool, err error) {
			if f.gone {
				return false, out.event(eventDeleted, revisionID(f.revision), f.data)
			}
			return true, out.event("", revisionID(f.revision), f.data)
		})
	}}, nil
}

func tooManyStreams() *Problem {
	return problem(http.StatusServiceUnavailable, "too_many_streams",
		"Too many streams of events are open here. Please try again shortly.").retryAfter(retryAfterOutage)
}

func revisionID(revision int64) string { return strconv.FormatInt(revision, 10) }

type courseEventsInput struct {
	CourseID    courseIDParam `path:"courseId"`
	LastEventID string        `header:"Last-Event-ID" doc:"Sent by EventSource when it reconnects. Within a day, only what changed since is sent first."`
}

// courseEvents streams the states of all videos of a course. The id of an event is the time of the video's change, so
// that a stream that is resumed sends what changed since.
func (s *Starter) courseEvents(_ context.Context, in *courseEventsInput) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		ctx, course := hc.Context(), in.CourseID.id
		if err := s.ownCourse(ctx, callerOf(ctx), course); err != nil {
			s.refuseStream(hc, err, in.LastEventID)
			return
		}
		if isHead(hc) {
			s.open(hc)
			return
		}
		if s.events.full() {
			s.refuseStream(hc, tooManyStreams(), in.LastEventID)
			return
		}
		l := s.listener(ctx)
		l.course = course
		ready, leave := s.events.listenCourse(l)
		defer leave()
		if err := s.await(ctx, ready); err != nil {
			s.refuseStream(hc, err, in.LastEventID)
			return
		}
		now, err := s.store.Now(ctx)
		if err != nil {
			s.refuseStream(hc, storeProblem(err), in.LastEventID)
			return
		}
		out, ok := s.open(hc)
		if !ok {
			return
		}
		told := courseTeller{
			out: out, saw: func(id contract.VideoID) { s.events.saw(course, id) }, sent: map[contract.VideoID]int64{},
		}
		since, resumed := parseTimeID(in.LastEventID, now)
		if resumed {
			err = s.tellChanges(ctx, course, since, &told)
		} else {
			err = s.tellCourse(ctx, course, &told)
		}
		if err == nil {
			err = out.event(eventComplete, timeID(now), fmt.Appendf(nil, `{"all":%t}`, !resumed))
		}
		if err != nil {
			if p := (*Problem)(nil); errors.As(err, &p) {
				p.report(ctx, s.log, hc.Operation().OperationID)
			}
			return // the client comes back, and begins where it began
		}
		told.since = s.events.begun()
		s.pump(ctx, out, l, told.tell)
	}}, nil
}

// timeID is the id of an event of a course: the time of a change, in microseconds, as the database has it.
func timeID(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return strconv.FormatInt(at.UnixMicro(), 10)
}

// parseTimeID reports false for an id that is none of ours, lies in the future, as after a restored backup, or too far
// in the past.
func parseTimeID(id string, now time.Time) (time.Time, bool) {
	micros, err := strconv.ParseInt(id, 10, 64)
	at := time.UnixMicro(micros)
	return at, err == nil && !at.After(now) && now.Sub(at) < resumable
}

// courseTeller sends the videos of a course to one listener.
type courseTeller struct {
	out *sse
	saw func(contract.VideoID)
	// sent are the revisions that the listener was sent at the start, and since the batch that had begun by then: what
	// was read by then may be older.
	sent  map[contract.VideoID]int64
	since int64
}

func (c *courseTeller) tell(f *frame) (more bool, err error) {
	switch {
	case f.batch > c.since:
		c.sent = nil
	case f.revision < c.sent[f.id]:
		return true, nil
	}
	name := ""
	if f.gone {
		name = eventDeleted
	}
	return true, c.out.event(name, timeID(f.changed), f.data)
}

// first sends a video that was read at the start.
func (c *courseTeller) first(f *frame, id string) error {
	c.sent[f.id] = f.revision
	name := ""
	if f.gone {
		name = eventDeleted
	} else {
		c.saw(f.id)
	}
	return c.out.event(name, id, f.data)
}

// tellCourse sends all videos, newest first. These events have no id: whoever is cut off among them begins anew.
func (s *Starter) tellCourse(ctx context.Context, course string, told *courseTeller) error {
	at := placeInCourse{course: course}
	for {
		page, err := s.pages.do(ctx, at, s.readPage)
		if err != nil {
			return storeProblem(err)
		}
		for _, f := range page.frames {
			if err := told.first(f, ""); err != nil {
				return err
			}
		}
		if page.next == nil {
			return nil
		}
		at.after = *page.next
	}
}

// placeInCourse is where a page of a course begins: after a video, or with the newest.
type placeInCourse struct {
	course string
	after  postgres.Cursor
}

// coursePage is a part of a course's present states, shared by all listeners who begin at the same time.
type coursePage struct {
	frames []*frame
	next   *postgres.Cursor
}

func (s *Starter) readPage(ctx context.Context, at placeInCourse) (page coursePage, err error) {
	q := postgres.ListQuery{CourseID: at.course, Limit: streamPage}
	if at.after.ID != "" {
		q.After = &at.after
	}
	videos, next, err := s.store.CourseVideos(ctx, q)
	page.next = next
	for _, v := range videos {
		page.frames = append(page.frames, newFrame(v.Video.ID, v, 0))
	}
	return page, err
}

// inTurn runs a query for the beginning of a stream when there are not too many.
func (s *Starter) inTurn(ctx context.Context, query func() error) error {
	select {
	case s.pages.slots <- struct{}{}:
		defer func() { <-s.pages.slots }()
		return query()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tellChanges sends the videos that changed since, in the order of their changes, so that whoever is cut off among them
// goes on from there.
func (s *Starter) tellChanges(ctx context.Context, course string, since time.Time, told *courseTeller) error {
	var ids []contract.VideoID
	err := s.inTurn(ctx, func() (err error) {
		ids, err = s.store.UntrackedSince(ctx, course, since)
		return err
	})
	if err != nil {
		return storeProblem(err)
	}
	if err := s.tellVideos(ctx, course, ids, told); err != nil {
		return err
	}
	next := new(postgres.ChangeCursor)
	for *next = postgres.Since(since); next != nil; {
		err := s.inTurn(ctx, func() (err error) {
			ids, next, err = s.store.CourseChanges(ctx, course, *next, streamPage)
			return err
		})
		if err != nil {
			return storeProblem(err)
		}
		if err := s.tellVideos(ctx, course, ids, told); err != nil {
			return err
		}
	}
	return nil
}

func (s *Starter) tellVideos(ctx context.Context, course string, ids []contract.VideoID, told *courseTeller) error {
	for len(ids) > 0 {
		n := min(len(ids), streamPage)
		var videos map[contract.VideoID]postgres.Marked
		err := s.inTurn(ctx, func() (err error) {
			videos, err = s.store.Videos(ctx, ids[:n])
			return err
		})
		if err != nil {
			return storeProblem(err)
		}
		for _, id := range ids[:n] {
			f := newFrame(id, videos[id].Loaded, 0)
			if !f.gone && videos[id].Video.CourseID != course {
				f.gone, f.data = true, goneData(id)
			}
			if err := told.first(f, timeID(f.changed)); err != nil {
				return err
			}
		}
		ids = ids[n:]
	}
	return nil
}

func (s *Starter) listener(ctx context.Context) *listener {
	return &listener{
		caller: callerOf(ctx), asked: identityOf(ctx).caller.Role == "",
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// await waits until a course's stream can begin.
func (s *Starter) await(ctx context.Context, ready <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	select {
	case <-ready:
		return nil
	case <-s.events.stopped:
		return unavailable("The service", errors.New("it stops"))
	case <-ctx.Done():
		return unavailable("The database", ctx.Err())
	}
}

// pump sends what a listener is told until the client is gone, may no longer listen, its token has expired, or the
// process stops.
func (s *Starter) pump(ctx context.Context, out *sse, l *listener, send func(*frame) (more bool, err error)) {
	expiry := time.NewTimer(l.caller.Expires.Sub(s.now()))
	defer expiry.Stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.events.stopped:
			return
		case <-l.ended:
			return
		case <-expiry.C:
			return
		case <-beat.C:
			if out.comment() != nil {
				return
			}
		case <-l.wake:
			for _, f := range s.events.take(l) {
				if more, err := send(f); !more || err != nil {
					return
				}
			}
		}
	}
}

// sse writes events to a client.
type sse struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// open begins a stream, and reports false when that is all.
func (s *Starter) open(hc huma.Context) (*sse, bool) {
	_, w := humachi.Unwrap(hc)
	h := w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("X-Accel-Buffering", "no") // nginx would collect events
	if isHead(hc) {
		return nil, false
	}
	out := &sse{w: w, rc: http.NewResponseController(w)}
	_ = out.rc.SetReadDeadline(time.Time{}) // the server's own would end the request
	// Clients whose streams end together do not all come back together.
	return out, out.write(fmt.Appendf(nil, "retry: %d\n\n", 1000+rand.IntN(4000))) == nil
}

func isHead(hc huma.Context) bool { return hc.Method() == http.MethodHead }

// event sends one event. An empty id leaves the client's last one as it is.
func (o *sse) event(name, id string, data []byte) error {
	b := make([]byte, 0, len(data)+64)
	if name != "" {
		b = fmt.Appendf(b, "event: %s\n", name)
	}
	if id != "" {
		b = fmt.Appendf(b, "id: %s\n", id)
	}
	b = append(b, "data: "...)
	b = append(b, data...)
	return o.write(append(b, "\n\n"...))
}

// comment keeps the connection alive, and finds out whether it still is.
func (o *sse) comment() error { return o.write([]byte(":\n\n")) }

func (o *sse) write(b []byte) error {
	if err := o.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := o.w.Write(b); err != nil {
		return err
	}
	if err := o.rc.Flush(); err != nil {
		return err
	}
	return o.rc.SetWriteDeadline(time.Time{})
}

// authorisedStream is authorised for streams.
func (s *Starter) authorisedStream(hc huma.Context, next func(huma.Context)) {
	caller, p := s.authorise(hc.Context())
	if p != nil {
		s.refuseStream(hc, p, "")
		return
	}
	next(huma.WithValue(hc, callerKey{}, caller))
}

// refuseStream answers a stream that cannot be had. At any status but 200, EventSource gives up for ever: that is right
// when something is not there or not allowed, and wrong in an outage, so it is told to come back then.
func (s *Starter) refuseStream(hc huma.Context, err error, lastEventID string) {
	var p *Problem
	if !errors.As(err, &p) {
		p = internalError(err)
	}
	switch {
	case p.Status == http.StatusNotFound && lastEventID != "":
		hc.SetStatus(http.StatusNoContent)
	case p.Status == http.StatusServiceUnavailable && hc.Header("Accept") == eventStream && !isHead(hc):
		p.report(hc.Context(), s.log, hc.Operation().OperationID)
		s.open(hc)
	default:
		s.reply(hc, p)
	}
}
