package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/codeendelea/vidflow/devstack/bench/report"
)

var idle = Measure{
	Name:  "idle",
	About: "what the three processes ask of the servers while there is nothing to do",
	Keys:  []string{"idle_requests_per_minute"},
	Exact: true,
	Run:   measureIdle,
}

// idleCounters are what counts the requests to each server, at who sends them. A long poll counts when it is sent, to Kafka
// when it is answered; of the database, each statement or transaction.
var idleCounters = []struct {
	server string
	names  []string
}{
	{"Temporal", []string{"temporal_request_total", "temporal_long_request_total"}},
	{"Kafka", []string{"kafka_request_duration_e2e_seconds_count"}},
	{"Postgres", []string{"pgxpool_acquires_total"}},
}

const (
	idleSettle = 10 * time.Second
	idleMinute = time.Minute
)

func measureIdle(ctx context.Context, lab *Lab, out *report.Report) error {
	names := []string{Worker, Starter, Bridge}
	var children []*Child
	for _, name := range names {
		child, err := lab.Start(ctx, name)
		if err != nil {
			return err
		}
		children = append(children, child)
	}
	if err := wait(ctx, idleSettle); err != nil {
		return err
	}
	before, err := askedFor(ctx, children)
	if err != nil {
		return err
	}
	if err := wait(ctx, idleMinute); err != nil {
		return err
	}
	after, err := askedFor(ctx, children)
	if err != nil {
		return err
	}
	total, note := 0.0, ""
	for s, c := range idleCounters {
		sum, of := 0.0, ""
		for i, name := range names {
			n := after[i][s] - before[i][s]
			sum += n
			of += fmt.Sprintf(" %s %.0f", name, n)
		}
		if after[0][s]+after[1][s]+after[2][s] == 0 {
			return fmt.Errorf("nobody counts requests to %s", c.server)
		}
		lab.Say("%s: %.0f a minute:%s", c.server, sum, of)
		note += fmt.Sprintf("%s %.0f, ", c.server, sum)
		total += sum
	}
	out.Add(report.Row{
		Key: "idle_requests_per_minute", Value: total, Exact: true, Note: strings.TrimSuffix(note, ", "),
	})
	return nil
}

// askedFor is how many requests each child has sent so far, by server.
func askedFor(ctx context.Context, children []*Child) ([][3]float64, error) {
	all := make([][3]float64, len(children))
	for i, child := range children {
		values, err := child.metrics(ctx)
		if err != nil {
			return nil, err
		}
		for series, n := range values {
			name, _, _ := strings.Cut(series, "{")
			for s, c := range idleCounters {
				if slices.Contains(c.names, name) {
					all[i][s] += n
				}
			}
		}
	}
	return all, nil
}
