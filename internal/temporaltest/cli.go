package temporaltest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// CLIVariable holds the path of the Temporal CLI, a program called temporal.
const CLIVariable = "VIDFLOW_TEST_TEMPORAL_CLI"

// Paste runs command lines of the Temporal CLI, which a document or a message has, in a shell and answers yes to what the CLI
// asks. It returns what they print. The environment is TEMPORAL_* and what else is given, in the form of os.Environ.
func Paste(t testing.TB, lines string, env ...string) string {
	t.Helper()
	cli := os.Getenv(CLIVariable)
	if _, err := os.Stat(cli); err != nil {
		t.Fatalf("%s: the Temporal CLI is not there (%v): run this with `make test` or `make test-one`, which build it, or say where there is one", CLIVariable, err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", lines)
	cmd.Env = append([]string{
		"PATH=" + filepath.Dir(cli) + string(filepath.ListSeparator) + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		Variable + "=" + os.Getenv(Variable),
	}, env...)
	cmd.Stdin = strings.NewReader("y\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v:\n%s", lines, err, out)
	}
	return string(out)
}
