package report

import (
	"fmt"
	"math"
	"strings"
)

// What today's load is assumed to be, and how the load of a day is spread. No one has measured it.
const (
	videosADay  = 500.0
	busiestHour = 0.2 // of a day's videos
	waitHours   = 0.5 // from the creation of a video to its last result
)

// How long what is finished is kept.
const (
	temporalDays  = 30.0 // histories, in Temporal Cloud
	ownDays       = 3.0  // histories, in a Temporal of one's own: the default of its namespaces
	kafkaDays     = 7.0  // records: the default of Kafka
	daysPerMonth  = 30.0
	daysPerYear   = 365.0
	hoursPerMonth = 744.0 // of a gigabyte-month, as Temporal Cloud counts
	lookAtOnce    = 40000 // videos, when vanished ones are looked for
)

// Prices of Temporal Cloud in dollars, as its documentation had them on 25 November 2026 (docs.temporal.io/cloud/pricing).
const (
	perActiveGBHour   = 0.042
	perRetainedGBHour = 0.00105
	developerPlan     = 0.10 // of what is used
	developerActions  = 50.0 // a million, at any volume
	businessPlan      = 500.0
	businessMillions  = 2.5 // included, and so are these gigabytes
	businessActive    = 2.5
	businessRetained  = 100.0
)

// actionTiers are the prices of a million actions a month in the plans from Business on, up to so many millions.
var actionTiers = []struct{ upTo, price float64 }{{5, 50}, {10, 45}, {20, 40}, {50, 35}, {100, 30}, {200, 25}, {math.Inf(1), 25}}

// Prices of Supabase in dollars for a gigabyte-month beyond what its Pro plan includes, of the same day.
const (
	perFileGB, filesIncluded = 0.021, 100.0
	perDiskGB, diskIncluded  = 0.125, 8.0
)

// load is one column of the table: so many times today's.
type load struct {
	videos float64 // a day
	report *Report
}

func (l load) peak() float64    { return l.videos * busiestHour / 3600 } // videos a second in the busiest hour
func (l load) waiting() float64 { return l.videos * busiestHour * waitHours }

// value is that of a row, on Postgres where it was measured for each store; NaN where it was not measured.
func (l load) value(key, of string) float64 {
	row, ok := l.report.measured(key, of)
	if !ok {
		return math.NaN()
	}
	return row.Value
}

// rate is what ours came to in the row, not divided by the floor.
func (l load) rate(key string) float64 {
	row, ok := l.report.measured(key, "")
	if !ok || len(row.Rounds) == 0 {
		return math.NaN()
	}
	var ours []float64
	for _, round := range row.Rounds {
		ours = append(ours, round.Ours)
	}
	return Median(ours)
}

// measured is the row of that key, and of that thing where one is named, else the first; on Postgres where it is there.
func (r *Report) measured(key, of string) (found Row, ok bool) {
	for _, row := range r.Rows {
		fits := row.Key == key && (row.Of == of || of == "" && (!ok || found.Of == row.Of))
		if fits && (!ok || found.Store != "postgres" && row.Store == "postgres") {
			found, ok = row, true
		}
	}
	return found, ok
}

func (l load) actions() float64 { // millions a month
	return l.videos * daysPerMonth * l.first("temporal_actions") / 1e6
}

// first is the value of the first row with that key.
func (l load) first(key string) float64 {
	for _, row := range l.report.Rows {
		if row.Key == key {
			return row.Value
		}
	}
	return math.NaN()
}

func (l load) activeGB() float64 { return l.videos / 24 * waitHours * l.first("history_bytes") / 1e9 }

func (l load) retainedGB() float64 { return l.videos * temporalDays * l.first("history_bytes") / 1e9 }

// cloud is what Temporal Cloud costs a month, in the cheaper plan of the two that have a price.
func (l load) cloud() float64 {
	stored := func(active, retained float64) float64 {
		return hoursPerMonth * (max(active, 0)*perActiveGBHour + max(retained, 0)*perRetainedGBHour)
	}
	developer := (1 + developerPlan) * (l.actions()*developerActions + stored(l.activeGB(), l.retainedGB()))
	used := tiered(l.actions()-businessMillions) + stored(l.activeGB()-businessActive, l.retainedGB()-businessRetained)
	return min(developer, used+max(businessPlan, developerPlan*used))
}

func tiered(millions float64) (dollars float64) {
	from := 0.0
	for _, tier := range actionTiers {
		dollars += max(min(millions, tier.upTo)-from, 0) * tier.price
		from = tier.upTo
	}
	return dollars
}

// growthRows are what the load comes to; of says which measured rows a figure is made of, else that it is a calculation.
var growthRows = []struct {
	what, from string
	of         func(load) float64
}{
	{"videos a day", "assumed", func(l load) float64 { return l.videos }},
	{"videos a second, busiest hour", "a fifth of the day's, assumed", load.peak},
	{"videos that wait, busiest hour", "for half an hour each, assumed", load.waiting},
	{"**of the measured machine**, busiest hour", "", nil},
	{"Temporal on Postgres, and all else: %", "`pipeline_throughput_ratio`", func(l load) float64 { return 100 * l.peak() / l.rate("pipeline_throughput_ratio") }},
	{"one `kafkabridge`: %", "`bridge_throughput_ratio`, two records a video", func(l load) float64 { return 200 * l.peak() / l.rate("bridge_throughput_ratio") }},
	{"one `starter`: %", "`create_throughput_ratio`", func(l load) float64 { return 100 * l.peak() / l.rate("create_throughput_ratio") }},
	{"cores for `worker`", "`pipeline_cpu_ms`", cores("worker")},
	{"cores for `starter`", "`pipeline_cpu_ms`", cores("starter")},
	{"cores for `kafkabridge`", "`pipeline_cpu_ms`", cores("kafkabridge")},
	{"MB of `worker` for those that wait", "`waiting_bytes_per_video`", func(l load) float64 { return l.waiting() * l.value("waiting_bytes_per_video", "") / 1e6 }},
	{"the same, a service away for a day", "`waiting_bytes_per_video`", func(l load) float64 { return l.videos * l.value("waiting_bytes_per_video", "") / 1e6 }},
	{"commits a second, database of vidflow", "`commits_per_video`", func(l load) float64 { return l.peak() * l.value("commits_per_video", "database of vidflow") }},
	{"commits a second, Temporal's own Postgres", "`commits_per_video`", func(l load) float64 { return l.peak() * l.value("commits_per_video", "database of Temporal") }},
	{"MB a second to the log of Postgres, Temporal's included", "`wal_kb_per_video`", func(l load) float64 { return l.peak() * l.value("wal_kb_per_video", "") / 1e3 }},
	{"**kept**", "", nil},
	{"GB in tables of vidflow, each year", "`disk_kb_per_video`", func(l load) float64 { return kept(l, "tables of vidflow", daysPerYear) }},
	{"GB in Temporal's own Postgres", "`disk_kb_per_video`, 3 days", func(l load) float64 { return kept(l, "Temporal", ownDays) }},
	{"GB in Kafka, each replica", "`disk_kb_per_video`, 7 days", func(l load) float64 { return kept(l, "Kafka", kafkaDays) }},
	{"GB of transcripts, each year", "`disk_kb_per_video`", func(l load) float64 { return kept(l, "storage", daysPerYear) }},
	{"seconds of each minute looking for vanished videos, after a year", "`house_seconds_per_million`, 40,000 at most", func(l load) float64 {
		return min(l.videos*daysPerYear, lookAtOnce) / 1e6 * l.value("house_seconds_per_million", "")
	}},
	{"minutes until one is found, after a year", "calculated, one `starter`", func(l load) float64 { return max(l.videos*daysPerYear/lookAtOnce, 1) }},
	{"**in Temporal Cloud**", "", nil},
	{"millions of actions a month", "`temporal_actions`", load.actions},
	{"actions a second, busiest hour", "`temporal_actions`; 500 are always allowed", func(l load) float64 { return l.peak() * l.first("temporal_actions") }},
	{"GB of open runs", "`history_bytes`, calculated", load.activeGB},
	{"GB of closed runs", "`history_bytes`, 30 days, calculated", load.retainedGB},
	{"dollars a month", "calculated", load.cloud},
	{"**in Supabase**", "", nil},
	{"dollars a month for files, after a year", "calculated", func(l load) float64 { return max(kept(l, "storage", daysPerYear)-filesIncluded, 0) * perFileGB }},
	{"dollars a month for the disk, after a year", "calculated", func(l load) float64 {
		return max(kept(l, "tables of vidflow", daysPerYear)-diskIncluded, 0) * perDiskGB
	}},
}

func cores(process string) func(load) float64 {
	return func(l load) float64 { return l.peak() * l.value("pipeline_cpu_ms", process) / 1e3 }
}

func kept(l load, where string, days float64) float64 {
	return l.videos * days * l.value("disk_kb_per_video", where) / 1e6
}

// Growth is a table of what 1, 10, 100 and 1,000 times today's load comes to, by what one video was measured to cost.
func (r *Report) Growth() string {
	times := []float64{1, 10, 100, 1000}
	var b strings.Builder
	b.WriteString("| |")
	for _, n := range times {
		fmt.Fprintf(&b, " × %s |", Number(n))
	}
	b.WriteString(" from |\n|---|" + strings.Repeat("---:|", len(times)) + "---|\n")
	for _, row := range growthRows {
		fmt.Fprintf(&b, "| %s |", row.what)
		for _, n := range times {
			cell := ""
			if row.of != nil {
				if v := row.of(load{videos: n * videosADay, report: r}); finite(v) {
					cell = rough(v)
				} else {
					cell = "–"
				}
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		fmt.Fprintf(&b, " %s |\n", row.from)
	}
	return b.String()
}

// rough has two digits: more would be a claim that nobody can make.
func rough(v float64) string {
	if v == 0 {
		return "0"
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-1)
	if v = math.Round(v/unit) * unit; math.Abs(v) >= 10 {
		return Number(math.Round(v))
	}
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.*f", int(max(0, -math.Round(math.Log10(unit)))), v), "0"), ".")
}
