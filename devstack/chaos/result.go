package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/codeendelea/vidflow/devstack/chaos/audit"
)

// Result is what came of a run.
type Result struct {
	Seed    uint64
	Videos  int
	Records int // of all topics but the dead letters
	Faults  map[string]int
	Verdict audit.Verdict
	// Recovery of each video that was behind when everything was healed, sorted.
	Recovery []time.Duration
	// Rest is how long it took from there until nothing was under way.
	Rest time.Duration
	// Ended counts processes that ended by themselves and were started again; Panics are lines of their logs.
	Ended  int
	Panics []string
}

// Sound says whether nothing is wrong.
func (r Result) Sound() bool { return r.Verdict.Sound() && len(r.Panics) == 0 }

// percentile of sorted durations, in milliseconds; 0 of none.
func percentile(sorted []time.Duration, p float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[max(0, i)].Milliseconds()
}

// Write writes the result as JSON.
func (r Result) Write(path string) error {
	content, err := json.MarshalIndent(struct {
		Seed     uint64         `json:"seed"`
		Videos   int            `json:"videos"`
		Records  int            `json:"records"`
		Faults   map[string]int `json:"faults"`
		Lost     int            `json:"lost"`
		Doubled  int            `json:"doubled"`
		Stuck    int            `json:"stuck"`
		Repeated int            `json:"repeated_harmlessly"`
		Recovery int64          `json:"recovery_p99_ms"`
	}{
		r.Seed, r.Videos, r.Records, r.Faults, len(r.Verdict.Lost), len(r.Verdict.Doubled), len(r.Verdict.Stuck),
		r.Verdict.Harmless, percentile(r.Recovery, 0.99),
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}

// Print prints the table, and everything that is wrong.
func (r Result) Print(out io.Writer) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	total := 0
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(w, "%s\t%d\n", name, r.Faults[name])
		total += r.Faults[name]
	}
	fmt.Fprintf(w, "\t\nfaults\t%d\n", total)
	fmt.Fprintf(w, "videos\t%d\n", r.Videos)
	fmt.Fprintf(w, "records\t%d\n", r.Records)
	fmt.Fprintf(w, "lost\t%d\n", len(r.Verdict.Lost))
	fmt.Fprintf(w, "doubled\t%d\n", len(r.Verdict.Doubled))
	fmt.Fprintf(w, "stuck\t%d\n", len(r.Verdict.Stuck))
	fmt.Fprintf(w, "repeated harmlessly\t%d\n", r.Verdict.Harmless)
	fmt.Fprintf(w, "processes that ended by themselves\t%d\n", r.Ended)
	fmt.Fprintf(w, "behind when healed\t%d videos\n", len(r.Recovery))
	fmt.Fprintf(w, "recovery p50, p99, at rest\t%.1f s, %.1f s, %.1f s\n",
		float64(percentile(r.Recovery, 0.5))/1000, float64(percentile(r.Recovery, 0.99))/1000, r.Rest.Seconds())
	_ = w.Flush()
	_, _ = fmt.Fprintf(out, "\n%s\n", b.String())
	for _, part := range []struct {
		name     string
		findings []string
	}{
		{"lost", r.Verdict.Lost},
		{"doubled", r.Verdict.Doubled},
		{"stuck", r.Verdict.Stuck},
		{"panic", r.Panics},
		{"the test itself", r.Verdict.Flawed},
	} {
		const most = 40
		for i, f := range part.findings {
			if i == most {
				_, _ = fmt.Fprintf(out, "%s: and %d more\n", part.name, len(part.findings)-most)
				break
			}
			_, _ = fmt.Fprintf(out, "%s: %s\n", part.name, f)
		}
	}
}
