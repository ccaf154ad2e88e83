package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Print writes the rows as a table.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "key\tof\tstore\tours\tfloor\tvalue\tspread\tgoal\t\t")
	missed := 0
	for _, row := range r.Rows {
		c := row.cells()
		if c.verdict == missedGoal {
			missed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			row.Key, row.Of, row.Store, c.ours, c.floor, c.value, c.spread, c.goal, c.verdict, row.Note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d rows, %d missed their goal\n", len(r.Rows), missed)
	return err
}

// cells are what a row shows, in any kind of table.
type cells struct{ ours, floor, value, spread, goal, verdict string }

const missedGoal = "MISSED"

func (r Row) cells() cells {
	c := cells{value: withUnit(r.Value, r.Unit)}
	var ours, floors []float64
	for _, round := range r.Rounds {
		if round.Floor != 0 {
			ours, floors = append(ours, round.Ours), append(floors, round.Floor)
		}
	}
	if len(floors) > 0 {
		c.ours, c.floor = Number(Median(ours)), Number(Median(floors))
	}
	if least, most := r.Spread(); least != most {
		c.spread = Number(least) + "–" + Number(most)
	}
	if r.Goal != nil {
		c.goal, c.verdict = sign(r.Goal.Op)+" "+Number(r.Goal.Value), missedGoal
		if r.Goal.Met(r.Value) {
			c.verdict = "met"
		}
	}
	return c
}

func sign(op string) string {
	if op == AtLeast {
		return "≥"
	}
	return "≤"
}

// Number shows three digits, and all of those before the point, in groups where there are many.
func Number(v float64) string {
	if v == float64(int64(v)) || v >= 100 || v <= -100 {
		return grouped(strconv.FormatFloat(v, 'f', 0, 64))
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'g', 3, 64), ".")
}

func grouped(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
