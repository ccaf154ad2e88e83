package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/codeendelea/vidflow/devstack/chaos"
	"github.com/codeendelea/vidflow/devstack/chaos/audit"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/leftover"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/stack"
)

type chaosCmd struct {
	Binary  string        `help:"The vidflow binary; built when not given." type:"existingfile" placeholder:"PATH"`
	Seed    uint64        `help:"What happens follows from it alone." default:"1"`
	Videos  int           `help:"How many videos are created." default:"500"`
	Minutes float64       `help:"For how long things go wrong." default:"5"`
	Rest    time.Duration `help:"How long everything may take to come to rest afterwards." default:"5m"`
	Out     string        `help:"Folder for chaos.json, and for the logs of a run that fails." default:"out" type:"path"`
	Logs    bool          `help:"Keep the logs of a run that does not fail too."`
}

// Run breaks a whole pipeline in every way, heals it, and looks at what came of every result.
func (c *chaosCmd) Run(sig *interrupts) (err error) {
	say := sayer(time.Now())
	dir, err := scratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Remove(dir)) }()
	if c.Binary == "" {
		if c.Binary, err = build(sig.asked, dir, say); err != nil {
			return err
		}
	}
	logs := filepath.Join(c.Out, fmt.Sprintf("chaos-%d", c.Seed))
	if err := errors.Join(os.RemoveAll(logs), os.MkdirAll(logs, 0o755)); err != nil {
		return err
	}
	block, anchor, err := ports.Free()
	if err != nil {
		return err
	}
	defer func() { _ = anchor.Close() }()
	cfg, err := c.config(dir, logs, block, say)
	if err != nil {
		return err
	}
	result, err := chaos.Run(sig.asked, cfg)
	if sig.asked.Err() != nil {
		return errors.New("interrupted")
	}
	if err == nil {
		result.Print(os.Stdout)
		err = result.Write(filepath.Join(c.Out, "chaos.json"))
	}
	_ = anchor.Close()
	err = errors.Join(err, leftover.Check(dir, block))
	if err != nil || !result.Sound() {
		fmt.Fprintf(os.Stderr, "\nThe logs of everything are in %s. Repeat it with:\n  make chaos SEED=%d VIDEOS=%d MINUTES=%v\n", logs, c.Seed, c.Videos, c.Minutes)
		return errors.Join(err, errors.New("chaos: not everything is as it must be"))
	}
	if c.Logs {
		return nil
	}
	return os.RemoveAll(logs)
}

func (c *chaosCmd) config(dir, logs string, block ports.Block, say func(string, ...any)) (chaos.Config, error) {
	servers, err := stack.New(stack.Config{Dir: dir, Ports: block, Disposable: true, Log: io.Discard})
	if err != nil {
		return chaos.Config{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return chaos.Config{}, err
	}
	token, err := seed.Token(stack.JWTSecret, seed.Admin, time.Now(), 24*time.Hour)
	if err != nil {
		return chaos.Config{}, err
	}
	mark := envfile.Var{Name: leftover.Marker, Value: dir}
	return chaos.Config{
		World: chaos.World{
			Logs: logs, Block: block,
			Serve: func(server, advertisedKafka string) *exec.Cmd {
				cmd := exec.Command(self, "serve", server, "--dir="+dir, "--port-base="+strconv.Itoa(block.Base),
					"--advertised-kafka="+advertisedKafka)
				cmd.Env = envfile.Vars{mark}.Environ(os.Environ())
				return cmd
			},
			Vidflow: func(process string, env envfile.Vars) *exec.Cmd {
				cmd := exec.Command(c.Binary, process)
				cmd.Env = servers.Environment().With(env...).With(mark).Environ(inherited(os.Environ()))
				return cmd
			},
			Postgres: postgres.New(postgres.Config{
				Dir: filepath.Join(dir, "postgres"), Port: block.Port(ports.Postgres),
				LogFile: filepath.Join(logs, "postgres.log"), Disposable: true, Note: note,
			}),
			Prepare:  func(ctx context.Context) error { return servers.PrepareDatabase(ctx, migrate) },
			Database: stack.Database, Role: stack.Role, RolePassword: stack.RolePassword,
			Token: token, Course: seed.Courses[0].ID, Say: say,
		},
		Plan:      chaos.NewPlan(c.Seed, c.Videos, time.Duration(c.Minutes*float64(time.Minute))),
		Topics:    auditTopics(),
		Namespace: stack.Namespace, RestTimeout: c.Rest,
	}, nil
}

// auditTopics are the names that the processes have by default, written down once more on purpose.
func auditTopics() audit.Topics {
	return audit.Topics{
		Asks: "Transcribe", Transcriptions: "update_transcribe", Compressions: "finish_compress",
		TranscriptionGroup: "codeendelea-transcription-consumer", CompressionGroup: "codeendelea-compression-consumer",
	}
}
