package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/codeendelea/vidflow/devstack/bench/report"
)

var backlogged = Measure{
	Name:   "backlog",
	About:  "50,000 records that the bridge finds when it starts, over the time that the server takes for as many signals",
	Keys:   []string{"backlog_seconds_ratio", "backlog_peak_mb"},
	Stores: true,
	Run: func(ctx context.Context, lab *Lab, out *report.Report) error {
		b, err := newResults(lab)
		if err != nil {
			return err
		}
		defer b.close()
		// Both results of each video, as after a night in which no bridge ran. No worker runs here either.
		videos, runs := lab.N(25_000), lab.N(1500)
		if _, err := b.signal(ctx, "first", "", runs, signalsUnderWay); err != nil {
			return err
		}
		before, err := b.signal(ctx, "before", "first", runs, signalsUnderWay)
		if err != nil {
			return err
		}
		if err := b.produce(ctx, "backlog", "backlog", videos, 10*time.Second); err != nil {
			return err
		}
		began := time.Now()
		bridge, err := lab.Start(ctx, Bridge)
		if err != nil {
			return err
		}
		total := float64(2 * videos)
		left := report.Series{Plot: "backlog", Name: "bridge", X: "seconds", Y: "records left", Points: [][2]float64{{0, total}}}
		var seconds float64
		err = watchSignals(ctx, bridge, 2*videos, func(s sighting) {
			last := left.Points[len(left.Points)-1]
			if seconds = s.at.Sub(began).Seconds(); seconds-last[0] >= 0.5 || s.signalled == 2*videos {
				left.Points = append(left.Points, [2]float64{seconds, total - float64(s.signalled)})
			}
		})
		if err != nil {
			return err
		}
		if err := counted(ctx, bridge, 2*videos); err != nil {
			return err
		}
		peak := kib(field(fmt.Sprintf("/proc/%d/status", bridge.PID), "VmHWM"))
		bridge.Stop(ctx)
		if err := b.check(ctx, map[string]int64{"backlog": 4}, videos); err != nil {
			return err
		}
		after, err := b.signal(ctx, "after", "before", runs, signalsUnderWay)
		if err != nil {
			return err
		}
		// Seconds for as many signals at the rate of the server before and after.
		alone := (total/before.rate + total/after.rate) / 2
		lab.Say("%s records in %.0f s; at the server's own rate %.0f s", strconv.Itoa(2*videos), seconds, alone)
		out.Add(report.Row{
			Key: "backlog_seconds_ratio", Goal: &report.Goal{Op: report.AtMost, Value: 1.2},
			Rounds: []report.Round{{Ours: seconds, Floor: alone, Value: seconds / alone}},
		})
		out.Add(report.Row{
			Key: "backlog_peak_mb", Unit: "MB", Value: float64(peak) / 1e6, Goal: &report.Goal{Op: report.AtMost, Value: 256 << 20 / 1e6},
		})
		out.Series = append(out.Series, left, report.Series{
			Plot: "backlog", Name: "the server's own rate", X: "seconds", Y: "records left", Points: [][2]float64{{0, total}, {alone, 0}},
		})
		return nil
	},
}
