package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/codeendelea/vidflow/devstack/process"
)

// outside is where clusters go that cannot be where they were asked for.
const outside = "/var/tmp"

// place makes the folder of the cluster, owned by the account, and answers its real path. Where the account cannot
// enter dir, because a folder above it is closed to others (a home folder, as a rule), the real one is outside and dir
// becomes a link to it.
func place(dir string, acct account) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if target, err := os.Readlink(dir); err == nil {
		return target, claim(target, acct)
	}
	ok, err := acct.reaches(filepath.Dir(dir))
	if err != nil {
		return "", err
	}
	if ok {
		return dir, claim(dir, acct)
	}
	sum := sha256.Sum256([]byte(dir))
	target := filepath.Join(outside, fmt.Sprintf("vidflow-postgres-%d-%s", os.Geteuid(), hex.EncodeToString(sum[:6])))
	if err := claim(target, acct); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	return target, os.Symlink(target, dir)
}

// claim makes dir for the account alone, and refuses one that is somebody else's.
func claim(dir string, acct account) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	switch {
	case err == nil:
		return acct.own(dir)
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(stat.Uid) != acct.uid {
		return fmt.Errorf("%s exists and is not a folder of user %s: remove it", dir, acct)
	}
	return nil
}

// owned says whether a folder belongs to the user of the stack and to nobody else.
func owned(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// Remove deletes a cluster, also where dir is a link to it.
func Remove(dir string) error {
	target, err := os.Readlink(dir)
	if err == nil && strings.HasPrefix(target, outside+"/vidflow-postgres-") {
		if err := os.RemoveAll(target); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// clearStale deals with what a server left that did not end by itself. Postgres refuses to start while the process id
// in postmaster.pid exists, and after a reboot or in a new container that may be any process. One that really is a
// server of this cluster, left by a stack that was killed, is shut down. It answers whether anything was left.
func clearStale(ctx context.Context, data string) (stale bool, err error) {
	file := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err == nil && pid > 1 && process.Alive(pid) && serves(pid, data) {
		if err := end(ctx, pid); err != nil {
			return true, err
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, err
	}
	return true, nil
}

// serves says whether the process is a Postgres server of that cluster. Where there is no /proc to ask, it is taken
// for one: postmaster.pid says so.
func serves(pid int, data string) bool {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		return true
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.Split(string(cmdline), "\x00")
	for i, arg := range args {
		if arg == "-D" && i+1 < len(args) && args[i+1] == data {
			return strings.Contains(filepath.Base(args[0]), "postgres")
		}
	}
	return false
}

// end shuts down a server that is nobody's child any more.
func end(ctx context.Context, pid int) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop a server that an earlier stack left (process %d): %w", pid, err)
		}
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
			if !process.Alive(pid) {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ticker.C:
			}
		}
	}
	return fmt.Errorf("a server that an earlier stack left (process %d) cannot be stopped", pid)
}
