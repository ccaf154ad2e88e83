package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that the programs of Postgres run as, which refuse to run as root.
type account struct {
	name     string
	uid, gid int
	dropped  bool // differs from the user of the stack
}

// unprivileged is the user of the stack, or when that is root, "postgres" where there is such a user and else
// "nobody".
func unprivileged() (account, error) {
	if uid := os.Geteuid(); uid != 0 {
		return account{name: strconv.Itoa(uid), uid: uid, gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(found.Uid)
		gid, gidErr := strconv.Atoi(found.Gid)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return account{name: name, uid: uid, gid: gid, dropped: true}, nil
		}
	}
	return account{}, errors.New("the server of Postgres refuses to run as root, and there is neither a user postgres nor a user nobody to run it as")
}

func (a account) credential() *syscall.Credential {
	if !a.dropped {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

// own gives a file or folder to the account.
func (a account) own(path string) error {
	if !a.dropped {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// reaches says whether the account may enter dir: whether it has the right to search it and every folder above it.
func (a account) reaches(dir string) (bool, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false, err
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist): // will be made; its parents decide
		case err != nil:
			return false, err
		case !a.searches(info):
			return false, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true, nil
		}
		dir = parent
	}
}

func (a account) searches(info fs.FileInfo) bool {
	const ownerSearch, groupSearch, otherSearch = 0o100, 0o010, 0o001
	mode := info.Mode().Perm()
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return false
	case int(stat.Uid) == a.uid:
		return mode&ownerSearch != 0
	case int(stat.Gid) == a.gid:
		return mode&groupSearch != 0
	default:
		return mode&otherSearch != 0
	}
}

func (a account) String() string { return fmt.Sprintf("%s (uid %d)", a.name, a.uid) }
