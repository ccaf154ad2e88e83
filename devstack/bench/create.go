package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/seed"
)

var creates = Measure{
	Name:  "create",
	About: "videos created by POST, over the same inserts by pgx alone",
	Keys:  []string{"create_throughput_ratio", "create_api_throughput_ratio", "create_api_cpu_ms"},
	Run:   measureCreates,
}

const (
	// createAtOnce is how many callers there are, createConnections how many connections starter and the floor have.
	createAtOnce, createConnections = 32, 16
	createWarmup                    = 500 * time.Millisecond
)

func measureCreates(ctx context.Context, lab *Lab, out *report.Report) error {
	took := max(time.Duration(float64(4*time.Second)*lab.Scale), time.Second)
	whole := report.Row{
		Key: "create_throughput_ratio", Goal: &report.Goal{Op: report.AtLeast, Value: 0.80},
		Note: "POSTs/s with an Idempotency-Key, while runs are started",
	}
	api := report.Row{Key: "create_api_throughput_ratio", Note: "the same while Temporal is away"}
	byStatement := report.Row{
		Key: "create_api_throughput_ratio", Of: "floor by statement", Note: "the same, over a floor that sends begin, each insert and commit by itself",
	}
	cpu := report.Row{Key: "create_api_cpu_ms", Unit: "ms", Note: "CPU of starter for a POST, over that of the floor's process for a transaction"}

	starter, err := lab.Start(ctx, Starter, envfile.Var{
		Name: "DATABASE_URL", Value: fmt.Sprintf("%s&pool_max_conns=%d", lab.Env.Value("DATABASE_URL"), createConnections),
	})
	if err != nil {
		return err
	}
	temporal := lab.Server(TemporalSrv)
	for round := range lab.Rounds {
		floor, _, err := insertFloor(ctx, lab, took)
		if err != nil {
			return err
		}
		before := cpuOf(starter, temporal)
		began := time.Now()
		ours, err := postVideos(ctx, lab, took)
		if err != nil {
			return err
		}
		spent := cpuOf(starter, temporal)
		whole.Rounds = append(whole.Rounds, report.Round{Ours: ours, Floor: floor, Value: ours / floor})
		waiting, err := runsToStart(ctx, lab)
		if err != nil {
			return err
		}
		lab.Say("round %d: %.0f POSTs/s, floor %.0f/s; meanwhile starter %.2f and Temporal %.2f of %d cores; %d runs left to start", round+1, ours, floor,
			(spent[0]-before[0]).Seconds()/time.Since(began).Seconds(), (spent[1]-before[1]).Seconds()/time.Since(began).Seconds(), out.Machine.Cores, waiting)
		if err := awaitRuns(ctx, lab); err != nil {
			return err
		}
	}
	out.Add(whole)

	temporal.Stop(ctx)
	for range lab.Rounds {
		floor, floorCPU, err := insertFloor(ctx, lab, took)
		if err != nil {
			return err
		}
		before := cpuOf(starter)
		ours, err := postVideos(ctx, lab, took)
		if err != nil {
			return err
		}
		spent := (cpuOf(starter)[0] - before[0]).Seconds() * 1000 / (ours * (took + createWarmup).Seconds())
		plain, _, err := insertFloor(ctx, lab, took, "--round-trips")
		if err != nil {
			return err
		}
		byStatement.Rounds = append(byStatement.Rounds, report.Round{Ours: ours, Floor: plain, Value: ours / plain})
		api.Rounds = append(api.Rounds, report.Round{Ours: ours, Floor: floor, Value: ours / floor})
		cpu.Rounds = append(cpu.Rounds, report.Round{Ours: spent, Floor: floorCPU, Value: spent})
	}
	out.Add(api)
	out.Add(byStatement)
	out.Add(cpu)
	return nil
}

func cpuOf(children ...*Child) []time.Duration {
	spent := make([]time.Duration, len(children))
	for i, c := range children {
		spent[i], _ = c.CPU() // zero for one that is gone
	}
	return spent
}

// insertFloor answers with the transactions a second, and the CPU time of each, in milliseconds.
func insertFloor(ctx context.Context, lab *Lab, took time.Duration, more ...string) (perSecond, cpu float64, err error) {
	floor, err := lab.Floor(ctx, append([]string{
		"create", "--course=" + lab.Course, "--user=" + seed.Lecturer.ID,
		fmt.Sprintf("--at-once=%d", createAtOnce), fmt.Sprintf("--connections=%d", createConnections), "--warmup=" + createWarmup.String(), "--time=" + took.String(),
	}, more...)...)
	if err != nil {
		return 0, 0, err
	}
	defer floor.Stop(ctx)
	var said struct {
		PerSecond float64 `json:"per_second"`
		CPU       float64 `json:"cpu_ms"`
	}
	if err := floor.result(ctx, &said); err != nil {
		return 0, 0, err
	}
	return said.PerSecond, said.CPU, nil
}

// postVideos has callers that keep their connections create one video after the other, and answers with how many a second.
func postVideos(ctx context.Context, lab *Lab, took time.Duration) (perSecond float64, err error) {
	begin := time.Now().Add(createWarmup)
	end := begin.Add(took)
	var counted atomic.Int64
	var group sync.WaitGroup
	failed := make(chan error, createAtOnce)
	for range createAtOnce {
		group.Go(func() {
			c, err := dialCaller(ctx, lab)
			if err != nil {
				failed <- err
				return
			}
			defer c.close()
			for ctx.Err() == nil {
				if err := c.post(); err != nil {
					failed <- err
					return
				}
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
	select {
	case err := <-failed:
		return 0, err
	default:
	}
	return float64(counted.Load()) / took.Seconds(), ctx.Err()
}

// caller is a client of the API that costs little, since it shares the machine with what is measured.
type caller struct {
	conn    net.Conn
	answers *bufio.Reader
	head    string
	body    []byte
}

func dialCaller(ctx context.Context, lab *Lab) (*caller, error) {
	addr := lab.Block.Addr(ports.API)
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{
		"title": "Graphs, part 1", "description": "Paths, cycles and trees, with an example of each.",
		"camera_video_url": "https://cdn.example.com/raw/graphs-1.mp4", "level": "beginner",
	})
	if err != nil {
		return nil, err
	}
	return &caller{
		conn: conn, answers: bufio.NewReader(conn), body: body,
		head: fmt.Sprintf("POST /api/courses/%s/videos HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nContent-Length: %d\r\nIdempotency-Key: ", lab.Course, addr, lab.Token, len(body)),
	}, nil
}

func (c *caller) close() { _ = c.conn.Close() }

func (c *caller) post() error {
	var request bytes.Buffer
	request.WriteString(c.head)
	request.WriteString(uuid.NewString())
	request.WriteString("\r\n\r\n")
	request.Write(c.body)
	if _, err := c.conn.Write(request.Bytes()); err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST is answered %s: %s", answer.Status, body)
	}
	return nil
}

func runsToStart(ctx context.Context, lab *Lab) (n int, err error) {
	conn, err := pgx.Connect(ctx, lab.SuperuserURL)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, `select count(*) from pipeline.intents where kind = 'run'`).Scan(&n)
	return n, err
}

// awaitRuns waits until all videos have their run, so that starting them does not slow what is measured next.
func awaitRuns(ctx context.Context, lab *Lab) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, lab.SuperuserURL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return until(ctx, conn, 100*time.Millisecond, "all videos have their run",
		`select not exists (select from pipeline.intents where kind = 'run')`)
}
