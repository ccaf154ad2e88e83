package postgres_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestCreateVideo(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)

	t.Run("adds the row, its pipeline and the intent to run", func(t *testing.T) {
		t.Parallel()
		n := newVideo(t, db)
		n.Video.ThumbnailURL, n.Video.SnapshotURL = new("https://example.org/t.png"), new("https://example.org/s.png")
		n.Video.EventURL, n.Video.TranscriptURL = new("https://example.org/e"), new("https://example.org/mine.json")
		n.Video.IsPublic, n.Video.Level = true, contract.Advanced
		n.Video.CreatedAt = time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
		n.RunAfter = time.Hour
		c, err := db.Store.CreateVideo(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if c.Replayed || c.VideoID != n.Video.ID {
			t.Errorf("got %+v", c)
		}
		if diff := cmp.Diff(n.Video, *c.Video); diff != "" {
			t.Errorf("the row (-want +got):\n%s", diff)
		}
		want := contract.Pipeline{
			VideoID: n.Video.ID, CourseID: n.Video.CourseID, UserID: n.UserID, Revision: 1,
			Transcription: contract.Transcription{State: contract.Waiting},
			Compression:   contract.Compression{State: contract.Waiting},
		}
		if diff := cmp.Diff(want, *c.Pipeline, ignoreTimes); diff != "" {
			t.Errorf("the pipeline (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(c.Loaded, load(t, db, n.Video.ID)); diff != "" {
			t.Errorf("read again (-want +got):\n%s", diff)
		}
		if n := count(t, db, `select count(*) from pipeline.intents where video_id = $1 and kind = 'run'
			and next_at between now() + interval '50 minutes' and now() + interval '1 hour'`, string(n.Video.ID)); n != 1 {
			t.Errorf("%d intents to run in an hour, want 1", n)
		}
	})

	t.Run("the same id again creates nothing", func(t *testing.T) {
		t.Parallel()
		n := newVideo(t, db)
		first := must(db.Store.CreateVideo(t.Context(), n))(t)
		n.Video.Title = "Another"
		again := must(db.Store.CreateVideo(t.Context(), n))(t)
		if !again.Replayed {
			t.Error("the repeat is not said to be one")
		}
		if diff := cmp.Diff(first.Loaded, again.Loaded); diff != "" {
			t.Errorf("the repeat changed something:\n%s", diff)
		}
	})

	t.Run("the same key again answers with the first", func(t *testing.T) {
		t.Parallel()
		n := newVideo(t, db)
		n.IdempotencyKey, n.BodyHash = "k", []byte("hash")
		first := must(db.Store.CreateVideo(t.Context(), n))(t)
		n.Video.ID = postgrestest.NewVideoID()
		again := must(db.Store.CreateVideo(t.Context(), n))(t)
		if !again.Replayed || again.VideoID != first.VideoID {
			t.Errorf("got %+v, want a replay of %s", again, first.VideoID)
		}
		if l := load(t, db, n.Video.ID); l.Video != nil || l.Pipeline != nil {
			t.Errorf("the repeat created %+v", l)
		}

		if _, err := db.Store.DeleteVideo(t.Context(), first.VideoID, 0); err != nil {
			t.Fatal(err)
		}
		after := must(db.Store.CreateVideo(t.Context(), n))(t)
		if !after.Replayed || after.VideoID != first.VideoID || !after.Gone() {
			t.Errorf("after it was deleted: got %+v, want a replay that is gone", after)
		}
	})

	t.Run("the same key with another body is refused", func(t *testing.T) {
		t.Parallel()
		n := newVideo(t, db)
		n.IdempotencyKey, n.BodyHash = "k", []byte("hash")
		must(db.Store.CreateVideo(t.Context(), n))(t)
		n.Video.ID, n.BodyHash = postgrestest.NewVideoID(), []byte("other")
		if _, err := db.Store.CreateVideo(t.Context(), n); !errors.Is(err, postgres.ErrKeyReused) {
			t.Errorf("got %v, want ErrKeyReused", err)
		}
		if l := load(t, db, n.Video.ID); l.Video != nil {
			t.Error("it was created all the same")
		}
		n.UserID = uuid.NewString() // somebody else's key of the same name is another key
		if c := must(db.Store.CreateVideo(t.Context(), n))(t); c.Replayed {
			t.Error("another user's key was taken for this one's")
		}
	})

	t.Run("a key past its lifetime can be used anew", func(t *testing.T) {
		t.Parallel()
		n := newVideo(t, db)
		n.IdempotencyKey, n.BodyHash = "k", []byte("hash")
		must(db.Store.CreateVideo(t.Context(), n))(t)
		db.Exec(t, `update pipeline.idempotency_keys set created_at = now() - interval '25 hours' where user_id = $1`, n.UserID)
		n.Video.ID, n.BodyHash = postgrestest.NewVideoID(), []byte("other")
		if c := must(db.Store.CreateVideo(t.Context(), n))(t); c.Replayed || c.VideoID != n.Video.ID {
			t.Errorf("got %+v, want a new video", c)
		}
	})

	t.Run("of many at once with one key a single one creates", func(t *testing.T) {
		t.Parallel()
		n := newVideo(t, db)
		n.IdempotencyKey, n.BodyHash = "k", []byte("hash")
		results := make([]postgres.Created, 12)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() {
				n := n
				n.Video.ID = postgrestest.NewVideoID()
				var err error
				if results[i], err = db.Store.CreateVideo(t.Context(), n); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		creators := 0
		for _, r := range results {
			if r.VideoID != results[0].VideoID || r.Video == nil {
				t.Errorf("got %+v, want video %s", r, results[0].VideoID)
			}
			if !r.Replayed {
				creators++
			}
		}
		if n := count(t, db, `select count(*) from public.videos where course_id = $1`, n.Video.CourseID); n != 1 || creators != 1 {
			t.Errorf("%d videos and %d creators, want one of each", n, creators)
		}
	})

	t.Run("nothing is left of one that is refused", func(t *testing.T) {
		t.Parallel()
		for _, row := range []struct {
			name   string
			change func(*postgres.NewVideo)
			want   error
		}{
			{"no such course", func(n *postgres.NewVideo) { n.Video.CourseID = uuid.NewString() }, postgres.ErrNoCourse},
			{"a course that is no UUID", func(n *postgres.NewVideo) { n.Video.CourseID = "1 or 1=1" }, postgres.ErrNoCourse},
			{"text with a NUL", func(n *postgres.NewVideo) { n.Video.Title = "a\x00b" }, postgres.ErrText},
			{"text that is no UTF-8", func(n *postgres.NewVideo) { n.Video.Description = "a\xff" }, postgres.ErrText},
		} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				n := newVideo(t, db)
				n.IdempotencyKey, n.BodyHash = "k", []byte("hash")
				row.change(&n)
				if _, err := db.Store.CreateVideo(t.Context(), n); !errors.Is(err, row.want) {
					t.Errorf("got %v, want %v", err, row.want)
				}
				left := count(t, db, `select (select count(*) from public.videos where id = $1) + (select count(*) from pipeline.videos where video_id = $1)
					+ (select count(*) from pipeline.intents where video_id = $1) + (select count(*) from pipeline.idempotency_keys where video_id = $1)`,
					string(n.Video.ID))
				if left != 0 {
					t.Errorf("%d rows are left", left)
				}
			})
		}
	})
}

// TestLevelColumn: production's column may be an enum or text.
func TestLevelColumn(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"text": "",
		"enum": `
			create type public.video_level as enum ('beginner', 'intermediate', 'advanced');
			alter table public.videos drop constraint videos_level_check, alter column level drop default,
				alter column level type public.video_level using level::public.video_level`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := postgrestest.New(t)
			if change != "" {
				db.Exec(t, change)
			}
			if err := db.Store.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			n := newVideo(t, db)
			n.Video.Level = contract.Intermediate
			c := must(db.Store.CreateVideo(t.Context(), n))(t)
			if c.Video.Level != contract.Intermediate {
				t.Errorf("got level %q", c.Video.Level)
			}
		})
	}
}

var ignoreTimes = cmp.Options{
	cmpopts.IgnoreFields(contract.Pipeline{}, "CreatedAt", "UpdatedAt"),
	cmpopts.IgnoreFields(contract.Compression{}, "Since"),
}
