package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestLoadPipeline(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)

	t.Run("a video of the old server becomes known, untracked", func(t *testing.T) {
		t.Parallel()
		course, _ := db.Course(t)
		id := db.Video(t, course)
		if l := load(t, db, id); l.Video == nil || l.Pipeline != nil || l.State() != postgres.Untracked {
			t.Fatalf("before: got %+v", l)
		}
		first := must(db.Store.LoadPipeline(t.Context(), id))(t)
		want := contract.Pipeline{
			VideoID: id, CourseID: course, Revision: 1,
			Transcription: contract.Transcription{State: contract.Untracked},
			Compression:   contract.Compression{State: contract.Untracked},
		}
		if diff := cmp.Diff(want, *first.Pipeline, ignoreTimes); diff != "" {
			t.Errorf("pipeline (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(first, must(db.Store.LoadPipeline(t.Context(), id))(t)); diff != "" {
			t.Errorf("loading it again changed something:\n%s", diff)
		}
	})
	t.Run("one that never was is nothing", func(t *testing.T) {
		t.Parallel()
		l := must(db.Store.LoadPipeline(t.Context(), postgrestest.NewVideoID()))(t)
		if l.Video != nil || l.Pipeline != nil || !l.Gone() {
			t.Errorf("got %+v", l)
		}
	})
	t.Run("one whose row vanished keeps its pipeline", func(t *testing.T) {
		t.Parallel()
		id := created(t, db)
		db.RemoveVideo(t, id)
		l := must(db.Store.LoadPipeline(t.Context(), id))(t)
		if l.Video != nil || l.Pipeline == nil || l.Pipeline.DeletedAt != nil || !l.Gone() {
			t.Errorf("got %+v", l)
		}
	})
	t.Run("a deleted one is a tombstone", func(t *testing.T) {
		t.Parallel()
		id := created(t, db)
		must(db.Store.DeleteVideo(t.Context(), id, 0))(t)
		l := must(db.Store.LoadPipeline(t.Context(), id))(t)
		if l.Video != nil || l.Pipeline.DeletedAt == nil || !l.Gone() {
			t.Errorf("got %+v", l)
		}
	})
	t.Run("what was stored is read back whole", func(t *testing.T) {
		t.Parallel()
		id := created(t, db)
		must(db.Store.PrepareAsk(t.Context(), id, 1, []byte("request")))(t)
		must(db.Store.RecordAsk(t.Context(), id, 1))(t)
		store(t, db, id, at(7))
		if _, _, err := db.Store.ApplyCompression(t.Context(), id, at(8), "https://example.org/c.mp4"); err != nil {
			t.Fatal(err)
		}
		p := pipeline(t, db, id)
		if diff := cmp.Diff(new(at(7)), p.Transcription.Position); diff != "" {
			t.Errorf("position of the transcript (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(new(at(8)), p.Compression.Position); diff != "" {
			t.Errorf("position of the compression (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(&summary, p.Transcription.Summary); diff != "" {
			t.Errorf("summary (-want +got):\n%s", diff)
		}
		for name, at := range map[string]*time.Time{"asked": p.Transcription.AskedAt, "transcribed": p.Transcription.DoneAt, "compressed": p.Compression.DoneAt} {
			if at == nil || time.Since(*at).Abs() > time.Minute || at.Location() != time.UTC {
				t.Errorf("%s at %v, want just now in UTC", name, at)
			}
		}
	})
}

func TestCourseVideos(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, _ := db.Course(t)
	states := []contract.TrackState{contract.Untracked, contract.Waiting, contract.Overdue, contract.Done, contract.GivenUp}

	// One video for each pair of states, and one that the pipeline does not know; several have the same time.
	type entry struct {
		id    contract.VideoID
		at    time.Time
		state postgres.State
	}
	var all []entry
	add := func(i int) contract.VideoID {
		id := db.Video(t, course)
		created := noon.Add(time.Duration(i/3)*time.Minute + 123_456*time.Microsecond)
		db.Exec(t, `update public.videos set created_at = $2 where id = $1`, string(id), created)
		all = append(all, entry{id: id, at: created, state: postgres.Untracked})
		return id
	}
	for _, transcription := range states {
		for _, compression := range states {
			if transcription == contract.Overdue {
				continue // only a compression is ever overdue
			}
			id := add(len(all))
			must(db.Store.LoadPipeline(t.Context(), id))(t)
			db.Exec(t, `update pipeline.videos set transcription_state = $2, compression_state = $3 where video_id = $1`,
				string(id), string(transcription), string(compression))
			all[len(all)-1].state = postgres.StateOf(&contract.Pipeline{
				Transcription: contract.Transcription{State: transcription}, Compression: contract.Compression{State: compression},
			})
		}
	}
	add(len(all))
	deleted := add(len(all))
	all = all[:len(all)-1]
	must(db.Store.DeleteVideo(t.Context(), deleted, 0))(t)
	db.Video(t, "") // of another course
	slices.SortFunc(all, func(a, b entry) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return -cmpStrings(a.id, b.id)
	})

	pages := func(t *testing.T, limit int, filter ...postgres.State) (ids []contract.VideoID) {
		t.Helper()
		q := postgres.ListQuery{CourseID: course, States: filter, Limit: limit}
		for {
			videos, next, err := db.Store.CourseVideos(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(videos) > limit || (next != nil && len(videos) < limit) {
				t.Fatalf("a page of %d, next %v; limit is %d", len(videos), next, limit)
			}
			for _, v := range videos {
				ids = append(ids, v.Video.ID)
			}
			if q.After = next; next == nil {
				return ids
			}
		}
	}
	for _, limit := range []int{1, 2, 7, 100} {
		for _, filter := range append([][]postgres.State{nil, {postgres.Working, postgres.Overdue}}, singles(postgres.States())...) {
			t.Run(fmt.Sprintf("pages of %d, states %v", limit, filter), func(t *testing.T) {
				t.Parallel()
				var want []contract.VideoID
				for _, e := range all {
					if filter == nil || slices.Contains(filter, e.state) {
						want = append(want, e.id)
					}
				}
				if len(want) == 0 {
					t.Fatal("the test has no such video")
				}
				if diff := cmp.Diff(want, pages(t, limit, filter...)); diff != "" {
					t.Errorf("newest first (-want +got):\n%s", diff)
				}
			})
		}
	}
	t.Run("a course that is none has no videos", func(t *testing.T) {
		t.Parallel()
		for _, id := range []string{uuid.NewString(), "nonsense", ""} {
			videos, next, err := db.Store.CourseVideos(t.Context(), postgres.ListQuery{CourseID: id, Limit: 10})
			if len(videos) > 0 || next != nil || err != nil {
				t.Errorf("%q: got %v, %v, %v", id, videos, next, err)
			}
		}
	})
}

func singles(states []postgres.State) (lists [][]postgres.State) {
	for _, s := range states {
		lists = append(lists, []postgres.State{s})
	}
	return lists
}

func cmpStrings(a, b contract.VideoID) int {
	if a < b {
		return -1
	}
	return 1
}

// TestCourseVideosWithoutTime: production's column may hold nulls; such videos are the oldest, and none is lost.
func TestCourseVideosWithoutTime(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	db.Exec(t, `alter table public.videos alter column created_at drop not null`)
	course, _ := db.Course(t)
	for range 3 {
		db.Exec(t, `update public.videos set created_at = null where id = $1`, string(db.Video(t, course)))
	}
	newest := db.Video(t, course)
	seen := map[contract.VideoID]bool{}
	q := postgres.ListQuery{CourseID: course, Limit: 1}
	for {
		videos, next, err := db.Store.CourseVideos(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) == 0 && videos[0].Video.ID != newest {
			t.Error("the one with a time is not first")
		}
		seen[videos[0].Video.ID] = true
		if q.After = next; next == nil {
			break
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d of 4 videos listed", len(seen))
	}
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, lecturer := db.Course(t)
	video := db.Video(t, course)

	if got := must(db.Store.Course(t.Context(), course))(t); got != (postgres.Course{ID: course, OwnerID: lecturer}) {
		t.Errorf("Course: got %+v", got)
	}
	if got := must(db.Store.Owner(t.Context(), video))(t); got != (postgres.Course{ID: course, OwnerID: lecturer}) {
		t.Errorf("Owner: got %+v", got)
	}
	for _, role := range []string{"student", "lecturer", "admin"} {
		if got := must(db.Store.UserRole(t.Context(), db.User(t, role)))(t); got != role {
			t.Errorf("UserRole: got %q, want %q", got, role)
		}
	}
	db.Exec(t, `update public.courses set lecturer_id = null where id = $1`, course)
	if got := must(db.Store.Course(t.Context(), course))(t); got.OwnerID != "" {
		t.Errorf("a course without lecturer is that of %q", got.OwnerID)
	}
	if got := must(db.Store.Owner(t.Context(), video))(t); got.OwnerID != "" {
		t.Errorf("a video of a course without lecturer is that of %q", got.OwnerID)
	}
	for _, id := range []string{uuid.NewString(), "nonsense", ""} {
		if _, err := db.Store.Course(t.Context(), id); !errors.Is(err, postgres.ErrNoCourse) {
			t.Errorf("Course(%q): got %v", id, err)
		}
		if _, err := db.Store.UserRole(t.Context(), id); !errors.Is(err, postgres.ErrNoUser) {
			t.Errorf("UserRole(%q): got %v", id, err)
		}
	}
	if _, err := db.Store.Owner(t.Context(), postgrestest.NewVideoID()); !errors.Is(err, postgres.ErrNoVideo) {
		t.Errorf("Owner of none: got %v", err)
	}
}
