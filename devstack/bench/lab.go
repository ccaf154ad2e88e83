package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/devstack/readiness"
	"github.com/codeendelea/vidflow/internal/contract"
)

// Names of the children of a lab.
const (
	Worker      = "worker"
	Starter     = "starter"
	Bridge      = "kafkabridge"
	TemporalSrv = "temporal"
	KafkaSrv    = "kafka"
	StorageSrv  = "storage"
)

const (
	readyTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
	// resultTimeout is for all that a floor does.
	resultTimeout = 5 * time.Minute
)

// Config is what a lab is given: how to start what runs in it.
type Config struct {
	// Dir keeps all state and the logs; the lab removes nothing of it.
	Dir   string
	Block ports.Block
	// Store of Temporal.
	Store string
	// Serve makes the command that serves one server, Vidflow that of a process of vidflow, in an environment that has what
	// it needs, and Floor that of a floor.
	Serve   func(server string) *exec.Cmd
	Vidflow func(process string, env envfile.Vars) *exec.Cmd
	Floor   func(args []string) *exec.Cmd
	// Env is what the processes of vidflow are told, for measures that talk to the servers themselves.
	Env envfile.Vars
	// Postgres is the database server, which loses no commit when the machine does; Prepare migrates the database and fills it.
	Postgres *postgres.Server
	Prepare  func(ctx context.Context) error
	// SuperuserURL is that of the database of vidflow.
	SuperuserURL string
	// Token is a lecturer's, Course one of theirs.
	Token, Course string
	Say           func(format string, args ...any)
	// Remove undoes what making the lab has done, at the end.
	Remove func() error
}

// Lab is a set of servers that run, and nothing of vidflow yet. Everything in it is a process of its own, so that what it
// costs can be told.
type Lab struct {
	Config
	// Rounds of each comparison; Scale of the amounts, 1 for a full run.
	Rounds int
	Scale  float64

	servers  map[string]*Child
	children []*Child
}

// Open starts the servers.
func Open(ctx context.Context, cfg Config) (_ *Lab, err error) {
	l := &Lab{Config: cfg, servers: map[string]*Child{}}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "log"), 0o755); err != nil {
		return nil, err
	}
	if err := cfg.Postgres.Start(ctx); err != nil {
		return nil, err
	}
	var group errgroup.Group
	addrs := map[string]string{
		TemporalSrv: cfg.Block.Addr(ports.TemporalGRPC), KafkaSrv: cfg.Block.Addr(ports.Kafka), StorageSrv: cfg.Block.Addr(ports.Storage),
	}
	for name, addr := range addrs {
		child, err := l.start(name, cfg.Serve(name))
		if err != nil {
			return nil, err
		}
		l.servers[name] = child
		group.Go(func() error { return child.await(ctx, func(ctx context.Context) error { return dial(ctx, addr) }) })
	}
	group.Go(func() error { return cfg.Prepare(ctx) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return l, nil
}

// N is n at the lab's scale, at least 1.
func (l *Lab) N(n int) int { return max(int(float64(n)*l.Scale), 1) }

// Server is one of the servers that are children; Postgres is none.
func (l *Lab) Server(name string) *Child { return l.servers[name] }

// Start starts a process of vidflow, with variables beside those that it gets anyway, and returns when it is ready. A lab
// has one of each kind.
func (l *Lab) Start(ctx context.Context, name string, env ...envfile.Var) (*Child, error) {
	service, ok := map[string]ports.Service{Worker: ports.WorkerOps, Starter: ports.StarterOps, Bridge: ports.BridgeOps}[name]
	if !ok {
		return nil, fmt.Errorf("there is no process %q", name)
	}
	child, err := l.start(name, l.Vidflow(name, envfile.Vars{
		{Name: "OPS_ADDR", Value: l.Block.Addr(service)},
		{Name: "LOG_FORMAT", Value: "json"},
		{Name: "RATE_LIMIT", Value: "0"},
	}.With(env...)))
	if err != nil {
		return nil, err
	}
	child.OpsURL = l.Block.URL(service)
	return child, child.await(ctx, child.ready)
}

// Floor starts a program of bench/floors and returns when it serves: when it has printed a line.
func (l *Lab) Floor(ctx context.Context, args ...string) (*Child, error) {
	child, err := l.start("floor-"+args[0], l.Config.Floor(args))
	if err != nil {
		return nil, err
	}
	return child, child.await(ctx, func(context.Context) error {
		if content, err := os.ReadFile(child.Log); err != nil || !strings.Contains(string(content), "\n") {
			return errors.Join(errors.New("it has printed nothing yet"), err)
		}
		return nil
	})
}

func (l *Lab) start(name string, cmd *exec.Cmd) (*Child, error) {
	path := filepath.Join(l.Dir, "log", fmt.Sprintf("%s-%d.log", name, len(l.children)))
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // the child has its own
	cmd.Stdout, cmd.Stderr = file, file
	running, err := process.Start(cmd, process.Options{})
	if err != nil {
		return nil, err
	}
	child := &Child{Name: name, PID: running.PID(), Log: path, process: running}
	l.children = append(l.children, child)
	return child, nil
}

// Close stops everything and removes its state.
func (l *Lab) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*stopTimeout)
	defer cancel()
	for i := len(l.children) - 1; i >= 0; i-- {
		l.children[i].Stop(ctx)
	}
	if err := errors.Join(l.Postgres.Stop(ctx), l.Remove()); err != nil {
		l.Say("after the measure: %v", err)
	}
}

// Child is a process that was started.
type Child struct {
	Name string
	PID  int
	// Log is the file with its output.
	Log string
	// OpsURL is where a process of vidflow serves its probes, metrics and, if asked to, profiles.
	OpsURL string

	process *process.Process
}

// Stop ends it in good order; it does nothing when it has ended.
func (c *Child) Stop(ctx context.Context) {
	c.process.Stop(ctx, process.Step{Signal: syscall.SIGTERM, Wait: stopTimeout})
}

// CPU is how long it has worked so far, to 10 ms.
func (c *Child) CPU() (time.Duration, error) { return cpuTime(c.PID) }

// RSS is the memory that it has resident now, in bytes.
func (c *Child) RSS() int64 { return kib(field(fmt.Sprintf("/proc/%d/status", c.PID), "VmRSS")) }

// await waits until check says nothing any more, or the child ends.
func (c *Child) await(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		missing := check(ctx)
		if missing == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready in time: %w\n%s", c.Name, missing, c.tail())
		case <-c.process.Done():
			return fmt.Errorf("%s ended before it was ready: %w\n%s", c.Name, errors.Join(c.process.Wait()), c.tail())
		}
	}
}

// tail is the end of its log.
func (c *Child) tail() string {
	content, _ := os.ReadFile(c.Log)
	const most = 2000
	if len(content) > most {
		content = content[len(content)-most:]
	}
	return string(content)
}

func (c *Child) ready(ctx context.Context) error {
	if missing := readiness.Missing(ctx, c.OpsURL); missing != "" {
		return errors.New(missing)
	}
	return nil
}

func dial(ctx context.Context, addr string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// result reads the line that a floor prints after the one that says that it serves. The floor stays until it is stopped.
func (c *Child) result(ctx context.Context, said any) error {
	ctx, cancel := context.WithTimeout(ctx, resultTimeout)
	defer cancel()
	for {
		content, err := os.ReadFile(c.Log)
		if err != nil {
			return err
		}
		if lines := bytes.SplitAfter(content, []byte("\n")); len(lines) > 2 {
			if err := json.Unmarshal(lines[1], said); err != nil {
				return fmt.Errorf("%s says %q: %w", c.Name, lines[1], err)
			}
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-c.process.Done():
			return fmt.Errorf("%s ended without a result: %w\n%s", c.Name, errors.Join(c.process.Wait()), c.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s has no result: %w\n%s", c.Name, ctx.Err(), c.tail())
		}
	}
}

// metrics of a process of vidflow, by their series as they are written.
func (c *Child) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.OpsURL+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	values := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		i := strings.LastIndexByte(lines.Text(), ' ')
		if i < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		if values[lines.Text()[:i]], err = strconv.ParseFloat(lines.Text()[i+1:], 64); err != nil {
			return nil, err
		}
	}
	return values, lines.Err()
}

// temporal connects to the server.
func (l *Lab) temporal() (client.Client, error) {
	return client.Dial(client.Options{
		HostPort: l.Env.Value("TEMPORAL_ADDRESS"), Namespace: l.Env.Value("TEMPORAL_NAMESPACE"),
		Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
}

// create creates a video by the API.
func (l *Lab) create(ctx context.Context, title string) (contract.VideoID, error) {
	video, err := l.api().Create(ctx, l.Course, api.NewVideo{
		Title: title, Description: "Paths, cycles and trees, with an example of each.",
		CameraURL: "https://cdn.example.org/recordings/2026-11-25/camera.mp4", Level: string(contract.Beginner),
	})
	return video.ID, err
}

func (l *Lab) api() api.Client { return api.Client{URL: l.Block.URL(ports.API), Token: l.Token} }

// until asks the database again and again until it says true.
func until(ctx context.Context, db *pgx.Conn, pause time.Duration, what, query string, args ...any) error {
	for {
		var there bool
		if err := db.QueryRow(ctx, query, args...).Scan(&there); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if there {
			return nil
		}
		if err := wait(ctx, pause); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
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
