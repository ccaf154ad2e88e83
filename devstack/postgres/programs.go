package postgres

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	embedded "github.com/fergusstrange/embedded-postgres"
)

// oldestMajor is the oldest version of Postgres that the stack takes from the system.
const oldestMajor = 14

// programs is the folder with initdb and postgres: the system's where there are any, else those that embedded-postgres
// fetches from Maven Central once.
func programs(a account, note func(string)) (string, error) {
	if dir := installed(); dir != "" {
		return dir, nil
	}
	return fetched(a, note)
}

// installed looks where distributions put Postgres, newest version first, then on PATH.
func installed() string {
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(pattern)
		dirs = append(dirs, found...)
	}
	slices.SortFunc(dirs, func(a, b string) int { return major(b) - major(a) })
	for _, dir := range dirs {
		if major(dir) >= oldestMajor && complete(dir) {
			return dir
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if resolved, err := filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(resolved)) {
			return filepath.Dir(resolved)
		}
	}
	return ""
}

// major is the version in a path such as /usr/lib/postgresql/15/bin; 0 when there is none.
func major(dir string) int {
	name := filepath.Base(filepath.Dir(dir))
	n, _ := strconv.Atoi(name[strings.LastIndexAny(name, "-@")+1:])
	return n
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// fetched downloads and unpacks Postgres, once, to where the account can run it.
//
// embedded-postgres does that only on the way to starting a server as its own user, which may be root. It is therefore
// given a folder that claims to be a cluster and is none: it fetches, unpacks, and fails to start, and only the
// programs are wanted.
func fetched(a account, note func(string)) (string, error) {
	home, err := cacheFor(a)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(home, "bin")
	if complete(dir) {
		return dir, nil
	}
	note("no Postgres on this machine: fetching one from Maven Central (about 30 MB, once)")
	scratch, err := os.MkdirTemp("", "vidflow-postgres-fetch-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	decoy := filepath.Join(scratch, "data")
	if err := os.Mkdir(decoy, 0o700); err != nil {
		return "", err
	}
	version := embedded.V18
	number, _, _ := strings.Cut(string(version), ".")
	if err := os.WriteFile(filepath.Join(decoy, "PG_VERSION"), []byte(number+"\n"), 0o600); err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	defer removeNewLogs(embeddedLogs())
	startErr := embedded.NewDatabase(embedded.DefaultConfig().
		Version(version).
		Port(port).
		CachePath(filepath.Join(home, "download")).
		BinariesPath(home).
		RuntimePath(filepath.Join(scratch, "runtime")).
		DataPath(decoy).
		Logger(io.Discard)).Start()
	if !complete(dir) {
		return "", fmt.Errorf("there is no Postgres on this machine and none could be fetched: %w", startErr)
	}
	return dir, nil
}

// embeddedLogs are the temporary files that embedded-postgres writes its log to and never removes.
func embeddedLogs() []string {
	files, _ := filepath.Glob(filepath.Join(os.TempDir(), "embedded_postgres_log*"))
	return files
}

func removeNewLogs(old []string) {
	for _, file := range embeddedLogs() {
		if !slices.Contains(old, file) {
			_ = os.Remove(file)
		}
	}
}

// cacheFor is a folder for the fetched programs that the account can enter and only the stack's user can write.
func cacheFor(a account) (string, error) {
	const name = "vidflow/postgres-18"
	var candidates []string
	if cache, err := os.UserCacheDir(); err == nil {
		candidates = append(candidates, filepath.Join(cache, name))
	}
	candidates = append(candidates, fmt.Sprintf("/var/tmp/vidflow-%d/postgres-18", os.Geteuid()))
	for _, dir := range candidates {
		if ok, err := a.reaches(dir); err != nil || !ok {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			continue
		}
		if owned(filepath.Dir(dir)) {
			return dir, nil
		}
	}
	return "", errors.New("found no folder for Postgres that " + a.String() + " can enter")
}

func freePort() (uint32, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return uint32(l.Addr().(*net.TCPAddr).Port), nil
}
