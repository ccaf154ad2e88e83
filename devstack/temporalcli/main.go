// Temporalcli builds the Temporal CLI, with which the documents and vidflow's messages have operators work, from its module
// and with the versions of this one (decision 36): a copy of its source, in which the server is left out and what newer
// libraries call otherwise is called so. All of its commands but `temporal server` are as released.
package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	module  = "github.com/temporalio/cli"
	program = module + "/cmd/temporal"
)

//go:embed devserver/server.go
var noServer string

// edits are what the libraries of this module ask for; a newer CLI needs others or none.
var edits = []struct{ file, old, new string }{
	{"temporalcli/commands.config.go", "configFile, err = envconfig.DefaultConfigFilePath(); err != nil", "configFile = envconfig.DefaultConfigFilePath(); err != nil"},
	{"temporalcli/commands.worker.go", "info.GetProcessKey()", "info.GetWorkerGroupingKey()"},
}

func main() {
	if err := build(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "temporalcli:", err)
		os.Exit(1)
	}
}

func build(args []string) (err error) {
	if len(args) != 1 || !filepath.IsAbs(args[0]) {
		return errors.New("one argument: where to put the program, from the root of the file system")
	}
	source, err := os.MkdirTemp("", "temporal-cli-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(source)) }()

	out, err := golang("list", "-find", "-json=Module", program)
	if err != nil {
		return err
	}
	var released struct{ Module struct{ Dir, Version string } }
	if err := json.Unmarshal(out, &released); err != nil {
		return err
	}
	if err := os.CopyFS(source, os.DirFS(released.Module.Dir)); err != nil {
		return err
	}
	if err := edit(source); err != nil {
		return fmt.Errorf("%s %s: %w", module, released.Module.Version, err)
	}

	modfile := filepath.Join(source, "build.mod")
	for from, to := range map[string]string{"go.mod": "build.mod", "go.sum": "build.sum"} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(source, to), data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("run this in the module devstack: %w", err)
		}
	}
	if _, err := golang("mod", "edit", "-replace="+module+"="+source, modfile); err != nil {
		return err
	}
	_, err = golang("build", "-modfile="+modfile, "-o", args[0],
		"-ldflags=-s -w -X "+module+"/temporalcli.Version="+strings.TrimPrefix(released.Module.Version, "v"), program)
	return err
}

func edit(source string) error {
	if err := os.WriteFile(filepath.Join(source, "temporalcli", "devserver", "server.go"), []byte(noServer), 0o600); err != nil {
		return err
	}
	for _, e := range edits {
		file := filepath.Join(source, e.file)
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.Count(string(data), e.old) != 1 {
			return fmt.Errorf("%s does not have %q once: correct the edits", e.file, e.old)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(data), e.old, e.new, 1)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// golang runs go outside of the workspace, which knows no other go.mod.
func golang(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w", args[0], err)
	}
	return out, nil
}
