package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/supervisor"
)

// leftovers says what of a stopped session is still there: a port that listens, a process that it started.
func leftovers(dir string, block ports.Block, supervisors []*supervisor.Supervisor) error {
	var errs []error
	if err := block.Check(); err != nil {
		errs = append(errs, fmt.Errorf("ports are left open:\n%w", err))
	}
	for _, s := range supervisors {
		if pid := s.PID(); pid != 0 {
			errs = append(errs, fmt.Errorf("%s is left, process %d", s.Name(), pid))
		}
	}
	for _, pid := range processesOf(dir) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		errs = append(errs, fmt.Errorf("process %d is left: %s", pid, strings.ReplaceAll(string(cmdline), "\x00", " ")))
	}
	return errors.Join(errs...)
}

// processesOf finds processes, other than this one, that carry the session's mark in their environment or work in its
// folder or that of its Postgres. It finds nothing where there is no /proc.
func processesOf(dir string) []int {
	homes := []string{dir}
	if elsewhere, err := os.Readlink(filepath.Join(dir, "postgres")); err == nil {
		homes = append(homes, elsewhere)
	}
	var pids []int
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(entry, "environ"))
		cwd, _ := os.Readlink(filepath.Join(entry, "cwd"))
		marked := strings.Contains("\x00"+string(environ), "\x00"+marker+"="+dir+"\x00")
		inside := slices.ContainsFunc(homes, func(home string) bool { return strings.HasPrefix(cwd+"/", home+"/") })
		if marked || inside {
			pids = append(pids, pid)
		}
	}
	return pids
}
