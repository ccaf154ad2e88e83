package postgres_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestIntents(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	due := func(limit int, lease time.Duration) []postgres.Intent {
		t.Helper()
		return must(db.Store.DueIntents(t.Context(), limit, lease))(t)
	}
	ignore := cmpopts.IgnoreFields(postgres.Intent{}, "CreatedAt")
	shown := func(id contract.VideoID) *contract.Video {
		v := load(t, db, id).Video
		return &contract.Video{ID: id, Title: v.Title, CameraVideoURL: v.CameraVideoURL, CreatedAt: v.CreatedAt}
	}

	id := created(t, db)
	put := newVideo(t, db)
	put.RunAfter = time.Hour
	must(db.Store.CreateVideo(t.Context(), put))(t)
	want := []postgres.Intent{{VideoID: id, Kind: postgres.IntentRun, Attempts: 1, Video: shown(id)}}
	if diff := cmp.Diff(want, due(10, time.Minute), ignore); diff != "" {
		t.Errorf("due at first (-want +got):\n%s", diff)
	}
	if got := due(10, time.Minute); len(got) > 0 {
		t.Errorf("in hand already, and yet due: %+v", got)
	}

	if err := db.Store.IntentFailed(t.Context(), id, postgres.IntentRun, 0, "Temporal was away\x00"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, `select count(*) from pipeline.intents where last_error = 'Temporal was away'`); n != 1 {
		t.Error("the reason is not remembered")
	}
	want[0].Attempts = 2
	if diff := cmp.Diff(want, due(10, 0), ignore); diff != "" {
		t.Errorf("due after it failed (-want +got):\n%s", diff)
	}
	want[0].Attempts = 3
	if diff := cmp.Diff(want, due(10, time.Minute), ignore); diff != "" {
		t.Errorf("due after the lease of a relay that died (-want +got):\n%s", diff)
	}
	if err := db.Store.IntentFailed(t.Context(), id, postgres.IntentRun, time.Hour, "Temporal was away"); err != nil {
		t.Fatal(err)
	}
	if got := due(10, time.Minute); len(got) > 0 {
		t.Errorf("put off, and yet due: %+v", got)
	}

	for range 2 { // the second time nothing is left to forget
		if err := db.Store.IntentDone(t.Context(), id, postgres.IntentRun); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Store.IntentFailed(t.Context(), id, postgres.IntentRun, 0, "late"); err != nil {
		t.Fatal(err)
	}
	if got := intents(t, db, id); len(got) > 0 {
		t.Errorf("left: %v", got)
	}

	must(db.Store.DeleteVideo(t.Context(), put.Video.ID, 0))(t)
	want = []postgres.Intent{{VideoID: put.Video.ID, Kind: postgres.IntentCleanup, Attempts: 1}}
	if diff := cmp.Diff(want, due(10, time.Minute), ignore); diff != "" {
		t.Errorf("due after deleting (-want +got):\n%s", diff)
	}
}

func TestIntentsOfManyRelays(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t, postgres.WithMaxConns(8))
	const videos = 1500
	db.Exec(t, `
		with v as (
			insert into pipeline.videos (video_id, transcription_state, compression_state)
			select gen_random_uuid(), 'waiting', 'waiting' from generate_series(1, $1::int) returning video_id)
		insert into pipeline.intents (video_id, kind) select video_id, 'run' from v`, videos)
	var mu sync.Mutex
	var taken []contract.VideoID
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for {
				got, err := db.Store.DueIntents(t.Context(), 5, time.Hour)
				if err != nil {
					t.Error(err)
				}
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, i := range got {
					taken = append(taken, i.VideoID)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(taken)
	if n := len(slices.Compact(slices.Clone(taken))); n != videos || len(taken) != videos {
		t.Errorf("%d intents taken, of %d videos; want each of %d once", len(taken), n, videos)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	old, young := newVideo(t, db), newVideo(t, db)
	for _, n := range []postgres.NewVideo{old, young} {
		n.IdempotencyKey, n.BodyHash = "k", []byte("hash")
		must(db.Store.CreateVideo(t.Context(), n))(t)
		must(db.Store.Claim(t.Context(), n.Video.ID, newToken(), at(1), time.Hour))(t)
	}
	db.Exec(t, `update pipeline.claims set until = now() - interval '1 second' where video_id = $1`, string(old.Video.ID))
	db.Exec(t, `update pipeline.idempotency_keys set created_at = now() - interval '25 hours' where video_id = $1`, string(old.Video.ID))
	for _, want := range []int{2, 0} {
		if got := must(db.Store.Sweep(t.Context(), 100))(t); got != want {
			t.Errorf("swept %d, want %d", got, want)
		}
	}
	for _, table := range []string{"claims", "idempotency_keys"} {
		if n := count(t, db, `select count(*) from pipeline.`+table+` where video_id = $1`, string(young.Video.ID)); n != 1 {
			t.Errorf("%s: what still counts was swept", table)
		}
	}
}
