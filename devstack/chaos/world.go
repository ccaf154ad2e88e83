package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	pg "github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/storage"
)

// How patient the pipeline is in a run: short, so that what was lost on its way is asked for again within it.
const (
	AskAgainAfter  = 20 * time.Second
	StorageTimeout = 5 * time.Second

	stopTimeout  = 6 * time.Second
	readyTimeout = 90 * time.Second
)

// partitions of each topic, as the stack makes them.
const partitions = 4

// World is what a run is given: how to start what it kills.
type World struct {
	// Logs is a folder that gets a file for each process.
	Logs string
	// Block has the ports of the servers.
	Block ports.Block
	// Serve makes the command that serves one server.
	Serve func(server, advertisedKafka string) *exec.Cmd
	// Vidflow makes the command of a process of vidflow, in an environment of its own.
	Vidflow func(process string, env envfile.Vars) *exec.Cmd
	// Postgres is the database server; Prepare migrates the database and fills it. Role may log in to Database.
	Postgres       *pg.Server
	Prepare        func(ctx context.Context) error
	Database, Role string
	RolePassword   string
	// Token is an admin's.
	Token string
	// Course of which videos are made.
	Course string
	// Say tells the user what happens.
	Say func(format string, args ...any)
}

// world is a World that runs.
type world struct {
	World
	servers   map[string]*child
	processes map[string][]*child
	apis      []string // URLs, through no proxy
	ops       map[*child]string
	proxies   *proxies
	// databaseTurn is held by who does something to Postgres.
	databaseTurn sync.Mutex
	anchors      []net.Listener
	files        []*os.File
	proxied      map[string]string // address of the proxy of each server
}

// serverPort is where each server listens itself.
var serverPort = map[string]ports.Service{
	temporal: ports.TemporalGRPC, kafka: ports.Kafka, postgres: ports.Postgres, store: ports.Storage,
}

// build makes all children, and starts none.
func (w World) build() (_ *world, err error) {
	r := &world{
		World: w, servers: map[string]*child{}, processes: map[string][]*child{}, ops: map[*child]string{},
		proxied: map[string]string{},
	}
	defer func() {
		if err != nil {
			r.close(context.Background())
		}
	}()
	next, err := r.freePorts()
	if err != nil {
		return nil, err
	}
	upstream := map[string]string{}
	for _, name := range []string{temporal, kafka, postgres, store} {
		upstream[name] = w.Block.Addr(serverPort[name])
		r.proxied[name] = next()
	}
	if r.proxies, err = newProxies(r.proxied, upstream); err != nil {
		return nil, err
	}
	for _, name := range []string{temporal, kafka, store} {
		log, err := r.logFile(name)
		if err != nil {
			return nil, err
		}
		r.servers[name] = &child{
			name: name, addr: upstream[name], stopTimeout: stopTimeout, log: log, say: w.Say,
			command: func() *exec.Cmd { return w.Serve(name, r.proxied[kafka]) },
		}
	}
	for _, process := range []string{worker, starter, bridge} {
		for i := range instances[process] {
			if err := r.add(process, i, next); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

func (r *world) add(process string, i int, next func() string) error {
	name := process + "-" + strconv.Itoa(i+1)
	log, err := r.logFile(name)
	if err != nil {
		return err
	}
	ops := next()
	env := r.environment().With(envfile.Var{Name: "OPS_ADDR", Value: ops})
	if process == starter {
		api := next()
		host, port, _ := net.SplitHostPort(api) // made here
		env = env.With(envfile.Var{Name: "HOST", Value: host}, envfile.Var{Name: "PORT", Value: port})
		r.apis = append(r.apis, "http://"+api)
	}
	c := &child{
		name: name, addr: ops, stopTimeout: stopTimeout, log: log, say: r.Say,
		command: func() *exec.Cmd { return r.Vidflow(process, env) },
	}
	r.processes[process] = append(r.processes[process], c)
	r.ops[c] = ops
	return nil
}

// environment is what differs from that of a stack: everything is behind a proxy, and in a hurry.
func (r *world) environment() envfile.Vars {
	_, port, _ := net.SplitHostPort(r.proxied[postgres])
	number, _ := strconv.Atoi(port)
	return envfile.Vars{
		{Name: "KAFKA_BROKERS", Value: r.proxied[kafka]},
		{Name: "TEMPORAL_ADDRESS", Value: r.proxied[temporal]},
		{Name: "DATABASE_URL", Value: pg.URL(number, r.Role, r.RolePassword, r.Database)},
		{Name: "SUPABASE_URL", Value: "http://" + r.proxied[store]},
		{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: AskAgainAfter.String()},
		{Name: "TRANSCRIPTION_MAX_ASKS", Value: "1000"},
		{Name: "UNKNOWN_VIDEO_GRACE", Value: "5s"},
		{Name: "STORAGE_TIMEOUT", Value: StorageTimeout.String()},
		{Name: "SHUTDOWN_TIMEOUT", Value: (stopTimeout - time.Second).String()},
		{Name: "RATE_LIMIT", Value: "0"},
		{Name: "LOG_FORMAT", Value: "json"},
	}
}

// freePorts hands out addresses that nobody listens at, one after the other.
func (r *world) freePorts() (func() string, error) {
	const blocks = 2
	var free []string
	for range blocks {
		block, anchor, err := ports.Free()
		if err != nil {
			return nil, err
		}
		r.anchors = append(r.anchors, anchor)
		for service := ports.API; service < ports.Control; service++ {
			free = append(free, block.Addr(service))
		}
	}
	return func() string {
		addr := free[0]
		free = free[1:]
		return addr
	}, nil
}

func (r *world) logFile(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(r.Logs, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		r.files = append(r.files, f)
	}
	return f, err
}

// start starts everything and waits until it is ready.
func (r *world) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, c := range r.servers {
		if err := c.start(); err != nil {
			return err
		}
	}
	if err := r.Postgres.Start(ctx); err != nil {
		return err
	}
	if err := r.Prepare(ctx); err != nil {
		return err
	}
	for _, c := range r.servers {
		if err := c.serves(ctx); err != nil {
			return err
		}
	}
	for _, list := range r.processes {
		for _, c := range list {
			if err := c.start(); err != nil {
				return err
			}
		}
	}
	return r.awaitReady(ctx)
}

func (r *world) awaitReady(ctx context.Context) error {
	for _, list := range r.processes {
		for _, c := range list {
			if err := ready(ctx, "http://"+r.ops[c]); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// close ends everything.
func (r *world) close(ctx context.Context) {
	stopped := make(chan struct{})
	count := 0
	end := func(c *child) {
		count++
		go func() {
			c.close(ctx)
			stopped <- struct{}{}
		}()
	}
	for _, list := range r.processes {
		for _, c := range list {
			end(c)
		}
	}
	for ; count > 0; count-- {
		<-stopped
	}
	for _, c := range r.servers {
		end(c)
	}
	for ; count > 0; count-- {
		<-stopped
	}
	if r.Postgres != nil {
		_ = r.Postgres.Stop(ctx)
	}
	if r.proxies != nil {
		r.proxies.close()
	}
	for _, f := range r.files {
		_ = f.Close()
	}
	for _, a := range r.anchors {
		_ = a.Close()
	}
}

// storage orders faults of the storage.
func (r *world) storage() storage.Controller {
	return storage.Controller{URL: r.Block.URL(ports.StorageControl)}
}

var errUnready = errors.New("not ready")
