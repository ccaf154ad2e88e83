package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/codeendelea/vidflow/internal/process"
)

// patience is how long anything may take on a busy machine: only a failure meets it.
const patience = 3 * time.Minute

// awayMessage is what a process says of something that it waits for.
const awayMessage = `"msg":"dependency is away, waiting for it"`

// running is a program that was started, and runs until it is stopped.
type running struct {
	t     *testing.T
	log   *lockedBuffer
	stop  context.CancelFunc
	ended chan int
}

// start runs the program inside the test. Being stopped does what a signal does.
func start(t *testing.T, env map[string]string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, log: new(lockedBuffer), stop: cancel, ended: make(chan int, 1)}
	go func() { r.ended <- run(ctx, args, env, nil, io.Discard, r.log) }()
	t.Cleanup(cancel)
	return r
}

// code waits for the end, and returns the exit code.
func (r *running) code() int {
	r.t.Helper()
	select {
	case code := <-r.ended:
		return code
	case <-time.After(patience):
		r.t.Fatalf("it did not end:\n%s", r.log)
		return 0
	}
}

// until waits for the log to match.
func (r *running) until(pattern string) []string {
	r.t.Helper()
	expression := regexp.MustCompile(pattern)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		if match := expression.FindStringSubmatch(r.log.String()); match != nil {
			return match
		}
		select {
		case <-tick.C:
		case code := <-r.ended:
			r.t.Fatalf("it ended with %d before its log had %s:\n%s", code, pattern, r.log)
		case <-deadline:
			r.t.Fatalf("the log has no %s:\n%s", pattern, r.log)
		}
	}
}

// probe asks the probes.
func (r *running) probe(path string) (int, process.Readiness) {
	r.t.Helper()
	addr := r.until(`"ops_addr":"([^"]+)"`)[1]
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var readiness process.Readiness
	if err := json.NewDecoder(resp.Body).Decode(&readiness); err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, readiness
}

// untilStatus waits for that answer of /readyz, with 200: a busy machine may keep a check waiting.
func (r *running) untilStatus(want string) process.Readiness {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		status, readiness := r.probe("/readyz")
		if status == http.StatusOK && readiness.Status == want {
			return readiness
		}
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("/readyz: got %d %+v, want 200 and %s", status, readiness, want)
		}
	}
}

// untilMetrics waits until a line of /metrics begins with each of the patterns.
func (r *running) untilMetrics(patterns ...string) {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		metrics := r.metrics()
		missing := slices.DeleteFunc(slices.Clone(patterns), func(want string) bool {
			return regexp.MustCompile("(?m)^" + want).MatchString(metrics)
		})
		if len(missing) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("/metrics has no %q", missing)
		}
	}
}

// metrics are what Prometheus would collect.
func (r *running) metrics() string {
	r.t.Helper()
	resp, err := http.Get("http://" + r.until(`"ops_addr":"([^"]+)"`)[1] + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("/metrics: %d %v %s", resp.StatusCode, err, body)
	}
	return string(body)
}

func TestProcesses_wait_for_what_is_away(t *testing.T) {
	t.Parallel()
	for command, needs := range map[string]struct{ required, optional []string }{
		"worker":      {required: []string{"Temporal", "Postgres", "Storage", "Kafka producer", "Kafka reader"}, optional: []string{"Worker version"}},
		"starter":     {required: []string{"Postgres"}, optional: []string{"Temporal", "Kafka producer", "Storage", "Kafka dead-letter watcher"}},
		"kafkabridge": {required: []string{"Kafka dead letters", "Kafka consumer update_transcribe", "Kafka consumer finish_compress", "Temporal"}},
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			r := start(t, environment(nil), command)
			for _, name := range append(needs.required, needs.optional...) {
				r.until(awayMessage + `.*"dependency":"` + name + `"`)
			}
			if status, _ := r.probe("/healthz"); status != http.StatusOK {
				t.Errorf("/healthz: got %d, want 200", status)
			}
			status, readiness := r.probe("/readyz")
			if status != http.StatusServiceUnavailable || readiness.Parts[command] != "waiting" {
				t.Errorf("/readyz: got %d %+v, want 503 and waiting", status, readiness)
			}
			want := make(map[string]bool)
			for _, name := range needs.required {
				want[name] = true
			}
			for _, name := range needs.optional {
				want[name] = false
			}
			got := make(map[string]bool)
			for _, check := range readiness.Checks {
				got[check.Name] = check.Required
				if check.State != process.StateDown || check.Error == "" {
					t.Errorf("%s: got %+v, want down and why", check.Name, check)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("checks and whether they are required (-want +got):\n%s", diff)
			}
			r.stop()
			if code := r.code(); code != exitOK {
				t.Errorf("exit code: got %d, want %d\n%s", code, exitOK, r.log)
			}
			for _, secret := range secrets {
				if secret != "" && strings.Contains(r.log.String(), secret) {
					t.Errorf("%q is in the log:\n%s", secret, r.log)
				}
			}
		})
	}
}

func TestProcesses_run_together(t *testing.T) {
	t.Parallel()
	r := start(t, environment(nil), "kafkabridge", "starter", "worker")
	for _, command := range []string{"worker", "starter", "kafkabridge"} {
		r.until(awayMessage + `,"process":"` + command + `"`)
	}
	_, readiness := r.probe("/readyz")
	for _, check := range readiness.Checks {
		if got, want := check.Required, check.Part == "starter" && check.Name == "Postgres"; got != want {
			t.Errorf("%s of %s: required is %t, want %t", check.Name, check.Part, got, want)
		}
	}
	metrics := r.metrics()
	for _, name := range []string{
		"go_goroutines", "process_resident_memory_bytes", "vidflow_build_info{", "vidflow_bridge_received_total{",
		"vidflow_bridge_records_in_flight{", "vidflow_worker_missing_videos_total{",
	} {
		if !strings.Contains(metrics, "\n"+name) {
			t.Errorf("/metrics has no %s", name)
		}
	}
	r.stop()
	if code := r.code(); code != exitOK {
		t.Errorf("exit code: got %d, want %d\n%s", code, exitOK, r.log)
	}
}

func TestProcesses_refuse_what_can_never_work(t *testing.T) {
	t.Parallel()
	broker := func(t *testing.T, topics ...string) string {
		t.Helper()
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		return cluster.ListenAddrs()[0]
	}
	for name, row := range map[string]struct {
		command string
		topics  []string
		want    []string
	}{
		"a missing topic of the worker": {
			command: "worker", topics: []string{"update_transcribe"},
			want: []string{"Kafka producer", "missing: Transcribe"},
		},
		"missing topics of the bridge": {
			command: "kafkabridge", topics: []string{"update_transcribe", "update_transcribe.dlq"},
			want: []string{"finish_compress"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := environment(map[string]string{"KAFKA_BROKERS": broker(t, row.topics...), "KAFKA_USERNAME": "", "KAFKA_PASSWORD": ""})
			got := invoke(t, env, row.command)
			if got.code != exitFailed {
				t.Errorf("exit code: got %d, want %d", got.code, exitFailed)
			}
			for _, want := range row.want {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("got no %q in:\n%s", want, got.stderr)
				}
			}
		})
	}
}

func TestProcesses_log_to_files(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, environment(map[string]string{"LOG_DIR": dir}), "kafkabridge")
	r.until(awayMessage)
	r.stop()
	if code := r.code(); code != exitOK {
		t.Errorf("exit code: got %d, want %d", code, exitOK)
	}
	combined, err := os.ReadFile(filepath.Join(dir, "combined.log"))
	if err != nil {
		t.Fatal(err)
	}
	// What parts of the process say at the same time is in either order.
	sorted := func(log string) []string { return slices.Sorted(strings.Lines(log)) }
	if diff := cmp.Diff(sorted(r.log.String()), sorted(string(combined))); diff != "" {
		t.Errorf("combined.log and the console differ (-console +file):\n%s", diff)
	}
}

func TestProcesses_name_a_taken_port(t *testing.T) {
	t.Parallel()
	first := start(t, environment(nil), "kafkabridge")
	addr := first.until(`"ops_addr":"([^"]+)"`)[1]
	got := invoke(t, environment(map[string]string{"OPS_ADDR": addr}), "worker")
	if got.code != exitFailed || !strings.Contains(got.stderr, "OPS_ADDR "+addr) {
		t.Errorf("got %d %s, want %d and OPS_ADDR %s", got.code, got.stderr, exitFailed, addr)
	}
}

func TestMigrate_waits_for_the_database(t *testing.T) {
	t.Parallel()
	r := start(t, environment(nil), "migrate")
	r.until(awayMessage + `.*"dependency":"Postgres"`)
	r.stop()
	if code := r.code(); code != exitFailed {
		t.Errorf("exit code of a migration that was stopped: got %d, want %d", code, exitFailed)
	}
}

// lockedBuffer is written by the program while the test reads it.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
