package docs

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/devstack/process"
)

// Options of Run.
type Options struct {
	// Env is the environment of the commands, in the form of os.Environ; PATH and HOME are this process's where it has none.
	Env []string
	// Dir is where the commands run. Empty: a folder that shows the repository, in which what they write is theirs alone.
	Dir string
	// State is the state of a running development stack, which is shown there as .dev; there is none when empty.
	State string
	// Limit bounds the whole page; five minutes when zero.
	Limit time.Duration
	// Cluster runs the blocks that are marked so as well: a cluster is there.
	Cluster bool
	// Before is called before each block that is run, for what happens beside the reader.
	Before func(Block)
}

// Run runs the commands of a page, given by its path in the repository, in order and in one bash. The first that fails
// fails the test, and so does an output that is not the one that the page shows. What runs in the background is stopped at
// the end. Programs that not every machine has, such as jq, make it a test that is skipped where they are missing, unless
// VIDFLOW_TEST_PROGRAMS says that all are there.
func Run(t *testing.T, file string, opts Options) {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := Read(root, file)
	if err != nil {
		t.Fatal(err)
	}
	if missing := page.missing(); len(missing) > 0 {
		if os.Getenv("VIDFLOW_TEST_PROGRAMS") != "" {
			t.Fatalf("%s needs %v, and all programs are said to be here", page.File, missing)
		}
		t.Skipf("%s needs %v, which this machine does not have", page.File, missing)
	}
	if opts.Dir == "" {
		opts.Dir = show(t, root, opts.State)
	}
	if err := perform(t, page, opts); err != nil {
		t.Fatal(err)
	}
}

// perform is Run of a page that was read, and stops what runs in the background when the test ends.
func perform(t *testing.T, page *Page, opts Options) error {
	t.Helper()
	if opts.Limit == 0 {
		opts.Limit = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), opts.Limit)
	defer cancel()
	s := open(t, page, opts)
	ran := 0
	for i, b := range page.Blocks {
		if !b.Run() && (b.Mark != Cluster || !opts.Cluster) {
			continue
		}
		if opts.Before != nil {
			opts.Before(b)
		}
		began := time.Now()
		if err := s.run(ctx, i, b); err != nil {
			return err
		}
		t.Logf("%s:%d: %.1f s", page.File, b.Line, time.Since(began).Seconds())
		ran++
	}
	if ran == 0 {
		return fmt.Errorf("%s has no commands that are run", page.File)
	}
	return nil
}

// show makes a folder that has everything of the repository but its state, its history and what was built.
func show(t *testing.T, root, state string) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch e.Name() {
		case ".git", ".dev", "bin", "out":
			continue
		}
		if err := os.Symlink(filepath.Join(root, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if state != "" {
		if err := os.Symlink(state, filepath.Join(dir, ".dev")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// missing are programs of the page that this machine does not have.
func (p *Page) missing() (names []string) {
	for _, name := range []string{"curl", "jq", "openssl", "psql"} {
		used := regexp.MustCompile(`(?m)(^|[ (])` + name + ` `)
		uses := slices.ContainsFunc(p.Blocks, func(b Block) bool { return b.Run() && used.MatchString(b.Commands) })
		if _, err := exec.LookPath(name); uses && err != nil {
			names = append(names, name)
		}
	}
	return names
}

// programs puts what the tests run as vidflow, devstack and temporal into a folder.
func programs(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, variable := range map[string]string{
		"vidflow": "VIDFLOW_TEST_BINARY", "devstack": "VIDFLOW_TEST_DEVSTACK", "temporal": "VIDFLOW_TEST_TEMPORAL_CLI",
	} {
		target, err := filepath.Abs(os.Getenv(variable))
		if os.Getenv(variable) == "" {
			continue
		}
		if err := errors.Join(err, os.Symlink(target, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
}

// session is a bash that reads names of files on its descriptor 3, sources each and says so on 4. Whatever it starts
// inherits 5, so that the other end of that tells when nothing is left.
type session struct {
	page    *Page
	dir     string // of its own files
	child   *process.Process
	ask     *os.File
	done    *bufio.Reader
	said    process.Output // beside the blocks, such as a syntax error
	nothing *os.File
}

// noSleep has a vidflow with the race detector in it end at once, and not after a second.
const noSleep = "GORACE=atexit_sleep_ms=0 halt_on_error=1"

//go:embed session.bash
var script string

func open(t *testing.T, page *Page, opts Options) *session {
	t.Helper()
	s := &session{page: page, dir: t.TempDir()}
	bin := filepath.Join(s.dir, "bin")
	programs(t, bin)
	blocks, ask := pipe(t)
	done, tell := pipe(t)
	nothing, alive := pipe(t)
	s.ask, s.done, s.nothing = ask, bufio.NewReader(done), nothing

	cmd := exec.Command("bash", "--noprofile", "--norc", "-c", script, "bash", s.dir)
	cmd.Dir = opts.Dir
	path, home := os.Getenv("PATH"), os.Getenv("HOME")
	for _, pair := range opts.Env {
		if value, ok := strings.CutPrefix(pair, "PATH="); ok {
			path = value
		}
	}
	cmd.Env = append(append([]string{"HOME=" + home, noSleep}, opts.Env...), "PATH="+bin+string(filepath.ListSeparator)+path)
	cmd.Stdout, cmd.Stderr = &s.said, &s.said
	cmd.WaitDelay = time.Second
	cmd.ExtraFiles = []*os.File{blocks, tell, alive}
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range cmd.ExtraFiles {
		_ = f.Close()
	}
	s.child = child
	t.Cleanup(func() { s.close(t) })
	return s
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// close asks all that runs to end, and kills what does not.
func (s *session) close(t *testing.T) {
	var err error
	// Twice: bash loses a signal that comes while it starts a program.
	for _, patience := range []time.Duration{5 * time.Second, 15 * time.Second} {
		_ = s.child.Signal(syscall.SIGTERM)
		_ = s.nothing.SetReadDeadline(time.Now().Add(patience))
		if _, err = s.nothing.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			break
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("%s: what its commands started does not end on SIGTERM", s.page.File)
	}
	s.child.Stop(context.Background())
}

// run runs one block, and what the page shows of its output is what it says.
func (s *session) run(ctx context.Context, number int, b Block) error {
	name := filepath.Join(s.dir, fmt.Sprint(number), filepath.Base(s.page.File))
	if err := os.Mkdir(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	// At the lines that it has in the page, for what bash says of them.
	if err := os.WriteFile(name, []byte(strings.Repeat("\n", b.Line-1)+b.Commands), 0o644); err != nil {
		return err
	}
	how := "run"
	if b.Mark == Background {
		how = Background
	}
	if _, err := fmt.Fprintln(s.ask, how, name); err != nil {
		return fmt.Errorf("%s:%d: the shell of the page is gone: %s", s.page.File, b.Line, s.said.String())
	}
	over := make(chan error, 1)
	go func() {
		_, err := s.done.ReadString('\n')
		over <- err
	}()
	var err error
	select {
	case err = <-over:
	case <-ctx.Done():
		err = ctx.Err()
	}
	out, readErr := os.ReadFile(name + ".out")
	if readErr != nil {
		return readErr
	}
	switch {
	case errors.Is(err, io.EOF):
		<-s.child.Done()
		return fmt.Errorf("%s:%s: ends with exit code %d\n%s%s", s.page.File, s.line(b), process.ExitCode(s.child.Wait()), out, s.said.String())
	case err != nil:
		return fmt.Errorf("%s:%d: does not end: %w\n%s", s.page.File, b.Line, err, out)
	case b.Output == nil:
		return nil
	case b.Mark == Background:
		return s.await(ctx, name, b)
	case !shows(*b.Output).Match(append(out, '\n')):
		return fmt.Errorf("%s:%d: the output is not what the page shows (-page +output):\n%s", s.page.File, b.Line,
			cmp.Diff(*b.Output, string(out)))
	}
	return nil
}

// line is where bash gave up.
func (s *session) line(b Block) string {
	if at, err := os.ReadFile(filepath.Join(s.dir, "line")); err == nil {
		return strings.TrimSpace(string(at))
	}
	return fmt.Sprint(b.Line)
}

// await waits until what runs in the background has said what the page shows.
func (s *session) await(ctx context.Context, name string, b Block) error {
	want := regexp.MustCompile(strings.TrimSuffix(shows(*b.Output).String(), `\z`))
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		out, err := os.ReadFile(name + ".out")
		if err != nil {
			return err
		}
		if want.Match(append(out, '\n')) {
			return nil
		}
		if code, err := os.ReadFile(name + ".ended"); err == nil && len(code) > 0 {
			return fmt.Errorf("%s:%d: ended with %s before it said what the page shows:\n%s", s.page.File, b.Line,
				strings.TrimSpace(string(code)), out)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s:%d: does not say what the page shows:\n%s", s.page.File, b.Line, cmp.Diff(*b.Output, string(out)))
		case <-ticker.C:
		}
	}
}

// shows is an expression for the outputs that a page's stands for: … is anything on a line, a line of its own any lines.
func shows(output string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for line := range strings.Lines(strings.Trim(output, "\n") + "\n") {
		line = strings.TrimRight(line, " \n")
		if strings.TrimSpace(line) == "…" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `.*?`) + `[ ]*\n`)
	}
	b.WriteString(`\n*\z`)
	return regexp.MustCompile(b.String())
}
