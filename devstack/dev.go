package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/stack"
	"github.com/codeendelea/vidflow/devstack/supervisor"
)

type devCmd struct {
	State    string   `help:"Folder that keeps the state." default:".dev" type:"path" placeholder:"DIR"`
	PortBase int      `help:"First of the ports; the API's." default:"8000" env:"PORT_BASE" placeholder:"PORT"`
	Except   []string `help:"Leave these to you: worker, starter, kafkabridge, simulator." env:"EXCEPT" sep:"none" placeholder:"NAME"`
	Store    string   `name:"temporal-store" help:"What Temporal keeps its state on: sqlite, or postgres, as a cluster does. Runs on one are not seen on the other." enum:"sqlite,postgres" default:"sqlite" env:"TEMPORAL_STORE" placeholder:"NAME"`
	Binary   string   `help:"The vidflow binary; built when not given." type:"existingfile" placeholder:"PATH"`
}

// tokenValidity is that of the development token.
const tokenValidity = 30 * 24 * time.Hour

func (c *devCmd) Run(sig *interrupts) error {
	started := time.Now()
	except, err := exceptions(c.Except)
	if err != nil {
		return err
	}
	block := ports.Block{Base: c.PortBase}
	if err := os.MkdirAll(filepath.Join(c.State, "log"), 0o755); err != nil {
		return err
	}
	unlock, err := lock(c.State)
	if err != nil {
		return err
	}
	defer unlock()
	if err := block.Check(servedElsewhere(except)...); err != nil {
		return err
	}
	anchor, err := net.Listen("tcp", block.Addr(ports.Control))
	if err != nil {
		return err
	}
	say := sayer(started)
	if c.Binary == "" {
		if c.Binary, err = build(sig.asked, c.State, say); err != nil {
			return err
		}
	}
	s := &session{
		dir:     c.State,
		block:   block,
		binary:  c.Binary,
		control: anchor,
		except:  except,
		store:   c.Store,
		console: supervisor.NewConsole(os.Stdout, colourful(os.Stdout), len(bridgeProcess)),
		say:     say,
		insist:  sig.insisted,
	}
	err = s.run(sig.asked, func(ctx context.Context) error {
		if err := s.welcome(started); err != nil {
			return err
		}
		<-ctx.Done()
		say("stopping")
		return nil
	})
	if err != nil {
		return err
	}
	say("stopped; the state is in %s, `make clean-dev` removes it", c.State)
	return nil
}

// exceptions reads the list, separated by commas or blanks.
func exceptions(values []string) ([]string, error) {
	known := append(slices.Clone(vidflowProcesses), simulatorPart)
	names := strings.FieldsFunc(strings.Join(values, ","), func(r rune) bool { return r == ',' || r == ' ' })
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("EXCEPT names %q; it can name %s", name, strings.Join(known, ", "))
		}
	}
	return names, nil
}

// servedElsewhere are the ports of the processes that the developer runs.
func servedElsewhere(except []string) []ports.Service {
	var services []ports.Service
	for _, name := range except {
		if service, ok := opsPort[name]; ok {
			services = append(services, service)
		}
		if name == starterProcess {
			services = append(services, ports.API)
		}
	}
	return services
}

// lock makes sure that one stack at a time works on the state.
func lock(dir string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(file.Name())
		_ = file.Close()
		return nil, fmt.Errorf("another stack (process %s) works on %s already", strings.TrimSpace(string(holder)), dir)
	}
	if err := errors.Join(file.Truncate(0), writeAt(file, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil // which unlocks; the file stays, so that nobody locks a deleted one
}

func writeAt(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

func colourful(file *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && (isatty.IsTerminal(file.Fd()) || os.Getenv("FORCE_COLOR") != "")
}

// sayer tells the user what happens, with the time since the start.
func sayer(started time.Time) func(format string, args ...any) {
	return func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "[%5.1fs] %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
	}
}

// welcome writes the environment file and prints what to do next.
func (s *session) welcome(started time.Time) error {
	token, err := seed.Token(stack.JWTSecret, seed.Lecturer, time.Now(), tokenValidity)
	if err != nil {
		return fmt.Errorf("make a token: %w", err)
	}
	file := filepath.Join(s.dir, "env")
	shown := file
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, file); err == nil && !strings.HasPrefix(rel, "..") {
			shown = rel
		}
	}
	env := s.joinIn(token)
	if err := env.Write(file, "Everything about the running development stack: source it in a POSIX shell."); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	api := s.block.URL(ports.API)
	var b strings.Builder
	fmt.Fprintf(&b, "\nvidflow runs, %.1f s after the start.\n\n", time.Since(started).Seconds())
	for _, line := range [][2]string{
		{"API", api},
		{"API docs", api + "/api/docs"},
		{"Temporal UI", s.block.URL(ports.TemporalUI)},
		{"Transcripts", s.block.URL(ports.Storage) + "/storage/v1/object/public/captions/videos/{id}.json"},
		{"For your shell", "source " + shown + "   (then psql, kcat -b $KAFKA_BROKERS, temporal, go run ./cmd/vidflow …)"},
		{"Logs of servers", filepath.Join(filepath.Dir(shown), "log")},
	} {
		fmt.Fprintf(&b, "  %-16s %s\n", line[0], line[1])
	}
	for _, name := range s.except {
		if name != simulatorPart {
			fmt.Fprintf(&b, "\n  %s is left to you:\n  source %s && %s\n", name, shown, s.byHand(name))
		}
	}
	fmt.Fprintf(&b, "\nA token, of a lecturer who owns the course below:\n\n  %s\n", token)
	fmt.Fprintf(&b, "\nPaste this, and watch the video in the Temporal UI:\n\n  %s\n\n", createLine(api, token))
	fmt.Fprintf(&b, "Its state, with the id of the answer:\n\n  curl -sS -H \"Authorization: Bearer %s\" %s/api/videos/ID/pipeline\n\n",
		token, api)
	b.WriteString("Ctrl-C stops everything.\n\n")
	_, err = os.Stdout.WriteString(b.String())
	return err
}

// byHand is the command line for a process that the developer runs.
func (s *session) byHand(name string) string {
	return "OPS_ADDR=" + s.block.Addr(opsPort[name]) + " go run ./cmd/vidflow " + name
}

// createLine is a command for a POSIX shell that creates a video.
func createLine(api, token string) string {
	const body = `{"title": "Sorting, explained [2m]", "description": "How merge sort and quicksort work, step by step.", ` +
		`"camera_video_url": "https://example.test/lectures/sorting.mp4", "level": "beginner"}`
	return strings.Join([]string{
		"curl -sS -X POST " + api + "/api/courses/" + seed.Courses[0].ID + "/videos",
		"-H " + envfile.Quote("Authorization: Bearer "+token),
		"-H " + envfile.Quote("Content-Type: application/json"),
		"-d " + envfile.Quote(body),
	}, " ")
}

// joinIn is what others need to use the running stack: our own commands, psql, kcat, the Temporal CLI, curl.
func (s *session) joinIn(token string) envfile.Vars {
	p := s.block
	return s.servers.Environment().With(
		envfile.Var{Name: "HOST", Value: "127.0.0.1"},
		envfile.Var{Name: "PORT", Value: strconv.Itoa(p.Port(ports.API))},
		envfile.Var{Name: "PGHOST", Value: "127.0.0.1", Note: "psql, as superuser"},
		envfile.Var{Name: "PGPORT", Value: strconv.Itoa(p.Port(ports.Postgres))},
		envfile.Var{Name: "PGUSER", Value: postgres.Superuser},
		envfile.Var{Name: "PGPASSWORD", Value: postgres.Password},
		envfile.Var{Name: "PGDATABASE", Value: stack.Database},
		envfile.Var{Name: "PGSSLMODE", Value: "disable"},
		envfile.Var{Name: "VIDFLOW_API", Value: p.URL(ports.API), Note: "For curl"},
		envfile.Var{Name: "VIDFLOW_TOKEN", Value: token},
		envfile.Var{Name: "VIDFLOW_COURSE", Value: seed.Courses[0].ID},
		envfile.Var{Name: "VIDFLOW_TEMPORAL_UI", Value: p.URL(ports.TemporalUI)},
		envfile.Var{Name: "VIDFLOW_STACK_CONTROL", Value: p.URL(ports.Control), Note: "To see an outage: curl -X POST \"$VIDFLOW_STACK_CONTROL/stop?server=kafka\", and /start"},
		envfile.Var{Name: "VIDFLOW_STORAGE_CONTROL", Value: p.URL(ports.StorageControl)},
		envfile.Var{Name: "VIDFLOW_WORKER_OPS", Value: p.URL(ports.WorkerOps), Note: "Probes, for curl"},
		envfile.Var{Name: "VIDFLOW_STARTER_OPS", Value: p.URL(ports.StarterOps)},
		envfile.Var{Name: "VIDFLOW_KAFKABRIDGE_OPS", Value: p.URL(ports.BridgeOps)},
	)
}

type cleanCmd struct {
	State string `help:"Folder that keeps the state." default:".dev" type:"path" placeholder:"DIR"`
}

// Run removes the state unless a stack works on it.
func (c *cleanCmd) Run() error {
	if _, err := os.Stat(c.State); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := lock(c.State)
	if err != nil {
		return err
	}
	defer unlock()
	return stack.Remove(c.State)
}
