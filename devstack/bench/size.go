package bench

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
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
	// sizeVideos go through the pipeline before memory is read again, sizeAtOnce of them at a time, each with the transcript
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
	tell("idle", fmt.Sprintf("%s after it was ready", idleFor))
	n := lab.N(sizeVideos)
	if err := sendVideos(ctx, lab, n); err != nil {
		return err
	}
	tell("after load", fmt.Sprintf("%d videos of %s, %d at once", n, sizeSpeech, sizeAtOnce))
	return nil
}

// sendVideos has n videos created, transcribed and compressed, and returns when all are done.
func sendVideos(ctx context.Context, lab *Lab, n int) error {
	behaviour := simulator.DefaultBehaviour()
	behaviour.TranscriptionDelay, behaviour.CompressionDelay = simulator.Range{}, simulator.Range{}
	behaviour.Length = simulator.Duration(sizeSpeech)
	sim, err := simulator.New(simulator.Config{
		Brokers: []string{lab.Block.Addr(ports.Kafka)}, Behaviour: &behaviour,
	})
	if err != nil {
		return err
	}
	defer sim.Close()
	simulating, stop := context.WithCancel(ctx)
	var simulation errgroup.Group
	simulation.Go(func() error { return sim.Run(simulating) })

	client := api.Client{URL: lab.Block.URL(ports.API), Token: lab.Token}
	videos, sending := errgroup.WithContext(ctx)
	videos.SetLimit(sizeAtOnce)
	for i := range n {
		videos.Go(func() error {
			ctx, cancel := context.WithTimeout(sending, time.Minute)
			defer cancel()
			created, err := client.Create(ctx, lab.Course, api.NewVideo{
				Title: fmt.Sprintf("Size of the processes, %d", i), Description: "A video that the processes grow by.",
				CameraURL: "https://example.test/size.mp4", Level: string(contract.Beginner),
			})
			if err != nil {
				return err
			}
			_, err = client.Await(ctx, created.ID, api.Video.Done)
			return err
		})
	}
	err = videos.Wait()
	stop()
	if failed := simulation.Wait(); err == nil {
		err = failed
	}
	return err
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }
