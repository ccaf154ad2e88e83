package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
)

// docker is a program of that name that notes what it is told, and fails where it is told to.
type docker struct{ dir string }

func newDocker(t *testing.T, failsAt string) docker {
	t.Helper()
	d := docker{dir: t.TempDir()}
	script := fmt.Sprintf(`#!/bin/sh
echo "$*" >>'%s'
case "$*" in 'compose up'*) echo "$VERSION $REVISION $CREATED" >'%s' ;; esac
case "$*" in %s) exit 1 ;; esac
`, d.path("told"), d.path("commit"), failsAt)
	if err := os.WriteFile(d.path("docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d docker) path(name string) string { return filepath.Join(d.dir, name) }

func (d docker) told(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(d.path("told"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// make runs a target of the Makefile, as a shell does that is not one of make's own.
func (d docker) make(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "make", append([]string{"--no-print-directory", "-C", "../.."}, args...)...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return regexp.MustCompile(`^(MAKE[A-Z]*|MFLAGS|ARGS|COMPOSE)=`).MatchString(v)
	}), "PATH="+d.dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestUp(t *testing.T) {
	t.Parallel()
	d := newDocker(t, "nothing")
	out, err := d.make(t, "up")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{"compose version", "info", "compose up --build --detach --wait"}
	if diff := cmp.Diff(want, d.told(t)); diff != "" {
		t.Errorf("docker is told (-want +got):\n%s", diff)
	}
	for name, service := range loadCompose(t).Services {
		for _, port := range service.Ports {
			if !regexp.MustCompile(`localhost:` + port.Published + `\b`).MatchString(out) {
				t.Errorf("it does not say that %s is at port %s:\n%s", name, port.Published, out)
			}
		}
	}
	commit, err := os.ReadFile(d.path("commit"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(commit))
	if len(fields) != 3 || !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(fields[1]) {
		t.Fatalf("the image is told that it is of %q", commit)
	}
	if _, err := time.Parse("2006-01-02T15:04:05Z", fields[2]); err != nil {
		t.Error(err)
	}
	// What is in the environment is what reaches the Dockerfile.
	args := loadCompose(t, "VERSION="+fields[0], "REVISION="+fields[1], "CREATED="+fields[2]).Services["worker"].Build.Args
	got := make(map[string]string)
	for key, value := range args {
		if value != nil {
			got[key] = *value
		}
	}
	if diff := cmp.Diff(map[string]string{"VERSION": fields[0], "REVISION": fields[1], "CREATED": fields[2]}, got); diff != "" {
		t.Errorf("arguments of the build (-want +got):\n%s", diff)
	}
}

func TestUp_says_what_is_missing(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ failsAt, compose, want string }{
		"no docker":         {"nothing", "no-such-program compose", "There is no no-such-program: install Docker"},
		"no plugin":         {"'compose version'", "docker compose", "install the Compose plugin"},
		"no daemon":         {"info", "docker compose", "docker does not answer: start it"},
		"not all gets well": {"'compose up'*", "docker compose", "docker compose ps --all; why not: docker compose logs SERVICE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := newDocker(t, row.failsAt).make(t, "up", "COMPOSE="+row.compose)
			if err == nil || !strings.Contains(out, row.want) || strings.Contains(out, "Temporal UI") {
				t.Errorf("error %v, want %q in:\n%s", err, row.want, out)
			}
		})
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	d := newDocker(t, "nothing")
	if out, err := d.make(t, "down", "ARGS=--volumes"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{"compose version", "info", "compose down --volumes"}
	if diff := cmp.Diff(want, d.told(t)); diff != "" {
		t.Errorf("docker is told (-want +got):\n%s", diff)
	}
}

// docker compose up --wait takes a container that has ended for a failure, but for one whose success another waits for.
func TestCompose_waits_for_jobs(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	for name, service := range project.Services {
		if service.Restart != "no" {
			continue
		}
		waited := false
		for _, other := range project.Services {
			waited = waited || other.DependsOn[name].Condition == types.ServiceConditionCompletedSuccessfully
		}
		if !waited {
			t.Errorf("nothing waits for %s", name)
		}
	}
}
