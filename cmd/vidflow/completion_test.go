package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asProgram has the test's binary be vidflow, for a shell to run.
const asProgram = "VIDFLOW_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestComplete(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]struct {
		words []string
		want  []string
	}{
		"a command":                         {[]string{"wor"}, []string{"worker"}},
		"a command that has others":         {[]string{"kafka", "t"}, []string{"tail"}},
		"what runs beside a process":        {[]string{"worker", ""}, []string{"kafkabridge", "migrate", "starter"}},
		"what is left to run":               {[]string{"migrate", "worker", ""}, []string{"kafkabridge", "starter"}},
		"a flag":                            {[]string{"kafka", "tail", "--fo"}, []string{"--follow"}},
		"a variable's flag":                 {[]string{"worker", "--log-"}, []string{"--log-dir", "--log-format", "--log-level"}},
		"no flag that is not read":          {[]string{"kafkabridge", "--data"}, nil},
		"a flag of what runs beside":        {[]string{"kafkabridge", "starter", "--database-l"}, []string{"--database-listen-url"}},
		"the value of a variable":           {[]string{"worker", "--kafka-sasl-mechanism", "scram"}, []string{"scram-sha-256", "scram-sha-512"}},
		"a value behind its flag":           {[]string{"worker", "--log-level=de"}, []string{"--log-level=debug"}},
		"a value behind its flag, for bash": {[]string{"worker", "--log-level", "=", "de"}, []string{"debug"}},
		"all values, for bash":              {[]string{"worker", "--kafka-ssl", "="}, []string{"false", "true"}},
		"a word after a value":              {[]string{"worker", "--log-level", "debug", "st"}, []string{"starter"}},
		"a word after what needs no value":  {[]string{"kafka", "check", "--json", "st"}, []string{"starter"}},
		"a shell":                           {[]string{"completion", ""}, []string{"bash", "fish", "zsh"}},
		"nothing":                           {[]string{"versionn"}, nil},
	} {
		got := invoke(t, nil, append([]string{completeCommand}, line.words...)...)
		if got.code != exitOK || got.stderr != "" {
			t.Errorf("%s: exit code %d, errors %q", name, got.code, got.stderr)
		}
		var words []string
		for candidate := range strings.Lines(got.stdout) {
			word, _, ok := strings.Cut(candidate, "\t")
			if !ok {
				t.Errorf("%s: %q has no tab", name, candidate)
			}
			words = append(words, word)
		}
		slices.Sort(words)
		if diff := cmp.Diff(line.want, words); diff != "" {
			t.Errorf("%s: %q (-want +got):\n%s", name, line.words, diff)
		}
	}
}

// TestCompletion completes lines in real shells, each with the script that it is given.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			complete := inShell(t, shell)
			// A value behind its flag is a word for bash, and none for the others.
			value, want := []string{"worker", "--log-level=de"}, []string{"--log-level=debug"}
			if shell == "bash" {
				value, want = []string{"worker", "--log-level", "=", "de"}, []string{"debug"}
			}
			for _, line := range []struct{ words, want []string }{
				{[]string{"kafka", "t"}, []string{"tail"}},
				{[]string{"worker", ""}, []string{"kafkabridge", "migrate", "starter"}},
				{[]string{"versionn"}, nil},
				{value, want},
			} {
				if diff := cmp.Diff(line.want, complete(line.words...)); diff != "" {
					t.Errorf("%q (-want +got):\n%s", line.words, diff)
				}
			}
			if all := complete(""); !slices.Contains(all, "worker") || slices.Contains(all, completeCommand) {
				t.Errorf("commands: %q", all)
			}
		})
	}
}

// inShell returns what completes a line in a shell: the words after vidflow, and where the cursor is at the end of the last.
func inShell(t *testing.T, shell string) func(words ...string) []string {
	t.Helper()
	program, err := exec.LookPath(shell)
	if err != nil {
		if os.Getenv("VIDFLOW_TEST_PROGRAMS") != "" {
			t.Fatalf("there is no %s, and all programs are said to be here", shell)
		}
		t.Skipf("there is no %s", shell)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "vidflow")); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), asProgram+"=1", "HOME="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
	// Each script is used as its shell does, and what would be offered is printed.
	script := map[string]string{
		"bash": `eval "$(vidflow completion bash)"
			COMP_WORDS=(vidflow "$@"); COMP_CWORD=$#
			[[ $(complete -p vidflow) =~ -F\ ([a-z_]+)\ vidflow ]] && ${BASH_REMATCH[1]}
			printf '%s\n' "${COMPREPLY[@]}"`,
		"zsh": `compdef() { completer=$1; }
			_describe() { local name=$2; print -rl -- "${${(P)name}[@]%%:*}"; }
			_files() { :; }
			eval "$(vidflow completion zsh)"
			words=(vidflow "$@"); CURRENT=${#words}
			$completer`,
		"fish": `vidflow completion fish | source
			complete -C (string join ' ' -- vidflow $argv) | string split -f1 \t`,
	}[shell]
	return func(words ...string) []string {
		t.Helper()
		args := map[string][]string{
			"bash": {"--norc", "-c", script, "bash"}, "zsh": {"-f", "-c", script, "zsh"}, "fish": {"--no-config", "-c", script},
		}[shell]
		cmd := exec.CommandContext(t.Context(), program, append(args, words...)...)
		cmd.Env = env
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if stderr.Len() > 0 {
			t.Errorf("%q: %v: %s", words, err, stderr.String())
		}
		offered := strings.Fields(string(out))
		slices.Sort(offered)
		if len(offered) == 0 {
			return nil
		}
		return offered
	}
}
