// Package envfile holds environment variables in an order and writes them so that a shell can source them.
package envfile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Var is one variable; Note says what it is, for readers of the file.
type Var struct{ Name, Value, Note string }

// Vars are variables in the order in which they are written.
type Vars []Var

// Environ is the environment of the caller with the variables set over it, in the form of os.Environ.
func (v Vars) Environ(base []string) []string {
	set := make(map[string]bool, len(v))
	for _, e := range v {
		set[e.Name] = true
	}
	env := slices.DeleteFunc(slices.Clone(base), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return set[name]
	})
	for _, e := range v {
		env = append(env, e.Name+"="+e.Value)
	}
	return env
}

// With is v and more, where a later variable of the same name replaces an earlier one.
func (v Vars) With(more ...Var) Vars {
	out := slices.Clone(v)
	for _, m := range more {
		if i := slices.IndexFunc(out, func(e Var) bool { return e.Name == m.Name }); i >= 0 {
			out[i] = m
			continue
		}
		out = append(out, m)
	}
	return out
}

// Value is that of a variable; empty when there is none.
func (v Vars) Value(name string) string {
	for _, e := range v {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// Shell is a script for a POSIX shell that exports the variables.
func (v Vars) Shell() string {
	var b strings.Builder
	for _, e := range v {
		if e.Note != "" {
			fmt.Fprintf(&b, "\n# %s\n", strings.ReplaceAll(e.Note, "\n", "\n# "))
		}
		fmt.Fprintf(&b, "export %s=%s\n", e.Name, Quote(e.Value))
	}
	return b.String()
}

// Write replaces the file in one step; only its owner may read it, for it holds secrets.
func (v Vars) Write(path, title string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already when all went well
	if _, err := tmp.WriteString("# " + title + "\n" + v.Shell()); err != nil {
		_ = tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// Quote makes one word of a POSIX shell of s, whatever is in it.
func Quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,@%+="
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
