package chaos

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/devstack/chaos/audit"
)

func TestResult(t *testing.T) {
	t.Parallel()
	r := Result{
		Seed: 7, Videos: 3, Records: 20, Faults: map[string]int{"kill_worker": 2, "failover": 1},
		Verdict:  audit.Verdict{Lost: []string{"the result of x"}, Stuck: []string{"run y", "run z"}, Harmless: 4},
		Recovery: []time.Duration{time.Second, 2 * time.Second, 3 * time.Second},
	}
	path := filepath.Join(t.TempDir(), "out", "chaos.json")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"seed": 7.0, "videos": 3.0, "records": 20.0, "faults": map[string]any{"kill_worker": 2.0, "failover": 1.0},
		"lost": 1.0, "doubled": 0.0, "stuck": 2.0, "repeated_harmlessly": 4.0, "recovery_p99_ms": 3000.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if r.Sound() {
		t.Error("it counts as sound")
	}
	var b strings.Builder
	r.Print(&b)
	for _, line := range []string{"kill_worker", "lost: the result of x", "stuck: run z", "2.0 s, 3.0 s"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("%q is not in\n%s", line, b.String())
		}
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1)*time.Millisecond)
	}
	for _, tt := range []struct {
		of   []time.Duration
		p    float64
		want int64
	}{{nil, 0.99, 0}, {hundred, 0.99, 99}, {hundred, 0.5, 50}, {hundred[:1], 0.99, 1}} {
		if got := percentile(tt.of, tt.p); got != tt.want {
			t.Errorf("of %d, %v: got %d, want %d", len(tt.of), tt.p, got, tt.want)
		}
	}
}

func TestPanicked(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]bool{
		"{\"msg\": \"no panic: all is well\"}\n":             false,
		"{}\npanic: runtime error: index out of range [1]\n": true,
		"fatal error: concurrent map writes\n":               true,
		"WARNING: DATA RACE\n":                               true,
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := panicked(path) != nil; got != want {
			t.Errorf("%q: got %t", content, got)
		}
	}
}
