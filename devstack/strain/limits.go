package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pod is what Kubernetes gives a process of vidflow.
type pod struct {
	memory int64 // the limit, in bytes; it is killed beyond
	// env is what of its environment decides about memory.
	env []string
}

// pods reads what the base of deploy/kubernetes gives each process and Job, by its name.
func pods(base string) (map[string]pod, error) {
	files, err := filepath.Glob(filepath.Join(base, "*.yaml"))
	if err != nil {
		return nil, err
	}
	all := make(map[string]pod)
	for _, file := range files {
		if err := readPods(file, all); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return all, nil
}

func readPods(file string, into map[string]pod) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		var object struct {
			Metadata struct{ Name string }
			Spec     struct {
				Template struct {
					Spec struct {
						Containers []struct {
							Env       []struct{ Name, Value string }
							Resources struct{ Limits struct{ CPU, Memory string } }
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return err
		}
		for _, c := range object.Spec.Template.Spec.Containers {
			mib, ok := strings.CutSuffix(c.Resources.Limits.Memory, "Mi")
			n, err := strconv.ParseInt(mib, 10, 64)
			if !ok || err != nil {
				return fmt.Errorf("the limit of %s is %q of memory, and not one in Mi", object.Metadata.Name, c.Resources.Limits.Memory)
			}
			// Go sees the limit of a container and takes as many threads.
			p := pod{memory: n << 20, env: []string{"GOMAXPROCS=" + c.Resources.Limits.CPU}}
			for _, v := range c.Env {
				if strings.HasPrefix(v.Name, "GO") {
					p.env = append(p.env, v.Name+"="+v.Value)
				}
			}
			into[object.Metadata.Name] = p
		}
	}
	return nil
}
