package postgres_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func intents(t *testing.T, db *postgrestest.DB, id contract.VideoID) (kinds []string) {
	t.Helper()
	rows, err := db.Admin.Query(t.Context(), `select kind from pipeline.intents where video_id = $1 order by kind`, string(id))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind string
		if err := rows.Scan(&kind); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

func TestDeleteVideo(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	for name, add := range map[string]func(*testing.T) contract.VideoID{
		"one created here":       func(t *testing.T) contract.VideoID { return created(t, db) },
		"one of the old server":  func(t *testing.T) contract.VideoID { return db.Video(t, "") },
		"one whose row vanished": func(t *testing.T) contract.VideoID { id := created(t, db); db.RemoveVideo(t, id); return id },
		"one with a result of the old server": func(t *testing.T) contract.VideoID {
			id := db.Video(t, "")
			track(t, db, id)
			store(t, db, id, at(1))
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := add(t)
			if deleted := must(db.Store.DeleteVideo(t.Context(), id, time.Hour))(t); !deleted {
				t.Error("says that there was nothing to delete")
			}
			l := load(t, db, id)
			if l.Video != nil || l.Pipeline == nil || l.Pipeline.DeletedAt == nil {
				t.Errorf("left: %+v", l)
			}
			if got := intents(t, db, id); !slices.Equal(got, []string{"cleanup"}) {
				t.Errorf("intents %v, want the one to clean up", got)
			}

			// The cleanup is done, and the call is repeated because its answer was lost.
			if err := db.Store.IntentDone(t.Context(), id, postgres.IntentCleanup); err != nil {
				t.Fatal(err)
			}
			if deleted := must(db.Store.DeleteVideo(t.Context(), id, time.Hour))(t); deleted {
				t.Error("the repeat says that it deleted")
			}
			if diff := cmp.Diff(l, load(t, db, id)); diff != "" {
				t.Errorf("the repeat changed something:\n%s", diff)
			}
			if got := intents(t, db, id); len(got) > 0 {
				t.Errorf("the repeat left intents %v", got)
			}
		})
	}
	t.Run("one that never was", func(t *testing.T) {
		t.Parallel()
		if _, err := db.Store.DeleteVideo(t.Context(), postgrestest.NewVideoID(), 0); !errors.Is(err, postgres.ErrNoVideo) {
			t.Errorf("got %v, want ErrNoVideo", err)
		}
	})
}

func track(t *testing.T, db *postgrestest.DB, id contract.VideoID) {
	t.Helper()
	must(db.Store.LoadPipeline(t.Context(), id))(t)
}

// TestDeleted: whatever arrives for a deleted or vanished video, late or repeated, changes nothing.
func TestDeleted(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	for name, remove := range map[string]func(*testing.T, contract.VideoID){
		"deleted":  func(t *testing.T, id contract.VideoID) { must(db.Store.DeleteVideo(t.Context(), id, 0))(t) },
		"vanished": func(t *testing.T, id contract.VideoID) { db.RemoveVideo(t, id) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, token := created(t, db), uuid.New()
			must(db.Store.PrepareAsk(t.Context(), id, 1, []byte("request")))(t)
			must(db.Store.Claim(t.Context(), id, token, at(1), time.Minute))(t)
			remove(t, id)
			before := load(t, db, id)

			ok, _, err := db.Store.ApplyTranscript(t.Context(), token, id, at(1), url(at(1)), summary)
			if err != nil || ok {
				t.Errorf("ApplyTranscript: got %v, %v; want not applied", ok, err)
			}
			if c := must(db.Store.Claim(t.Context(), id, uuid.New(), at(2), time.Minute))(t); c.Outcome != postgres.Gone {
				t.Errorf("Claim: got %+v, want gone", c)
			}
			outcome, _, err := db.Store.ApplyCompression(t.Context(), id, at(2), "https://example.org/c.mp4")
			if err != nil || outcome != postgres.Gone {
				t.Errorf("ApplyCompression: got %v, %v; want gone", outcome, err)
			}
			if _, err := db.Store.PrepareAsk(t.Context(), id, 1, []byte("request")); !errors.Is(err, postgres.ErrStale) {
				t.Errorf("PrepareAsk: got %v, want ErrStale", err)
			}
			if diff := cmp.Diff(before, load(t, db, id)); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
			if name == "vanished" {
				return // the rest is harmless without a tombstone: nothing outside depends on it
			}
			must(db.Store.RecordAsk(t.Context(), id, 1))(t)
			must(db.Store.Reopen(t.Context(), id, 0, 3))(t)
			must(db.Store.MarkOverdue(t.Context(), id))(t)
			must(db.Store.GiveUp(t.Context(), id, contract.TranscriptionTrack, 0, "reason"))(t)
			must(db.Store.GiveUp(t.Context(), id, contract.CompressionTrack, 0, "reason"))(t)
			if err := db.Store.RecordError(t.Context(), id, contract.CompressionTrack, "error"); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(before, load(t, db, id)); diff != "" {
				t.Errorf("the tombstone changed:\n%s", diff)
			}
		})
	}
	t.Run("deleted, and a row with its id comes back", func(t *testing.T) { // from a backup, say: a tombstone is for ever
		t.Parallel()
		n := newVideo(t, db)
		must(db.Store.CreateVideo(t.Context(), n))(t)
		token := newToken()
		must(db.Store.Claim(t.Context(), n.Video.ID, token, at(1), time.Minute))(t)
		must(db.Store.DeleteVideo(t.Context(), n.Video.ID, 0))(t)
		db.Exec(t, `insert into public.videos (id, course_id, title, description, camera_video_url) values ($1, $2, 'Back', 'Back again', 'https://example.org/raw.mp4')`,
			string(n.Video.ID), n.Video.CourseID)
		before := must(db.Store.LoadPipeline(t.Context(), n.Video.ID))(t)
		if !before.Gone() {
			t.Errorf("got %+v, want it to count as gone", before)
		}
		if c := must(db.Store.Claim(t.Context(), n.Video.ID, newToken(), at(1), time.Minute))(t); c.Outcome != postgres.Gone {
			t.Errorf("Claim: got %+v, want gone", c)
		}
		if ok, _, err := db.Store.ApplyTranscript(t.Context(), token, n.Video.ID, at(1), url(at(1)), summary); err != nil || ok {
			t.Errorf("ApplyTranscript: got %v, %v; want not applied", ok, err)
		}
		if outcome, _, err := db.Store.ApplyCompression(t.Context(), n.Video.ID, at(2), "https://example.org/c.mp4"); err != nil || outcome != postgres.Gone {
			t.Errorf("ApplyCompression: got %v, %v; want gone", outcome, err)
		}
		if _, err := db.Store.PrepareAsk(t.Context(), n.Video.ID, 1, []byte("request")); !errors.Is(err, postgres.ErrStale) {
			t.Errorf("PrepareAsk: got %v, want ErrStale", err)
		}
		if deleted := must(db.Store.DeleteVideo(t.Context(), n.Video.ID, 0))(t); deleted {
			t.Error("deleted twice")
		}
		after := load(t, db, n.Video.ID)
		if after.Video != nil {
			t.Error("deleting it again left the row")
		}
		if diff := cmp.Diff(before.Pipeline, after.Pipeline); diff != "" {
			t.Errorf("the tombstone changed:\n%s", diff)
		}
	})
	t.Run("never known", func(t *testing.T) {
		t.Parallel()
		id := postgrestest.NewVideoID()
		if c := must(db.Store.Claim(t.Context(), id, uuid.New(), at(2), time.Minute))(t); c.Outcome != postgres.Gone {
			t.Errorf("Claim: got %+v, want gone", c)
		}
		outcome, p, err := db.Store.ApplyCompression(t.Context(), id, at(2), "https://example.org/c.mp4")
		if err != nil || outcome != postgres.Gone || p.VideoID != "" {
			t.Errorf("ApplyCompression: got %v, %+v, %v; want gone", outcome, p, err)
		}
		if ok, _, err := db.Store.ApplyTranscript(t.Context(), uuid.New(), id, at(1), url(at(1)), summary); err != nil || ok {
			t.Errorf("ApplyTranscript: got %v, %v", ok, err)
		}
		if _, err := db.Store.RecordAsk(t.Context(), id, 1); !errors.Is(err, postgres.ErrNoVideo) {
			t.Errorf("RecordAsk: got %v, want ErrNoVideo", err)
		}
		if err := db.Store.RecordError(t.Context(), id, contract.TranscriptionTrack, "error"); err != nil {
			t.Errorf("RecordError: %v", err)
		}
		if l := load(t, db, id); l.Pipeline != nil {
			t.Errorf("it became known: %+v", l.Pipeline)
		}
	})
}

func TestFindVanished(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, _ := db.Course(t)
	var gone []contract.VideoID
	for i := range 10 {
		id := db.Video(t, course)
		track(t, db, id)
		switch i % 3 {
		case 0:
			db.RemoveVideo(t, id)
			gone = append(gone, id)
		case 1:
			if i == 1 {
				must(db.Store.DeleteVideo(t.Context(), id, 0))(t) // known to be gone
			}
		}
	}
	slices.Sort(gone)
	sweep := func(limit int) (found []contract.VideoID) {
		var after contract.VideoID
		for {
			ids, next, err := db.Store.FindVanished(t.Context(), after, limit)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, ids...)
			if after = next; next == "" {
				return found
			}
		}
	}
	if diff := cmp.Diff(gone, sweep(3)); diff != "" {
		t.Errorf("vanished (-want +got):\n%s", diff)
	}
	for _, id := range gone {
		if p := pipeline(t, db, id); p.DeletedAt == nil {
			t.Errorf("video %s has no tombstone", id)
		}
		if got := intents(t, db, id); !slices.Equal(got, []string{"cleanup"}) {
			t.Errorf("video %s: intents %v", id, got)
		}
	}
	if again := sweep(100); len(again) > 0 {
		t.Errorf("found again: %v", again)
	}

	t.Run("those of a deleted course", func(t *testing.T) {
		db.Exec(t, `delete from public.courses where id = $1`, course)
		if got := len(sweep(100)); got != 5 {
			t.Errorf("found %d, want 5", got)
		}
	})
}

// TestFindVanished_reads_each_row_once: however many videos there are, a page looks up those that are on it.
func TestFindVanished_reads_each_row_once(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, _ := db.Course(t)
	const videos, page = 5_000, 500
	db.Exec(t, `
		with added as (
			insert into public.videos (id, course_id, title, description, camera_video_url)
			select gen_random_uuid(), $1, 'One of many', 'A video among many.', 'https://example.test/a.mp4' from generate_series(1, $2::int)
			returning id
		)
		insert into pipeline.videos (video_id, transcription_state, compression_state) select id, 'done', 'done' from added`, course, videos)
	db.Exec(t, `analyze`)
	read := func() (byKey, inOrder int) {
		if err := db.Admin.QueryRow(t.Context(), `select idx_scan, seq_tup_read from pg_stat_user_tables
			where relid = 'public.videos'::regclass`).Scan(&byKey, &inOrder); err != nil {
			t.Fatal(err)
		}
		return byKey, inOrder
	}
	byKeyBefore, inOrderBefore := read()
	store, err := postgres.Open(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	var after contract.VideoID
	for pages := 0; pages == 0 || after != ""; pages++ {
		if _, after, err = store.FindVanished(t.Context(), after, page); err != nil {
			t.Fatal(err)
		}
	}
	store.Close() // the server counts what a session has read when it ends, at the latest
	deadline := time.After(2 * time.Minute)
	for {
		byKey, inOrder := read()
		if byKey, inOrder = byKey-byKeyBefore, inOrder-inOrderBefore; byKey+inOrder >= videos {
			if inOrder > 0 || byKey > videos {
				t.Errorf("%d rows were looked up by their key and %d read in order, want %d and 0", byKey, inOrder, videos)
			}
			return
		}
		select {
		case <-deadline:
			t.Fatal("the server has not counted what was read")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
