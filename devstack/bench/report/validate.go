package report

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
)

var (
	keyForm  = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	plotForm = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
)

// Validate says all that is wrong with a report: what is missing, double, no number, or contradicts itself.
func (r *Report) Validate() error {
	var wrong []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	no(r.Version != "", "no version of vidflow")
	no(!r.Began.IsZero(), "no time at which it began")
	no(r.Seconds > 0, "it took %g s", r.Seconds)
	no(r.Scale > 0, "its scale is %g", r.Scale)
	no(r.Covers == Everything || r.Covers == ExactRows || r.Covers == SomeRows, "it covers %q", r.Covers)
	m := r.Machine
	no(m.CPU != "" && m.Cores > 0 && m.Memory > 0 && m.OS != "" && m.Kernel != "" && m.Go != "", "the machine is not described: %+v", m)
	no(len(r.Rows) > 0, "no rows")
	seen := map[string]bool{}
	for _, row := range r.Rows {
		no(!seen[row.Name()], "%s: twice", row.Name())
		seen[row.Name()] = true
		for _, err := range row.problems() {
			wrong = append(wrong, fmt.Errorf("%s: %w", row.Name(), err))
		}
	}
	curves := map[string]bool{}
	for _, s := range r.Series {
		name := strings.Join([]string{s.Plot, s.Name, s.Store}, "/")
		no(!curves[name], "curve %s: twice", name)
		curves[name] = true
		no(plotForm.MatchString(s.Plot), "curve %s: its plot must be words of a to z with hyphens between them", name)
		no(s.Name != "" && s.X != "" && s.Y != "", "curve %s: a name or an axis has no text", name)
		no(len(s.Points) > 0, "curve %s: no points", name)
		for _, p := range s.Points {
			no(finite(p[0]) && finite(p[1]), "curve %s: point %v", name, p)
		}
	}
	return errors.Join(wrong...)
}

func (r Row) problems() (problems []error) {
	no := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	no(keyForm.MatchString(r.Key), "its key must be words of a to z with _ between them")
	no(finite(r.Value), "its value is %g", r.Value)
	no(r.Goal == nil || (r.Goal.Op == AtLeast || r.Goal.Op == AtMost) && finite(r.Goal.Value), "its goal is %+v", r.Goal)
	var values []float64
	for _, round := range r.Rounds {
		no(finite(round.Ours) && finite(round.Floor) && finite(round.Value), "a round is %+v", round)
		values = append(values, round.Value)
	}
	if len(values) > 0 {
		no(Median(values) == r.Value, "its value %g is not the median of its rounds, %g", r.Value, Median(values))
	}
	return problems
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
