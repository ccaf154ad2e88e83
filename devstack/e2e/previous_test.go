package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// previousVariable names other versions than the ones that TestMixed finds by itself: anything that git knows, separated by
// spaces.
const previousVariable = "VIDFLOW_TEST_PREVIOUS"

// root of the repository.
const root = "../.."

// previous is a version from before this one.
type previous struct {
	name   string // as git knows it
	source string // folder
	binary string
	skips  bool // it is older than the latest release, so that nothing of both runs side by side
}

// previousBuild is what a previous version calls itself, so that what it has done can be told from what this one has.
const previousBuild = "previous"

// longAgo is a version of before four of the migrations, most of the API and most of what runs show, which this one still
// goes on from.
const longAgo = "4272a1617694"

// previousVersions are the latest release, if there is one, and what main was before this change: HEAD where the tree has
// changes, else the parent of HEAD; and one of long ago.
func previousVersions(t *testing.T) []previous {
	t.Helper()
	names := strings.Fields(os.Getenv(previousVariable))
	if len(names) == 0 {
		names = guessPrevious(t)
	}
	var versions []previous
	seen := map[string]bool{}
	for _, name := range names {
		commit, err := git("rev-parse", "--verify", "--quiet", name+"^{commit}")
		if err != nil {
			t.Fatalf("git knows no version %q: %v", name, err)
		}
		if !seen[commit] {
			seen[commit] = true
			versions = append(versions, buildPrevious(t, name, commit))
		}
	}
	if os.Getenv(previousVariable) != "" {
		return versions
	}
	commit, err := git("rev-parse", "--verify", "--quiet", longAgo+"^{commit}")
	if err != nil {
		t.Logf("NOT TESTED: this clone does not have %s, a version of long ago. In a shallow clone: git fetch --unshallow", longAgo)
		return versions
	}
	v := buildPrevious(t, "long ago", commit)
	v.skips = true
	return append(versions, v)
}

func guessPrevious(t *testing.T) (names []string) {
	t.Helper()
	changes, err := git("status", "--porcelain")
	if err != nil {
		t.Skipf("NOT TESTED: there is no previous version here, this is no clone: %v", err)
	}
	before := "HEAD^"
	if changes != "" {
		before = "HEAD"
	}
	if _, err := git("rev-parse", "--verify", "--quiet", before+"^{commit}"); err != nil {
		t.Skipf("NOT TESTED: this clone does not have %s, what was there before this commit. In a shallow clone: "+
			"git fetch --deepen=1 (with the latest release, too: git fetch --unshallow --tags)", before)
	}
	if release, err := git("describe", "--tags", "--abbrev=0", before); err == nil {
		names = append(names, release)
	}
	return append(names, before)
}

// git answers what it prints, without the last line break.
func git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = errors.New(string(bytes.TrimSpace(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// buildPrevious builds it from a copy of its files, as `make build` does: what both versions have in common is not compiled again.
func buildPrevious(t *testing.T, name, commit string) previous {
	t.Helper()
	dir := t.TempDir()
	v := previous{name: name, source: filepath.Join(dir, "source"), binary: filepath.Join(dir, "vidflow")}
	if err := os.Mkdir(v.source, 0o700); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "source.tar")
	if _, err := git("archive", "--output="+archive, commit); err != nil {
		t.Fatalf("git archive %s: %v", name, err)
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("tar", "-xf", archive),
		exec.Command("go", "build", "-trimpath", "-ldflags=-X main.version="+previousBuild, "-o", v.binary, "./cmd/vidflow"),
	} {
		cmd.Dir, cmd.Env = v.source, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v of %s: %v\n%s", cmd.Args, name, err, out)
		}
	}
	return v
}

var guard = regexp.MustCompile(`\bGetVersion\(\w+, *([^,]+),`)

// guards are the changes of the workflow, in that source, that runs from before them do not have.
func guards(t *testing.T, source string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(source, "workflows", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflow in %s: %v", source, err)
	}
	found := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range guard.FindAllSubmatch(content, -1) {
			found[string(match[1])] = true
		}
	}
	return found
}
