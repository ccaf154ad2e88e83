package bench

import (
	"context"
	"time"

	"github.com/codeendelea/vidflow/devstack/bench/report"
)

var sizes = Measure{
	Name:  "size",
	About: "how long the processes take to start, and what memory they have then",
	Keys:  []string{"start_ms", "rss_mb"},
	Run: func(ctx context.Context, lab *Lab, out *report.Report) error {
		for _, name := range []string{Worker, Starter, Bridge} {
			began := time.Now()
			child, err := lab.Start(ctx, name)
			if err != nil {
				return err
			}
			out.Add(report.Row{Key: "start_ms", Unit: "ms", Value: float64(time.Since(began).Milliseconds()), Note: name})
			out.Add(report.Row{Key: "rss_mb", Unit: "MB", Value: float64(child.RSS()) / 1e6, Note: name + ", idle"})
		}
		return nil
	},
}
