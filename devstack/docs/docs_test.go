package docs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runElsewhere are pages whose commands a test runs in its own way.
var runElsewhere = []string{
	"docs/runbook.md", // TestAlerts of package e2e, line by line, what changes something last
}

// TestDocuments: what a page names exists, and its commands are run by a test unless they are marked.
func TestDocuments(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	binary := os.Getenv("VIDFLOW_TEST_BINARY")
	if binary == "" {
		t.Fatal("VIDFLOW_TEST_BINARY is not set; run this with `make test-one PKG=./devstack/docs`")
	}
	// Another one each time: else go test would show the result of pages as they were, for they are not in this module.
	_ = os.Getenv("VIDFLOW_TEST_CONTROL")
	c, err := NewChecker(root, binary, os.Getenv("VIDFLOW_TEST_TEMPORAL_CLI"))
	if err != nil {
		t.Fatal(err)
	}
	run := append(runByTests(t, root), runElsewhere...)
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md", "*/README.md", "*/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 20 {
		t.Fatalf("found only %v", files)
	}
	for _, file := range files {
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page, err := Read(root, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range c.Check(page) {
				t.Error(problem)
			}
			isRun := slices.Contains(run, page.File)
			toRun := slices.ContainsFunc(page.Blocks, func(b Block) bool { return b.Run() || b.Mark == look })
			switch {
			case toRun && !isRun:
				t.Errorf("no test runs the commands of %s: call docs.Run with it, or mark what cannot be run (docs/testing.md)", page.File)
			case isRun && !toRun && !slices.ContainsFunc(page.Blocks, func(b Block) bool { return b.Mark == Cluster }):
				t.Errorf("a test runs %s, which has no commands to run", page.File)
			}
		})
	}
}

// TestDocuments_index: README.md leads to every document.
func TestDocuments_index(t *testing.T) {
	t.Parallel()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := Read(root, "README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := "docs/" + filepath.Base(file)
		if !slices.ContainsFunc(readme.links, func(l located) bool { return l.text == name }) {
			t.Errorf("README.md does not lead to %s", name)
		}
	}
}

var call = regexp.MustCompile(`docs\.Run\(\s*\w+(?:\.\w+)?,\s*"([^"]+)"`)

// runByTests are the pages that tests give to Run.
func runByTests(t *testing.T, root string) (pages []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", ".dev", "bin", "out", "node_modules"}, d.Name()):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(file)
		for _, found := range call.FindAllSubmatch(source, -1) {
			pages = append(pages, string(bytes.TrimSpace(found[1])))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}
