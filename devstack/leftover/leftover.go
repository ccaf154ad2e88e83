// Package leftover finds what a stack that was stopped has left behind on the machine: processes and open ports.
package leftover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/codeendelea/vidflow/devstack/ports"
)

// Marker is an environment variable of every child of a stack; its value is the stack's folder.
const Marker = "VIDFLOW_DEV_STACK"

// Check names the ports of the block that are still taken, and the processes that still belong to the stack in dir.
func Check(dir string, block ports.Block) error {
	var errs []error
	if err := block.Check(); err != nil {
		errs = append(errs, fmt.Errorf("ports are left open:\n%w", err))
	}
	for _, pid := range processes(dir) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		errs = append(errs, fmt.Errorf("process %d is left: %s", pid, strings.ReplaceAll(string(cmdline), "\x00", " ")))
	}
	return errors.Join(errs...)
}

// processes finds those, other than this one, that carry the stack's mark in their environment or work in its folder
// or that of its Postgres. It finds nothing where there is no /proc.
func processes(dir string) []int {
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
		marked := strings.Contains("\x00"+string(environ), "\x00"+Marker+"="+dir+"\x00")
		inside := slices.ContainsFunc(homes, func(home string) bool { return strings.HasPrefix(cwd+"/", home+"/") })
		if marked || inside {
			pids = append(pids, pid)
		}
	}
	return pids
}
