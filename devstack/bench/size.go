package bench

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/simulator"
)

var sizes = Measure{
	Name:  "size",
	About: "the binary, how long its processes take to be ready, and their memory, idle and after videos",
	Keys:  []string{"binary_mb", "start_ms", "rss_mb"},
	Run:   measureSizes,
}

const (
	// starts is how often each process is started, at least; a start takes a moment.
	starts = 9
	// idleFor is how long a process has had nothing to do when its memory is read.
	idleFor = 5 * time.Second
	// sizeVideos go through the pipeline before memory is read again, created by sizeAtOnce callers, each with the transcript
	// of sizeSpeech.
	sizeVideos = 500
	sizeAtOnce = 16
	sizeSpeech = 10 * time.Minute
)

func measureSizes(ctx context.Context, lab *Lab, out *report.Report) error {
	binary, err := os.Stat(lab.Vidflow(Worker, nil).Path)
	if err != nil {
		return err
	}
	out.Add(report.Row{Key: "binary_mb", Unit: "MB", Value: megabytes(binary.Size())})
	processes := []string{Worker, Starter, Bridge}
	for _, name := range processes {
		row := report.Row{Key: "start_ms", Of: name, Unit: "ms", Note: "from exec to ready"}
		for range max(lab.N(starts), 3) {
			began := time.Now()
			child, err := lab.Start(ctx, name)
			if err != nil {
				return err
			}
			ms := float64(time.Since(began).Microseconds()) / 1e3
			row.Rounds = append(row.Rounds, report.Round{Ours: ms, Value: ms})
			child.Stop(ctx)
		}
		out.Add(row)
	}
	children := map[string]*Child{}
	for _, name := range processes {
		if children[name], err = lab.Start(ctx, name); err != nil {
			return err
		}
	}
	tell := func(when, note string) {
		for _, name := range processes {
			out.Add(report.Row{Key: "rss_mb", Of: name + " " + when, Unit: "MB", Value: megabytes(children[name].RSS()), Note: note})
		}
	}
	if err := wait(ctx, idleFor); err != nil {
		return err
	}
	tell("idle", fmt.Sprintf("%g s after it was ready", idleFor.Seconds()))
	n := lab.N(sizeVideos)
	if _, err := sendVideos(ctx, lab, n); err != nil {
		return err
	}
	tell("after load", fmt.Sprintf("%d videos of %s from %d callers", n, spoken(sizeSpeech), sizeAtOnce))
	return nil
}

// sendVideos has n videos created, transcribed and compressed, and returns when all are done. It says how often it has asked
// the database whether they are.
func sendVideos(ctx context.Context, lab *Lab, n int) (looks int, err error) {
	behaviour := simulator.DefaultBehaviour()
	behaviour.TranscriptionDelay, behaviour.CompressionDelay = simulator.Range{}, simulator.Range{}
	behaviour.Length = simulator.Duration(sizeSpeech)
	sim, err := simulator.New(simulator.Config{Brokers: []string{lab.Block.Addr(ports.Kafka)}, Behaviour: &behaviour})
	if err != nil {
		return 0, err
	}
	defer sim.Close()
	ctx, stop := context.WithTimeout(ctx, time.Minute+time.Duration(n)*time.Second/2)
	defer stop()
	var simulation errgroup.Group
	simulation.Go(func() error { return sim.Run(ctx) })
	defer func() {
		stop()
		if failed := simulation.Wait(); err == nil {
			err = failed
		}
	}()

	conn, err := pgx.Connect(ctx, lab.SuperuserURL)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	done := func() (count int, err error) {
		looks++
		err = conn.QueryRow(ctx, `select count(*) from pipeline.videos
			where transcription_state = 'done' and compression_state = 'done'`).Scan(&count)
		return count, err
	}
	before, err := done()
	if err != nil {
		return looks, err
	}
	creating, creation := errgroup.WithContext(ctx)
	creating.SetLimit(sizeAtOnce)
	for range n {
		creating.Go(func() error {
			_, err := lab.create(creation, usualTitle)
			return err
		})
	}
	if err := creating.Wait(); err != nil {
		return looks, err
	}
	for {
		if count, err := done(); err != nil || count >= before+n {
			return looks, err
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return looks, fmt.Errorf("videos are not done in time: %w", err)
		}
	}
}

func spoken(d time.Duration) string { return fmt.Sprintf("%g min", d.Minutes()) }

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }
