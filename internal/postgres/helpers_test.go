package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

var (
	topicID = uuid.MustParse("0f0e0d0c-0b0a-4900-8807-060504030201")
	noon    = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	summary = contract.TranscriptSummary{Duration: 125.5, Language: "en", Words: 412}
)

// at is the position of the record with this offset; a higher offset is a later time too.
func at(offset int64) contract.Position {
	return contract.Position{TopicID: topicID, Partition: 3, Offset: offset, Time: noon.Add(time.Duration(offset) * time.Second)}
}

// newVideo is one that a lecturer creates in a course of their own.
func newVideo(t *testing.T, db *postgrestest.DB) postgres.NewVideo {
	t.Helper()
	course, user := db.Course(t)
	return postgres.NewVideo{
		Video: contract.Video{
			ID: postgrestest.NewVideoID(), CourseID: course, Title: "Sorting", Description: "How to sort, and why",
			CameraVideoURL: "https://example.org/raw.mp4", Level: contract.Beginner,
		},
		UserID: user,
	}
}

// created adds a video whose two tracks wait.
func created(t *testing.T, db *postgrestest.DB) contract.VideoID {
	t.Helper()
	c, err := db.Store.CreateVideo(t.Context(), newVideo(t, db))
	if err != nil {
		t.Fatal(err)
	}
	return c.VideoID
}

func load(t *testing.T, db *postgrestest.DB, id contract.VideoID) postgres.Loaded {
	t.Helper()
	l, err := db.Store.Video(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func pipeline(t *testing.T, db *postgrestest.DB, id contract.VideoID) contract.Pipeline {
	t.Helper()
	l := load(t, db, id)
	if l.Pipeline == nil {
		t.Fatalf("video %s has no pipeline", id)
	}
	return *l.Pipeline
}

// must is for calls whose error fails the test.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func count(t *testing.T, db *postgrestest.DB, sql string, args ...any) (n int) {
	t.Helper()
	if err := db.Admin.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func wantSetupError(t *testing.T, err error) *postgres.SetupError {
	t.Helper()
	var setup *postgres.SetupError
	if !errors.As(err, &setup) {
		t.Fatalf("got %v, want a SetupError", err)
	}
	return setup
}

// store stores a transcript as an attempt of its own does.
func store(t *testing.T, db *postgrestest.DB, id contract.VideoID, pos contract.Position) {
	t.Helper()
	token := uuid.New()
	if c := must(db.Store.Claim(t.Context(), id, token, pos, time.Minute))(t); c.Outcome != postgres.Granted {
		t.Fatalf("claim of %s: %+v", pos, c)
	}
	ok, _, err := db.Store.ApplyTranscript(t.Context(), token, id, pos, url(pos), summary)
	if err != nil || !ok {
		t.Fatalf("apply %s: %v, %v", pos, ok, err)
	}
}

func url(pos contract.Position) string { return "https://storage.example.org/" + pos.String() }
