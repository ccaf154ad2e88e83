package kubernetes

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program that ships.
type binary struct {
	path string

	mu    sync.Mutex
	helps map[string]string
}

func findBinary(t *testing.T) *binary {
	t.Helper()
	path, err := filepath.Abs(cmp.Or(os.Getenv("VIDFLOW_BINARY"), "../../bin/vidflow"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: make test-kubernetes builds it", err)
	}
	return &binary{path: path, helps: map[string]string{}}
}

// help is what the binary says of a command.
func (b *binary) help(command string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text, ok := b.helps[command]
	if !ok {
		out, err := exec.Command(b.path, command, "--help").CombinedOutput()
		if err != nil {
			return fmt.Sprintf("%s --help: %v\n%s", command, err, out)
		}
		text = string(out)
		b.helps[command] = text
	}
	return text
}

var named = regexp.MustCompile(`\(\$([A-Z][A-Z0-9_]*)\)`)

// variables are those that a command reads.
func (b *binary) variables(command string) (list []string) {
	for _, match := range named.FindAllStringSubmatch(b.help(command), -1) {
		list = append(list, match[1])
	}
	return list
}

// preset is the value that a command has of a variable that is not set.
func (b *binary) preset(command, flag string) string {
	match := regexp.MustCompile(`--` + flag + `=(\S+)`).FindStringSubmatch(b.help(command))
	if match == nil {
		return ""
	}
	return match[1]
}

// refuses says what the binary does not like about a command line and an environment. It starts nothing: one variable is
// wrong, which has to be all that is.
func (b *binary) refuses(args []string, env map[string]string) string {
	cmd := exec.Command(b.path, args...)
	cmd.Env = []string{"LOG_LEVEL=impossible"}
	for name, value := range env {
		if name != "LOG_LEVEL" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 && bytes.Contains(out, []byte(": 1 variable is missing or wrong")) &&
		bytes.Contains(out, []byte("LOG_LEVEL")) {
		return ""
	}
	return fmt.Sprintf("%v\n%s", err, out)
}

// What the pods are probed and scraped at is there, and a SIGTERM ends the process, also where none of its servers is.
func TestProbes_of_the_real_processes(t *testing.T) {
	t.Parallel()
	program := findBinary(t)
	o, problems := render(readTree(t), variants[0])
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, p := range pods(o) {
		if p.kind != "Deployment" {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			env, problems := environment(o, p, documentedSecrets(t), t.TempDir())
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			ops, api := freeAddress(t), freeAddress(t)
			_, port, _ := net.SplitHostPort(api)
			for name, value := range map[string]string{
				"OPS_ADDR": ops, "HOST": "127.0.0.1", "PORT": port, "KAFKA_BROKERS": "127.0.0.1:1", "TEMPORAL_ADDRESS": "127.0.0.1:1",
				"SUPABASE_URL": "http://127.0.0.1:1", "DATABASE_URL": "postgres://a:b@127.0.0.1:1/c", "DATABASE_LISTEN_URL": "postgres://a:b@127.0.0.1:1/c",
			} {
				if _, set := env[name]; set || name == "HOST" {
					env[name] = value
				}
			}
			cmd := exec.Command(program.path, p.container().Args...)
			for name, value := range env {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
			log := new(strings.Builder)
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var result error // when it has ended
			ended := make(chan struct{})
			go func() { result = cmd.Wait(); close(ended) }()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("it said:\n%s", log)
				}
			})
			c := p.container()
			wait := time.Now().Add(time.Duration(c.StartupProbe.PeriodSeconds*c.StartupProbe.FailureThreshold) * time.Second)
			for answer(ops, c.StartupProbe.HTTPGet.Path) != http.StatusOK {
				select {
				case <-ended:
					t.Fatalf("it has ended: %v", result)
				case <-time.After(20 * time.Millisecond):
				}
				if time.Now().After(wait) {
					_ = cmd.Process.Kill()
					<-ended
					t.Fatal("the startup probe is not answered")
				}
			}
			if got := answer(ops, c.LivenessProbe.HTTPGet.Path); got != http.StatusOK {
				t.Errorf("liveness: %d", got)
			}
			if got := answer(ops, c.ReadinessProbe.HTTPGet.Path); got != http.StatusServiceUnavailable {
				t.Errorf("readiness, with no server there: %d", got)
			}
			if got := answer(ops, o.monitors[0].Spec.PodMetricsEndpoints[0].Path); got != http.StatusOK {
				t.Errorf("metrics: %d", got)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			select {
			case <-ended:
				if result != nil {
					t.Errorf("SIGTERM: %v", result)
				}
			case <-time.After(time.Duration(*p.spec.TerminationGracePeriodSeconds) * time.Second):
				_ = cmd.Process.Kill()
				<-ended
				t.Error("it has not ended within its grace")
			}
		})
	}
}

func answer(address, path string) int {
	client := http.Client{Timeout: 30 * time.Second} // for a busy machine
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// documentedSecrets are the Secrets that docs/kubernetes.md tells people to make, and their keys.
func documentedSecrets(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(vidflow-[a-z-]+)` \\|([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		for _, key := range regexp.MustCompile("`([A-Za-z_.]+)`").FindAllStringSubmatch(row[2], -1) {
			secrets[row[1]] = append(secrets[row[1]], key[1])
		}
		slices.Sort(secrets[row[1]])
	}
	if len(secrets) == 0 {
		t.Fatal("docs/kubernetes.md has no table of Secrets")
	}
	return secrets
}
