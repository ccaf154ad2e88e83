package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

var waiting = Measure{
	Name:  "waiting",
	About: "the worker's memory for videos that wait, and the latency of their results",
	Keys:  []string{"waiting_bytes_per_video", "waiting_latency_p50_ms", "waiting_latency_p99_ms"},
	Run:   measureWaiting,
}

const (
	// waitingVideos wait in the end; the memory is read waitingSteps times on the way, each time after waitingRest without work.
	waitingVideos = 20_000
	waitingSteps  = 10
	waitingRest   = 2 * time.Second
	// waitingStarts of runs are under way at once.
	waitingStarts = 64
	// waitingResults of each kind of video are timed, one after the other.
	waitingResults = 200
	// waitingTimeout is for one step; waitingResultTimeout for one result.
	waitingTimeout       = 5 * time.Minute
	waitingResultTimeout = 20 * time.Second
)

func measureWaiting(ctx context.Context, lab *Lab, out *report.Report) error {
	worker, err := lab.Start(ctx, Worker)
	if err != nil {
		return err
	}
	if _, err := lab.Start(ctx, Bridge); err != nil {
		return err
	}
	w, err := newWaiters(ctx, lab)
	if err != nil {
		return err
	}
	defer w.close()

	// What a worker needs once, for connections and the like, it has before the memory is read.
	results := max(lab.N(waitingResults), 20)
	few, err := w.wait(ctx, results)
	if err != nil {
		return err
	}
	latencies := map[string][]time.Duration{}
	const before, old, fresh = "few that wait", "many, those that wait longest", "many, the latest"
	if latencies[before], err = w.time(ctx, few); err != nil {
		return err
	}

	resident := func() (float64, error) {
		if err := wait(ctx, waitingRest); err != nil {
			return 0, err
		}
		bytes := worker.RSS()
		if bytes == 0 {
			return 0, errors.New("the system does not say how much memory the worker has resident: measure on Linux")
		}
		return float64(bytes), nil
	}
	empty, err := resident()
	if err != nil {
		return err
	}
	curve := report.Series{Plot: "memory", Name: "worker", X: "videos that wait", Y: "MB resident", Points: [][2]float64{{0, empty / 1e6}}}
	var ids []contract.VideoID
	last := empty
	for range waitingSteps {
		more, err := w.wait(ctx, max(lab.N(waitingVideos)/waitingSteps, results))
		if err != nil {
			return err
		}
		ids = append(ids, more...)
		if last, err = resident(); err != nil {
			return err
		}
		curve.Points = append(curve.Points, [2]float64{float64(len(ids)), last / 1e6})
		lab.Say("%d videos wait, the worker has %.1f MB", len(ids), last/1e6)
	}
	out.Series = append(out.Series, curve)
	out.Add(report.Row{
		Key: "waiting_bytes_per_video", Unit: "bytes", Goal: &report.Goal{Op: report.AtMost, Value: 2000},
		Value: math.Round(max(0, last-empty) / float64(len(ids))),
		Note:  fmt.Sprintf("resident memory with %d videos that wait, less that with none: %.1f MB and %.1f MB", len(ids), last/1e6, empty/1e6),
	})
	if latencies[old], err = w.time(ctx, ids[:results]); err != nil {
		return err
	}
	if latencies[fresh], err = w.time(ctx, ids[len(ids)-results:]); err != nil {
		return err
	}
	for _, of := range []string{before, old, fresh} {
		took := latencies[of]
		slices.Sort(took)
		at := func(p float64) float64 {
			return float64(took[min(int(p*float64(len(took))), len(took)-1)].Microseconds()) / 1e3
		}
		note := fmt.Sprintf("%d transcripts of 10 s, one at a time, from the record to its column", len(took))
		out.Add(report.Row{Key: "waiting_latency_p50_ms", Of: of, Unit: "ms", Value: at(0.5), Note: note})
		out.Add(report.Row{Key: "waiting_latency_p99_ms", Of: of, Unit: "ms", Value: at(0.99), Note: note})
	}
	return nil
}

// waiters makes videos that wait, without the API.
type waiters struct {
	lab      *Lab
	db       *pgx.Conn
	temporal client.Client
	service  *simulator.Simulator
}

func newWaiters(ctx context.Context, lab *Lab) (*waiters, error) {
	temporal, err := lab.temporal()
	if err != nil {
		return nil, err
	}
	service, err := simulator.New(simulator.Config{Brokers: []string{lab.Block.Addr(ports.Kafka)}})
	if err != nil {
		temporal.Close()
		return nil, err
	}
	db, err := pgx.Connect(ctx, lab.SuperuserURL)
	if err != nil {
		temporal.Close()
		service.Close()
		return nil, err
	}
	return &waiters{lab: lab, db: db, temporal: temporal, service: service}, nil
}

func (w *waiters) close() {
	_ = w.db.Close(context.Background())
	w.service.Close()
	w.temporal.Close()
}

// wait adds n videos, as the API does but for the intent to run, starts their runs, and returns once each has asked for its transcription.
func (w *waiters) wait(ctx context.Context, n int) ([]contract.VideoID, error) {
	ctx, cancel := context.WithTimeout(ctx, waitingTimeout)
	defer cancel()
	ids, texts := make([]contract.VideoID, n), make([]string, n)
	for i := range ids {
		texts[i] = uuid.NewString()
		ids[i] = contract.VideoID(texts[i])
	}
	_, err := w.db.Exec(ctx, `
		with tracked as (
			insert into pipeline.videos (video_id, course_id, transcription_state, compression_state)
			select id::uuid, $2::uuid, 'waiting', 'waiting' from unnest($1::text[]) id)
		insert into public.videos (id, course_id, title, description, camera_video_url)
		select id::uuid, $2::uuid, $3, 'A video that waits.', 'https://cdn.example.org/recordings/camera.mp4' from unnest($1::text[]) id`,
		texts, w.lab.Course, usualTitle)
	if err != nil {
		return nil, fmt.Errorf("add %d videos: %w", n, err)
	}
	starts, starting := errgroup.WithContext(ctx)
	starts.SetLimit(waitingStarts)
	for _, id := range ids {
		starts.Go(func() error {
			_, err := w.temporal.ExecuteWorkflow(starting, client.StartWorkflowOptions{
				ID: workflows.WorkflowID(id), TaskQueue: workflows.TaskQueue, StaticSummary: usualTitle,
				WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
			}, workflows.VideoWorkflow, workflows.VideoInput{VideoID: id.String()})
			return err
		})
	}
	if err := starts.Wait(); err != nil {
		return nil, err
	}
	return ids, until(ctx, w.db, 50*time.Millisecond, fmt.Sprintf("%d videos wait", n),
		`select count(*) = cardinality($1::text[]) from pipeline.videos where video_id = any($1::text[]::uuid[]) and asked_at is not null`, texts)
}

// time sends a transcript for each video, one after the other, and says how long each took to reach its column.
func (w *waiters) time(ctx context.Context, ids []contract.VideoID) ([]time.Duration, error) {
	took := make([]time.Duration, 0, len(ids))
	for _, id := range ids {
		_, err := w.service.Emit(ctx, simulator.Emission{VideoID: id.String(), Transcription: true, Length: simulator.Duration(10 * time.Second)})
		if err != nil {
			return nil, err
		}
		sent := time.Now()
		limited, cancel := context.WithTimeout(ctx, waitingResultTimeout)
		err = until(limited, w.db, time.Millisecond, "the transcript of video "+id.String(), `select transcript_url is not null from public.videos where id = $1`, id.String())
		cancel()
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(sent))
	}
	return took, nil
}
