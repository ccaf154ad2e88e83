package docs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"
)

// What stands behind "sh" in the first line of a block of commands. GitHub shows it to nobody.
const (
	// Background is for what a reader does in a terminal of its own: it runs on beside the rest of the page.
	Background = "background"
	// Cluster is for what needs a cluster, a cloud or a server that is not here: it is run only where Options.Cluster says that one is.
	Cluster = "cluster"
	// ByHand is for what changes the machine, takes minutes or does not end: it is not run.
	ByHand = "by-hand"
	// look is the runbook's, whose lines are run one by one.
	look = "look"
)

// Block is a block of commands.
type Block struct {
	Line     int    // of its first command in the page
	Mark     string // empty for what is run in order, else Background, Cluster or ByHand
	Commands string
	// Output is what the page shows of its output; nil where it shows none.
	Output *string
}

// Run says whether the block is run.
func (b Block) Run() bool { return b.Mark == "" || b.Mark == Background }

// Page is a document.
type Page struct {
	File   string // by its path in the repository
	Blocks []Block

	root     string
	problems []string // of its form
	anchors  []string
	links    []located
	code     []located // in its sentences
}

// located is a piece of a page.
type located struct {
	line int
	text string
}

// Root is the root of the repository that the working directory is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.work above the working directory")
		}
	}
}

// Read reads a page by its path in the repository.
func Read(root, file string) (*Page, error) {
	source, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return nil, err
	}
	p := &Page{File: filepath.ToSlash(file), root: root}
	p.read(source)
	return p, nil
}

func (p *Page) read(source []byte) {
	document := goldmark.New().Parser().Parse(text.NewReader(source))
	line := func(offset int) int { return 1 + bytes.Count(source[:offset], []byte("\n")) }
	at := 1 // of what was seen last; links and code have no place of their own
	var before *Block
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.FencedCodeBlock:
			if n.Lines().Len() > 0 {
				at = line(n.Lines().At(0).Start)
			}
			before = p.fence(n, source, at, before)
		case *ast.Heading:
			p.anchors = append(p.anchors, anchor(plain(n, source), p.anchors))
		case *ast.Text:
			at = line(n.Segment.Start)
		case *ast.Link:
			p.links = append(p.links, located{at, string(n.Destination)})
		case *ast.Image:
			p.links = append(p.links, located{at, string(n.Destination)})
		case *ast.CodeSpan:
			p.code = append(p.code, located{at, plain(n, source)})
		}
		return ast.WalkContinue, nil
	})
}

// fence takes up a block of code, and returns it when it holds commands whose output may follow.
func (p *Page) fence(n *ast.FencedCodeBlock, source []byte, line int, before *Block) *Block {
	var info []string
	if n.Info != nil {
		info = strings.Fields(string(n.Info.Segment.Value(source)))
	}
	wrong := func(format string, args ...any) {
		p.problems = append(p.problems, fmt.Sprintf("%s:%d: %s", p.File, line, fmt.Sprintf(format, args...)))
	}
	lines := string(n.Lines().Value(source))
	switch {
	case slices.Contains(info, "output"):
		if before == nil || !before.Run() || before.Output != nil {
			wrong("an output without commands before it that are run")
			return nil
		}
		before.Output = &lines
	case len(info) > 0 && slices.Contains([]string{"bash", "shell", "console", "zsh"}, info[0]):
		wrong("commands are in blocks that begin with ```sh, not ```%s", info[0])
	case len(info) > 0 && info[0] == "sh":
		b := Block{Line: line, Commands: lines}
		if len(info) > 1 {
			b.Mark = info[1]
		}
		if len(info) > 2 || !slices.Contains([]string{"", Background, Cluster, ByHand, look}, b.Mark) {
			wrong("```%s is no mark: there are %s, %s and %s", strings.Join(info, " "), Background, Cluster, ByHand)
		}
		p.Blocks = append(p.Blocks, b)
		return &p.Blocks[len(p.Blocks)-1]
	}
	return nil
}

func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)

// anchor is what GitHub makes of a heading.
func anchor(heading string, taken []string) string {
	name := strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
	for n, first := 0, name; slices.Contains(taken, name); {
		n++
		name = fmt.Sprintf("%s-%d", first, n)
	}
	return name
}
