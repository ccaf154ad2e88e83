package docs

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/syntax"

	"github.com/codeendelea/vidflow/internal/config"
)

// Checker finds in pages what does not exist.
type Checker struct {
	root     string
	binary   string // vidflow
	temporal string // the CLI
	makefile string

	mu    sync.Mutex
	lines map[string]error // of programs that were tried
}

// NewChecker returns one for the repository, the binary and the Temporal CLI.
func NewChecker(root, binary, temporal string) (*Checker, error) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return nil, err
	}
	return &Checker{root: root, binary: binary, temporal: temporal, makefile: string(makefile), lines: map[string]error{}}, nil
}

// Check returns what is wrong with the page, each with its place. Whether its commands do what it says is Run's to find out.
func (c *Checker) Check(p *Page) []string {
	problems := slices.Clone(p.problems)
	found := func(line int, err error) {
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s:%d: %v", p.File, line, err))
		}
	}
	for _, b := range p.Blocks {
		file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(b.Commands), "")
		if err != nil {
			var wrong syntax.ParseError
			if errors.As(err, &wrong) {
				found(b.Line+int(wrong.Pos.Line())-1, errors.New(wrong.Text))
			} else {
				found(b.Line, err)
			}
			continue
		}
		c.commands(file, func(line uint, err error) { found(b.Line+int(line)-1, err) })
	}
	for _, code := range p.code {
		found(code.line, c.inline(code.text))
	}
	for _, link := range p.links {
		found(link.line, c.link(p, link.text))
	}
	return problems
}

// inline checks what a sentence names.
func (c *Checker) inline(code string) (err error) {
	switch {
	case repositoryPath.MatchString(code):
		_, err := os.Stat(filepath.Join(c.root, strings.TrimPrefix(code, "../")))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no %s", code)
		}
		return err
	case variableName.MatchString(code):
		return c.variable(code)
	case strings.HasPrefix(code, "make "), strings.HasPrefix(code, "vidflow "), strings.HasPrefix(code, "temporal "):
		file, parseErr := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(code), "")
		if parseErr == nil { // else it is no command, but looks like one
			c.commands(file, func(_ uint, e error) { err = errors.Join(err, e) })
		}
	}
	return err
}

var (
	repositoryPath = regexp.MustCompile(`^(\.\./)?((clients|cmd|deploy|devstack|docs|internal|tools)/[\w./-]+|\w+/[\w/-]+\.(go|sql|md))$`)
	variableName   = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$`)
)

// commands checks each command and each variable of a piece of shell.
func (c *Checker) commands(file *syntax.File, found func(line uint, err error)) {
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Assign:
			if n.Name != nil {
				found(n.Pos().Line(), c.variable(n.Name.Value))
			}
		case *syntax.CallExpr:
			var words []string
			for _, w := range n.Args {
				words = append(words, literal(w))
			}
			program, args := command(words)
			switch program {
			case "vidflow":
				for _, a := range n.Assigns {
					if !slices.Contains(variables, a.Name.Value) && a.Name.Value != "NO_COLOR" {
						found(n.Pos().Line(), fmt.Errorf("vidflow reads no variable %s", a.Name.Value))
					}
				}
				found(n.Pos().Line(), c.vidflow(args))
			case "temporal":
				found(n.Pos().Line(), c.temporalCLI(args))
			case "make":
				found(n.Pos().Line(), c.make(args))
			}
		}
		return true
	})
}

// programsKnown are those whose command lines are checked.
var programsKnown = []string{"vidflow", "temporal", "make"}

// command finds the program that a command line ends up with, where it is a known one, and what it is given.
func command(words []string) (program string, args []string) {
	for i, w := range words {
		begins := i == 0 || slices.Contains([]string{"--", "exec", "run", "time", "nohup", "sudo"}, words[i-1]) ||
			i == 2 && words[0] == "timeout"
		if name := path.Base(w); begins && !strings.HasPrefix(w, "-") && slices.Contains(programsKnown, name) {
			program, args = name, words[i+1:] // and not the pod of that name before it
		}
	}
	return program, args
}

// literal is what a word says; what stands for something else in it is "1", which most flags take.
func literal(w *syntax.Word) string {
	var b strings.Builder
	var parts func([]syntax.WordPart)
	parts = func(list []syntax.WordPart) {
		for _, part := range list {
			switch part := part.(type) {
			case *syntax.Lit:
				b.WriteString(part.Value)
			case *syntax.SglQuoted:
				b.WriteString(part.Value)
			case *syntax.DblQuoted:
				parts(part.Parts)
			default:
				b.WriteByte('1')
			}
		}
	}
	parts(w.Parts)
	return b.String()
}

// vidflow has the binary read a command line: asked for help as well, it does nothing else, but refuses what it does not know.
func (c *Checker) vidflow(args []string) error {
	return c.try("vidflow", c.binary, args, func(out string, failed error) bool {
		return failed == nil || strings.Contains(out, "no such file") // a file that the reader has is not here
	})
}

// temporalCLI is vidflow for the Temporal CLI, which shows the help of the nearest command when there is none of that name.
func (c *Checker) temporalCLI(args []string) error {
	usage := "temporal"
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			break
		}
		usage += " " + a
	}
	return c.try("temporal", c.temporal, args, func(out string, failed error) bool {
		return failed == nil && strings.Contains(out, "\n  "+usage+" [flags]\n")
	})
}

// try runs a program with a command line and a request for help, once.
func (c *Checker) try(name, program string, args []string, good func(out string, failed error) bool) error {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "…" })
	line := name + " " + strings.Join(args, " ")
	c.mu.Lock()
	defer c.mu.Unlock()
	err, tried := c.lines[line]
	if !tried {
		cmd := exec.Command(program, append(args, "--help")...)
		cmd.Env = []string{"NO_COLOR=1", noSleep}
		if out, failed := cmd.CombinedOutput(); !good(string(out), failed) {
			err = errors.Join(fmt.Errorf("%s does not take %q: %s", name, strings.Join(args, " "), out), failed)
		}
		c.lines[line] = err
	}
	return err
}

func (c *Checker) make(args []string) error {
	for _, a := range args {
		name, _, sets := strings.Cut(a, "=")
		switch {
		case strings.HasPrefix(a, "-") || a == "…":
		case sets && !regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`\b`).MatchString(c.makefile):
			return fmt.Errorf("the Makefile has no variable %s", name)
		case !sets && !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+`:`).MatchString(c.makefile):
			return fmt.Errorf("there is no make %s", name)
		}
	}
	return nil
}

var variables, families = func() (names, prefixes []string) {
	for _, v := range config.Variables() {
		names = append(names, v.Name)
		family, _, more := strings.Cut(v.Name, "_")
		// OpenTelemetry reads more of its own, and Kafka's errors are called unknown.
		if more && family != "OTEL" && family != "UNKNOWN" {
			prefixes = append(prefixes, family+"_")
		}
	}
	return names, prefixes
}()

// variable checks a name that looks like one of vidflow's; other names are other people's.
func (c *Checker) variable(name string) error {
	ours := slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(name, f) })
	if !ours || slices.Contains(variables, name) || regexp.MustCompile(`(?m)^`+name+` [?:]?=`).MatchString(c.makefile) {
		return nil
	}
	return fmt.Errorf("vidflow has no variable %s", name)
}

// link checks one that leads into the repository.
func (c *Checker) link(p *Page, destination string) error {
	u, err := url.Parse(destination)
	if err != nil {
		return err
	}
	if u.Scheme != "" || u.Host != "" {
		return nil
	}
	target := p
	if u.Path != "" {
		file := path.Join(path.Dir(p.File), u.Path)
		if _, err := os.Stat(filepath.Join(c.root, file)); err != nil {
			return fmt.Errorf("a link leads to %s, which is not there", file)
		}
		if u.Fragment == "" || path.Ext(file) != ".md" {
			return nil
		}
		if target, err = Read(c.root, file); err != nil {
			return err
		}
	}
	if u.Fragment != "" && !slices.Contains(target.anchors, u.Fragment) {
		return fmt.Errorf("a link leads to #%s, a heading that %s does not have", u.Fragment, target.File)
	}
	return nil
}
