package changing

import (
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/devstack/docs"
)

const (
	root = "../.."
	page = root + "/docs/changing-the-workflow.md"
)

// TestExamples follows the page: each change compiles and is refused by the replay tests with the words that the page
// quotes; guarded, it compiles, replays and passes the tests of the workflow.
func TestExamples(t *testing.T) {
	t.Parallel()
	examples, err := Read(page)
	if err != nil {
		t.Fatal(err)
	}
	if len(examples) < 3 {
		t.Errorf("%s has %d examples, want 3: a step, an order, a result topic", page, len(examples))
	}
	for _, e := range examples {
		t.Run(e.Title, func(t *testing.T) {
			t.Parallel()
			if len(e.Guard) == 0 || e.Output.Text == "" {
				t.Fatalf("%s: the example has no guard, or no output of the replay tests", e.Change[0].Page)
			}
			o := overlay(t)
			apply(t, o, e.Change...)
			said, ok := replays(t, o)
			if ok {
				t.Errorf("%s: without its guard the change replays", e.Change[0].Page)
			}
			for line := range strings.Lines(e.Output.Text) {
				if !strings.Contains(said, strings.TrimSpace(line)) {
					t.Errorf("%s: the replay tests do not say %q; they say\n%s", e.Output.Page, strings.TrimSpace(line), said)
				}
			}
			apply(t, o, e.Guard...)
			if said, ok := golang(t, o, "test", "-count=1", "./workflows"); !ok {
				t.Errorf("%s: the tests of the workflow fail with the guard:\n%s", e.Guard[0].Page, said)
			}
			if said, ok := golang(t, o, "vet", "./..."); !ok {
				t.Errorf("%s: with the guard:\n%s", e.Guard[0].Page, said)
			}
			formatted(t, o)
		})
	}
}

// TestCommands runs the commands of the page, and those of the one that says how to work on the code.
func TestCommands(t *testing.T) {
	t.Parallel()
	docs.Run(t, "docs/changing-the-workflow.md", docs.Options{Dir: root, Env: os.Environ()})
	docs.Run(t, "CONTRIBUTING.md", docs.Options{Dir: root, Env: os.Environ()})
}

// TestApplySaysWhere sees a patch that does not apply any more named by its place in the page.
func TestApplySaysWhere(t *testing.T) {
	t.Parallel()
	examples, err := Read(page)
	if err != nil {
		t.Fatal(err)
	}
	block := examples[0].Change[0]
	block.Text = strings.ReplaceAll(block.Text, "\n ", "\n another ")
	err = overlay(t).Apply(t.Context(), block)
	if err == nil || !strings.HasPrefix(err.Error(), block.Page+": the patch does not apply any more") {
		t.Errorf("got %v", err)
	}
}

func overlay(t *testing.T) *Overlay {
	t.Helper()
	o, err := NewOverlay(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func apply(t *testing.T, o *Overlay, blocks ...Block) {
	t.Helper()
	if err := o.Apply(t.Context(), blocks...); err != nil {
		t.Fatal(err)
	}
}

// formatted sees that the patches leave formatted code.
func formatted(t *testing.T, o *Overlay) {
	t.Helper()
	err := filepath.WalkDir(o.tree(), func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if want, err := format.Source(source); err != nil || string(want) != string(source) {
			t.Errorf("%s is not formatted: %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// replays runs the replay tests.
func replays(t *testing.T, o *Overlay) (said string, ok bool) {
	t.Helper()
	return golang(t, o, "test", "-count=1", "-run=^TestReplay$", "./workflows")
}

// golang runs the go command on the repository as the overlay has it.
func golang(t *testing.T, o *Overlay, verb string, args ...string) (said string, ok bool) {
	t.Helper()
	flag, err := o.Flag()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{verb, flag}, args...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "[build failed]") || strings.Contains(string(out), "[setup failed]") {
		t.Fatalf("it does not compile:\n%s", out)
	}
	return string(out), err == nil
}
