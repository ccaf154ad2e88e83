package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestSummarize(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	got, err := db.Store.Summarize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	empty := postgres.Summary{Outbox: map[postgres.IntentKind]postgres.OutboxSummary{postgres.IntentRun: {}, postgres.IntentCleanup: {}}}
	if diff := cmp.Diff(empty, got); diff != "" {
		t.Errorf("with no videos (-want +got):\n%s", diff)
	}

	db.Exec(t, `
		insert into pipeline.videos (video_id, transcription_state, compression_state, created_at, compression_since, ask_limit, asked_at, deleted_at)
		select gen_random_uuid(), t, c, now() - age, now() - age, ask_limit, now() - asked, deleted from (values
			('waiting', 'waiting', interval '1 hour', null::int, interval '10 min', null::timestamptz),
			('waiting', 'overdue', '30 hours', null, '2 hours', null), -- waits longest for both
			('waiting', 'done', '90 days', 6, '3 hours', null), -- was retried three hours ago
			('given_up', 'given_up', '20 days', null, '19 days', null),
			('done', 'given_up', '20 days', null, '19 days', null),
			('untracked', 'untracked', '90 days', null, null, null),
			('done', 'done', '90 days', null, '90 days', null),
			('waiting', 'overdue', '90 days', null, '90 days', now()) -- deleted
		) v (t, c, age, ask_limit, asked, deleted)`)
	db.Exec(t, `
		insert into pipeline.intents (video_id, kind, created_at)
		select video_id, 'run', now() - interval '1 min' from pipeline.videos where transcription_state = 'waiting' and deleted_at is null
		union all
		select video_id, 'cleanup', now() - interval '2 min' from pipeline.videos where deleted_at is not null`)
	letter := func(track, video string, age time.Duration, redriven bool) {
		t.Helper()
		db.Exec(t, `
			insert into pipeline.dead_letters (origin, topic, track, video_id, class, reason, without_value, letter, died_at, redriven_at)
			values (row(gen_random_uuid(), 0, 1, now() - $3::interval)::pipeline.position, 'topic', $1, $2::text::uuid, 'json', 'no JSON', false, '0/1',
				now(), case when $4 then now() end)`, track, sqlNull(video), age, redriven)
	}
	applied := postgrestest.NewVideoID().String()
	db.Exec(t, `
		insert into pipeline.videos (video_id, transcription_state, compression_state, transcript_position)
		values ($1, 'done', 'done', row(gen_random_uuid(), 0, 1, now() - interval '1 hour')::pipeline.position)`, applied)
	deleted := postgrestest.NewVideoID().String()
	db.Exec(t, `
		insert into pipeline.videos (video_id, transcription_state, compression_state, deleted_at) values ($1, 'waiting', 'waiting', now())`, deleted)
	letter("transcription", "", time.Minute, false)
	letter("transcription", postgrestest.NewVideoID().String(), time.Minute, false) // of a video that is not known
	letter("transcription", applied, time.Minute, false)
	letter("transcription", applied, 2*time.Hour, false) // overtaken
	letter("compression", applied, 2*time.Hour, false)   // overtaken by nothing of its track
	letter("transcription", "", time.Minute, true)       // sent back
	letter("transcription", deleted, time.Minute, false)

	got, err = db.Store.Summarize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := postgres.Summary{
		Transcription: postgres.TrackSummary{Waiting: 3, OldestWaiting: 30 * time.Hour, Failed: 1, OpenDeadLetters: 3},
		Compression:   postgres.TrackSummary{Waiting: 2, OldestWaiting: 30 * time.Hour, Failed: 2, OpenDeadLetters: 1},
		Overdue:       1,
		Outbox: map[postgres.IntentKind]postgres.OutboxSummary{
			postgres.IntentRun: {Intents: 3, Oldest: time.Minute}, postgres.IntentCleanup: {Intents: 1, Oldest: 2 * time.Minute},
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(x, y time.Duration) bool { return (x - y).Abs() < 30*time.Second })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func sqlNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// TestSummarize_does_not_read_every_video looks at the plan: the work of finished videos is none.
func TestSummarize_does_not_read_every_video(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	manyVideos(t, db, 20_000, 200, .01)
	// What the making of them counted is published first, and forgotten: the insert, and the look at all videos for letters.
	deadline := time.Now().Add(2 * time.Minute)
	for made, looks := 0, 0; made < 20_000 || looks < 1; {
		err := db.Admin.QueryRow(t.Context(), `
			select n_tup_ins, seq_scan from pg_stat_user_tables where schemaname = 'pipeline' and relname = 'videos'`).Scan(&made, &looks)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the server has counted %d videos and %d looks: %v", made, looks, err)
		}
	}
	db.Exec(t, `select pg_stat_reset()`)
	if _, err := db.Store.Summarize(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.Store.Close() // which has the server publish what it counted; a pooler keeps the connection, which does so within 10 s
	var scans, rows int
	deadline = time.Now().Add(2 * time.Minute)
	for scans == 0 && rows == 0 && time.Now().Before(deadline) {
		err := db.Admin.QueryRow(t.Context(), `
			select seq_scan, idx_tup_fetch from pg_stat_user_tables where schemaname = 'pipeline' and relname = 'videos'`).Scan(&scans, &rows)
		if err != nil {
			t.Fatal(err)
		}
	}
	if scans != 0 || rows < 200 || rows > 1000 {
		t.Errorf("got %d scans of all videos and %d read by an index, want 0 and a few hundred", scans, rows)
	}
}

// BenchmarkSummarize reads the summary of many videos: nearly all done, as usually, or all waiting, as after an outage.
func BenchmarkSummarize(b *testing.B) {
	for _, row := range []struct {
		videos, letters int
		waiting         float64 // share of them
	}{
		{100_000, 1000, .01}, {100_000, 1000, 1}, {1_000_000, 10_000, .01},
	} {
		b.Run(fmt.Sprintf("videos=%d/waiting=%v", row.videos, row.waiting), func(b *testing.B) {
			db := postgrestest.New(b)
			manyVideos(b, db, row.videos, row.letters, row.waiting)
			for b.Loop() {
				if _, err := db.Store.Summarize(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// manyVideos of which a share waits for both results, and a tenth of that was given up; their letters are all overtaken.
func manyVideos(t testing.TB, db *postgrestest.DB, videos, letters int, waiting float64) {
	t.Helper()
	db.Exec(t, `
		insert into pipeline.videos (video_id, course_id, user_id, transcription_state, compression_state, asks, asked_at,
			transcript_position, compression_position, transcript_duration, transcript_language, transcript_words)
		select gen_random_uuid(), gen_random_uuid(), gen_random_uuid()::text,
			case when i > $1::int * $2::float8 then 'done' when i % 10 = 0 then 'given_up' else 'waiting' end,
			case when i > $1::int * $2::float8 then 'done' when i % 10 = 0 then 'given_up' else 'waiting' end, 1, now(),
			row(gen_random_uuid(), 0, i, now())::pipeline.position, row(gen_random_uuid(), 0, i, now())::pipeline.position, 60, 'en', 1000
		from generate_series(1, $1::int) i`, videos, waiting)
	db.Exec(t, `
		insert into pipeline.dead_letters (origin, topic, track, video_id, class, reason, without_value, letter, died_at)
		select row(gen_random_uuid(), 0, i, now() - interval '1 day')::pipeline.position, 'update_transcribe', 'transcription', v.video_id, 'json',
			'no JSON', false, '0/' || i, now()
		from (select video_id, row_number() over () as i from pipeline.videos limit $1::int) v`, letters)
	db.Exec(t, `vacuum analyze pipeline.videos`)
	db.Exec(t, `analyze pipeline.dead_letters`)
}
