// Command vidflow is the one binary: the Temporal worker, the HTTP API, the Kafka bridge, the migrations, and the tools for
// Kafka and dead letters.
//
// This package is the command line and the wiring, and nothing else: what a process needs is opened, built, run and closed
// here, in the order of dependency and in plain sight.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/telemetry"
)

// Exit codes. A second signal ends the program with 130, see package process.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // a command line or a configuration that cannot be used
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], config.Environment(), os.Stdin, os.Stdout, os.Stderr))
}

// run is the program, and returns its exit code. What was asked for goes to stdout, the log and errors to stderr.
func run(ctx context.Context, args []string, env map[string]string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == completeCommand {
		return report(stderr, complete(args[1:], stdout))
	}
	line, err := parse(args, stdout, stderr)
	if err != nil {
		say(stderr, err.Error())
		return exitUsage
	}
	if line == nil { // --help
		return exitOK
	}
	if err := line.run(ctx, env, stdin, stdout, stderr); err != nil {
		return report(stderr, err)
	}
	return exitOK
}

// run runs the command that was selected.
func (l *commandLine) run(
	ctx context.Context, env map[string]string, stdin io.Reader, stdout, stderr io.Writer,
) error {
	if l.command == versionCommand {
		return printVersion(stdout)
	}
	if l.shell != "" {
		return printCompletion(stdout, l.shell)
	}
	if l.command == probeCommand {
		return probe(ctx, l.commands, env, stdout)
	}
	if l.printRoleSQL {
		return printRoleSQL(stdout)
	}
	cfg, err := config.Load(l.commands, l.flags, env)
	if err != nil {
		return err
	}
	if l.tool != nil {
		return l.runTool(ctx, cfg, env, stdin, stdout, stderr)
	}
	log, files, err := telemetry.Open(telemetry.Options{
		Console: stderr,
		Format:  cfg.Process.LogFormat,
		NoColor: env["NO_COLOR"] != "",
		Level:   cfg.Process.LogLevel,
		Dir:     cfg.Process.LogDir,
		Redact:  cfg.Redactor().Redact,
	})
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()

	if err := execute(ctx, l, cfg, log, stdout); err != nil {
		log.Error("vidflow ends", "error", err)
		return errLogged
	}
	return nil
}

// errLogged is an error that the log already has.
var errLogged = errors.New("see the log")

func report(stderr io.Writer, err error) int {
	var problems *config.ProblemsError
	var code exitCode
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errLogged), errors.Is(err, errSaid):
		return exitFailed
	case errors.As(err, &problems):
		say(stderr, err.Error())
		return exitUsage
	default:
		say(stderr, err.Error())
		return exitFailed
	}
}

func say(w io.Writer, text string) { _, _ = fmt.Fprintln(w, text) }

var _ kong.HelpPrinter = printHelp
