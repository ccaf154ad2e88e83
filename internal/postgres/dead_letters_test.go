package postgres_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// deadLetter is a transcript that died, minute minutes after noon.
func deadLetter(id contract.VideoID, offset int64, minute int) postgres.DeadLetter {
	return postgres.DeadLetter{
		Origin: at(offset), Topic: "update_transcribe", Track: contract.TranscriptionTrack, VideoID: id,
		Class: contract.ClassJSON, Reason: fmt.Sprintf("reason %d", minute), Letter: fmt.Sprintf("0/%d", minute),
		DiedAt: noon.Add(time.Duration(minute) * time.Minute),
	}
}

func redriven(id contract.VideoID, offset int64, letters ...string) postgres.Redriven {
	return postgres.Redriven{Origin: at(offset), VideoID: id, Letters: letters, At: noon.Add(time.Hour)}
}

func TestRecordDeadLetters(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	id := created(t, db)
	record := func(letters []postgres.DeadLetter, sent ...postgres.Redriven) (revisions int64) {
		t.Helper()
		before := load(t, db, id).Pipeline.Revision
		if err := db.Store.RecordDeadLetters(t.Context(), letters, sent); err != nil {
			t.Fatal(err)
		}
		return load(t, db, id).Pipeline.Revision - before
	}
	// Each step builds on those before.
	for _, step := range []struct {
		name     string
		letters  []postgres.DeadLetter
		redriven []postgres.Redriven
		raised   int64 // revisions
		want     postgres.DeadLetters
	}{
		{name: "nothing"},
		{
			name: "one", letters: []postgres.DeadLetter{deadLetter(id, 7, 1)}, raised: 1,
			want: postgres.DeadLetters{Count: 1, Open: 1, Latest: latest(1)},
		},
		{
			name: "the same again", letters: []postgres.DeadLetter{deadLetter(id, 7, 1)},
			want: postgres.DeadLetters{Count: 1, Open: 1, Latest: latest(1)},
		},
		{
			name: "two at once, and both letters of one", raised: 1,
			letters: []postgres.DeadLetter{deadLetter(id, 8, 2), deadLetter(id, 9, 4), deadLetter(id, 8, 3)},
			want:    postgres.DeadLetters{Count: 3, Open: 3, Latest: latest(4)},
		},
		{
			name: "one was sent back", redriven: []postgres.Redriven{redriven(id, 7, "0/0", "0/1")}, raised: 1,
			want: postgres.DeadLetters{Count: 3, Open: 2, Latest: latest(4)},
		},
		{
			name: "which is read again, with its letter", letters: []postgres.DeadLetter{deadLetter(id, 7, 1)},
			redriven: []postgres.Redriven{redriven(id, 7, "0/0", "0/1")},
			want:     postgres.DeadLetters{Count: 3, Open: 2, Latest: latest(4)},
		},
		{
			name: "and died again", letters: []postgres.DeadLetter{deadLetter(id, 7, 90)}, raised: 1,
			want: postgres.DeadLetters{Count: 3, Open: 3, Latest: latest(90)},
		},
		{
			name:     "and all of it is read again, from the start",
			letters:  []postgres.DeadLetter{deadLetter(id, 7, 1), deadLetter(id, 7, 90)},
			redriven: []postgres.Redriven{redriven(id, 7, "0/0", "0/1")},
			want:     postgres.DeadLetters{Count: 3, Open: 3, Latest: latest(90)},
		},
		{
			name: "what is of no video, or of one that is not known", letters: []postgres.DeadLetter{
				deadLetter("", 20, 91), deadLetter(postgrestest.NewVideoID(), 21, 92),
			},
			want: postgres.DeadLetters{Count: 3, Open: 3, Latest: latest(90)},
		},
	} {
		if raised := record(step.letters, step.redriven...); raised != step.raised {
			t.Errorf("%s: raised the revision by %d, want %d", step.name, raised, step.raised)
		}
		if diff := cmp.Diff(step.want, load(t, db, id).DeadLetters); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if n := count(t, db, `select count(*) from pipeline.dead_letters`); n != 5 {
		t.Errorf("%d lines, want one for each of 5 origins", n)
	}
}

func latest(minute int) *postgres.LatestDeadLetter {
	return &postgres.LatestDeadLetter{
		Track: contract.TranscriptionTrack, Class: contract.ClassJSON, Reason: fmt.Sprintf("reason %d", minute),
		DiedAt: noon.Add(time.Duration(minute) * time.Minute),
	}
}

func TestDeadLetters_are_closed_by_a_newer_result(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	id := created(t, db)
	other := deadLetter(id, 5, 3)
	other.Origin.TopicID, other.Track = uuid.New(), contract.CompressionTrack
	letters := []postgres.DeadLetter{deadLetter(id, 6, 1), deadLetter(id, 9, 2), other}
	if err := db.Store.RecordDeadLetters(t.Context(), letters, nil); err != nil {
		t.Fatal(err)
	}
	token := newToken()
	must(db.Store.Claim(t.Context(), id, token, at(7), time.Minute))(t)
	if ok, _, err := db.Store.ApplyTranscript(t.Context(), token, id, at(7), "https://x/y.json", summary); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := load(t, db, id).DeadLetters; got.Count != 3 || got.Open != 2 {
		t.Errorf("got %+v, want the newer transcript and the compression open", got)
	}
}

func TestDeadLetters_of_videos_that_were_created_elsewhere(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, _ := db.Course(t)
	id := db.Video(t, course)
	if err := db.Store.RecordDeadLetters(t.Context(), []postgres.DeadLetter{deadLetter(id, 6, 1)}, nil); err != nil {
		t.Fatal(err)
	}
	videos, _, err := db.Store.CourseVideos(t.Context(), postgres.ListQuery{CourseID: course, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(videos) != 1 || videos[0].DeadLetters.Count != 1 || videos[0].State() != postgres.Untracked {
		t.Errorf("got %+v, want one video, untracked, with a dead letter", videos)
	}
}

func TestRecordDeadLetters_takes_what_Postgres_cannot_hold(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	id := created(t, db)
	l := deadLetter(id, 6, 1)
	l.Reason = "a NUL \x00 and no text \xff" + strings.Repeat("x", 5000)
	l.Origin.Time = time.Date(-8000, 1, 1, 0, 0, 0, 0, time.UTC)
	late := deadLetter(id, 7, 0)
	late.Origin.Time = time.UnixMilli(1 << 62)
	sent := redriven(id, 7, "\x00", "\xff")
	sent.At = late.Origin.Time
	if err := db.Store.RecordDeadLetters(t.Context(), []postgres.DeadLetter{l, late}, []postgres.Redriven{sent}); err != nil {
		t.Fatal(err)
	}
	if got := load(t, db, id).DeadLetters; got.Count != 2 || !strings.HasPrefix(got.Latest.Reason, "a NUL  and no text \uFFFDx") {
		t.Errorf("got %+v", got)
	}
}

func TestRecordDeadLetters_by_several_at_once(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	ids := []contract.VideoID{created(t, db), created(t, db), created(t, db)}
	var wg sync.WaitGroup
	for reader := range 4 {
		wg.Go(func() {
			for i := range 20 {
				var letters []postgres.DeadLetter
				for n := range ids {
					letters = append(letters, deadLetter(ids[(n+reader)%len(ids)], int64(10*i+(n+reader)%len(ids)), i+1))
				}
				if err := db.Store.RecordDeadLetters(t.Context(), letters, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		l := load(t, db, id)
		if l.DeadLetters.Count != 20 || l.Pipeline.Revision != 21 {
			t.Errorf("%d dead letters, revision %d; want 20, each raising it once", l.DeadLetters.Count, l.Pipeline.Revision)
		}
	}
}

func TestSweep_dead_letters(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	id := created(t, db)
	old, young := deadLetter(id, 1, 0), deadLetter(id, 2, 0)
	old.DiedAt, young.DiedAt = time.Now().Add(-91*24*time.Hour), time.Now().Add(-89*24*time.Hour)
	if err := db.Store.RecordDeadLetters(t.Context(), []postgres.DeadLetter{old, young}, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if got := must(db.Store.Sweep(t.Context(), 100))(t); got != want {
			t.Errorf("swept %d, want %d", got, want)
		}
	}
	if l := load(t, db, id); l.DeadLetters.Count != 1 || l.Pipeline.Revision != 3 {
		t.Errorf("%d dead letters, revision %d; want 1, and 3", l.DeadLetters.Count, l.Pipeline.Revision)
	}
}
