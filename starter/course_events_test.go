package starter_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/starter"
)

// snapshot reads up to the event complete, whose id it returns with the videos in their order.
func (s *stream) snapshot() (ids []string, complete string) {
	s.t.Helper()
	for {
		e := s.next()
		switch e.name {
		case "complete":
			s.all = e.data == `{"all":true}`
			return ids, e.id
		case "deleted":
			ids = append(ids, "deleted "+e.data)
		default:
			ids = append(ids, e.view(s.t).ID)
		}
	}
}

func deletedData(id contract.VideoID) string { return `{"id":"` + id.String() + `"}` }

func TestCourseEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, looksOften)
	w.runEvents(t)
	videoOf := func(id contract.VideoID) func(event) bool {
		return func(e event) bool { return e.name == "" && e.view(t).ID == id.String() }
	}

	t.Run("all videos, in pages, then each change", func(t *testing.T) {
		course := w.db.CourseOf(t, w.lecturer)
		s := w.stream(t, courseEventsOf(course), w.owner())
		none, _ := s.snapshot()
		equal(t, "videos of an empty course", len(none), 0)

		var want []string
		w.db.Exec(t, `
			insert into public.videos (course_id, title, description, camera_video_url, created_at)
			select $1::uuid, 'Video ' || n, 'One of many', 'https://example.org/raw.mp4', now() + n * interval '1 second'
			from generate_series(1, 250) n`, course)
		for i := range 250 {
			want = append(want, w.text(`select id::text from public.videos where course_id = '`+course+`' and title = 'Video `+strconv.Itoa(250-i)+`'`))
		}
		got, complete := w.stream(t, courseEventsOf(course), w.owner()).snapshot()
		equal(t, "present videos, newest first", got, want)
		if micros, err := strconv.ParseInt(complete, 10, 64); err != nil || time.Since(time.UnixMicro(micros)).Abs() > time.Minute {
			t.Errorf("id %q is not the time", complete)
		}
		seen := map[string]bool{}
		s.until("all videos created elsewhere", func(e event) bool { // nobody announces what the API server creates
			seen[e.view(t).ID] = true
			return len(seen) == 250
		})

		id := contract.VideoID(want[7])
		if _, err := w.db.Store.LoadPipeline(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		e := s.until("it is tracked", videoOf(id))
		equal(t, "revision", e.view(t).Pipeline.Revision, int64(1))
		equal(t, "id", e.id, w.text(`select (extract(epoch from updated_at) * 1000000)::bigint::text from pipeline.videos where video_id = '`+id.String()+`'`))

		w.db.Exec(t, `update public.videos set title = 'Renamed' where id = $1`, string(id))
		e = s.until("it is renamed", videoOf(id))
		equal(t, "title", e.view(t).Title, "Renamed")
		equal(t, "revision", e.view(t).Pipeline.Revision, int64(1))
	})

	t.Run("created, moved, deleted", func(t *testing.T) {
		from, to := w.db.CourseOf(t, w.lecturer), w.db.CourseOf(t, w.lecturer)
		one, other := w.stream(t, courseEventsOf(from), w.owner()), w.stream(t, courseEventsOf(to), w.owner())
		one.snapshot()
		other.snapshot()
		a := w.call(http.MethodPost, "/api/courses/"+from+"/videos", w.owner(), body()).expect(t, http.StatusCreated)
		id := contract.VideoID(decode[starter.VideoAnswer](t, a).Data.ID)
		one.until("it is created", videoOf(id))
		w.db.Exec(t, `update public.videos set course_id = $2 where id = $1`, string(id), to)
		moved := one.next()
		equal(t, "what the course hears that it left", moved.name+moved.data, "deleted"+deletedData(id))
		other.until("it arrives", videoOf(id))
		w.call(http.MethodDelete, "/api/videos/"+id.String(), w.owner(), nil).expect(t, http.StatusNoContent)
		gone := other.until("it is deleted", func(e event) bool { return e.name == "deleted" })
		equal(t, "which", gone.data, deletedData(id))

		untracked := w.db.Video(t, to)
		other.until("one is created elsewhere", videoOf(untracked))
		w.db.RemoveVideo(t, untracked)
		gone = other.until("and deleted there", func(e event) bool { return e.name == "deleted" })
		equal(t, "which", gone.data, deletedData(untracked))
	})

	t.Run("resumed", func(t *testing.T) {
		course := w.db.CourseOf(t, w.lecturer)
		create := func() contract.VideoID {
			a := w.call(http.MethodPost, "/api/courses/"+course+"/videos", w.owner(), body()).expect(t, http.StatusCreated)
			return contract.VideoID(decode[starter.VideoAnswer](t, a).Data.ID)
		}
		old, changed, deleted := create(), create(), create()
		oldElsewhere := w.db.Video(t, course)
		// They are an hour old. The trigger would not have it.
		w.db.Exec(t, `alter table pipeline.videos disable trigger touch`)
		w.db.Exec(t, `update pipeline.videos set updated_at = now() - interval '1 hour' where course_id = $1`, course)
		w.db.Exec(t, `alter table pipeline.videos enable trigger touch`)
		w.db.Exec(t, `update public.videos set created_at = now() - interval '1 hour' where course_id = $1`, course)

		all, complete := w.stream(t, courseEventsOf(course), w.owner()).snapshot()
		equal(t, "at first", len(all), 4)
		w.change(t, changed)
		w.call(http.MethodDelete, "/api/videos/"+deleted.String(), w.owner(), nil).expect(t, http.StatusNoContent)
		created, createdElsewhere := create(), w.db.Video(t, course)
		want := []string{createdElsewhere.String(), changed.String(), "deleted " + deletedData(deleted), created.String()}
		s := w.stream(t, courseEventsOf(course), w.owner(), "Last-Event-ID", complete)
		got, _ := s.snapshot()
		equal(t, "what changed, in the order of the changes", got, want)
		equal(t, "all", s.all, false)
		w.change(t, old)
		s.until("it goes on", videoOf(old))

		for what, id := range map[string]string{
			"a word":             "word",
			"a revision":         "7",
			"yesterday and more": strconv.FormatInt(time.Now().Add(-25*time.Hour).UnixMicro(), 10),
			"the future":         strconv.FormatInt(time.Now().Add(time.Hour).UnixMicro(), 10),
		} {
			s := w.stream(t, courseEventsOf(course), w.owner(), "Last-Event-ID", id)
			got, _ := s.snapshot()
			equal(t, "all", s.all, true)
			slices.Sort(got)
			want := []string{old.String(), changed.String(), created.String(), createdElsewhere.String(), oldElsewhere.String()}
			slices.Sort(want)
			equal(t, "begun anew, after "+what, got, want)
		}
	})

	t.Run("the end of a course", func(t *testing.T) {
		course := w.db.CourseOf(t, w.lecturer)
		id := w.db.Video(t, course)
		s := w.stream(t, courseEventsOf(course), w.owner())
		_, last := s.snapshot()
		w.db.Exec(t, `delete from public.courses where id = $1`, course)
		rest := s.end()
		if len(rest) != 1 || rest[0].name != "deleted" || rest[0].data != deletedData(id) {
			t.Errorf("at the end: %+v", rest)
		}
		w.call(http.MethodGet, courseEventsOf(course), w.owner(), nil, "Last-Event-ID", last).expect(t, http.StatusNoContent)
	})
}

// TestCourseEvents_converge: whatever is done, in whatever order and at the same time, and whenever a listener comes,
// leaves and comes back with its last id, in the end each of them knows what the API says. No state of a video that a
// listener is told within a stream is older than one it was told before.
func TestCourseEvents_converge(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]option{"listening": nil, "polling": {polls}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, append(opts, looksOften)...)
			w.runEvents(t)
			for range 130 { // more than a page
				w.db.Video(t, w.course)
			}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var working, listening sync.WaitGroup
			for n := range 3 {
				working.Go(func() { w.work(t, rand.New(rand.NewPCG(seed, uint64(n))), 120) })
			}
			listeners := make([]*courseListener, 6)
			for n := range listeners {
				l := &courseListener{w: w, t: t, random: rand.New(rand.NewPCG(seed, 100+uint64(n))), known: map[string]starter.VideoView{}}
				listeners[n] = l
				listening.Go(func() { l.run(ctx) })
			}
			working.Wait()

			want := map[string]starter.VideoView{}
			path := "/api/courses/" + w.course + "/pipeline?limit=200"
			for next := new(""); next != nil; {
				page := decode[starter.CourseAnswer](t, w.call(http.MethodGet, path+"&cursor="+*next, w.owner(), nil).expect(t, http.StatusOK))
				for _, v := range page.Data {
					want[v.ID] = v
				}
				next = page.NextCursor
			}
			for n, l := range listeners {
				tick, deadline := time.NewTicker(10*time.Millisecond), time.Now().Add(soon)
				for !l.knows(want) && time.Now().Before(deadline) {
					<-tick.C
				}
				tick.Stop()
				if !l.knows(want) {
					equal(t, fmt.Sprintf("what listener %d knows", n), l.view(), want)
				}
			}
			cancel()
			listening.Wait()
		})
	}
}

// work does n things that change the course.
func (w *world) work(t *testing.T, random *rand.Rand, n int) {
	var mine []contract.VideoID
	for range n {
		var err error
		pick := func() contract.VideoID {
			if len(mine) == 0 {
				mine = append(mine, w.db.Video(t, w.course))
			}
			return mine[random.IntN(len(mine))]
		}
		switch random.IntN(7) {
		case 0:
			var c postgres.Created
			c, err = w.db.Store.CreateVideo(t.Context(), postgres.NewVideo{Video: contract.Video{
				ID: contract.VideoID(uuid.NewString()), CourseID: w.course, Title: "A video", Description: "Of a test, like others",
				CameraVideoURL: "https://example.org/raw.mp4", Level: contract.Beginner,
			}, UserID: w.lecturer})
			mine = append(mine, c.VideoID)
		case 1:
			mine = append(mine, w.db.Video(t, w.course))
		case 2:
			id := pick()
			mine = slices.DeleteFunc(mine, func(v contract.VideoID) bool { return v == id })
			_, err = w.db.Store.DeleteVideo(t.Context(), id, 0)
		case 3:
			_, err = w.db.Store.LoadPipeline(t.Context(), pick())
		default:
			err = w.db.Store.RecordError(t.Context(), pick(), contract.TranscriptionTrack, uuid.NewString())
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// courseListener is a browser that follows a course, and loses its connection now and then.
type courseListener struct {
	w      *world
	t      *testing.T
	random *rand.Rand

	mu    sync.Mutex
	known map[string]starter.VideoView
	last  string
}

func (l *courseListener) run(ctx context.Context) {
	for ctx.Err() == nil {
		var headers []string
		if l.last != "" {
			headers = []string{"Last-Event-ID", l.last}
		}
		s := l.w.stream(l.t, courseEventsOf(l.w.course), l.w.owner(), headers...)
		stay := 1 + l.random.IntN(400) // events
		revisions := map[string]int64{}
		fresh := map[string]bool{}
		for range stay {
			var e event
			var ok bool
			select {
			case <-ctx.Done():
				return
			case e, ok = <-s.events:
			}
			if !ok {
				l.t.Error("the stream has ended")
				return
			}
			l.take(e, revisions, fresh)
		}
		s.leave()
	}
}

func (l *courseListener) take(e event, revisions map[string]int64, fresh map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.id != "" {
		l.last = e.id
	}
	switch e.name {
	case "complete":
		if e.data == `{"all":true}` { // what was not among all of them is no longer there
			maps.DeleteFunc(l.known, func(id string, _ starter.VideoView) bool { return !fresh[id] })
		}
	case "deleted":
		maps.DeleteFunc(l.known, func(id string, _ starter.VideoView) bool { return e.data == `{"id":"`+id+`"}` })
	default:
		v := e.view(l.t)
		if v.Pipeline.Revision < revisions[v.ID] {
			l.t.Errorf("revision %d of %s after %d", v.Pipeline.Revision, v.ID, revisions[v.ID])
		}
		revisions[v.ID], fresh[v.ID], l.known[v.ID] = v.Pipeline.Revision, true, v
	}
}

func (l *courseListener) view() map[string]starter.VideoView {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.known)
}

func (l *courseListener) knows(want map[string]starter.VideoView) bool {
	got := l.view()
	if len(got) != len(want) {
		return false
	}
	for id, v := range want {
		if fmt.Sprintf("%v", flat(got[id])) != fmt.Sprintf("%v", flat(v)) {
			return false
		}
	}
	return true
}

// flat is what tells states apart here.
func flat(v starter.VideoView) []any {
	return []any{v.ID, v.Title, v.Pipeline.Revision, v.Pipeline.State}
}
