package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// TestAnnounce_not_in_the_transaction: of those that announce something, one after the other waits for the disk.
func TestAnnounce_not_in_the_transaction(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	id := created(t, db)
	heard, _ := listening(t, db, db.DirectURL)
	if n := count(t, db, `select count(*) from pg_trigger where tgrelid = 'pipeline.videos'::regclass and tgname like 'announce%'`); n != 0 {
		t.Errorf("%d triggers announce within the transaction", n)
	}
	must(db.Store.MarkOverdue(t.Context(), id))(t)
	got := within(t, "the announcement", heard)
	if got.Revision == 1 { // that of the creation came late
		got = within(t, "the next announcement", heard)
	}
	if got.VideoID != id || got.Revision != 2 {
		t.Errorf("got %+v", got)
	}
}

// TestAnnounce_goes_on_when_a_connection_is_lost loses the connection that announces, and hears of what was committed
// nevertheless.
func TestAnnounce_goes_on_when_a_connection_is_lost(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	heard, _ := listening(t, db, db.DirectURL)
	const n = 20
	for i := range n {
		db.Exec(t, `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and application_name = 'vidflow'`)
		for {
			v := newVideo(t, db)
			v.IdempotencyKey, v.BodyHash = fmt.Sprint("video ", i), []byte("the same")
			if _, err := db.Store.CreateVideo(t.Context(), v); err == nil {
				break
			}
		}
	}
	seen := map[contract.VideoID]bool{}
	for len(seen) < n {
		seen[within(t, "an announcement", heard).VideoID] = true
	}
}

func TestAnnounce_close_says_what_is_left(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	heard, _ := listening(t, db, db.DirectURL)
	store := postgrestest.Open(t, db.URL)
	var last contract.VideoID
	for range 5 { // the later ones wait for the gap after the first to be over
		n := newVideo(t, db)
		must(store.CreateVideo(t.Context(), n))(t)
		last = n.Video.ID
	}
	store.Close()
	for {
		select {
		case c := <-heard:
			if c.VideoID == last {
				return
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("the last change was not announced")
		}
	}
}

// TestAnnounce_before_the_migration works where triggers of an earlier schema announce each change as well.
func TestAnnounce_before_the_migration(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	db.Exec(t, `create function pipeline.announce() returns trigger language plpgsql as $$
		begin
			perform pg_notify('vidflow_videos', new.video_id || ' ' || new.revision || ' ' || coalesce(new.course_id::text, ''));
			return null;
		end $$`)
	db.Exec(t, `create trigger announce_new after insert on pipeline.videos for each row execute function pipeline.announce()`)
	db.Exec(t, `create trigger announce_changed after update on pipeline.videos
		for each row when (old.revision <> new.revision) execute function pipeline.announce()`)
	heard, _ := listening(t, db, db.DirectURL)
	n := newVideo(t, db)
	must(db.Store.CreateVideo(t.Context(), n))(t)
	must(db.Store.MarkOverdue(t.Context(), n.Video.ID))(t)
	want := postgres.Change{VideoID: n.Video.ID, Revision: 2, CourseID: n.Video.CourseID}
	for within(t, "the last revision by the trigger", heard) != want {
		continue
	}
	for within(t, "the last revision by who wrote it", heard) != want {
		continue
	}
}
