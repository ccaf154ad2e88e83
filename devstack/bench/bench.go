// Package bench measures vidflow against the limit: what the servers that it works with could do without it. Each measure
// runs the binary that ships, in processes of its own, against real servers in processes of theirs, in turn with a floor
// that is written as simply as can be.
package bench

import (
	"context"
	"errors"
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

var allStores = []string{SQLite, Postgres}

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

// Run takes the measures, one after the other. One that fails does not keep it from the others, and the report has what
// they found.
func Run(ctx context.Context, opts Options) (*report.Report, error) {
	chosen, err := choose(opts)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r := &report.Report{
		Version: opts.Version, Began: began.UTC().Truncate(time.Second), Machine: machine(), Scale: opts.Scale, Covers: opts.covers(),
		Took: map[string]float64{},
	}
	var failed []error
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
			start := time.Now()
			err := take(ctx, m, store, opts, r)
			took := time.Since(start)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("%s%s: %w", m.Name, on, err))
				opts.Say("%s%s failed after %.0f s: %v", m.Name, on, took.Seconds(), err)
				continue
			}
			r.Took[m.Name+on] = took.Seconds()
			opts.Say("%s%s took %.0f s", m.Name, on, took.Seconds())
		}
	}
	if len(failed) > 0 {
		r.Covers = report.SomeRows
	}
	r.Seconds = time.Since(began).Seconds()
	if len(r.Rows) > 0 {
		failed = append(failed, r.Validate())
	}
	return r, errors.Join(failed...)
}

func take(ctx context.Context, m Measure, store string, opts Options, r *report.Report) error {
	lab, err := opts.NewLab(ctx, store)
	if err != nil {
		return err
	}
	defer lab.Close()
	lab.Rounds, lab.Scale = opts.Rounds, opts.Scale
	rows, series := len(r.Rows), len(r.Series)
	if err := m.Run(ctx, lab, r); err != nil {
		return err
	}
	if err := m.check(r.Rows[rows:]); err != nil {
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
	return nil
}

// covers is which rows the report must have.
func (o Options) covers() string {
	switch {
	case len(o.Only) > 0 || len(o.Stores) < len(allStores):
		return report.SomeRows
	case o.Exact:
		return report.ExactRows
	default:
		return report.Everything
	}
}

// check sees that a measure has yielded what it says, so that a comparison knows which rows to expect.
func (m Measure) check(rows []report.Row) error {
	for _, row := range rows {
		if !slices.Contains(m.Keys, row.Key) {
			return fmt.Errorf("row %s is not among its keys", row.Name())
		}
		if row.Exact != m.Exact {
			return fmt.Errorf("row %s is exact: %t, and its measure: %t; a measure has rows of one kind", row.Name(), row.Exact, m.Exact)
		}
	}
	for _, key := range m.Keys {
		if !slices.ContainsFunc(rows, func(row report.Row) bool { return row.Key == key }) {
			return fmt.Errorf("it has yielded no row %s", key)
		}
	}
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
		CPU: cpuModel(), Cores: runtime.NumCPU(), Memory: memory(), OS: runtime.GOOS + "/" + runtime.GOARCH, Kernel: kernel(), Go: runtime.Version(),
	}
}
