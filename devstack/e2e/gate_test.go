package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/codeendelea/vidflow/devstack/docs"
	"github.com/codeendelea/vidflow/devstack/process"
)

const examplePipeline = "../../deploy/pipeline/github-actions.yml"

// workflowFile is a workflow of GitHub Actions, as far as the example goes: what is not here is refused.
type workflowFile struct {
	Name        string
	On          struct{ Push struct{ Tags []string } }
	Permissions map[string]string
	Concurrency struct{ Group string }
	Defaults    struct{ Run struct{ Shell string } }
	Jobs        map[string]workflowJob
}

type workflowJob struct {
	RunsOn         string `yaml:"runs-on"`
	TimeoutMinutes int    `yaml:"timeout-minutes"`
	Needs          []string
	Environment    string
	Permissions    map[string]string
	Env            map[string]string
	Steps          []struct {
		Uses string
		With map[string]string
		Run  string
	}
}

func readPipeline(t *testing.T) workflowFile {
	t.Helper()
	text, err := os.ReadFile(examplePipeline)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var w workflowFile
	if err := decoder.Decode(&w); err != nil {
		t.Fatalf("%s: %v", examplePipeline, err)
	}
	return w
}

// TestExamplePipeline: its jobs need each other in the order of a roll-out, and its commands, make targets and variables
// exist.
func TestExamplePipeline(t *testing.T) {
	t.Parallel()
	w := readPipeline(t)
	var after func(job string) map[string]bool // all that has succeeded when the job begins
	after = func(job string) map[string]bool {
		all := map[string]bool{}
		for _, need := range w.Jobs[job].Needs {
			if _, ok := w.Jobs[need]; !ok {
				t.Errorf("the job %s needs %s, which is not there", job, need)
			}
			all[need] = true
			maps.Copy(all, after(need))
		}
		return all
	}
	for job, needs := range map[string][]string{
		"image": {"test"}, "gate": {"test", "build"}, "migrate": {"gate", "image"}, "roll-out": {"gate", "migrate", "image", "test"},
	} {
		for _, need := range needs {
			if !after(job)[need] {
				t.Errorf("%s does not wait for %s", job, need)
			}
		}
	}

	root, err := docs.Root()
	if err != nil {
		t.Fatal(err)
	}
	checker, err := docs.NewChecker(root, need(t, "VIDFLOW_TEST_BINARY"), need(t, "VIDFLOW_TEST_TEMPORAL_CLI"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(w.Jobs)) {
		job := w.Jobs[name]
		var page strings.Builder
		fmt.Fprintf(&page, "```sh cluster\nexport %s\n```\n", strings.Join(slices.Sorted(maps.Keys(job.Env)), " "))
		for _, step := range job.Steps {
			if (step.Uses == "") == (step.Run == "") {
				t.Errorf("a step of %s neither runs nor uses something, or does both", name)
			}
			fmt.Fprintf(&page, "\n```sh cluster\n%s\n```\n", step.Run)
		}
		file := name + ".md"
		if err := os.WriteFile(filepath.Join(dir, file), []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := docs.Read(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range checker.Check(p) {
			t.Errorf("%s: %s", examplePipeline, problem)
		}
	}
}

// gate runs the job "gate" of the example, as GitHub does, with a binary that an earlier job has built, on the namespace of
// p; it needs nothing but its three variables.
func (p *pipeline) gate(binary string) (said string, code int) {
	p.t.Helper()
	w := readPipeline(p.t)
	if w.Defaults.Run.Shell != "bash" {
		p.t.Fatalf("%s: without shell: bash a pipe that fails is no failure", examplePipeline)
	}
	dir := p.t.TempDir()
	program, err := os.ReadFile(binary)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "vidflow"), program, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "GITHUB_STEP_SUMMARY=" + filepath.Join(dir, "summary.md")}
	for name := range w.Jobs["gate"].Env {
		value := ""
		for _, v := range p.env {
			if v.Name == name {
				value = v.Value
			}
		}
		env = append(env, name+"="+value)
	}
	var out bytes.Buffer
	for _, step := range w.Jobs["gate"].Steps {
		if step.Run == "" {
			continue
		}
		cmd := exec.CommandContext(p.t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.Run)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &out, &out
		if err := cmd.Run(); err != nil {
			return out.String(), process.ExitCode(err)
		}
	}
	return out.String(), 0
}
