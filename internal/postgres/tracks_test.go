package postgres_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func newToken() uuid.UUID { return uuid.New() }

// TestStateNeverMovesBackwards tries every change on a video in every state.
func TestStateNeverMovesBackwards(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	setState := func(t *testing.T, column, state string) contract.VideoID {
		id := created(t, db)
		must(db.Store.RecordAsk(t.Context(), id, 1))(t)
		db.Exec(t, `update pipeline.videos set `+column+` = $2 where video_id = $1`, string(id), state)
		return id
	}

	for _, row := range []struct {
		name   string
		column string
		call   func(t *testing.T, id contract.VideoID) (contract.Pipeline, error)
		got    func(contract.Pipeline) contract.TrackState
		want   map[contract.TrackState]contract.TrackState
	}{
		{
			name: "MarkOverdue", column: "compression_state",
			call: func(t *testing.T, id contract.VideoID) (contract.Pipeline, error) {
				return db.Store.MarkOverdue(t.Context(), id)
			},
			got: func(p contract.Pipeline) contract.TrackState { return p.Compression.State },
			want: map[contract.TrackState]contract.TrackState{
				contract.Untracked: contract.Untracked, contract.Waiting: contract.Overdue, contract.Overdue: contract.Overdue,
				contract.Done: contract.Done, contract.GivenUp: contract.GivenUp,
			},
		},
		{
			name: "GiveUp the compression", column: "compression_state",
			call: func(t *testing.T, id contract.VideoID) (contract.Pipeline, error) {
				return db.Store.GiveUp(t.Context(), id, contract.CompressionTrack, 0, "it never came")
			},
			got: func(p contract.Pipeline) contract.TrackState { return p.Compression.State },
			want: map[contract.TrackState]contract.TrackState{
				contract.Untracked: contract.Untracked, contract.Waiting: contract.GivenUp, contract.Overdue: contract.GivenUp,
				contract.Done: contract.Done, contract.GivenUp: contract.GivenUp,
			},
		},
		{
			name: "GiveUp the transcription", column: "transcription_state",
			call: func(t *testing.T, id contract.VideoID) (contract.Pipeline, error) {
				return db.Store.GiveUp(t.Context(), id, contract.TranscriptionTrack, 1, "no answer")
			},
			got: func(p contract.Pipeline) contract.TrackState { return p.Transcription.State },
			want: map[contract.TrackState]contract.TrackState{
				contract.Untracked: contract.Untracked, contract.Waiting: contract.GivenUp,
				contract.Done: contract.Done, contract.GivenUp: contract.GivenUp,
			},
		},
		{
			name: "GiveUp the transcription of another ask", column: "transcription_state",
			call: func(t *testing.T, id contract.VideoID) (contract.Pipeline, error) {
				return db.Store.GiveUp(t.Context(), id, contract.TranscriptionTrack, 0, "no answer")
			},
			got:  func(p contract.Pipeline) contract.TrackState { return p.Transcription.State },
			want: map[contract.TrackState]contract.TrackState{contract.Waiting: contract.Waiting},
		},
	} {
		for from, to := range row.want {
			t.Run(row.name+" when "+string(from), func(t *testing.T) {
				t.Parallel()
				id := setState(t, row.column, string(from))
				before := pipeline(t, db, id)
				p := must(row.call(t, id))(t)
				if got := row.got(p); got != to {
					t.Errorf("got %s, want %s", got, to)
				}
				if changed := p.Revision != before.Revision; changed != (from != to) {
					t.Errorf("revision went from %d to %d", before.Revision, p.Revision)
				}
				if diff := cmp.Diff(p, must(row.call(t, id))(t)); diff != "" {
					t.Errorf("the repeat changed something:\n%s", diff)
				}
			})
		}
	}
}

func TestRecordError(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	id := created(t, db)
	record := func(track contract.Track, message string) contract.Pipeline {
		t.Helper()
		if err := db.Store.RecordError(t.Context(), id, track, message); err != nil {
			t.Fatal(err)
		}
		return pipeline(t, db, id)
	}

	first := record(contract.TranscriptionTrack, "Storage is away.")
	if first.Transcription.LastError == nil || *first.Transcription.LastError != "Storage is away." || first.Transcription.LastErrorAt == nil {
		t.Errorf("got %+v", first.Transcription)
	}
	if diff := cmp.Diff(first, record(contract.TranscriptionTrack, "Storage is away.")); diff != "" {
		t.Errorf("the same text was written again:\n%s", diff)
	}
	second := record(contract.TranscriptionTrack, "Kafka is away.")
	if *second.Transcription.LastError != "Kafka is away." || second.Revision != first.Revision+1 {
		t.Errorf("got %+v", second)
	}
	odd := record(contract.CompressionTrack, "a\x00b\xff"+strings.Repeat("ü", 3000))
	if got := *odd.Compression.LastError; !utf8.ValidString(got) || strings.Contains(got, "\x00") || len(got) > 1100 {
		t.Errorf("%d bytes: %.20q…", len(got), got)
	}

	store(t, db, id, at(1))
	if _, _, err := db.Store.ApplyCompression(t.Context(), id, at(1), "https://example.org/c.mp4"); err != nil {
		t.Fatal(err)
	}
	done := pipeline(t, db, id)
	if done.Transcription.LastError != nil || done.Compression.LastError != nil {
		t.Errorf("applying left an error: %+v", done)
	}
	record(contract.TranscriptionTrack, "late")
	if diff := cmp.Diff(done, record(contract.CompressionTrack, "late")); diff != "" {
		t.Errorf("a track that is done was touched:\n%s", diff)
	}
}

func TestApplyCompression(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	id := created(t, db)
	other := contract.Position{TopicID: topicID, Partition: 9, Offset: 1, Time: at(20).Time}
	for _, step := range []struct {
		pos  contract.Position
		want postgres.Outcome
		url  string // in the row, afterwards
	}{
		{at(5), postgres.Applied, "5"},
		{at(5), postgres.Applied, "5"},
		{at(4), postgres.Superseded, "5"},
		{at(6), postgres.Applied, "6"},
		{at(5), postgres.Superseded, "6"},
		{other, postgres.Applied, "1"}, // another partition, later time
		{at(7), postgres.Superseded, "1"},
	} {
		before := pipeline(t, db, id)
		set := map[postgres.Outcome]string{postgres.Applied: step.url}[step.want]
		outcome, p, err := db.Store.ApplyCompression(t.Context(), id, step.pos, set)
		if err != nil || outcome != step.want {
			t.Fatalf("%s: got %s, %v; want %s", step.pos, outcome, err, step.want)
		}
		if got := db.CameraVideoURL(t, id); got != step.url {
			t.Errorf("%s: the row says %q, want %q", step.pos, got, step.url)
		}
		if p.Compression.State != contract.Done {
			t.Errorf("%s: state is %s", step.pos, p.Compression.State)
		}
		if same := step.pos.Same(before.Compression.Position); same && p.Revision != before.Revision {
			t.Errorf("%s: a repeat raised the revision", step.pos)
		}
	}
	t.Run("a video of the old server stays untracked on the other side", func(t *testing.T) {
		id := db.Video(t, "")
		track(t, db, id)
		outcome, p, err := db.Store.ApplyCompression(t.Context(), id, at(1), "https://example.org/c.mp4")
		if err != nil || outcome != postgres.Applied || p.Compression.State != contract.Done || p.Transcription.State != contract.Untracked {
			t.Errorf("got %s, %+v, %v", outcome, p, err)
		}
		if got := postgres.StateOf(&p); got != postgres.Done {
			t.Errorf("as a whole it is %s", got)
		}
	})
}
