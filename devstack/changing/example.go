package changing

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Example is a section of the page that has patches. Those before its first block of output are the change as one would
// write it at first, which breaks open runs and says Output when it is replayed; those after it are the guard.
type Example struct {
	Title         string
	Change, Guard []Block
	Output        Block
}

// Block is a fenced block of the page.
type Block struct {
	// Page is where it is, as "file:line".
	Page string
	Text string
}

// Read takes the examples out of a page.
func Read(page string) ([]Example, error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	var examples []Example
	var current Example
	var language string // of the block that is open
	var block *Block
	end := func() {
		if len(current.Change) > 0 {
			examples = append(examples, current)
		}
	}
	for i, line := range strings.Split(string(text), "\n") {
		fence, fenced := strings.CutPrefix(line, "```")
		switch {
		case fenced && block == nil:
			language, block = fence, &Block{Page: fmt.Sprintf("%s:%d", page, i+1)}
		case fenced:
			switch {
			case language == "diff" && current.Output.Text == "":
				current.Change = append(current.Change, *block)
			case language == "diff":
				current.Guard = append(current.Guard, *block)
			case language == "text" && len(current.Change) > 0 && current.Output.Text == "":
				current.Output = *block
			}
			block = nil
		case block != nil:
			block.Text += line + "\n"
		case strings.HasPrefix(line, "## "):
			end()
			current = Example{Title: strings.TrimPrefix(line, "## ")}
		}
	}
	end()
	return examples, nil
}

// patched are the files that a patch is about: what follows is the name.
var patched = regexp.MustCompile(`(?m)^(?:---|\+\+\+) [ab]/(\S+)`)

// Overlay is a copy of some files of the repository, for the flag -overlay of the go command, which then takes them for
// those in the repository: all that is not patched is compiled once for all.
type Overlay struct {
	root, dir string
}

// NewOverlay makes an empty one in dir, of the repository at root.
func NewOverlay(root, dir string) (*Overlay, error) {
	root, err := filepath.Abs(root)
	return &Overlay{root: root, dir: dir}, err
}

// Apply applies patches to the files, one after the other.
func (o *Overlay) Apply(ctx context.Context, blocks ...Block) error {
	for _, block := range blocks {
		for _, file := range patched.FindAllStringSubmatch(block.Text, -1) {
			if err := o.copy(file[1]); err != nil {
				return fmt.Errorf("%s: %w", block.Page, err)
			}
		}
		git := exec.CommandContext(ctx, "git", "apply", "--whitespace=nowarn", "-")
		git.Dir = o.tree()
		git.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+o.dir) // patches files, not a repository that they may be in
		git.Stdin = strings.NewReader(block.Text)
		if out, err := git.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: the patch does not apply any more; change it as the code has changed: %w\n%s", block.Page, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// Replace replaces a text that a file has once.
func (o *Overlay) Replace(file, old, changed string) error {
	if err := o.copy(file); err != nil {
		return err
	}
	path := filepath.Join(o.tree(), file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), old); n != 1 {
		return fmt.Errorf("%s has %q %d times, want it once", file, old, n)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), old, changed, 1)), 0o600)
}

// Flag is the argument for the go command.
func (o *Overlay) Flag() (string, error) {
	replace := map[string]string{}
	err := filepath.WalkDir(o.tree(), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file, err := filepath.Rel(o.tree(), path)
		replace[filepath.Join(o.root, file)] = path
		return err
	})
	if err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(o.dir, "overlay.json")
	return "-overlay=" + path, os.WriteFile(path, list, 0o600)
}

func (o *Overlay) tree() string { return filepath.Join(o.dir, "tree") }

// copy copies a file that is not there yet. One that the repository does not have is for a patch to make.
func (o *Overlay) copy(file string) error {
	path := filepath.Join(o.tree(), file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(o.root, file))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
