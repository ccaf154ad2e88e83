package postgres

import (
	"os"
	"path/filepath"
	"testing"
)

// stranger owns nothing on this machine.
var stranger = account{name: "stranger", uid: 54321, gid: 54321, dropped: true}

func TestReaches(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		modes []os.FileMode // of folders, one inside the other
		want  bool
	}{
		"open_folders":          {[]os.FileMode{0o755, 0o711}, true},
		"a_closed_folder":       {[]os.FileMode{0o755, 0o700}, false},
		"a_closed_parent":       {[]os.FileMode{0o700, 0o755}, false},
		"closed_to_others":      {[]os.FileMode{0o750}, false},
		"readable_not_entrable": {[]os.FileMode{0o744}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			for i, mode := range tt.modes {
				dir = filepath.Join(dir, string(rune('a'+i)))
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = os.Chmod(dir, 0o755) }) // so that it can be removed
				defer func() { _ = os.Chmod(dir, mode) }()
			}
			at := dir
			for i := len(tt.modes) - 1; i >= 0; i-- {
				if err := os.Chmod(at, tt.modes[i]); err != nil {
					t.Fatal(err)
				}
				at = filepath.Dir(at)
			}
			got, err := stranger.reaches(filepath.Join(dir, "not", "yet", "made"))
			if os.Geteuid() != 0 && err != nil {
				return // a closed folder is closed to us as well
			}
			if err != nil || got != tt.want {
				t.Errorf("got %t and %v, want %t", got, err, tt.want)
			}
		})
	}
}

// openDir is a temporary folder that everybody can enter. That of the testing package is not, always.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vidflow-postgres-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMajor(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]int{
		"/usr/lib/postgresql/15/bin": 15, "/usr/pgsql-17/bin": 17, "/opt/homebrew/opt/postgresql@16/bin": 16, "/usr/bin": 0,
	} {
		if got := major(dir); got != want {
			t.Errorf("major(%s) is %d, want %d", dir, got, want)
		}
	}
}
