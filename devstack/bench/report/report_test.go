package report

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the files instead of comparing them")

const (
	baselineFile = "../baseline.json"
	document     = "../../../docs/performance.md"
)

// sound is a report with a row of each kind and a curve.
func sound() *Report {
	r := &Report{
		Version: "v1", Began: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), Seconds: 61, Scale: 1, Covers: Everything,
		Machine: Machine{CPU: "a fast one", Cores: 2, Memory: 1 << 34, OS: "linux/amd64", Kernel: "Linux 6.1", Go: "go1.26.8"},
	}
	r.Add(Row{Key: "history_events", Unit: "events", Goal: &Goal{AtMost, 20}, Value: 20, Exact: true})
	r.Add(Row{Key: "bridge_throughput_ratio", Store: "postgres", Goal: &Goal{AtLeast, 0.95}, Rounds: []Round{
		{Ours: 980, Floor: 1000, Value: 0.98}, {Ours: 1940, Floor: 2000, Value: 0.97}, {Ours: 9.6, Floor: 10, Value: 0.96},
	}})
	r.Add(Row{Key: "start_ms", Of: "worker", Unit: "ms", Rounds: []Round{{Ours: 100, Value: 100}, {Ours: 110, Value: 110}, {Ours: 105, Value: 105}}})
	r.Add(Row{Key: "idle_requests_per_minute", Unit: "requests", Value: 100, Exact: true})
	r.Series = []Series{{Plot: "backlog", Name: "vidflow", X: "seconds", Y: "records", Points: [][2]float64{{0, 10}, {1, 0}}}}
	return r
}

func TestReport_is_read_as_it_was_written(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "out", "bench.json")
	want := sound()
	if err := want.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
}

func TestRead_refuses_what_it_does_not_know(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(sound())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"a_field_nobody_knows": strings.Replace(string(text), `"key"`, `"keys"`, 1),
		"something_else":       `[]`,
		"half_a_report":        string(text[:len(text)/2]),
		"an_empty_report":      `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "bench.json")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(file); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v, want an error that names the file", err)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := sound().Validate(); err != nil {
		t.Errorf("a sound report: %v", err)
	}
	tests := map[string]struct {
		change func(*Report)
		want   string
	}{
		"no_version":       {func(r *Report) { r.Version = "" }, "no version"},
		"no_machine":       {func(r *Report) { r.Machine.CPU = "" }, "the machine is not described"},
		"no_rows":          {func(r *Report) { r.Rows = nil }, "no rows"},
		"no_scope":         {func(r *Report) { r.Covers = "" }, "it covers"},
		"a_row_twice":      {func(r *Report) { r.Rows = append(r.Rows, r.Rows[0]) }, "history_events: twice"},
		"a_key_with_space": {func(r *Report) { r.Rows[0].Key = "history events" }, "its key must be"},
		"not_a_number":     {func(r *Report) { r.Rows[0].Value = math.NaN() }, "its value is NaN"},
		"no_median":        {func(r *Report) { r.Rows[1].Value = 2 }, "not the median"},
		"a_strange_goal":   {func(r *Report) { r.Rows[0].Goal.Op = "=" }, "its goal is"},
		"a_curve_without":  {func(r *Report) { r.Series[0].Points = nil }, "no points"},
		"a_curve_twice":    {func(r *Report) { r.Series = append(r.Series, r.Series[0]) }, "twice"},
		"a_plot_of_words":  {func(r *Report) { r.Series[0].Plot = "The backlog" }, "its plot must be"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sound()
			tt.change(r)
			if err := r.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	r := sound()
	r.Rows[0].Value = 21
	var out strings.Builder
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	want := `key                       of      store     ours  floor  value         spread     goal            
history_events                                        21 events                ≤ 20    MISSED  
bridge_throughput_ratio           postgres  980   1,000  0.97          0.96–0.98  ≥ 0.95  met     
start_ms                  worker                         105 ms        100–110                    
idle_requests_per_minute                                 100 requests                             

4 rows, 1 missed their goal
`
	if diff := cmp.Diff(trimmed(want), trimmed(out.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// trimmed has no blanks at the ends of lines and none of the width of columns.
func trimmed(s string) []string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func TestIntoDocument(t *testing.T) {
	t.Parallel()
	r := sound()
	got, err := r.IntoDocument([]byte("before\n<!-- results: made -->\nold\n<!-- end of results -->\nafter\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n<!-- results: made -->\n\n" + r.Markdown() + "\n<!-- end of results -->\nafter\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := r.IntoDocument(got)
	if err != nil || string(again) != string(got) {
		t.Errorf("written a second time it differs (%v)", err)
	}
	for _, bad := range []string{"", "<!-- results: -->", "<!-- end of results -->\n<!-- results: -->\n"} {
		if _, err := r.IntoDocument([]byte(bad)); err == nil {
			t.Errorf("document %q: no error", bad)
		}
	}
}

// TestBaseline: the committed baseline is a sound report of everything, and the document shows it.
func TestBaseline(t *testing.T) {
	t.Parallel()
	r, err := Read(baselineFile)
	if err != nil {
		t.Fatal(err)
	}
	if r.Covers != Everything {
		t.Errorf("the baseline covers %q, want %q", r.Covers, Everything)
	}
	committed, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	want, err := r.IntoDocument(committed)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(document, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(committed)); diff != "" {
		t.Errorf("%s does not show the baseline, run `make generate` (-baseline +document):\n%s", document, diff)
	}
}
