package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// A result's latency counts from the call that appends its record until the commit that sets its column is announced, by a
// trigger of this measure's own: that comes after the commit, and costs ours a little. The floor's counts from the call that
// signals until the local activity with which the run answers has noted the time: what is left of ours without Kafka, bridge,
// database and storage.
var latencies = Measure{
	Name:   "latency",
	About:  "from a result's record to its column, over a signal that is answered by one local activity",
	Keys:   []string{"result_latency_p50_ms", "result_latency_p99_ms", "result_latency_p50_ratio"},
	Stores: true,
	Run:    measureLatency,
}

const (
	// usualRate of results, a tenth of full load, where full load was not measured in the same report.
	usualRate = 12.0
	// latencyVideos of each round, each with two results; fewer where that takes longer than latencyTime.
	latencyVideos = 100
	latencyTime   = 20 // seconds
	// appliedWithin is how long the next result is waited for.
	appliedWithin = 30 * time.Second
)

func measureLatency(ctx context.Context, lab *Lab, out *report.Report) error {
	for _, name := range []string{Worker, Starter, Bridge} {
		if _, err := lab.Start(ctx, name); err != nil {
			return err
		}
	}
	r, err := newResponder(ctx, lab)
	if err != nil {
		return err
	}
	defer r.close(ctx)

	rate := tenthOfFullLoad(lab, out)
	videos := max(min(lab.N(latencyVideos), int(latencyTime*rate/2)), 10)
	goal := &report.Goal{Op: report.AtMost, Value: 1.3}
	kinds := []contract.Track{contract.CompressionTrack, contract.TranscriptionTrack}
	names := map[contract.Track]string{contract.CompressionTrack: "compressions", contract.TranscriptionTrack: "transcripts of 10 min"}
	half, slow, ratio := map[contract.Track]*report.Row{}, map[contract.Track]*report.Row{}, map[contract.Track]*report.Row{}
	for _, k := range kinds {
		half[k] = &report.Row{Key: "result_latency_p50_ms", Of: names[k], Unit: "ms"}
		slow[k] = &report.Row{Key: "result_latency_p99_ms", Of: names[k], Unit: "ms"}
		ratio[k] = &report.Row{Key: "result_latency_p50_ratio", Of: names[k], Goal: goal, Note: fmt.Sprintf("at %.0f results a second", rate)}
	}
	all, floors := map[contract.Track][]float64{}, []float64{}
	if _, err := r.round(ctx, 10, rate); err != nil { // the first is a warm-up: consumers join their groups
		return err
	}
	for range lab.Rounds {
		floor, err := latencyFloor(ctx, lab, videos, rate)
		if err != nil {
			return err
		}
		floors = append(floors, floor...)
		ours, err := r.round(ctx, videos, rate)
		if err != nil {
			return err
		}
		p50, p99 := percentile(floor, 50), percentile(floor, 99)
		for _, k := range kinds {
			mine := percentile(ours[k], 50)
			lab.Say("%s: %.1f ms, and %.1f ms at the 99th percentile; the floor %.1f and %.1f", names[k], mine, percentile(ours[k], 99), p50, p99)
			half[k].Rounds = append(half[k].Rounds, report.Round{Ours: mine, Floor: p50, Value: mine})
			slow[k].Rounds = append(slow[k].Rounds, report.Round{Ours: percentile(ours[k], 99), Floor: p99, Value: percentile(ours[k], 99)})
			ratio[k].Rounds = append(ratio[k].Rounds, report.Round{Ours: mine, Floor: p50, Value: mine / p50})
			all[k] = append(all[k], ours[k]...)
		}
	}
	for _, k := range kinds {
		for _, row := range []*report.Row{half[k], slow[k], ratio[k]} {
			out.Add(*row)
		}
		out.Series = append(out.Series, distribution(names[k], all[k]))
	}
	out.Series = append(out.Series, distribution("floor", floors))
	return nil
}

// tenthOfFullLoad is the results a second that are a tenth of what the pipeline was measured to do in the same report.
func tenthOfFullLoad(lab *Lab, out *report.Report) float64 {
	for _, row := range out.Rows {
		if row.Key != "pipeline_throughput_ratio" || len(row.Rounds) == 0 || (row.Store != "" && row.Store != lab.Store) {
			continue
		}
		var videos []float64
		for _, round := range row.Rounds {
			videos = append(videos, round.Ours)
		}
		return 2 * report.Median(videos) / 10
	}
	return usualRate
}

// latencyFloor answers with what each signal took, in milliseconds.
func latencyFloor(ctx context.Context, lab *Lab, runs int, rate float64) ([]float64, error) {
	floor, err := lab.Floor(ctx, "latency", fmt.Sprintf("--runs=%d", runs), fmt.Sprintf("--rate=%g", rate))
	if err != nil {
		return nil, err
	}
	defer floor.Stop(ctx)
	var said struct{ Milliseconds []float64 }
	if err := floor.result(ctx, &said); err != nil {
		return nil, err
	}
	if len(said.Milliseconds) != 2*runs {
		return nil, fmt.Errorf("the floor tells of %d signals and not of %d", len(said.Milliseconds), 2*runs)
	}
	return said.Milliseconds, nil
}

// responder answers for the services, and watches the columns.
type responder struct {
	lab        *Lab
	kafka      *kgo.Client
	db         *pgx.Conn
	transcript func(i int, video contract.VideoID) []byte
}

func newResponder(ctx context.Context, lab *Lab) (*responder, error) {
	kafka, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(lab.Env.Value("KAFKA_BROKERS"), ",")...), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, err
	}
	db, err := pgx.Connect(ctx, lab.SuperuserURL)
	if err != nil {
		kafka.Close()
		return nil, err
	}
	if _, err := db.Exec(ctx, watchColumns); err != nil {
		kafka.Close()
		return nil, errors.Join(err, db.Close(ctx))
	}
	return &responder{lab: lab, kafka: kafka, db: db, transcript: transcripts(10 * time.Minute)}, nil
}

func (r *responder) close(ctx context.Context) {
	r.kafka.Close()
	_ = r.db.Close(context.WithoutCancel(ctx))
}

// result is one that is sent.
type result struct {
	video contract.VideoID
	track contract.Track
}

// round creates videos, waits until each was asked for, sends both results of each, and answers with what each took, in
// milliseconds.
func (r *responder) round(ctx context.Context, videos int, rate float64) (map[contract.Track][]float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ids, err := r.create(ctx, videos)
	if err != nil {
		return nil, err
	}
	if err := r.asked(ctx, ids); err != nil {
		return nil, err
	}

	w := &watched{db: r.db, due: map[result]time.Time{}, took: map[contract.Track][]float64{}}
	var group errgroup.Group
	group.Go(func() error {
		err := w.watch(ctx, 2*videos)
		if err != nil {
			cancel()
		}
		return err
	})
	began, pause := time.Now(), time.Duration(float64(time.Second)/rate)
	for i := range 2 * videos {
		at := began.Add(time.Duration(i)*pause + time.Duration(rand.Int64N(int64(pause))))
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), group.Wait())
		}
		// Both kinds in turn; the second result of a video comes long after the first.
		id, track := ids[i%videos], contract.CompressionTrack
		if (i%videos+i/videos)%2 == 1 {
			track = contract.TranscriptionTrack
		}
		record := &kgo.Record{Topic: "update_transcribe", Key: []byte(id)}
		if track == contract.TranscriptionTrack {
			record.Value = r.transcript(i, id)
		} else {
			record.Topic = "finish_compress"
			record.Key, record.Value = simulator.CompressionMessage(id, simulator.URLObject)
		}
		w.sent(result{id, track})
		r.kafka.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				group.Go(func() error { cancel(); return fmt.Errorf("append a result: %w", err) })
			}
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return w.took, nil
}

func (r *responder) create(ctx context.Context, n int) ([]contract.VideoID, error) {
	ids := make([]contract.VideoID, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range ids {
		group.Go(func() (err error) {
			ids[i], err = r.lab.create(ctx, usualTitle)
			return err
		})
	}
	return ids, group.Wait()
}

// asked waits until the transcriptions of all have been asked for: their runs wait for results.
func (r *responder) asked(ctx context.Context, ids []contract.VideoID) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, r.db, 50*time.Millisecond, fmt.Sprintf("%d videos are asked for", len(ids)),
		`select count(*) = $2::int from pipeline.videos where video_id = any($1::uuid[]) and asks = 1`, texts(ids), len(ids))
}

// watchColumns has the database announce each column that is set.
const watchColumns = `
	create or replace function public.bench_announce() returns trigger language plpgsql as $$
	begin
		if new.transcript_url is distinct from old.transcript_url then
			perform pg_notify('bench_columns', new.id || ' transcription');
		end if;
		if new.camera_video_url <> old.camera_video_url then
			perform pg_notify('bench_columns', new.id || ' compression');
		end if;
		return null;
	end
	$$;
	create or replace trigger bench_announce after update on public.videos for each row execute function public.bench_announce();
	listen bench_columns`

// watched are the results that were sent and whose columns are not set yet.
type watched struct {
	db *pgx.Conn // listens

	mu   sync.Mutex
	due  map[result]time.Time // when it was sent
	took map[contract.Track][]float64
}

func (w *watched) sent(r result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due[r] = time.Now()
}

// watch returns when so many results are in their columns, and fails when none comes for a while.
func (w *watched) watch(ctx context.Context, results int) error {
	for seen := 0; seen < results; {
		waiting, cancel := context.WithTimeout(ctx, appliedWithin)
		n, err := w.db.WaitForNotification(waiting)
		cancel()
		if err != nil {
			return fmt.Errorf("%d of %d results are applied: %w", seen, results, err)
		}
		now := time.Now()
		id, track, _ := strings.Cut(n.Payload, " ")
		r := result{contract.VideoID(id), contract.Track(track)}
		w.mu.Lock()
		if sent, ok := w.due[r]; ok {
			delete(w.due, r)
			w.took[r.track] = append(w.took[r.track], float64(now.Sub(sent).Microseconds())/1000)
			seen++
		}
		w.mu.Unlock()
	}
	return nil
}

func texts(ids []contract.VideoID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

// percentile of values, of which there must be one.
func percentile(values []float64, p int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

// distribution is the part of the values that is at most so large, in at most a hundred points.
func distribution(name string, values []float64) report.Series {
	s := report.Series{Plot: "latency", Name: name, X: "ms", Y: "% of results"}
	for p := 1; p <= 100; p++ {
		s.Points = append(s.Points, [2]float64{percentile(values, p), float64(p)})
	}
	return s
}
