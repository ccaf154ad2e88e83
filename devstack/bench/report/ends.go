package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// What the ends of engines are reckoned with beside the measured rows.
const (
	commitsAShard  = 200.0 // a second: one after the other, 5 ms each
	cloudActions   = 500.0 // a second, that Temporal Cloud always allows
	frontendRPS    = 2400.0
	requestsAVideo = 9.0 // to a frontend: a start, two signals, three tasks that are polled and answered
	partitions     = 12.0
)

// ends are where engines end: at how many videos a second.
var ends = []struct {
	what, arithmetic string
	videos           func(load) float64
}{
	{
		"Temporal on Postgres and everything else on one machine of two cores", "videos a second of `pipeline_throughput_ratio`",
		func(l load) float64 { return l.rate("pipeline_throughput_ratio") },
	},
	{
		"Temporal with 4 history shards", "4 × 200 commits a second / `commits_per_video` of Temporal",
		func(l load) float64 { return 4 * commitsAShard / l.value("commits_per_video", "database of Temporal") },
	},
	{
		"Temporal with 512 history shards", "the same, 512",
		func(l load) float64 {
			return 512 * commitsAShard / l.value("commits_per_video", "database of Temporal")
		},
	},
	{
		"one `frontend` of Temporal, as it is limited", "2,400 requests a second (`frontend.rps`) / 9 a video",
		func(load) float64 { return frontendRPS / requestsAVideo },
	},
	{
		"a namespace of Temporal Cloud, as it begins", "500 actions a second / `temporal_actions`",
		func(l load) float64 { return cloudActions / l.first("temporal_actions") },
	},
	{
		"one core of `worker`", "a second / `pipeline_cpu_ms` of `worker`",
		func(l load) float64 { return 1000 / l.value("pipeline_cpu_ms", "worker") },
	},
	{
		"one `kafkabridge`, on the measured machine", "records a second of `bridge_throughput_ratio` / 2",
		func(l load) float64 { return l.rate("bridge_throughput_ratio") / 2 },
	},
	{
		"12 partitions, with as many `kafkabridge` and a Temporal that takes their signals", "12 times that",
		func(l load) float64 { return partitions * l.rate("bridge_throughput_ratio") / 2 },
	},
	{
		"one core of Postgres for vidflow's database", "a second / `pipeline_cpu_ms` of Postgres, for vidflow",
		func(l load) float64 { return 1000 / l.value("pipeline_cpu_ms", "postgres, for vidflow") },
	},
	{
		"one `starter`, on the measured machine", "`POST`s a second of `create_throughput_ratio`",
		func(l load) float64 { return l.rate("create_throughput_ratio") },
	},
}

// Ends is a table of where each engine ends, by what one video was measured to cost: the first to end comes first.
func (r *Report) Ends() string {
	type line struct {
		text  string
		times float64
	}
	var lines []line
	today := load{videos: videosADay, report: r}
	for _, end := range ends {
		videos := end.videos(today)
		times := videos / today.peak()
		text := fmt.Sprintf("| %s | – | – | %s |\n", end.what, end.arithmetic)
		if finite(videos) {
			text = fmt.Sprintf("| %s | %s | %s | %s |\n", end.what, rough(videos), rough(times), end.arithmetic)
		} else {
			times = math.Inf(1)
		}
		lines = append(lines, line{text, times})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.times, b.times) })
	var b strings.Builder
	b.WriteString("| engine | ends at, videos a second | times today's busiest hour | reckoned |\n|---|---:|---:|---|\n")
	for _, l := range lines {
		b.WriteString(l.text)
	}
	return b.String()
}
