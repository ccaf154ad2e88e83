package postgres_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestTranscript(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, _ := db.Course(t)

	id := db.Video(t, course)
	if got := must(db.Store.Transcript(t.Context(), id))(t); got != (postgres.StoredTranscript{}) {
		t.Errorf("before there is one: %+v", got)
	}
	db.Exec(t, `update public.videos set transcript_url = 'https://cdn.example.org/old.json' where id = $1`, string(id))
	want := postgres.StoredTranscript{Address: "https://cdn.example.org/old.json"}
	if diff := cmp.Diff(want, must(db.Store.Transcript(t.Context(), id))(t)); diff != "" {
		t.Errorf("one of the old server's (-want +got):\n%s", diff)
	}

	mine := created(t, db)
	pos := at(3)
	store(t, db, mine, pos)
	want = postgres.StoredTranscript{Address: url(pos), Position: &pos}
	if diff := cmp.Diff(want, must(db.Store.Transcript(t.Context(), mine))(t)); diff != "" {
		t.Errorf("one that was applied (-want +got):\n%s", diff)
	}

	if _, err := db.Store.DeleteVideo(t.Context(), mine, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Store.Transcript(t.Context(), mine); !errors.Is(err, postgres.ErrNoVideo) {
		t.Errorf("of a deleted video: %v", err)
	}
	if _, err := db.Store.Transcript(t.Context(), postgrestest.NewVideoID()); !errors.Is(err, postgres.ErrNoVideo) {
		t.Errorf("of a video that never was: %v", err)
	}
}
