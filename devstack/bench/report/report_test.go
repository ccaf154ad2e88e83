package report

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/golden"
)

const (
	baselineFile = "../baseline.json"
	documents    = "../../../docs"
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
	got, err := IntoDocument([]byte("before\n<!-- results: made -->\nold\n<!-- end of results -->\nafter\n"), r.Markdown())
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n<!-- results: made -->\n\n" + r.Markdown() + "\n<!-- end of results -->\nafter\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := IntoDocument(got, r.Markdown())
	if err != nil || string(again) != string(got) {
		t.Errorf("written a second time it differs (%v)", err)
	}
	for _, bad := range []string{"", "<!-- results: -->", "<!-- end of results -->\n<!-- results: -->\n"} {
		if _, err := IntoDocument([]byte(bad), ""); err == nil {
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
	for name, text := range Documents() {
		file := filepath.Join(documents, name)
		committed, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := IntoDocument(committed, text(r))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		golden.Equal(t, file, want)
	}
}

// TestGrowth: what costs money and what runs full, by figures that are easily checked by hand.
func TestGrowth(t *testing.T) {
	t.Parallel()
	r := sound()
	r.Add(Row{Key: "temporal_actions", Of: "10 s", Value: 10, Exact: true})
	r.Add(Row{Key: "history_bytes", Of: "10 s", Value: 4000, Exact: true})
	r.Add(Row{Key: "pipeline_cpu_ms", Of: "worker", Store: "sqlite", Rounds: []Round{{Ours: 9, Value: 9}}})
	r.Add(Row{Key: "pipeline_cpu_ms", Of: "worker", Store: "postgres", Rounds: []Round{{Ours: 7.2, Value: 7.2}}})
	r.Add(Row{Key: "disk_kb_per_video", Of: "storage", Store: "postgres", Value: 100})
	got := r.Growth()
	for _, want := range []string{
		"| videos a second, busiest hour | 0.028 | 0.28 | 2.8 | 28 |",
		"| cores for `worker` | 0.0002 | 0.002 | 0.02 | 0.2 |",
		"| one `starter`: % | – | – | – | – |",
		"| one `kafkabridge`: % | 0.0057 | 0.057 | 0.57 | 5.7 |",
		"| GB of transcripts, each year | 18 | 180 | 1,800 | 18,000 |",
		"| millions of actions a month | 0.15 | 1.5 | 15 | 150 |",
		// Developer: 0.15 × 50, and a tenth. Business: 500, and (5 × 50 + 5 × 45 + 2.5 × 40) for 12.5 of 15 million.
		"| dollars a month | 8.3 | 83 | 830 | 5,100 |",
		"| dollars a month for files, after a year | 0 | 1.7 | 36 | 380 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
}

// TestEnds: where engines end, the first one first, by figures that are easily checked by hand.
func TestEnds(t *testing.T) {
	t.Parallel()
	r := sound()
	r.Add(Row{Key: "temporal_actions", Of: "10 s", Value: 10, Exact: true})
	r.Add(Row{Key: "pipeline_cpu_ms", Of: "worker", Store: "postgres", Rounds: []Round{{Ours: 50, Value: 50}}})
	r.Add(Row{Key: "commits_per_video", Of: "database of Temporal", Store: "postgres", Value: 40})
	got := r.Ends()
	last := -1
	for _, want := range []string{
		"| Temporal with 4 history shards | 20 | 720 |", // 800 / 40, over 500 / 5 / 3600 a second
		"| one core of `worker` | 20 | 720 |",
		"| a namespace of Temporal Cloud, as it begins | 50 | 1,800 |",
		"| one `frontend` of Temporal, as it is limited | 270 | 9,600 |",
		"| Temporal with 512 history shards | 2,600 | 92,000 |",
		"| one `starter`, on the measured machine | – | – |",
	} {
		at := strings.Index(got, want)
		if at <= last {
			t.Errorf("no line %q, or not in its place, in\n%s", want, got)
		}
		last = max(at, last)
	}
}
