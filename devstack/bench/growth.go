package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

var space = Measure{
	Name:   "space",
	About:  "what a finished video leaves behind in each store, what it writes to the log of Postgres, and how often it commits",
	Keys:   []string{"disk_kb_per_video", "wal_kb_per_video", "commits_per_video"},
	Stores: true,
	Run:    measureSpace,
}

var house = Measure{
	Name:  "house",
	About: "how long looking for vanished videos takes, by how many videos are known",
	Keys:  []string{"house_seconds_per_million"},
	Run:   measureHouse,
}

// The videos of which a first few make files and pages that are there for all.
const firstVideos, spaceVideos = 50, 500

func measureSpace(ctx context.Context, lab *Lab, out *report.Report) error {
	for _, name := range []string{Worker, Starter, Bridge} {
		if _, err := lab.Start(ctx, name); err != nil {
			return err
		}
	}
	if _, err := sendVideos(ctx, lab, firstVideos); err != nil {
		return err
	}
	before, err := spaceOf(ctx, lab)
	if err != nil {
		return err
	}
	n := lab.N(spaceVideos)
	looks, err := sendVideos(ctx, lab, n)
	if err != nil {
		return err
	}
	after, err := spaceOf(ctx, lab)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("%d videos of %s", n, spoken(sizeSpeech))
	each := func(key, of, unit string, per float64) {
		out.Add(report.Row{Key: key, Of: of, Unit: unit, Value: per / float64(n), Note: note})
	}
	each("disk_kb_per_video", "tables of vidflow", "kB", float64(after.tables-before.tables)/1e3)
	each("disk_kb_per_video", "Temporal", "kB", float64(after.temporal-before.temporal)/1e3)
	each("disk_kb_per_video", "Kafka", "kB", float64(after.kafka-before.kafka)/1e3)
	each("disk_kb_per_video", "storage", "kB", float64(after.storage-before.storage)/1e3)
	each("wal_kb_per_video", "", "kB", float64(after.wal-before.wal)/1e3)
	each("commits_per_video", "database of vidflow", "", float64(after.commits-before.commits-int64(looks)))
	if lab.Store == Postgres {
		each("commits_per_video", "database of Temporal", "", float64(after.temporalCommits-before.temporalCommits))
	}
	return nil
}

// stored is what is where, in bytes; and how often was committed.
type stored struct{ tables, temporal, kafka, storage, wal, commits, temporalCommits int64 }

func spaceOf(ctx context.Context, lab *Lab) (s stored, err error) {
	conn, err := pgx.Connect(ctx, lab.SuperuserURL)
	if err != nil {
		return s, err
	}
	defer func() { _ = conn.Close(ctx) }()
	// What sessions have counted is seen a second later at the most.
	if err := wait(ctx, 2*time.Second); err != nil {
		return s, err
	}
	err = conn.QueryRow(ctx, `
		select (select sum(pg_total_relation_size(c.oid)) from pg_class c join pg_namespace n on n.oid = c.relnamespace
				where c.relkind = 'r' and (n.nspname = 'pipeline' or n.nspname = 'public' and c.relname = 'videos'))::bigint,
			coalesce((select sum(pg_database_size(oid)) from pg_database where datname like 'temporal%'), 0)::bigint,
			(pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint,
			(select xact_commit from pg_stat_database where datname = current_database()),
			coalesce((select xact_commit from pg_stat_database where datname = 'temporal'), 0)`,
	).Scan(&s.tables, &s.temporal, &s.wal, &s.commits, &s.temporalCommits)
	if err != nil {
		return s, err
	}
	if lab.Store == SQLite {
		if s.temporal, err = diskOf(lab.Dir, "temporal.sqlite*"); err != nil {
			return s, err
		}
	}
	if s.kafka, err = diskOf(lab.Dir, "kafka"); err != nil {
		return s, err
	}
	s.storage, err = diskOf(lab.Dir, "storage")
	return s, err
}

// diskOf is the size of all files that match, in dir, or are in a folder there that does.
func diskOf(dir, pattern string) (size int64, err error) {
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		return 0, errors.Join(fmt.Errorf("there is no %s in %s", pattern, dir), err)
	}
	for _, name := range names {
		err := filepath.WalkDir(name, func(_ string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if errors.Is(err, os.ErrNotExist) { // it was a moment ago
				return nil
			}
			if err == nil {
				size += info.Size()
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return size, nil
}

// houseVideos are known when looking for vanished ones is timed the last time, houseSteps times in all.
const houseVideos, houseSteps, housePage = 400_000, 4, 2_000

func measureHouse(ctx context.Context, lab *Lab, out *report.Report) error {
	conn, err := pgx.Connect(ctx, lab.SuperuserURL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	store, err := postgres.Open(ctx, lab.Env.Value("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer store.Close()
	curve := report.Series{Plot: "house", Name: "one look at all videos", X: "videos, in millions", Y: "seconds"}
	step := max(lab.N(houseVideos)/houseSteps, 1)
	var row report.Row
	for i := range houseSteps {
		if err := addFinished(ctx, conn, step); err != nil {
			return err
		}
		millions := float64((i+1)*step) / 1e6
		row = report.Row{Key: "house_seconds_per_million", Unit: "s", Note: fmt.Sprintf("of Postgres, at %.1f million finished videos", millions)}
		var seconds []float64
		for range lab.Rounds {
			began := time.Now()
			if err := lookAtAll(ctx, store); err != nil {
				return err
			}
			took := time.Since(began).Seconds()
			seconds = append(seconds, took)
			row.Rounds = append(row.Rounds, report.Round{Ours: took, Value: took / millions})
		}
		curve.Points = append(curve.Points, [2]float64{millions, report.Median(seconds)})
	}
	out.Add(row)
	out.Series = append(out.Series, curve)
	return nil
}

// addFinished adds finished videos, without a word to anybody who listens.
func addFinished(ctx context.Context, conn *pgx.Conn, n int) error {
	_, err := conn.Exec(ctx, fmt.Sprintf(`
		set session_replication_role = replica;
		with added as (
			insert into public.videos (id, course_id, title, description, camera_video_url, transcript_url, level)
			select gen_random_uuid(), (select min(id::text)::uuid from public.courses), 'Looked at', 'A video that is finished.',
				'https://example.test/a.mp4', 'https://example.test/a.json', 'beginner'
			from generate_series(1, %d)
			returning id, course_id
		)
		insert into pipeline.videos (video_id, course_id, transcription_state, compression_state)
		select id, course_id, 'done', 'done' from added;
		reset session_replication_role;
		analyze public.videos;
		analyze pipeline.videos`, n))
	return err
}

func lookAtAll(ctx context.Context, store *postgres.Store) error {
	var after contract.VideoID
	for {
		vanished, next, err := store.FindVanished(ctx, after, housePage)
		if err == nil && len(vanished) > 0 {
			err = fmt.Errorf("%d videos vanished that are there", len(vanished))
		}
		if err != nil || next == "" {
			return err
		}
		after = next
	}
}
