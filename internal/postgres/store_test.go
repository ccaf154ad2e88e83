package postgres_test

import (
	"testing"

	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	if err := db.Store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := db.Video(t, "")
	l, err := db.Store.LoadPipeline(t.Context(), id)
	t.Logf("%+v %+v %v", l.Video, l.Pipeline, err)
}
