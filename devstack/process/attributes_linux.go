package process

import "syscall"

func attributes(opts Options) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: opts.OnDeath, Credential: opts.Credential}
}
