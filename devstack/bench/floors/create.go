package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// createCmd inserts the rows of new videos, a transaction for each, and says how many it did.
type createCmd struct {
	URL         string        `help:"Postgres." env:"DATABASE_URL" required:""`
	Course      string        `help:"The videos' course." required:""`
	User        string        `help:"Who creates them." required:""`
	AtOnce      int           `help:"How many insert one video after the other." default:"32"`
	Connections int           `help:"Connections that they share." default:"16"`
	Warmup      time.Duration `help:"Time that is not counted." default:"500ms"`
	Time        time.Duration `help:"Time that is counted." default:"3s"`
	RoundTrips  bool          `help:"A statement at a time, and not all of a transaction at once."`
}

var inserts = []string{
	`insert into pipeline.idempotency_keys (user_id, key, body_hash, video_id) values ($1, $2, $3, $4)`,
	`insert into pipeline.videos (video_id, course_id, user_id, transcription_state, compression_state)
		values ($1, $2, $3, 'waiting', 'waiting')`,
	`insert into public.videos (id, course_id, title, description, camera_video_url, level) values ($1, $2, $3, $4, $5, $6)`,
	// Nobody is to start a run for it.
	`insert into pipeline.intents (video_id, kind, next_at) values ($1, 'run', now() + interval '1 day')`,
}

// Run serves as soon as its connections are open, and ends after the time.
func (c *createCmd) Run(ctx context.Context) error {
	cfg, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return err
	}
	cfg.MaxConns, cfg.MinConns = int32(c.Connections), int32(c.Connections)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	fmt.Println("inserting")

	var all, counted atomic.Int64
	begin := time.Now().Add(c.Warmup)
	end := begin.Add(c.Time)
	var group sync.WaitGroup
	failed := make(chan error, c.AtOnce)
	for range c.AtOnce {
		group.Go(func() {
			for {
				if err := c.insert(ctx, pool); err != nil {
					failed <- err
					return
				}
				all.Add(1)
				switch now := time.Now(); {
				case now.After(end):
					return
				case now.After(begin):
					counted.Add(1)
				}
			}
		})
	}
	group.Wait()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return err
	}
	cpu := float64(used.Utime.Nano()+used.Stime.Nano()) / 1e6
	select {
	case err := <-failed:
		return err
	default:
	}
	var after int
	if err := pool.QueryRow(ctx, `select count(*) from public.videos v join pipeline.videos p on p.video_id = v.id
		join pipeline.intents i on i.video_id = v.id join pipeline.idempotency_keys k on k.video_id = v.id
		where i.next_at > now() + interval '1 hour'`).Scan(&after); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, `delete from pipeline.intents where next_at > now() + interval '1 hour'`); err != nil {
		return err
	}
	if int64(after) != all.Load() {
		return fmt.Errorf("%d transactions, and %d videos with all their rows", all.Load(), after)
	}
	return tell(ctx, map[string]float64{
		"per_second": float64(counted.Load()) / c.Time.Seconds(), "cpu_ms": cpu / float64(all.Load()),
	})
}

func (c *createCmd) insert(ctx context.Context, pool *pgxpool.Pool) error {
	id := uuid.NewString()
	args := [][]any{
		{c.User, id, make([]byte, 32), id},
		{id, c.Course, c.User},
		{id, c.Course, "Graphs, part 1", "Paths, cycles and trees, with an example of each.", "https://cdn.example.com/raw/graphs-1.mp4", "beginner"},
		{id},
	}
	if c.RoundTrips {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			for i, sql := range inserts {
				if _, err := tx.Exec(ctx, sql, args[i]...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var batch pgx.Batch // one transaction
	for i, sql := range inserts {
		batch.Queue(sql, args[i]...)
	}
	return pool.SendBatch(ctx, &batch).Close()
}
