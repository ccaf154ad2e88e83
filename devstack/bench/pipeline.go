package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// A full run: so many videos by so many callers in each round, and the numbers of callers of the curve.
const (
	pipelineVideos  = 600
	pipelineCallers = 32
	pipelineSpeech  = 10 * time.Minute
)

var curveCallers = []int{1, 2, 4, 8, 16, 32, 64}

var pipeline = Measure{
	Name:   "pipeline",
	About:  "videos from POST to both columns set, over runs that wait for the same two signals and do nothing",
	Keys:   []string{"pipeline_throughput_ratio", "pipeline_cpu_ms"},
	Stores: true,
	Run: func(ctx context.Context, lab *Lab, out *report.Report) error {
		p, err := newPipeline(ctx, lab)
		if err != nil {
			return err
		}
		defer p.close()
		note := func() string {
			return fmt.Sprintf("videos and runs a second, %d callers, transcripts of %d KB; events of a run: ours %.1f, the floor's %.1f",
				pipelineCallers, len(p.transcript(0, ""))/1000, p.ownEvents, p.events)
		}
		ratio := report.Row{Key: "pipeline_throughput_ratio", Goal: &report.Goal{Op: report.AtLeast, Value: 0.8}}
		apart := ratio
		apart.Of = "over runs that wait for each signal"
		spent, n := costs{}, lab.N(pipelineVideos)
		for range lab.Rounds {
			ours, err := p.round(ctx, n, pipelineCallers, spent)
			if err != nil {
				return err
			}
			floor, err := p.floor(ctx, n, pipelineCallers, spent, "floor: ")
			if err != nil {
				return err
			}
			ratio.Note = note()
			waiting, err := p.floor(ctx, n, pipelineCallers, spent, "floor that waits: ", "--apart")
			if err != nil {
				return err
			}
			apart.Note = note()
			lab.Say("%.0f videos a second; %.0f bare runs, %.0f that wait for each signal", ours, floor, waiting)
			ratio.Rounds = append(ratio.Rounds, report.Round{Ours: ours, Floor: floor, Value: ours / floor})
			apart.Rounds = append(apart.Rounds, report.Round{Ours: ours, Floor: waiting, Value: ours / waiting})
		}
		out.Add(ratio)
		out.Add(apart)
		spent.add(out)
		return nil
	},
}

var pipelineCurve = Measure{
	Name:   "curve",
	About:  "the same with one caller to many, for the plot",
	Stores: true,
	Run: func(ctx context.Context, lab *Lab, out *report.Report) error {
		p, err := newPipeline(ctx, lab)
		if err != nil {
			return err
		}
		defer p.close()
		curves := []report.Series{
			{Plot: "throughput", Name: "vidflow", X: "callers", Y: "videos a second"},
			{Plot: "throughput", Name: "bare workflow", X: "callers", Y: "videos a second"},
		}
		for _, callers := range curveCallers {
			n := lab.N(100 + 10*callers)
			ours, err := p.round(ctx, n, callers, nil)
			if err != nil {
				return err
			}
			floor, err := p.floor(ctx, n, callers, nil, "")
			if err != nil {
				return err
			}
			lab.Say("%d callers: %.0f videos a second, %.0f bare runs", callers, ours, floor)
			for i, rate := range []float64{ours, floor} {
				curves[i].Points = append(curves[i].Points, [2]float64{float64(callers), rate})
			}
		}
		out.Series = append(out.Series, curves...)
		return nil
	},
}

// wholePipeline is all of vidflow at work, with services that answer at once: the transcripts are the same but for the id.
type wholePipeline struct {
	lab        *Lab
	children   map[string]*Child
	db         *pgx.Conn
	temporal   client.Client
	kafka      *kgo.Client
	answered   chan error // one, when the services have ended: why
	transcript func(i int, video contract.VideoID) []byte
	// done is how many videos have been through, floors how many rounds of the floor there were.
	done, floors int
	// ownEvents is how many a run of the latest round has, on average of some, and events one of the latest floor.
	ownEvents, events float64
}

// doneURL begins the addresses of compressed videos.
const doneURL = "https://cdn.example.test/compressed/"

func newPipeline(ctx context.Context, lab *Lab) (_ *wholePipeline, err error) {
	p := &wholePipeline{
		lab: lab, children: map[string]*Child{}, answered: make(chan error, 1),
		transcript: transcripts(pipelineSpeech),
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	for _, name := range []string{Starter, Worker, Bridge} {
		if p.children[name], err = lab.Start(ctx, name); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{TemporalSrv, KafkaSrv, StorageSrv} {
		p.children[name] = lab.Server(name)
	}
	if p.db, err = pgx.Connect(ctx, lab.SuperuserURL); err != nil {
		return nil, err
	}
	if p.temporal, err = lab.temporal(); err != nil {
		return nil, err
	}
	p.kafka, err = kgo.NewClient(
		kgo.SeedBrokers(lab.Block.Addr(ports.Kafka)),
		kgo.ConsumeTopics("Transcribe"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ProducerBatchMaxBytes(10<<20), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return nil, err
	}
	go func() { p.answered <- p.answer(ctx) }()
	_, err = p.round(ctx, 2*pipelineCallers, pipelineCallers, nil) // warms everything up
	return p, err
}

func (p *wholePipeline) close() {
	if p.kafka != nil {
		p.kafka.Close()
		if err := <-p.answered; !errors.Is(err, kgo.ErrClientClosed) {
			p.lab.Say("the services ended: %v", err)
		}
	}
	if p.temporal != nil {
		p.temporal.Close()
	}
	if p.db != nil {
		_ = p.db.Close(context.Background())
	}
}

// answer plays both services until the client is closed, which it then says.
func (p *wholePipeline) answer(ctx context.Context) error {
	var failed atomic.Pointer[error]
	told := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	for {
		fetches := p.kafka.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		if err := failed.Load(); err != nil {
			return *err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			transcript := p.transcript(0, contract.VideoID(r.Key))
			p.kafka.Produce(ctx, &kgo.Record{Topic: "update_transcribe", Key: r.Key, Value: transcript}, told)
			p.kafka.Produce(ctx, &kgo.Record{Topic: "finish_compress", Key: r.Key, Value: append([]byte(doneURL), r.Key...)}, told)
		})
	}
}

// round has n videos created by callers at the same time, waits until all are through, and answers how many that was a
// second.
func (p *wholePipeline) round(ctx context.Context, n, callers int, c costs) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	before, err := p.cpu(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	var next atomic.Int64
	group, groupCtx := errgroup.WithContext(ctx)
	for range callers {
		group.Go(func() error {
			for next.Add(1) <= int64(n) {
				if _, err := p.lab.create(groupCtx, usualTitle); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	p.done += n
	if err := p.await(ctx, p.done); err != nil {
		return 0, err
	}
	took := time.Since(began)
	after, err := p.cpu(ctx)
	if err != nil {
		return 0, err
	}
	c.note("", n, before, after)
	if err := p.countEvents(ctx); err != nil {
		return 0, err
	}
	return float64(n) / took.Seconds(), nil
}

// countEvents looks at runs of the videos that were created last.
func (p *wholePipeline) countEvents(ctx context.Context) error {
	rows, err := p.db.Query(ctx, `select id::text from public.videos order by created_at desc limit 50`)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	var sum int64
	for _, id := range ids {
		run, err := p.temporal.DescribeWorkflowExecution(ctx, workflows.WorkflowID(contract.VideoID(id)), "")
		if err != nil {
			return err
		}
		sum += run.GetWorkflowExecutionInfo().GetHistoryLength()
	}
	p.ownEvents = float64(sum) / float64(len(ids))
	return nil
}

// await waits until so many videos have both columns set. It asks seldom while many are missing, so that asking costs
// next to nothing.
func (p *wholePipeline) await(ctx context.Context, want int) error {
	began, first := time.Now(), -1
	for {
		var got int
		err := p.db.QueryRow(ctx, `select count(*) from public.videos
			where transcript_url is not null and starts_with(camera_video_url, $1)`, doneURL).Scan(&got)
		if err != nil {
			return err
		}
		if got >= want {
			if got > want {
				return fmt.Errorf("%d videos are done, of %d", got, want)
			}
			return nil
		}
		if first < 0 {
			first = got
		}
		pause := 100 * time.Millisecond
		if rate := float64(got-first) / time.Since(began).Seconds(); rate > 0 {
			pause = min(pause, time.Duration(float64(want-got)/rate/2*float64(time.Second)))
		}
		select {
		case <-time.After(max(pause, 2*time.Millisecond)):
		case err := <-p.answered:
			p.answered <- err
			return fmt.Errorf("the services have ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("%d of %d videos are done: %w", got, want, ctx.Err())
		}
	}
}

// floor has as many bare runs begun, signalled and ended.
func (p *wholePipeline) floor(ctx context.Context, n, callers int, c costs, prefix string, options ...string) (float64, error) {
	p.floors++
	child, err := p.lab.Floor(ctx, append([]string{
		"bare", "--runs=" + strconv.Itoa(n), "--callers=" + strconv.Itoa(callers),
		"--warm=" + strconv.Itoa(callers), fmt.Sprintf("--prefix=bare-%d-", p.floors),
	}, options...)...)
	if err != nil {
		return 0, err
	}
	before, err := p.cpu(ctx)
	if err != nil {
		return 0, err
	}
	own, err := child.CPU()
	if err != nil {
		return 0, err
	}
	before[bareFloor] = own
	var told struct{ Seconds, Events float64 }
	if err := child.result(ctx, &told); err != nil {
		return 0, err
	}
	after, err := p.cpu(ctx)
	if err != nil {
		return 0, err
	}
	if after[bareFloor], err = child.CPU(); err != nil {
		return 0, err
	}
	child.Stop(ctx)
	c.note(prefix, n, before, after)
	p.events = told.Events
	return float64(n) / told.Seconds, nil
}
