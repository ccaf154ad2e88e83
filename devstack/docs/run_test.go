package docs

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/process"
)

// pageOf is a page with the text, in which ”' stands for the fence of a block.
func pageOf(text string) *Page {
	p := &Page{File: "docs/page.md"}
	p.read([]byte(strings.ReplaceAll(text, "'''", "```")))
	return p
}

func TestRun(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ page, want string }{
		"variables_and_functions_carry_over": {page: "'''sh\nn=1; f() { echo $n$OUTER; }\n'''\n\ntext\n\n'''sh\nn=2; f\n'''\n\n'''output\n2outer\n'''\n"},
		"each_block_follows_the_one_before":  {page: "'''sh\necho a > file\n'''\n'''sh\ncat file\n'''\n'''output\na\n'''\n"},
		"elided_in_a_line":                   {page: "'''sh\necho started in 17 ms, ok\n'''\n'''text output\nstarted in … ms, ok\n'''\n"},
		"elided_lines":                       {page: "'''sh\nseq 5\n'''\n'''output\n1\n…\n5\n'''\n"},
		"elided_no_lines":                    {page: "'''sh\nseq 2\n'''\n'''output\n1\n…\n2\n'''\n"},
		"a_failure_in_a_condition_is_none":   {page: "'''sh\nif ! false; then echo no; fi; false || true\n'''\n"},
		"reads_nothing":                      {page: "'''sh\ncat\n'''\n"},
		"another_output": {
			page: "'''sh\nseq 3\n'''\n'''output\n1\n2\n'''\n", want: "docs/page.md:2: the output is not what the page shows",
		},
		"more_on_an_elided_line": {page: "'''sh\necho ab; echo c\n'''\n'''output\na…\n'''\n", want: "is not what the page shows"},
		"a_command_fails":        {page: "# Page\n\n'''sh\necho before\nfalse\necho after\n'''\n", want: "docs/page.md:5: ends with exit code 1\nbefore\n"},
		"a_part_of_a_pipe_fails": {page: "'''sh\n\nfalse | cat\n'''\n", want: "docs/page.md:3: ends with exit code 1"},
		"a_function_fails":       {page: "'''sh\nf() { false; }\n'''\n\n'''sh\nf; true\n'''\n", want: "ends with exit code 1"},
		"a_variable_is_not_set":  {page: "'''sh\necho $NOBODY_SETS_THIS\n'''\n", want: "NOBODY_SETS_THIS: unbound variable"},
		"it_leaves":              {page: "'''sh\nexit 0\n'''\n", want: "docs/page.md:2: ends with exit code 0"},
		"it_does_not_end":        {page: "'''sh\necho so far\nsleep 600\n'''\n", want: "docs/page.md:2: does not end: context deadline exceeded\nso far"},
		"nothing_to_run":         {page: "'''sh cluster\nfalse\n'''\n'''sh by-hand\nfalse\n'''\n", want: "has no commands that are run"},
		"in_the_background":      {page: "'''sh background\nfor i in 1 2 3; do echo $i; done; sleep 600\n'''\n'''output\n…\n3\n'''\n'''sh\necho on\n'''\n"},
		"in_the_background_it_says_something_else": {
			page: "'''sh background\necho 1; exit 4\n'''\n'''output\n2\n'''\n", want: "docs/page.md:2: ended with 4 before it said what the page shows:\n1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := time.Minute
			if name == "it_does_not_end" {
				limit = 500 * time.Millisecond
			}
			err := perform(t, pageOf(test.page), Options{Env: []string{"OUTER=outer"}, Dir: t.TempDir(), Limit: limit})
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestRun_leaves_nothing: what runs in the background is asked to end, and may do so in its own way.
func TestRun_leaves_nothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Run("page", func(t *testing.T) {
		err := perform(t, pageOf(`
'''sh background
trap 'echo asked > asked; exit 0' TERM
echo $BASHPID > pid
echo up
while :; do sleep 0.05; done
'''
'''output
up
'''
'''sh
sleep 600 &
echo $! > other
'''
`), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(filepath.Join(dir, "asked")); err != nil {
		t.Error(err)
	}
	for _, file := range []string{"pid", "other"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		// What ends closes its files, by which that is known, a moment before it is gone.
		for deadline := time.Now().Add(10 * time.Second); process.Alive(pid) && !zombie(pid); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Errorf("process %s is left", file)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
		}
	}
}

// zombie says whether a process has ended and only nobody has asked how, as in a container without an init.
func zombie(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
