package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/codeendelea/vidflow/devstack/bench"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/leftover"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/stack"
)

type benchCmd struct {
	Binary string   `help:"The vidflow binary." type:"existingfile" required:"" placeholder:"PATH"`
	Floors string   `help:"The program of the floors." type:"existingfile" required:"" placeholder:"PATH"`
	Only   []string `help:"Take these measures alone." placeholder:"NAME"`
	Exact  bool     `help:"Take only what noise cannot touch."`
	Stores []string `help:"Stores of Temporal." default:"sqlite,postgres" enum:"sqlite,postgres"`
	Rounds int      `help:"Rounds of each comparison, of which the median counts." default:"3"`
	Scale  float64  `help:"Scale of the amounts; less than 1 is for trying things out." default:"1"`
	Out    string   `help:"The report." default:"out/bench.json" type:"path"`
	Keep   bool     `help:"Keep the state and the logs."`
}

// Help says what the measures are.
func (c *benchCmd) Help() string {
	text := "Every measure has servers of its own, and takes ours and its floor in turn. Measures, * exact, † on each store of Temporal:\n"
	for _, m := range bench.Measures() {
		marks := ""
		if m.Exact {
			marks += "*"
		}
		if m.Stores {
			marks += "†"
		}
		text += fmt.Sprintf("\n  %-16s %s", m.Name+marks, m.About)
	}
	return text + "\n\nWhat the keys mean is in docs/performance.md."
}

// Run measures vidflow against its floors.
func (c *benchCmd) Run(sig *interrupts) error {
	say := sayer(time.Now())
	r, err := bench.Run(sig.asked, bench.Options{
		Only: c.Only, Exact: c.Exact, Stores: c.Stores, Rounds: c.Rounds, Scale: c.Scale, Say: say,
		Version: version(sig.asked, c.Binary),
		NewLab:  func(ctx context.Context, store string) (*bench.Lab, error) { return c.lab(ctx, store, say) },
	})
	if sig.asked.Err() != nil {
		return errors.New("interrupted")
	}
	if r != nil && len(r.Rows) > 0 {
		fmt.Println()
		err = errors.Join(err, r.Print(os.Stdout), r.Write(c.Out))
		say("the report is in %s", c.Out)
	}
	return err
}

func version(ctx context.Context, binary string) string {
	out, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(first, "vidflow ")
}

// lab starts servers of their own on free ports.
func (c *benchCmd) lab(ctx context.Context, store string, say func(string, ...any)) (_ *bench.Lab, err error) {
	dir, err := scratch()
	if err != nil {
		return nil, err
	}
	block, anchor, err := ports.Free()
	if err != nil {
		return nil, err
	}
	servers, err := stack.New(stack.Config{Dir: dir, Ports: block, Log: os.Stderr})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	token, err := seed.Token(stack.JWTSecret, seed.Lecturer, time.Now(), 24*time.Hour)
	if err != nil {
		return nil, err
	}
	mark := envfile.Var{Name: leftover.Marker, Value: dir}
	env := servers.Environment().With(mark,
		envfile.Var{Name: "HOST", Value: "127.0.0.1"},
		envfile.Var{Name: "PORT", Value: strconv.Itoa(block.Port(ports.API))})
	return bench.Open(ctx, bench.Config{
		Dir: dir, Block: block, Store: store, Env: env, Token: token, Course: seed.Courses[0].ID, Say: say,
		Serve: func(server string) *exec.Cmd {
			cmd := exec.Command(self, "serve", server, "--dir="+dir, "--port-base="+strconv.Itoa(block.Base), "--no-sync-kafka", "--temporal-store="+store)
			cmd.Env = envfile.Vars{mark}.Environ(os.Environ())
			return cmd
		},
		Vidflow: func(process string, more envfile.Vars) *exec.Cmd {
			cmd := exec.Command(c.Binary, process)
			cmd.Env = env.With(more...).Environ(inherited(os.Environ()))
			return cmd
		},
		Floor: func(args []string) *exec.Cmd {
			cmd := exec.Command(c.Floors, args...)
			cmd.Env = env.Environ(inherited(os.Environ()))
			return cmd
		},
		Postgres: postgres.New(postgres.Config{
			Dir: filepath.Join(dir, "postgres"), Port: block.Port(ports.Postgres), LogFile: filepath.Join(dir, "log", "postgres.log"), Note: note,
		}),
		Prepare:      func(ctx context.Context) error { return servers.PrepareDatabase(ctx, migrate) },
		SuperuserURL: postgres.URL(block.Port(ports.Postgres), postgres.Superuser, postgres.Password, stack.Database),
		Remove: func() error {
			err := anchor.Close()
			if !c.Keep {
				err = errors.Join(err, stack.Remove(dir))
			} else {
				say("kept: %s", dir)
			}
			return errors.Join(err, leftover.Check(dir, block))
		},
	})
}
