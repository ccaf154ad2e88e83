//go:build !linux

package process

import "syscall"

// attributes has no parent-death signal outside Linux: a child of a stack that was killed is found and stopped at the
// next start.
func attributes(opts Options) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: opts.Credential}
}
