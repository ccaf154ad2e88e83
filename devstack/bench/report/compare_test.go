package report

import (
	"strings"
	"testing"
)

// ratio is a row that noise touches, with three rounds that differ by spread.
func ratio(value, spread float64) Row {
	return Row{Key: "bridge_throughput_ratio", Store: "postgres", Goal: &Goal{AtLeast, 0.95}, Value: value, Rounds: []Round{
		{Value: value - spread/2}, {Value: value}, {Value: value + spread/2},
	}}
}

func exact(key string, value float64) Row { return Row{Key: key, Value: value, Exact: true} }

func of(rows ...Row) *Report {
	return &Report{Scale: 1, Covers: Everything, Machine: Machine{CPU: "a", Cores: 2, OS: "linux"}, Rows: rows}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	ms := func(v float64) Row { return Row{Key: "start_ms", Of: "worker", Unit: "ms", Value: v} }
	rate := func(v float64) Row { return Row{Key: "posts", Unit: "posts/s", Value: v} }
	with := func(r *Report, change func(*Report)) *Report { change(r); return r }
	tests := map[string]struct {
		was, is *Report
		want    Verdict
		fails   bool
	}{
		"exact_same":              {of(exact("history_events", 20)), of(exact("history_events", 20)), Same, false},
		"exact_one_more":          {of(exact("history_events", 20)), of(exact("history_events", 21)), Worse, true},
		"exact_one_less":          {of(exact("history_events", 20)), of(exact("history_events", 19)), Better, false},
		"exact_in_a_small_run":    {of(exact("history_events", 20)), with(of(exact("history_events", 21)), func(r *Report) { r.Scale = 0.1 }), Worse, true},
		"exact_elsewhere":         {of(exact("history_events", 20)), with(of(exact("history_events", 21)), func(r *Report) { r.Machine.CPU = "b" }), Worse, true},
		"idle_within_tolerance":   {of(exact("idle_requests_per_minute", 100)), of(exact("idle_requests_per_minute", 110)), Same, false},
		"idle_beyond_tolerance":   {of(exact("idle_requests_per_minute", 100)), of(exact("idle_requests_per_minute", 111)), Worse, true},
		"ratio_within_a_20th":     {of(ratio(1, 0)), of(ratio(0.951, 0)), Same, false},
		"ratio_beyond_a_20th":     {of(ratio(1, 0)), of(ratio(0.949, 0)), Worse, true},
		"ratio_within_its_spread": {of(ratio(1, 0.1)), of(ratio(0.91, 0.1)), Same, false},
		"ratio_beyond_its_spread": {of(ratio(1, 0.1)), of(ratio(0.89, 0.1)), Worse, true},
		"ratio_better":            {of(ratio(0.8, 0)), of(ratio(0.9, 0)), Better, false},
		"ratio_in_a_small_run":    {of(ratio(1, 0)), with(of(ratio(0.1, 0)), func(r *Report) { r.Scale = 0.1 }), NotCompared, false},
		"ratio_elsewhere":         {of(ratio(1, 0)), with(of(ratio(0.5, 0)), func(r *Report) { r.Machine.CPU = "b" }), Worse, true},
		"time_more":               {of(ms(100)), of(ms(106)), Worse, true},
		"time_less":               {of(ms(100)), of(ms(94)), Better, false},
		"time_elsewhere":          {of(ms(100)), with(of(ms(900)), func(r *Report) { r.Machine.Cores = 4 }), NotCompared, false},
		"rate_less":               {of(rate(100)), of(rate(94)), Worse, true},
		"rate_more":               {of(rate(100)), of(rate(106)), Better, false},
		"missing_of_everything":   {of(ratio(1, 0)), of(), Missing, true},
		"missing_of_some":         {of(ratio(1, 0)), with(of(), func(r *Report) { r.Covers = SomeRows }), NotMeasured, false},
		"missing_of_exact":        {of(exact("history_events", 20)), with(of(), func(r *Report) { r.Covers = ExactRows }), Missing, true},
		"measured_is_not_exact":   {of(ratio(1, 0)), with(of(), func(r *Report) { r.Covers = ExactRows }), NotMeasured, false},
		"no_longer_exact":         {of(exact("history_events", 20)), of(Row{Key: "history_events", Value: 20}), Missing, true},
		"new":                     {of(), of(ratio(1, 0)), New, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findings := Compare(tt.was, tt.is)
			if len(findings) != 1 {
				t.Fatalf("%d findings, want 1: %+v", len(findings), findings)
			}
			f := findings[0]
			if f.Verdict != tt.want || f.Fails() != tt.fails {
				t.Errorf("got %q (fails: %t), want %q (%t): %+v", f.Verdict, f.Fails(), tt.want, tt.fails, f)
			}
			var out strings.Builder
			passed, err := PrintFindings(&out, findings)
			if err != nil || passed == tt.fails {
				t.Errorf("passed: %t (%v), want %t", passed, err, !tt.fails)
			}
			named := f.Row
			if tt.want == NotMeasured {
				named, _, _ = strings.Cut(f.Row, " ") // by its key alone
			}
			if tt.want != Same && !strings.Contains(out.String(), named) {
				t.Errorf("%q is not named:\n%s", named, out.String())
			}
		})
	}
}

// TestCompare_tells_rows_apart: the same key of two processes and on two stores.
func TestCompare_tells_rows_apart(t *testing.T) {
	t.Parallel()
	row := func(of, store string, v float64) Row {
		return Row{Key: "k", Of: of, Store: store, Value: v, Exact: true}
	}
	was := of(row("a", "", 1), row("b", "", 2), row("a", "sqlite", 3))
	is := of(row("a", "sqlite", 3), row("b", "", 2), row("a", "", 9))
	for _, f := range Compare(was, is) {
		if want := f.Row == "k of a"; f.Fails() != want {
			t.Errorf("%s: fails %t, want %t", f.Row, f.Fails(), want)
		}
	}
}
