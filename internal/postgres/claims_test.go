package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestClaims(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	claim := func(t *testing.T, id contract.VideoID, token uuid.UUID, pos contract.Position) postgres.Claim {
		t.Helper()
		return must(db.Store.Claim(t.Context(), id, token, pos, time.Minute))(t)
	}
	want := func(t *testing.T, c postgres.Claim, outcome postgres.Outcome) {
		t.Helper()
		if c.Outcome != outcome {
			t.Fatalf("got %+v, want %s", c, outcome)
		}
	}
	apply := func(t *testing.T, id contract.VideoID, token uuid.UUID, pos contract.Position) bool {
		t.Helper()
		ok, _, err := db.Store.ApplyTranscript(t.Context(), token, id, pos, url(pos), summary)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	runOut := func(t *testing.T, token uuid.UUID) {
		t.Helper()
		db.Exec(t, `update pipeline.claims set until = clock_timestamp() - interval '1 microsecond' where token = $1`, token)
	}

	t.Run("1 exclusive", func(t *testing.T) {
		t.Parallel()
		id, first := created(t, db), newToken()
		granted := claim(t, id, first, at(1))
		want(t, granted, postgres.Granted)
		if granted.Wait <= 30*time.Second || granted.Wait > time.Minute {
			t.Errorf("granted for %s, want a minute", granted.Wait)
		}
		for _, pos := range []contract.Position{at(2), at(0)} {
			busy := claim(t, id, newToken(), pos)
			want(t, busy, postgres.Busy)
			if !busy.Until.Equal(granted.Until) || busy.Wait <= 0 || busy.Wait > granted.Wait {
				t.Errorf("busy until %s, in %s; the claim that stands: %+v", busy.Until, busy.Wait, granted)
			}
		}
		want(t, claim(t, created(t, db), newToken(), at(2)), postgres.Granted) // another video
		if err := db.Store.ReleaseClaim(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		want(t, claim(t, id, newToken(), at(2)), postgres.Granted)
	})

	t.Run("2 per attempt", func(t *testing.T) {
		t.Parallel()
		id, dead, alive := created(t, db), newToken(), newToken()
		want(t, claim(t, id, dead, at(1)), postgres.Granted)
		want(t, claim(t, id, alive, at(1)), postgres.Granted)
		if !apply(t, id, alive, at(1)) {
			t.Fatal("not applied")
		}
		want(t, claim(t, id, newToken(), at(2)), postgres.Busy) // the dead attempt's upload may still land
		runOut(t, dead)
		want(t, claim(t, id, newToken(), at(2)), postgres.Granted)
	})

	t.Run("3 refuse older", func(t *testing.T) {
		t.Parallel()
		id := created(t, db)
		store(t, db, id, at(5))
		want(t, claim(t, id, newToken(), at(4)), postgres.Superseded)
		want(t, claim(t, id, newToken(), at(5)), postgres.Applied)
		want(t, claim(t, id, newToken(), at(6)), postgres.Granted)
	})

	t.Run("3 refuse older, when the newer one was applied while it waited", func(t *testing.T) {
		t.Parallel()
		id, newer := created(t, db), newToken()
		want(t, claim(t, id, newer, at(5)), postgres.Granted)
		want(t, claim(t, id, newToken(), at(4)), postgres.Busy)
		if !apply(t, id, newer, at(5)) {
			t.Fatal("not applied")
		}
		want(t, claim(t, id, newToken(), at(4)), postgres.Superseded)
	})

	t.Run("4 fenced", func(t *testing.T) {
		t.Parallel()
		id, token := created(t, db), newToken()
		want(t, claim(t, id, token, at(1)), postgres.Granted)
		before := load(t, db, id)
		for name, try := range map[string]func() bool{
			"another token":    func() bool { return apply(t, id, newToken(), at(1)) },
			"another position": func() bool { return apply(t, id, token, at(2)) },
			"another video":    func() bool { return apply(t, created(t, db), token, at(1)) },
		} {
			if try() {
				t.Errorf("applied with %s", name)
			}
		}
		runOut(t, token)
		if apply(t, id, token, at(1)) {
			t.Error("applied with a claim that has run out")
		}
		if diff := cmp.Diff(before, load(t, db, id)); diff != "" {
			t.Errorf("something changed:\n%s", diff)
		}
	})

	t.Run("4 one statement sets all and releases", func(t *testing.T) {
		t.Parallel()
		id, token := created(t, db), newToken()
		if err := db.Store.RecordError(t.Context(), id, contract.TranscriptionTrack, "Storage was away."); err != nil {
			t.Fatal(err)
		}
		want(t, claim(t, id, token, at(1)), postgres.Granted)
		ok, p, err := db.Store.ApplyTranscript(t.Context(), token, id, at(1), url(at(1)), summary)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if diff := cmp.Diff(pipeline(t, db, id), p); diff != "" {
			t.Errorf("the answer is not what is stored:\n%s", diff)
		}
		if p.Transcription.State != contract.Done || !at(1).Same(p.Transcription.Position) || p.Transcription.LastError != nil {
			t.Errorf("got %+v", p.Transcription)
		}
		if got := db.TranscriptURL(t, id); got != url(at(1)) {
			t.Errorf("the row says %q", got)
		}
		if n := count(t, db, `select count(*) from pipeline.claims where video_id = $1`, string(id)); n != 0 {
			t.Errorf("%d claims are left", n)
		}
		// The answer was lost and the call is repeated: the claim is gone, so the attempt begins anew and learns all.
		if apply(t, id, token, at(1)) {
			t.Error("the repeat applied again")
		}
		want(t, claim(t, id, newToken(), at(1)), postgres.Applied)
		if diff := cmp.Diff(p, pipeline(t, db, id)); diff != "" {
			t.Errorf("the repeat changed something:\n%s", diff)
		}
	})

	t.Run("two attempts side by side apply their position once", func(t *testing.T) {
		t.Parallel()
		id, fast, slow := created(t, db), newToken(), newToken()
		want(t, claim(t, id, fast, at(1)), postgres.Granted)
		want(t, claim(t, id, slow, at(1)), postgres.Granted)
		if !apply(t, id, fast, at(1)) {
			t.Fatal("not applied")
		}
		before := load(t, db, id)
		if apply(t, id, slow, at(1)) {
			t.Error("applied twice")
		}
		if diff := cmp.Diff(before, load(t, db, id)); diff != "" {
			t.Errorf("the slow one changed something:\n%s", diff)
		}
		want(t, claim(t, id, newToken(), at(1)), postgres.Applied)
		want(t, claim(t, id, newToken(), at(2)), postgres.Granted) // both claims are released
	})

	t.Run("5 keep on doubt", func(t *testing.T) {
		t.Parallel()
		id, doubtful := created(t, db), newToken()
		want(t, claim(t, id, doubtful, at(1)), postgres.Granted)
		again := newToken() // the attempt after the one in doubt: same position, so it need not wait
		want(t, claim(t, id, again, at(1)), postgres.Granted)
		if !apply(t, id, again, at(1)) {
			t.Fatal("not applied")
		}
		want(t, claim(t, id, newToken(), at(2)), postgres.Busy)
		wait := must(db.Store.ClaimsUntil(t.Context(), id))(t)
		if wait <= 20*time.Second || wait > time.Minute {
			t.Errorf("claims stand for %s, want a minute", wait)
		}
	})

	t.Run("6 claims run out", func(t *testing.T) {
		t.Parallel()
		id, token := created(t, db), newToken()
		want(t, claim(t, id, token, at(1)), postgres.Granted)
		runOut(t, token)
		if wait := must(db.Store.ClaimsUntil(t.Context(), id))(t); wait != 0 {
			t.Errorf("claims stand for %s", wait)
		}
		want(t, claim(t, id, newToken(), at(0)), postgres.Granted)
		want(t, claim(t, id, token, at(1)), postgres.Busy) // the slow attempt finds that it may not go on
	})

	t.Run("a repeated call renews its own claim alone", func(t *testing.T) {
		t.Parallel()
		id, token := created(t, db), newToken()
		first := claim(t, id, token, at(1))
		again := claim(t, id, token, at(1))
		want(t, again, postgres.Granted)
		if again.Until.Before(first.Until) {
			t.Errorf("granted until %s and then %s", first.Until, again.Until)
		}
		if n := count(t, db, `select count(*) from pipeline.claims where video_id = $1`, string(id)); n != 1 {
			t.Errorf("%d claims", n)
		}
		if c := claim(t, created(t, db), token, at(1)); c.Outcome == postgres.Granted {
			t.Error("a token of another video's attempt was taken")
		}
	})

	t.Run("after a video is deleted no claim is granted and those that stand are known", func(t *testing.T) {
		t.Parallel()
		id, token := created(t, db), newToken()
		want(t, claim(t, id, token, at(1)), postgres.Granted)
		must(db.Store.DeleteVideo(t.Context(), id, 0))(t)
		want(t, claim(t, id, token, at(1)), postgres.Gone)
		want(t, claim(t, id, newToken(), at(2)), postgres.Gone)
		if wait := must(db.Store.ClaimsUntil(t.Context(), id))(t); wait <= 20*time.Second {
			t.Errorf("claims stand for %s, want a minute", wait)
		}
		if err := db.Store.ReleaseClaim(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if wait := must(db.Store.ClaimsUntil(t.Context(), id))(t); wait != 0 {
			t.Errorf("released, and yet claims stand for %s", wait)
		}
	})
}

// TestClaimsAtOnce: a claim that waits for the row's lock decides by what the holder of the lock left, not by what was
// there when it began to wait.
func TestClaimsAtOnce(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t, postgres.WithMaxConns(16))
	for range 20 {
		id := created(t, db)
		var mu sync.Mutex
		outcomes := map[postgres.Outcome]int{}
		var wg sync.WaitGroup
		for offset := range int64(8) {
			wg.Go(func() {
				c, err := db.Store.Claim(t.Context(), id, newToken(), at(offset), time.Minute)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				outcomes[c.Outcome]++
			})
		}
		wg.Wait()
		if outcomes[postgres.Granted] != 1 || outcomes[postgres.Busy] != 7 {
			t.Fatalf("got %v, want one granted and the rest busy", outcomes)
		}
	}
}

// TestNewestWins has many attempts store results of one video at once, on storage that takes uploads whose client has
// gone: in the end the newest is what is stored and what is applied.
func TestNewestWins(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t, postgres.WithMaxConns(12))
	for run := range 6 {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			t.Parallel()
			id := created(t, db)
			objects := &lateStorage{}
			group, ctx := errgroup.WithContext(t.Context())
			const results = 8
			for offset := range int64(results) {
				for twice := range 2 { // the same result may be worked on twice: a reset run, a local activity left behind
					rng := rand.New(rand.NewPCG(uint64(run), uint64(2*offset)+uint64(twice)))
					group.Go(func() error { return storeAtLast(ctx, db.Store, objects, id, at(offset), rng) })
				}
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
			objects.flying.Wait()
			p := pipeline(t, db, id)
			if newest := at(results - 1); !newest.Same(p.Transcription.Position) || objects.stored != newest || db.TranscriptURL(t, id) != url(newest) {
				t.Errorf("applied is %s, stored is %s, the row says %s; want %s everywhere",
					p.Transcription.Position, objects.stored, db.TranscriptURL(t, id), newest)
			}
		})
	}
}

// lateStorage holds one object, and may take an upload after its client has gone, but not after the upload's deadline.
type lateStorage struct {
	mu     sync.Mutex
	stored contract.Position
	flying sync.WaitGroup
}

func (s *lateStorage) land(pos contract.Position, deadline time.Time) (landed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if landed = time.Now().Before(deadline); landed {
		s.stored = pos
	}
	return landed
}

// storeAtLast makes attempts until one is told that nothing is left to do. Early ones often die or time out with their
// upload still under way.
func storeAtLast(ctx context.Context, db *postgres.Store, objects *lateStorage, id contract.VideoID, pos contract.Position, rng *rand.Rand) error {
	const ttl = 500 * time.Millisecond
	for attempt := 0; ; attempt++ {
		token, began := newToken(), time.Now()
		claim, err := db.Claim(ctx, id, token, pos, ttl)
		if err != nil {
			return err
		}
		switch claim.Outcome {
		case postgres.Superseded, postgres.Applied:
			return nil
		case postgres.Busy:
			select {
			case <-time.After(min(claim.Wait, time.Duration(1+rng.IntN(30))*time.Millisecond)):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		case postgres.Granted:
		default:
			return errors.New(string(claim.Outcome))
		}
		deadline := began.Add(claim.Wait)
		switch fate := rng.IntN(4); {
		case fate == 0 && attempt < 20: // in doubt: it lands later, or never
			delay := time.Duration(rng.Int64N(int64(ttl)))
			objects.flying.Go(func() {
				<-time.After(delay)
				objects.land(pos, deadline)
			})
		case fate == 1: // refused for certain
			if err := db.ReleaseClaim(ctx, token); err != nil {
				return err
			}
		default:
			if !objects.land(pos, deadline) {
				continue // took too long: in doubt
			}
			if _, _, err := db.ApplyTranscript(ctx, token, id, pos, url(pos), summary); err != nil {
				return err
			}
		}
	}
}
