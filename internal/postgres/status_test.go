package postgres_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

var deadlines = postgres.Deadlines{AskAgainAfter: 6 * time.Hour, OverdueAfter: 24 * time.Hour, GiveUpAfter: 24 * time.Hour}

// put adds a row to the pipeline as it is some time after; columns and values are SQL.
func put(t testing.TB, db *postgrestest.DB, columns, values string) contract.VideoID {
	t.Helper()
	id := postgrestest.NewVideoID()
	db.Exec(t, `insert into pipeline.videos (video_id, `+columns+`) values ($1, `+values+`)`, string(id))
	return id
}

func TestOverview_of_nothing(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	got := must(db.Store.Overview(t.Context(), deadlines))(t)
	want := postgres.Overview{Intents: []postgres.IntentQueue{{Kind: postgres.IntentRun}, {Kind: postgres.IntentCleanup}}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(postgres.Overview{}, "Now"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOverview(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	const (
		tracks = `transcription_state, compression_state, asks, asked_at, created_at, compression_since`
		ago    = `now() - interval `
	)
	// Waits for both since an hour.
	first := put(t, db, tracks, `'waiting', 'waiting', 1, `+ago+`'1 hour', `+ago+`'1 hour', `+ago+`'1 hour'`)
	// Was asked for a second time; the compression is overdue.
	oldest := put(t, db, tracks, `'waiting', 'overdue', 5, `+ago+`'2 hours', `+ago+`'30 hours', `+ago+`'30 hours'`)
	// Waits since its retry.
	put(t, db, tracks+`, ask_limit`, `'waiting', 'done', 4, `+ago+`'10 minutes', `+ago+`'90 days', `+ago+`'90 days', 6`)
	// Deadlines that passed: no ask was sent, the next one was not, overdue was not noticed.
	put(t, db, `transcription_state, compression_state, updated_at`, `'waiting', 'done', `+ago+`'10 minutes'`)
	put(t, db, tracks, `'waiting', 'done', 1, `+ago+`'6 hours 6 minutes', `+ago+`'7 hours', now()`)
	late := put(t, db, tracks, `'done', 'waiting', 1, now(), `+ago+`'25 hours', `+ago+`'25 hours'`)
	// Not yet: less than the slack.
	put(t, db, tracks, `'waiting', 'done', 1, `+ago+`'6 hours 4 minutes', `+ago+`'7 hours', now()`)
	// The last step failed.
	db.Exec(t, `update pipeline.videos set transcription_error = 'no storage', transcription_error_at = now() - interval '3 minutes' where video_id = $1`, string(first))
	db.Exec(t, `update pipeline.videos set transcription_error = 'no Kafka', transcription_error_at = now() - interval '2 minutes' where video_id = $1`, string(oldest))
	// Failed; the third is a tombstone.
	failed := put(t, db, `transcription_state, compression_state, transcription_error, transcription_error_at`, `'given_up', 'done', 'no answer', `+ago+`'1 hour'`)
	put(t, db, `transcription_state, compression_state, compression_error, compression_error_at`, `'done', 'given_up', 'late', `+ago+`'3 days'`)
	put(t, db, `transcription_state, compression_state, transcription_error_at, deleted_at`, `'given_up', 'waiting', now(), now()`)
	put(t, db, `transcription_state, compression_state`, `'done', 'untracked'`)

	db.Exec(t, `insert into pipeline.intents (video_id, kind, created_at, attempts, last_error) values
		($1, 'run', now() - interval '1 minute', 0, null), ($2, 'run', now() - interval '2 minutes', 7, 'Temporal was away')`,
		string(first), string(late))

	applied := created(t, db)
	store(t, db, applied, at(50))
	letter := func(id contract.VideoID, offset int64, minute int, class string) postgres.DeadLetter {
		l := deadLetter(id, offset, minute)
		l.Class = class
		return l
	}
	overtaken, sent := letter(applied, 40, 1, "json"), letter("", 60, 2, "json")
	if err := db.Store.RecordDeadLetters(t.Context(), []postgres.DeadLetter{
		overtaken, sent, letter(first, 61, 3, "json"), letter("", 62, 4, "json"), letter(applied, 63, 5, "url"),
	}, []postgres.Redriven{{Origin: sent.Origin, Letters: []string{sent.Letter}, At: noon}}); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `delete from pipeline.intents where video_id = $1`, string(applied))

	got := must(db.Store.Overview(t.Context(), deadlines))(t)
	since := func(ago time.Duration) time.Time { return got.Now.Add(-ago) }
	lately := func(ago time.Duration) *time.Time { at := since(ago); return &at }
	want := postgres.Overview{
		Unfinished:     8,
		Transcriptions: postgres.Queue{Count: 6, Oldest: &postgres.Waiting{VideoID: oldest, Since: since(30 * time.Hour), Asks: 5}},
		Compressions:   postgres.Queue{Count: 3, Oldest: &postgres.Waiting{VideoID: late, Since: since(25 * time.Hour), Asks: 1}},
		Overdue:        postgres.Queue{Count: 1, Oldest: &postgres.Waiting{VideoID: oldest, Since: since(30 * time.Hour), Asks: 5}},
		Unattended:     postgres.Queue{Count: 3, Oldest: &postgres.Waiting{VideoID: late, Since: since(time.Hour), Asks: 1}},
		Troubled:       postgres.Queue{Count: 2, Oldest: &postgres.Waiting{VideoID: first, Since: since(3 * time.Minute), Asks: 1}},
		TroubledError:  "no storage",
		Failed:         2, FailedLately: 1,
		NewestFailed: []postgres.GivenUp{
			{VideoID: failed, Track: contract.TranscriptionTrack, At: lately(time.Hour), Reason: "no answer"},
			{Track: contract.CompressionTrack, At: lately(72 * time.Hour), Reason: "late"},
		},
		Intents: []postgres.IntentQueue{
			{Kind: postgres.IntentRun, Count: 2, Oldest: lately(2 * time.Minute), LastError: "Temporal was away", Attempts: 7},
			{Kind: postgres.IntentCleanup},
		},
		OpenLetters: []postgres.LetterCount{
			{Topic: "update_transcribe", Class: "json", Count: 2, Newest: noon.Add(4 * time.Minute)},
			{Topic: "update_transcribe", Class: "url", Count: 1, Newest: noon.Add(5 * time.Minute)},
		},
		NewestLetters: []postgres.OpenLetter{
			{Topic: "update_transcribe", Letter: "0/5", VideoID: applied, Class: "url", Reason: "reason 5", DiedAt: noon.Add(5 * time.Minute)},
			{Topic: "update_transcribe", Letter: "0/4", Class: "json", Reason: "reason 4", DiedAt: noon.Add(4 * time.Minute)},
			{Topic: "update_transcribe", Letter: "0/3", VideoID: first, Class: "json", Reason: "reason 3", DiedAt: noon.Add(3 * time.Minute)},
		},
	}
	want.NewestFailed[1].VideoID = got.NewestFailed[1].VideoID
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(postgres.Overview{}, "Now"), cmpopts.EquateApproxTime(time.Minute)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// What the metrics say of the same is the same.
	summary := must(db.Store.Summarize(t.Context()))(t)
	if summary.Transcription.Waiting != got.Transcriptions.Count || summary.Overdue != got.Overdue.Count ||
		summary.Compression.Waiting != got.Compressions.Count+got.Overdue.Count || summary.Transcription.OpenDeadLetters != 3 ||
		summary.Outbox[postgres.IntentRun].Intents != 2 ||
		(summary.Transcription.OldestWaiting-30*time.Hour).Abs() > time.Minute {
		t.Errorf("the metrics say something else: %+v", summary)
	}
}

func TestDetails(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	id, other := created(t, db), created(t, db)
	store(t, db, id, at(50))
	claimed := at(55)
	must(db.Store.Claim(t.Context(), id, [16]byte{7}, claimed, time.Minute))(t)
	open, gone := deadLetter(id, 60, 2), deadLetter(id, 61, 1)
	gone.WithoutValue = true
	if err := db.Store.RecordDeadLetters(t.Context(), []postgres.DeadLetter{open, gone, deadLetter(id, 10, 0), deadLetter(other, 70, 3)},
		[]postgres.Redriven{{Origin: gone.Origin, VideoID: id, Letters: []string{gone.Letter}, At: noon}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Store.IntentFailed(t.Context(), id, postgres.IntentRun, time.Hour, "away"); err != nil {
		t.Fatal(err)
	}
	got := must(db.Store.Details(t.Context(), id))(t)
	letter := func(d postgres.DeadLetter, open bool, redriven *time.Time) postgres.VideoLetter {
		return postgres.VideoLetter{
			OpenLetter: postgres.OpenLetter{Topic: d.Topic, Letter: d.Letter, VideoID: id, Class: d.Class, Reason: d.Reason, DiedAt: d.DiedAt},
			Track:      d.Track, Open: open, RedrivenAt: redriven, WithoutValue: d.WithoutValue,
		}
	}
	want := postgres.Details{
		Intents: []postgres.PendingIntent{{Kind: postgres.IntentRun, CreatedAt: got.Now, NextAt: got.Now.Add(time.Hour), LastError: "away"}},
		Claims:  []postgres.StandingClaim{{Position: claimed, Until: got.Now.Add(time.Minute)}},
		Letters: []postgres.VideoLetter{letter(open, true, nil), letter(gone, false, &noon), letter(deadLetter(id, 10, 0), false, nil)},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(postgres.Details{}, "Now"), cmpopts.EquateApproxTime(30*time.Second)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	empty := must(db.Store.Details(t.Context(), postgrestest.NewVideoID()))(t)
	if len(empty.Intents)+len(empty.Claims)+len(empty.Letters) > 0 {
		t.Errorf("of an unknown video: %+v", empty)
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	have, want, err := db.Store.Schema(t.Context())
	if err != nil || have != want || want < 3 {
		t.Errorf("got %d, %d, %v", have, want, err)
	}
	db.Exec(t, `delete from pipeline.migrations where version_id = $1`, want)
	if have, _, err = db.Store.Schema(t.Context()); err != nil || have >= want {
		t.Errorf("an older schema: got %d, %v, want less than %d", have, err, want)
	}
}

func TestClients(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	starter := postgrestest.Open(t, db.URL, postgres.WithApplicationName("vidflow starter"))
	if err := starter.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := must(db.Store.Clients(t.Context()))(t)
	if pooled := os.Getenv(postgrestest.PoolerVariable) != ""; got.Pooled != pooled {
		t.Errorf("pooled: got %t, want %t", got.Pooled, pooled)
	}
	if got.Pooled {
		return // then the names say nothing
	}
	if len(got.Sessions) != 1 || got.Sessions[0].Application != "vidflow starter" || got.Sessions[0].Connections != 1 ||
		got.Sessions[0].LastActive == nil || got.Now.Sub(*got.Sessions[0].LastActive) > time.Minute {
		t.Errorf("got %+v, want the starter", got)
	}

	// Somebody with another login learns that it is there, and no more.
	cfg, err := pgx.ParseConfig(db.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["application_name"] = "vidflow admin"
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	got = must(db.Store.Clients(t.Context()))(t)
	if len(got.Sessions) != 2 || got.Sessions[0].Application != "vidflow admin" || got.Sessions[0].Connections != 1 || got.Sessions[0].LastActive != nil {
		t.Errorf("got %+v, want the admin's connection without more", got)
	}
}

// BenchmarkOverview is of as many videos as BenchmarkSummarize is.
func BenchmarkOverview(b *testing.B) {
	for _, waiting := range []float64{.01, 1} {
		b.Run(fmt.Sprintf("videos=100000/waiting=%v", waiting), func(b *testing.B) {
			db := postgrestest.New(b)
			manyVideos(b, db, 100_000, 1000, waiting)
			for b.Loop() {
				if _, err := db.Store.Overview(b.Context(), deadlines); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
