// Package report is what a benchmark found: rows with a key, a value and a goal, and series for plots.
package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Row is one figure; its key is for ever, so that reports can be compared.
type Row struct {
	Key string `json:"key"`
	// Of says of which of several things the figure is, such as a process; empty where there is one only.
	Of string `json:"of,omitempty"`
	// Store of Temporal under which it was measured, sqlite or postgres; empty where that makes no difference.
	Store string `json:"store,omitempty"`
	Unit  string `json:"unit"`
	// Goal is nil for a figure that is told only.
	Goal *Goal `json:"goal,omitempty"`
	// Value is the median of the rounds' values, or the one value there is.
	Value float64 `json:"value"`
	// Rounds are what the value was made of, in the order in which they ran.
	Rounds []Round `json:"rounds,omitempty"`
	// Exact says that the noise of a machine cannot touch the value.
	Exact bool `json:"exact,omitempty"`
	// Note says what else a reader must know, in a few words.
	Note string `json:"note,omitempty"`
}

// Round is one measurement: ours and, where there is one, that of the floor, in the row's unit before they are divided.
type Round struct {
	Ours  float64 `json:"ours"`
	Floor float64 `json:"floor,omitempty"`
	Value float64 `json:"value"`
}

// Goal is what a value is to be.
type Goal struct {
	// Op is AtLeast or AtMost.
	Op    string  `json:"op"`
	Value float64 `json:"value"`
}

// How a value relates to its goal.
const (
	AtLeast = ">="
	AtMost  = "<="
)

// Met reports whether v is as the goal wants it.
func (g Goal) Met(v float64) bool {
	if g.Op == AtMost {
		return v <= g.Value
	}
	return v >= g.Value
}

// Series are points of a curve.
type Series struct {
	// Plot names the picture, Name the curve in it.
	Plot  string `json:"plot"`
	Name  string `json:"name"`
	Store string `json:"store,omitempty"`
	X     string `json:"x"`
	Y     string `json:"y"`
	// Points are pairs of x and y.
	Points [][2]float64 `json:"points"`
}

// Machine is where it was measured.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory_bytes"`
	OS     string `json:"os"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Report is all that one run found.
type Report struct {
	Version string    `json:"version"`
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	// Took says how many of the seconds were each measure's.
	Took    map[string]float64 `json:"took_seconds,omitempty"`
	Machine Machine            `json:"machine"`
	// Scale is 1 for a full run; what was measured at another is for trying things out.
	Scale float64 `json:"scale"`
	// Covers says which rows there had to be: Everything, ExactRows or SomeRows.
	Covers string   `json:"covers"`
	Rows   []Row    `json:"rows"`
	Series []Series `json:"series,omitempty"`
}

// What a report covers.
const (
	Everything = "everything"
	ExactRows  = "exact"
	SomeRows   = "some"
)

// Name tells the row from all others of a report.
func (r Row) Name() string {
	name := r.Key
	if r.Of != "" {
		name += " of " + r.Of
	}
	if r.Store != "" {
		name += " on " + r.Store
	}
	return name
}

// Add adds a row; its value becomes the median of its rounds, where it has some.
func (r *Report) Add(row Row) {
	if len(row.Rounds) > 0 {
		values := make([]float64, len(row.Rounds))
		for i, round := range row.Rounds {
			values[i] = round.Value
		}
		row.Value = Median(values)
	}
	r.Rows = append(r.Rows, row)
}

// Spread is the least and the largest value of the rounds; the value itself where there are none.
func (r Row) Spread() (least, most float64) {
	if len(r.Rounds) == 0 {
		return r.Value, r.Value
	}
	byValue := func(a, b Round) int { return cmp.Compare(a.Value, b.Value) }
	return slices.MinFunc(r.Rounds, byValue).Value, slices.MaxFunc(r.Rounds, byValue).Value
}

// Median of values, of which there must be one.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Write writes the report as JSON, and makes the folder for it.
func (r *Report) Write(file string) error {
	out, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(out, '\n'), 0o644)
}

// Read reads what Write wrote, and refuses anything that is not a sound report.
func Read(file string) (*Report, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	var r Report
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%s is no report: %w", file, err)
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("%s is no sound report: %w", file, err)
	}
	return &r, nil
}
