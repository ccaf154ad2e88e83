package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestAsks(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)

	t.Run("a repeat sends the bytes that were prepared first", func(t *testing.T) {
		t.Parallel()
		id := created(t, db)
		first := must(db.Store.PrepareAsk(t.Context(), id, 1, []byte("old title \x00\xff")))(t)
		again := must(db.Store.PrepareAsk(t.Context(), id, 1, []byte("new title")))(t)
		if string(first) != "old title \x00\xff" || string(again) != string(first) {
			t.Errorf("got %q, then %q", first, again)
		}
		p := must(db.Store.RecordAsk(t.Context(), id, 1))(t)
		if p.Transcription.Asks != 1 || p.Transcription.AskedAt == nil {
			t.Errorf("got %+v", p.Transcription)
		}
		if second := must(db.Store.PrepareAsk(t.Context(), id, 2, []byte("new title")))(t); string(second) != "new title" {
			t.Errorf("the next ask is %q", second)
		}
	})
	t.Run("recording is done once", func(t *testing.T) {
		t.Parallel()
		id := created(t, db)
		if err := db.Store.RecordError(t.Context(), id, contract.TranscriptionTrack, "Kafka was away"); err != nil {
			t.Fatal(err)
		}
		first := must(db.Store.RecordAsk(t.Context(), id, 1))(t)
		if first.Transcription.LastError != nil || first.Transcription.LastErrorAt != nil {
			t.Errorf("the last error is still %q", *first.Transcription.LastError)
		}
		if diff := cmp.Diff(first, must(db.Store.RecordAsk(t.Context(), id, 1))(t)); diff != "" {
			t.Errorf("the repeat changed something:\n%s", diff)
		}
		must(db.Store.RecordAsk(t.Context(), id, 2))(t)
		if late := must(db.Store.RecordAsk(t.Context(), id, 1))(t); late.Transcription.Asks != 2 {
			t.Errorf("a late repeat set the asks back to %d", late.Transcription.Asks)
		}
	})
	t.Run("only the next ask of a video that waits is prepared", func(t *testing.T) {
		t.Parallel()
		id := created(t, db)
		must(db.Store.RecordAsk(t.Context(), id, 1))(t)
		stale := func(n int, why string) {
			t.Helper()
			if _, err := db.Store.PrepareAsk(t.Context(), id, n, []byte("request")); !errors.Is(err, postgres.ErrStale) {
				t.Errorf("%s: got %v, want ErrStale", why, err)
			}
		}
		stale(1, "recorded already")
		stale(3, "not yet its turn")
		store(t, db, id, at(1))
		stale(2, "done")
		other := created(t, db)
		must(db.Store.GiveUp(t.Context(), other, contract.TranscriptionTrack, 0, "no answer"))(t)
		id = other
		stale(1, "given up")
		id = db.Video(t, "")
		stale(1, "not known")
		track(t, db, id)
		stale(1, "untracked")
	})
}

func TestReopen(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	asked := func(t *testing.T) contract.VideoID {
		id := created(t, db)
		must(db.Store.RecordAsk(t.Context(), id, 1))(t)
		return id
	}
	for name, prepare := range map[string]func(*testing.T) contract.VideoID{
		"waiting": asked,
		"done":    func(t *testing.T) contract.VideoID { id := asked(t); store(t, db, id, at(1)); return id },
		"given up": func(t *testing.T) contract.VideoID {
			id := asked(t)
			must(db.Store.GiveUp(t.Context(), id, contract.TranscriptionTrack, 1, "no answer"))(t)
			return id
		},
		"untracked": func(t *testing.T) contract.VideoID {
			id := db.Video(t, "")
			track(t, db, id)
			must(db.Store.RecordAsk(t.Context(), id, 1))(t)
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := prepare(t)
			before := pipeline(t, db, id)
			p := must(db.Store.Reopen(t.Context(), id, 1, 3))(t)
			want := before.Transcription
			want.State, want.AskedAt, want.AskLimit, want.LastError, want.LastErrorAt = contract.Waiting, nil, new(4), nil, nil
			if diff := cmp.Diff(want, p.Transcription); diff != "" {
				t.Errorf("transcription (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before.Compression, p.Compression); diff != "" {
				t.Errorf("the compression changed:\n%s", diff)
			}
			if diff := cmp.Diff(p, must(db.Store.Reopen(t.Context(), id, 1, 3))(t)); diff != "" {
				t.Errorf("the repeat changed something:\n%s", diff)
			}
			must(db.Store.PrepareAsk(t.Context(), id, 2, []byte("again")))(t)
			next := must(db.Store.RecordAsk(t.Context(), id, 2))(t)
			if diff := cmp.Diff(next, must(db.Store.Reopen(t.Context(), id, 1, 3))(t)); diff != "" {
				t.Errorf("a repeat after the ask changed something:\n%s", diff)
			}
		})
	}
	t.Run("an ask that may have been published is not asked again with other bytes", func(t *testing.T) {
		t.Parallel()
		id := asked(t)
		must(db.Store.PrepareAsk(t.Context(), id, 2, []byte("old address")))(t)
		p := must(db.Store.Reopen(t.Context(), id, 1, 3))(t).Transcription
		if p.Asks != 2 || p.AskedAt != nil || *p.AskLimit != 5 {
			t.Errorf("got %+v, want ask 3 due, of at most 5", p)
		}
		if got := string(must(db.Store.PrepareAsk(t.Context(), id, 3, []byte("new address")))(t)); got != "new address" {
			t.Errorf("ask 3 says %q", got)
		}
	})
	t.Run("what is stored stays, and nothing older replaces it", func(t *testing.T) {
		t.Parallel()
		id := asked(t)
		store(t, db, id, at(5))
		must(db.Store.Reopen(t.Context(), id, 1, 3))(t)
		for pos, want := range map[int64]postgres.Outcome{4: postgres.Superseded, 5: postgres.Applied} {
			if c := must(db.Store.Claim(t.Context(), id, newToken(), at(pos), time.Minute))(t); c.Outcome != want {
				t.Errorf("offset %d: got %s, want %s", pos, c.Outcome, want)
			}
		}
		store(t, db, id, at(6))
		if p := pipeline(t, db, id); p.Transcription.State != contract.Done {
			t.Errorf("got %s after the newer result", p.Transcription.State)
		}
	})
}
