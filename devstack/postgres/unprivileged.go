package postgres

import "syscall"

// Account is the user that Postgres and the programs beside it run as: that of the stack, unless it is root.
type Account struct{ account account }

// Unprivileged finds the account.
func Unprivileged() (Account, error) {
	found, err := unprivileged()
	return Account{found}, err
}

// Credential is nil when the account is the user of the stack.
func (a Account) Credential() *syscall.Credential { return a.account.credential() }

// Own gives a file or folder to the account.
func (a Account) Own(path string) error { return a.account.own(path) }
