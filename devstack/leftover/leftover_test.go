package leftover

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("processes are found through /proc")
	}
	dir, elsewhere := t.TempDir(), t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(dir, "postgres")); err != nil {
		t.Fatal(err)
	}
	sleeper := func(env, cwd string) *exec.Cmd {
		cmd := exec.Command("sleep", "600")
		cmd.Env, cmd.Dir = []string{"A=b", env, "C=d"}, cwd
		return cmd
	}
	tests := map[string]struct {
		cmd   *exec.Cmd
		found bool
	}{
		"marked_in_its_environment":      {sleeper(Marker+"="+dir, "/"), true},
		"works_in_the_folder":            {sleeper("X=y", dir), true},
		"works_in_the_folder_of_another": {sleeper(Marker+"="+dir+"x", "/"), false},
		"works_where_Postgres_is":        {sleeper("X=y", elsewhere), true},
		"has_nothing_to_do_with_it":      {sleeper("X=y", "/"), false},
	}
	first, err := ports.Unused(20) // a block that nobody who wants one is given, though nothing holds it
	if err != nil {
		t.Fatal(err)
	}
	block := ports.Block{Base: first}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			child, err := process.Start(tt.cmd, process.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := Check(dir, block)
			child.Stop(t.Context())
			if named := got != nil && strings.Contains(got.Error(), fmt.Sprintf("process %d is left", child.PID())); named != tt.found {
				t.Errorf("got %v, want the process named: %t", got, tt.found)
			}
			if got := Check(dir, block); got != nil {
				t.Errorf("after its end: %v", got)
			}
		})
	}

	l, err := net.Listen("tcp", block.Addr(ports.Storage))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if got := Check(dir, block); got == nil || !strings.Contains(got.Error(), "the storage stand-in") {
		t.Errorf("got %v, want the open port named", got)
	}
}
