package main

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/codeendelea/vidflow/internal/config"
)

// grammar is the command line, for kong. A flag for each variable joins the commands through the variables' field: they are
// all texts, because what they say is read and checked together with the environment, by package config.
type grammar struct {
	Worker      processCmd    `cmd:"" group:"Processes, each of which runs until it is stopped:" help:"Run the Temporal worker: the workflow of a video, and its steps."`
	Starter     processCmd    `cmd:"" group:"Processes, each of which runs until it is stopped:" help:"Run the HTTP API, which creates videos and starts their workflows."`
	KafkaBridge processCmd    `cmd:"" group:"Processes, each of which runs until it is stopped:" name:"kafkabridge" help:"Run the bridge, which turns results on Kafka into signals."`
	Migrate     migrateCmd    `cmd:"" group:"Other commands:" help:"Bring the database, and Temporal's search attributes, up to date."`
	Probe       probeCmd      `cmd:"" group:"Other commands:" help:"Ask a process on this machine whether it is ready."`
	Version     versionCmd    `cmd:"" group:"Other commands:" help:"Print the version."`
	Completion  completionCmd `cmd:"" group:"Other commands:" help:"Print the script that completes commands, flags and values in a shell."`
	Status      statusCmd     `cmd:"" group:"On call:" help:"Show how the pipeline is doing, or where one video is, and what to do next."`
	Dlq         dlqCmd        `cmd:"" group:"Dead letters, the results that could not be understood:" help:"List, show and send back dead letters."`
	Kafka       kafkaCmd      `cmd:"" group:"Kafka:" help:"Check brokers and permissions, send a test video, read and write topics."`
	Adopt       adoptCmd      `cmd:"" group:"Runs:" help:"See to it that videos that are not finished have a run, or are asked for again."`
	Replay      replayCmd     `cmd:"" group:"Runs:" help:"Find the runs that this version of the workflow could not go on with: the check before a deploy."`
}

type processCmd struct {
	Also      []string     `arg:"" optional:"" name:"command" enum:"worker,starter,kafkabridge,migrate" help:"More to run in the same process: worker, starter, kafkabridge, or migrate, which then runs first."`
	Variables kong.Plugins `embed:""`
}

type migrateCmd struct {
	Also         []string     `arg:"" optional:"" name:"command" enum:"worker,starter,kafkabridge,migrate" help:"What to run afterwards, in the same process: worker, starter or kafkabridge."`
	SkipTemporal bool         `help:"Leave Temporal alone."`
	PrintRoleSQL bool         `name:"print-role-sql" help:"Print the SQL of the least-privilege role that worker and starter log in as, and do nothing."`
	Variables    kong.Plugins `embed:""`
}

type probeCmd struct {
	Process []string `arg:"" optional:"" name:"process" enum:"worker,starter,kafkabridge" help:"What runs there, to know its address by. Needless when OPS_ADDR is set, and where one process runs alone, as in a container."`
}

type versionCmd struct{}

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown by "vidflow worker --help" and its like.
func (processCmd) Help() string {
	return "Every flag is an environment variable too, named at its end; a flag wins, and an empty variable counts as unset. " +
		"Secrets belong in the environment: a flag shows in the list of processes.\n\n" +
		"Several run in one process when they are named together, in any order: vidflow worker starter kafkabridge. " +
		"They then share the log and the probes."
}

// Help is shown by "vidflow migrate --help".
func (migrateCmd) Help() string {
	return "Waits for the database, creates what is missing in it, and can be run again at any time, also by several at " +
		"once. Where a TEMPORAL_ variable is set, creates the search attributes in that namespace as well."
}

// Help is shown by "vidflow probe --help".
func (probeCmd) Help() string {
	return "Prints the answer of /readyz at OPS_ADDR, and fails when the process is not ready. Meant for the health check of " +
		"a container."
}

// Help is shown by "vidflow completion --help".
func (completionCmd) Help() string {
	return "For the shell that is open, and in its start-up file for those to come:\n\n" +
		"  eval \"$(vidflow completion bash)\"\n" +
		"  eval \"$(vidflow completion zsh)\"     (after compinit)\n" +
		"  vidflow completion fish | source"
}

const versionCommand = "version"

// commandLine is what was asked for.
type commandLine struct {
	command      string // that was named first
	commands     []config.Command
	flags        map[string]string // of variables, by the name of the variable
	skipTemporal bool
	printRoleSQL bool
	shell        string // that a completion is asked for
	tool         tool   // nil but for the tools
}

// parse reads the arguments. It returns nil when they asked for help, which it has then printed to stdout. Its error says
// what to do next.
func parse(args []string, stdout, stderr io.Writer) (*commandLine, error) {
	helped := false
	parser, g, flags, err := newParser(kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }))
	if err != nil {
		return nil, fmt.Errorf("vidflow's own command line is wrong: %w", err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if helped {
		return nil, nil
	}
	if err != nil {
		return nil, usageError(err)
	}
	line := &commandLine{
		command:      topLevel(parsed),
		commands:     commandsOf(parsed),
		flags:        make(map[string]string),
		skipTemporal: g.Migrate.SkipTemporal,
		printRoleSQL: g.Migrate.PrintRoleSQL,
		shell:        g.Completion.Shell,
	}
	line.tool, _ = parsed.Selected().Target.Addr().Interface().(tool)
	for i, v := range config.Variables() {
		line.flags[v.Name] = flags.Elem().Field(i).String()
	}
	return line, nil
}

// newParser is the command line, with the structs that it reads arguments into: commands with flags of their own, and the
// flags of variables.
func newParser(options ...kong.Option) (parser *kong.Kong, g *grammar, flags reflect.Value, err error) {
	flags = reflect.New(flagsType())
	g = new(grammar)
	g.Worker.Variables = kong.Plugins{flags.Interface()}
	g.Starter.Variables = g.Worker.Variables
	g.KafkaBridge.Variables = g.Worker.Variables
	g.Migrate.Variables = g.Worker.Variables
	for _, t := range g.tools() {
		t.Variables = g.Worker.Variables
	}
	parser, err = kong.New(g, append(options,
		kong.Name("vidflow"),
		kong.Description("A durable workflow for every video: asks for its transcription over Kafka, waits for the results, stores them."),
		kong.Help(printHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.ExplicitGroups(nil),
	)...)
	return parser, g, flags, err
}

func usageError(err error) error {
	more := "vidflow --help"
	var parseError *kong.ParseError
	if errors.As(err, &parseError) && parseError.Context != nil && parseError.Context.Selected() != nil {
		more = parseError.Context.Selected().FullPath() + " --help"
	}
	return fmt.Errorf("vidflow: %w\nRun \"%s\" for what there is", err, more)
}

// flagsType is a struct with a field, of type string and tagged for kong, for each variable.
func flagsType() reflect.Type {
	var fields []reflect.StructField
	for _, v := range config.Variables() {
		tags := []string{
			tag("name", v.Flag()),
			tag("group", v.Group),
			tag("help", flagHelp(v)),
			tag("placeholder", placeholder(v)),
		}
		fields = append(fields, reflect.StructField{
			Name: v.Name,
			Type: reflect.TypeFor[string](),
			Tag:  reflect.StructTag(strings.Join(tags, " ")),
		})
	}
	return reflect.StructOf(fields)
}

func tag(key, text string) string {
	return key + ":" + strconv.Quote(strings.ReplaceAll(text, "$", "$$"))
}

func flagHelp(v config.Variable) string {
	text := v.Sentence()
	if v.Required {
		text += "; required"
	}
	return text + " ($" + v.Name + ")."
}

func placeholder(v config.Variable) string {
	if v.Default != "" {
		return v.Default
	}
	return "…"
}

// printHelp hides the flags that the commands asked for have no use for.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if ctx.Selected() != nil {
		hideNeedless(ctx.Selected().Flags, commandsOf(ctx))
	}
	return kong.DefaultHelpPrinter(options, ctx)
}

// hideNeedless hides the flags of variables that the commands do not read.
func hideNeedless(flags []*kong.Flag, commands []config.Command) {
	needless := make(map[string]bool)
	for _, v := range config.Variables() {
		needless[v.Flag()] = !v.NeededBy(commands)
	}
	for _, flag := range flags {
		flag.Hidden = flag.Hidden || needless[flag.Name]
	}
}

// commandsOf returns the commands that were named, each once and in the order of config.Commands: it makes no difference
// in which order people write them.
func commandsOf(ctx *kong.Context) []config.Command {
	named := []string{topLevel(ctx)}
	if i := slices.Index(config.Tools, config.Command(named[0])); i >= 0 {
		return config.Tools[i : i+1]
	}
	for _, path := range ctx.Path {
		if path.Positional != nil {
			also, _ := ctx.Value(path).Interface().([]string)
			named = append(named, also...)
		}
	}
	return inOrderOfCommands(named)
}

func inOrderOfCommands(named []string) []config.Command {
	return slices.DeleteFunc(slices.Clone(config.Commands), func(c config.Command) bool {
		return !slices.Contains(named, string(c))
	})
}

// topLevel is the command that was selected, or the one that it belongs to.
func topLevel(ctx *kong.Context) string {
	node := ctx.Selected()
	for node.Parent != nil && node.Parent.Type == kong.CommandNode {
		node = node.Parent
	}
	return node.Name
}
