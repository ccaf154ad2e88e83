package postgres_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// listening returns once everything that is committed from now on is heard.
func listening(t *testing.T, db *postgrestest.DB, url string) (heard chan postgres.Change, ended chan error) {
	t.Helper()
	n := must(db.Store.Notifications(url))(t)
	heard, ended = make(chan postgres.Change, 1000), make(chan error, 1)
	started := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- n.Listen(ctx, func() { close(started) }, func(c postgres.Change) { heard <- c })
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-started:
	case err := <-ended:
		t.Fatalf("not listening: %v", err)
	}
	return heard, ended
}

func within[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(2 * time.Minute):
		t.Fatalf("not within two minutes: %s", what)
		panic("unreachable")
	}
}

// TestListen_every_change does all that changes what a caller is shown of a video, and hears of each revision once.
func TestListen_every_change(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	heard, _ := listening(t, db, db.DirectURL)
	n := newVideo(t, db)
	id := n.Video.ID
	must(db.Store.CreateVideo(t.Context(), n))(t)
	must(db.Store.RecordAsk(t.Context(), id, 1))(t)
	if err := db.Store.RecordError(t.Context(), id, contract.TranscriptionTrack, "storage is away"); err != nil {
		t.Fatal(err)
	}
	store(t, db, id, at(1))
	must(db.Store.MarkOverdue(t.Context(), id))(t)
	if err := db.Store.RecordDeadLetters(t.Context(), []postgres.DeadLetter{deadLetter(id, 1, 0)}, nil); err != nil {
		t.Fatal(err)
	}
	must(db.Store.GiveUp(t.Context(), id, contract.CompressionTrack, 0, "it never came"))(t)
	if outcome, _, err := db.Store.ApplyCompression(t.Context(), id, at(2), "https://example.org/small.mp4"); outcome != postgres.Applied {
		t.Fatal(outcome, err)
	}
	must(db.Store.DeleteVideo(t.Context(), id, 0))(t)

	last := pipeline(t, db, id).Revision
	if last < 9 {
		t.Errorf("revision %d after nine changes", last)
	}
	for revision := int64(1); revision <= last; revision++ {
		got := within(t, "a notification", heard)
		if diff := cmp.Diff(postgres.Change{VideoID: id, Revision: revision, CourseID: n.Video.CourseID}, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	// A statement that changes nothing says nothing: what comes next is about another video.
	must(db.Store.MarkOverdue(t.Context(), id))(t)
	other := db.Video(t, "")
	must(db.Store.LoadPipeline(t.Context(), other))(t)
	if got := within(t, "a notification", heard); got.VideoID != other || got.Revision != 1 {
		t.Errorf("got %+v, want revision 1 of %s", got, other)
	}
}

// TestListen_deaf finds out that nothing can be heard, where LISTEN itself succeeds.
func TestListen_deaf(t *testing.T) {
	t.Parallel()
	urls := map[string]func(*postgrestest.DB) string{
		"another database": func(*postgrestest.DB) string { return postgrestest.New(t).DirectURL },
	}
	if os.Getenv(postgrestest.PoolerVariable) != "" {
		urls["a transaction pooler"] = func(db *postgrestest.DB) string { return db.URL }
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := postgrestest.New(t)
			n := must(db.Store.Notifications(url(db)))(t)
			err := n.Listen(t.Context(), func() { t.Error("it says that it listens") }, func(postgres.Change) {})
			if setup := wantSetupError(t, err); !strings.Contains(setup.Error(), "DATABASE_LISTEN_URL nothing is heard") {
				t.Error(setup)
			}
		})
	}
}

func TestListen_connection_lost(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	_, ended := listening(t, db, db.DirectURL)
	db.Exec(t, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like '%listens'`)
	if err := within(t, "an error", ended); err == nil {
		t.Error("no error")
	}
}

// TestChanges_late_commit finds a change that was made before the last look and committed after it.
func TestChanges_late_commit(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	slow, fast, foreign := created(t, db), created(t, db), created(t, db)
	listened := []contract.VideoID{slow, fast}
	changes := func(since time.Time) (found []contract.VideoID, now time.Time) {
		t.Helper()
		list, now, err := db.Store.Changes(t.Context(), since, listened, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.Revision == 2 { // the creation is found again for a while
				found = append(found, c.VideoID)
			}
		}
		return found, now
	}
	tx := must(db.Admin.Begin(t.Context()))(t)
	if _, err := tx.Exec(t.Context(), `update pipeline.videos set asks = 7 where video_id = $1`, string(slow)); err != nil {
		t.Fatal(err)
	}
	must(db.Store.MarkOverdue(t.Context(), fast))(t)
	must(db.Store.MarkOverdue(t.Context(), foreign))(t)
	_, now := changes(time.Time{})
	if got, _ := changes(now); !slices.Equal(got, []contract.VideoID{fast}) {
		t.Errorf("before the commit: %v, want %s", got, fast)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, _ := changes(now)
	if !slices.Contains(got, slow) || slices.Contains(got, foreign) {
		t.Errorf("after the commit: %v, want %s too and not %s", got, slow, foreign)
	}
	course := load(t, db, foreign).Video.CourseID
	list, _, err := db.Store.Changes(t.Context(), now, nil, []string{course})
	if err != nil || len(list) != 1 || list[0].VideoID != foreign {
		t.Errorf("of a course: %+v, %v", list, err)
	}
}

// TestMarks differ exactly when something that is shown does.
func TestMarks(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, user := db.Course(t)
	id, gone := db.Video(t, course), postgrestest.NewVideoID()
	marks := func() postgres.Mark {
		t.Helper()
		read := must(db.Store.Videos(t.Context(), []contract.VideoID{id, gone}))(t)
		if len(read) != 2 || read[gone].Video != nil || read[gone].Mark != (postgres.Mark{}) || read[id].Video.ID != id {
			t.Fatalf("read %+v", read)
		}
		seen := must(db.Store.Look(t.Context(), []contract.VideoID{id, gone}, nil))(t)
		ofCourse := must(db.Store.Look(t.Context(), nil, []string{course}))(t)
		want := []postgres.Seen{{VideoID: id, CourseID: course, Mark: read[id].Mark}}
		if diff := cmp.Diff(want, seen) + cmp.Diff(want, ofCourse); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		return read[id].Mark
	}
	last := marks()
	if last != marks() || last.Revision != 0 || last.Row == 0 {
		t.Errorf("%+v, then %+v", last, marks())
	}
	for _, change := range []string{
		`update public.videos set title = 'Another' where id = $1`,
		`update public.videos set ispublic = true where id = $1`,
		`update public.videos set level = 'advanced' where id = $1`,
		`insert into pipeline.videos (video_id, transcription_state, compression_state) values ($1, 'waiting', 'waiting')`,
		`update pipeline.videos set asks = 1 where video_id = $1`,
	} {
		db.Exec(t, change, string(id))
		next := marks()
		if next == last {
			t.Errorf("the same mark after %s", change)
		}
		last = next
	}

	owners := must(db.Store.Owners(t.Context(), []string{course, uuid.NewString()}))(t)
	if diff := cmp.Diff(map[string]string{course: user}, owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	student := db.User(t, "student")
	roles := must(db.Store.Roles(t.Context(), []string{student, user, uuid.NewString()}))(t)
	if diff := cmp.Diff(map[string]string{student: "student", user: "lecturer"}, roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

// TestVideos_filtered does not take a row for a deleted one that row-level security hides.
func TestVideos_filtered(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, _ := db.Course(t)
	id := db.Video(t, course)
	db.Exec(t, `drop policy "`+db.Role+` manages videos" on public.videos`)
	db.Exec(t, `drop policy "`+db.Role+` reads courses" on public.courses`)
	_, err := db.Store.Videos(t.Context(), []contract.VideoID{id})
	_ = wantSetupError(t, err)
	_, err = db.Store.Owners(t.Context(), []string{course})
	_ = wantSetupError(t, err)
}

func TestCourseChanges(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	n := newVideo(t, db)
	course := n.Video.CourseID
	var ids []contract.VideoID
	for range 5 {
		n.Video.ID = postgrestest.NewVideoID()
		must(db.Store.CreateVideo(t.Context(), n))(t)
		ids = append(ids, n.Video.ID)
	}
	created(t, db) // in another course
	untracked := db.Video(t, course)
	must(db.Store.DeleteVideo(t.Context(), ids[1], 0))(t)
	must(db.Store.MarkOverdue(t.Context(), ids[0]))(t)

	var got []contract.VideoID
	pages := 0
	for next := new(postgres.ChangeCursor{ID: postgres.Since(noon).ID}); next != nil; pages++ {
		var page []contract.VideoID
		var err error
		if page, next, err = db.Store.CourseChanges(t.Context(), course, *next, 2); err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
	}
	want := []contract.VideoID{ids[2], ids[3], ids[4], ids[1], ids[0]}
	if diff := cmp.Diff(want, got); diff != "" || pages != 3 {
		t.Errorf("%d pages (-want +got):\n%s", pages, diff)
	}
	now := must(db.Store.Now(t.Context()))(t)
	future, _, err := db.Store.CourseChanges(t.Context(), course, postgres.Since(now.Add(time.Minute)), 2)
	if err != nil || len(future) != 0 {
		t.Errorf("later than everything: %v, %v", future, err)
	}
	if list := must(db.Store.UntrackedSince(t.Context(), course, now))(t); !slices.Equal(list, []contract.VideoID{untracked}) {
		t.Errorf("untracked: %v, want %s", list, untracked)
	}
}
