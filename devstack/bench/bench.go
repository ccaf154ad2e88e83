// Package bench measures vidflow against the limit: what the servers that it works with could do without it. Each measure
// runs the binary that ships, in processes of its own, against real servers in processes of theirs, in turn with a floor
// that is written as simply as can be.
package bench

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/codeendelea/vidflow/devstack/bench/report"
)

// The stores that Temporal can have.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Measure is one thing to measure; it yields one row or several.
type Measure struct {
	// Name is what it is chosen by, About what it does, in a few words.
	Name, About string
	// Keys of its rows.
	Keys []string
	// Stores says that it is measured for each store of Temporal.
	Stores bool
	// Exact says that noise touches none of its rows, so that continuous integration can look at them.
	Exact bool
	// Run adds the rows to out. The lab is its own; what it leaves running there is stopped.
	Run func(ctx context.Context, lab *Lab, out *report.Report) error
}

// Options of Run.
type Options struct {
	// Only names the measures to take; empty means all.
	Only []string
	// Exact leaves out what noise can touch.
	Exact bool
	// Stores to measure with.
	Stores []string
	// Rounds of each comparison, and Scale of the amounts: 1 is what figures are quoted from.
	Rounds int
	Scale  float64
	// Version of what is measured.
	Version string
	// NewLab makes a lab on new servers.
	NewLab func(ctx context.Context, store string) (*Lab, error)
	Say    func(format string, args ...any)
}

// Run takes the measures, one after the other. What was measured before one failed is in the report.
func Run(ctx context.Context, opts Options) (*report.Report, error) {
	chosen, err := choose(opts)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r := &report.Report{Version: opts.Version, Began: began.UTC().Truncate(time.Second), Machine: machine(), Scale: opts.Scale}
	defer func() { r.Seconds = time.Since(began).Seconds() }()
	for i, m := range chosen {
		stores := opts.Stores[:1]
		if m.Stores {
			stores = opts.Stores
		}
		for _, store := range stores {
			on := ""
			if m.Stores {
				on = " on " + store
			}
			opts.Say("%d of %d: %s%s: %s", i+1, len(chosen), m.Name, on, m.About)
			if err := take(ctx, m, store, opts, r); err != nil {
				return r, fmt.Errorf("%s%s: %w", m.Name, on, err)
			}
		}
	}
	return r, nil
}

func take(ctx context.Context, m Measure, store string, opts Options, r *report.Report) error {
	lab, err := opts.NewLab(ctx, store)
	if err != nil {
		return err
	}
	defer lab.Close()
	lab.Rounds, lab.Scale = opts.Rounds, opts.Scale
	rows, series := len(r.Rows), len(r.Series)
	began := time.Now()
	if err := m.Run(ctx, lab, r); err != nil {
		return err
	}
	if m.Stores {
		for i := range r.Rows[rows:] {
			r.Rows[rows+i].Store = store
		}
		for i := range r.Series[series:] {
			r.Series[series+i].Store = store
		}
	}
	opts.Say("%s took %.0f s", m.Name, time.Since(began).Seconds())
	return nil
}

func choose(opts Options) ([]Measure, error) {
	all := Measures()
	var names []string
	for _, m := range all {
		names = append(names, m.Name)
	}
	for _, name := range opts.Only {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("there is no measure %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	return slices.DeleteFunc(all, func(m Measure) bool {
		return (len(opts.Only) > 0 && !slices.Contains(opts.Only, m.Name)) || (opts.Exact && !m.Exact)
	}), nil
}

func machine() report.Machine {
	return report.Machine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), Memory: memory(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
	}
}
