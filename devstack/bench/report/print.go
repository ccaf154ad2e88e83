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
	fmt.Fprintln(w, "key\tstore\tours\tfloor\tvalue\tspread\tgoal\t\t")
	for _, row := range r.Rows {
		ours, floor := "", ""
		if len(row.Rounds) > 0 && row.Rounds[0].Floor != 0 {
			var o, f []float64
			for _, round := range row.Rounds {
				o, f = append(o, round.Ours), append(f, round.Floor)
			}
			ours, floor = number(Median(o)), number(Median(f))
		}
		spread := ""
		if least, most := row.Spread(); least != most {
			spread = number(least) + "–" + number(most)
		}
		goal, verdict := "told", ""
		if row.Goal != nil {
			goal, verdict = row.Goal.Op+" "+number(row.Goal.Value), "MISSED"
			if row.Goal.Met(row.Value) {
				verdict = "met"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s %s\t%s\t%s\t%s\t%s\n",
			row.Key, row.Store, ours, floor, number(row.Value), row.Unit, spread, goal, verdict, row.Note)
	}
	return w.Flush()
}

// number shows three digits, and all of those before the point.
func number(v float64) string {
	switch {
	case v == float64(int64(v)), v >= 1000 || v <= -1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'g', 3, 64), ".")
	}
}
