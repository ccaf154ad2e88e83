package postgres_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// TestPositionsInSQL holds pipeline.newer and pipeline.same against contract.Position, which say the same in Go.
func TestPositionsInSQL(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	const sql = `
		with p as (select row($1::uuid, $2::int, $3::bigint, $4::timestamptz)::pipeline.position a,
			row($5::uuid, $6::int, $7::bigint, $8::timestamptz)::pipeline.position b)
		select pipeline.newer(a, b), pipeline.newer(b, a), pipeline.same(a, b), pipeline.same(b, a) from p`
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPosition(t, "a"), drawPosition(t, "b")
		var newer, older, same, same2 bool
		if err := db.Admin.QueryRow(t.Context(), sql, a.TopicID, a.Partition, a.Offset, a.Time, b.TopicID, b.Partition, b.Offset, b.Time).
			Scan(&newer, &older, &same, &same2); err != nil {
			t.Fatal(err)
		}
		if got, want := [4]bool{newer, older, same, same2}, [4]bool{a.Newer(&b), b.Newer(&a), a.Same(&b), b.Same(&a)}; got != want {
			t.Fatalf("a newer, b newer, same, same: the database says %v, contract.Position %v", got, want)
		}
	})

	var newer, same bool
	if err := db.Admin.QueryRow(t.Context(), `
		select pipeline.newer(a, null), pipeline.same(a, null)
		from (select row($1::uuid, 0, 0, now())::pipeline.position a) p`, topicID).Scan(&newer, &same); err != nil {
		t.Fatal(err)
	}
	if !newer || same {
		t.Errorf("against nothing: newer %v, same %v; anything is newer than nothing and nothing is the same", newer, same)
	}
}

// drawPosition draws from few values each, so that parts are often equal.
func drawPosition(t *rapid.T, name string) contract.Position {
	topic := uuid.UUID{}
	topic[0] = rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0xff}).Draw(t, name+" topic, first byte")
	topic[15] = rapid.SampledFrom([]byte{0, 1}).Draw(t, name+" topic, last byte")
	millis := rapid.OneOf(rapid.Int64Range(-2, 2), rapid.Int64Range(0, 4_000_000_000_000)).Draw(t, name+" time")
	return contract.Position{
		TopicID:   topic,
		Partition: rapid.Int32Range(0, 2).Draw(t, name+" partition"),
		Offset:    rapid.OneOf(rapid.Int64Range(0, 2), rapid.Int64Min(0)).Draw(t, name+" offset"),
		Time:      time.UnixMilli(millis).UTC(),
	}
}
