package postgres

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/devstack/process"
)

// self is the user of the test, as if nothing had to be dropped.
func self() account {
	return account{name: "self", uid: os.Geteuid(), gid: os.Getegid()}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	t.Run("where_it_was_asked_for", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(openDir(t), "new", "postgres")
		for range 2 { // the second time it is there
			got, err := place(dir, self())
			if err != nil || got != dir {
				t.Fatalf("got %s and %v, want %s", got, err, dir)
			}
		}
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o700 {
			t.Errorf("mode %o, want 700", got)
		}
	})
	t.Run("elsewhere_when_the_user_cannot_enter", func(t *testing.T) {
		t.Parallel()
		acct, err := unprivileged()
		if err != nil {
			t.Fatal(err)
		}
		if !acct.dropped {
			t.Skip("only root has to drop to a user that cannot enter its folders")
		}
		closed := filepath.Join(openDir(t), "closed")
		if err := os.Mkdir(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(closed, "postgres")
		first, err := place(dir, acct)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(first) })
		again, err := place(dir, acct)
		if err != nil || again != first {
			t.Errorf("the second time it is %s (%v), want %s again", again, err, first)
		}
		if ok, err := acct.reaches(first); err != nil || !ok {
			t.Errorf("the user cannot enter %s either (%v)", first, err)
		}
		if err := Remove(dir); err != nil {
			t.Fatal(err)
		}
		for _, gone := range []string{dir, first} {
			if _, err := os.Lstat(gone); !os.IsNotExist(err) {
				t.Errorf("Remove left %s: %v", gone, err)
			}
		}
	})
	t.Run("not_what_is_somebody_elses", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(openDir(t), "postgres")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := place(dir, stranger); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("got %v, want an error that names the folder", err)
		}
	})
}

func TestRemove_follows_no_foreign_link(t *testing.T) {
	t.Parallel()
	precious := openDir(t)
	dir := filepath.Join(openDir(t), "postgres")
	if err := os.Symlink(precious, dir); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("the folder behind the link is gone: %v", err)
	}
}

// TestClearStale_leaves_strangers_alone: after a reboot the id in the file is any process's.
func TestClearStale_leaves_strangers_alone(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("there is no /proc to tell processes apart by")
	}
	stranger, err := process.Start(exec.Command("sleep", "600"), process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stranger.Stop(t.Context()) })
	for name, content := range map[string]string{
		"a_stranger":      strconv.Itoa(stranger.PID()) + "\n/data\n",
		"nobody":          "4194305\n",
		"nonsense":        "x",
		"nothing":         "",
		"the_first":       "1\n",
		"a_negative_name": "-1\n",
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			file := filepath.Join(data, "postmaster.pid")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if stale, err := clearStale(t.Context(), data); err != nil || !stale {
				t.Fatalf("got %t and %v, want something found and no error", stale, err)
			}
			if _, err := os.Stat(file); !os.IsNotExist(err) {
				t.Errorf("the file is still there: %v", err)
			}
			if !process.Alive(stranger.PID()) {
				t.Fatal("a process that has nothing to do with it was ended")
			}
		})
	}
}
