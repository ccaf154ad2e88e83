package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Verdict is what a comparison finds of one row.
type Verdict string

// The verdicts. Of these Worse and Missing fail a comparison.
const (
	Same   Verdict = "same"
	Worse  Verdict = "WORSE"
	Better Verdict = "better"
	// Missing is a row of the baseline that had to be measured and was not.
	Missing Verdict = "MISSING"
	// NotMeasured is one that need not have been, NotCompared one that says nothing here.
	NotMeasured Verdict = "not measured"
	NotCompared Verdict = "not compared"
	New         Verdict = "new"
)

// Finding is what became of one row.
type Finding struct {
	Row      string
	Verdict  Verdict
	Was, Is  float64
	Allowed  float64 // how far it may be from what it was, in its own unit
	Unit     string
	Sentence string
}

// Fails says that the comparison has failed for this row.
func (f Finding) Fails() bool { return f.Verdict == Worse || f.Verdict == Missing }

// tolerances are of exact rows that are not the same to the last digit, as a part of what they were.
var tolerances = map[string]float64{
	// It counts what happens in a stretch of time, at whose edges one more or less may fall.
	"idle_requests_per_minute": 0.10,
	// Nine of a run's events name the host and a process id, and others a port.
	"history_bytes": 0.03,
}

// leastMargin is the part of its value that a row which noise touches may lose unnoticed, however little its rounds differ.
const leastMargin = 0.05

// Compare compares a report with the baseline, row by row. An exact row fails when it is worse at all, or by more than its
// tolerance; any other when it is worse by more than its margin: half of the spread of its rounds, then and now, and at
// least a twentieth. One that noise touches is compared only when it was measured in full, and times and rates only when
// the machine is the same. A missing row fails when the report is of everything, or of all that is exact and the row is.
func Compare(baseline, now *Report) []Finding {
	var findings []Finding
	for _, was := range baseline.Rows {
		is, ok := now.row(was.Name())
		f := Finding{Row: was.Name(), Was: was.Value, Is: is.Value, Unit: was.Unit}
		switch {
		case !ok && (now.Covers == Everything || now.Covers == ExactRows && was.Exact):
			f.Verdict, f.Sentence = Missing, "the baseline has it and the report does not: measure it, or write the baseline anew"
		case !ok:
			f.Verdict = NotMeasured
		case was.Exact != is.Exact:
			f.Verdict, f.Sentence = Missing, "it was exact and is not, or the other way round: write the baseline anew"
		case !was.Exact && (baseline.Scale != 1 || now.Scale != 1):
			f.Verdict, f.Sentence = NotCompared, "not measured in full"
		case timely(was.Unit) && !sameMachine(baseline.Machine, now.Machine):
			f.Verdict, f.Sentence = NotCompared, "measured on another machine"
		default:
			f.judge(was, is)
		}
		findings = append(findings, f)
	}
	for _, is := range now.Rows {
		if _, ok := baseline.row(is.Name()); !ok {
			findings = append(findings, Finding{
				Row: is.Name(), Verdict: New, Is: is.Value, Unit: is.Unit, Sentence: "the baseline does not have it yet",
			})
		}
	}
	return findings
}

func (f *Finding) judge(was, is Row) {
	if was.Exact {
		f.Allowed = tolerances[was.Key] * math.Abs(was.Value)
	} else {
		f.Allowed = max(leastMargin*math.Abs(was.Value), was.halfSpread()+is.halfSpread())
	}
	gained := is.Value - was.Value
	if !was.moreIsBetter() {
		gained = -gained
	}
	switch {
	case gained < -f.Allowed:
		f.Verdict, f.Sentence = Worse, "worse than the baseline by more than is allowed"
	case gained > f.Allowed:
		f.Verdict, f.Sentence = Better, "the baseline can be tightened"
	default:
		f.Verdict = Same
	}
}

func (r Row) halfSpread() float64 {
	least, most := r.Spread()
	return (most - least) / 2
}

// moreIsBetter follows the goal; a figure that is only told is better when there is more of it a second, and else less.
func (r Row) moreIsBetter() bool {
	if r.Goal != nil {
		return r.Goal.Op == AtLeast
	}
	return strings.HasSuffix(r.Unit, "/s")
}

// timely says that a figure depends on how fast the machine is.
func timely(unit string) bool {
	return unit == "s" || unit == "ms" || unit == "µs" || strings.HasSuffix(unit, "/s")
}

func sameMachine(a, b Machine) bool { return a.CPU == b.CPU && a.Cores == b.Cores && a.OS == b.OS }

func (r *Report) row(name string) (Row, bool) {
	for _, row := range r.Rows {
		if row.Name() == name {
			return row, true
		}
	}
	return Row{}, false
}

// PrintFindings writes what a reader must know: every row that is not as it was, and how many are. It reports whether the
// comparison has passed.
func PrintFindings(out io.Writer, findings []Finding) (passed bool, err error) {
	var b strings.Builder
	counts := map[Verdict]int{}
	var unmeasured []string
	passed = true
	for _, f := range findings {
		counts[f.Verdict]++
		passed = passed && !f.Fails()
		switch f.Verdict {
		case Same:
		case NotMeasured:
			if key, _, _ := strings.Cut(f.Row, " "); !slices.Contains(unmeasured, key) {
				unmeasured = append(unmeasured, key) // once: a key may have many rows
			}
		case Missing, New, NotCompared:
			fmt.Fprintf(&b, "%-12s  %s: %s\n", f.Verdict, f.Row, f.Sentence)
		case Worse, Better:
			fmt.Fprintf(&b, "%-12s  %s: %s, was %s (allowed %s): %s\n",
				f.Verdict, f.Row, withUnit(f.Is, f.Unit), withUnit(f.Was, f.Unit), Number(f.Allowed), f.Sentence)
		}
	}
	if len(unmeasured) > 0 {
		fmt.Fprintf(&b, "%-12s  %s\n", NotMeasured, strings.Join(unmeasured, ", "))
	}
	fmt.Fprintf(&b, "%d rows as they were, %d better, %d worse, %d missing, %d not compared, %d not measured, %d new\n",
		counts[Same], counts[Better], counts[Worse], counts[Missing], counts[NotCompared], counts[NotMeasured], counts[New])
	_, err = io.WriteString(out, b.String())
	return passed, err
}

func withUnit(v float64, unit string) string {
	if unit == "" {
		return Number(v)
	}
	return Number(v) + " " + unit
}

// Accept returns the baseline that a report makes of this one. A report of everything takes its place. One of exact rows
// replaces those that it has: they are the same on any machine, at any scale. What noise touches is accepted only together.
func (r *Report) Accept(now *Report) (*Report, error) {
	if now.Covers == Everything {
		if now.Scale != 1 {
			return nil, fmt.Errorf("it was measured at scale %g: only a full run can be the baseline", now.Scale)
		}
		return now, nil
	}
	accepted := *r
	accepted.Rows = slices.Clone(r.Rows)
	for _, is := range now.Rows {
		if !is.Exact {
			continue
		}
		i := slices.IndexFunc(accepted.Rows, func(was Row) bool { return was.Name() == is.Name() })
		if i < 0 {
			accepted.Rows = append(accepted.Rows, is)
			continue
		}
		accepted.Rows[i] = is
	}
	return &accepted, nil
}
