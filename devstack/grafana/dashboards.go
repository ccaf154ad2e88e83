package grafana

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// Units of which the SDK's package has no short name.
const (
	perSecond = "ops"
	share     = units.PercentUnit
	number    = units.Short
	seconds   = units.Seconds
	bytes     = units.BytesIEC
)

// Boards are the dashboards, as files of the folder deploy/grafana/dashboards.
func Boards() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, b := range []board{overview(), worker(), starter(), bridge()} {
		text, err := render(b)
		if err != nil {
			return nil, err
		}
		files[b.uid+".json"] = text
	}
	return files, nil
}

func one(expr string) []query { return []query{{expr, ""}} }

func by(label, expr string) []query { return []query{{expr, "{{" + label + "}}"}} }

// quantiles of a histogram, by labels or of all of it.
func quantiles(histogram, where, group string) []query {
	labels, legend := "le", ""
	if group != "" {
		labels, legend = "le, "+group, "{{"+group+"}} "
	}
	var all []query
	for _, q := range []string{"0.5", "0.95"} {
		all = append(all, query{
			fmt.Sprintf("histogram_quantile(%s, sum by (%s) (rate(%s_bucket%s[$__rate_interval])))", q, labels, histogram, where),
			legend + map[string]string{"0.5": "half", "0.95": "95 %"}[q],
		})
	}
	return all
}

func overview() board {
	state := func(title, about, expr string) panel {
		return panel{title: title, about: about, unit: number, queries: one(expr), stat: &look{bad: 1, words: map[string]string{"0": "well", "1": "not well"}}}
	}
	budget := func(title, record string) panel {
		return panel{
			title: title, unit: share, stat: &look{bad: 1},
			about:   "How much of the 0.5 % of 30 days that may be bad is spent. Pages look at how fast that goes.",
			queries: one(fmt.Sprintf("avg_over_time(%s[30d]) / 0.005", record)),
		}
	}
	return board{
		uid: "vidflow-overview", title: "vidflow overview",
		about: "Is the pipeline well, and if not, where does it stand still? What to do is in docs/runbook.md.",
		rows: []row{
			{"Is it well?", []panel{
				state("Results", "Whether results that have arrived are applied. Not well is what pages when it lasts.", "vidflow:results_late:bool"),
				state("Creations", "Whether videos can be created and get their runs. Not well is what pages when it lasts.", "vidflow:creations_late:bool"),
				budget("Budget of results", "vidflow:results_late:bool"),
				budget("Budget of creations", "vidflow:creations_late:bool"),
				{
					title: "Alerts", about: "Alerts that fire now, tickets included.", unit: number, stat: &look{bad: 1},
					queries: one(`count(ALERTS{alertname=~"Vidflow.*",alertstate="firing"}) or vector(0)`),
				},
				{
					title: "Processes that do not answer", about: "Processes that Prometheus cannot scrape.", unit: number, stat: &look{bad: 1},
					queries: one(`count(up{job=~"vidflow.*"} == 0) or vector(0)`),
				},
			}},
			{"Videos", []panel{
				{"Created", "Videos created through the API.", perSecond, one("sum(rate(vidflow_starter_videos_created_total[$__rate_interval]))"), nil},
				{"Waiting", "Videos that wait for a result, overdue ones included.", number, by("track", "max by (track) (vidflow_pipeline_waiting_videos)"), nil},
				{"Oldest that waits", "For how long the first of them has waited. Transcriptions are asked for again after 6 h, compressions are overdue after 24 h.", seconds, by("track", "max by (track) (vidflow_pipeline_oldest_waiting_seconds)"), nil},
				{"From request to captions", "From the first request for a transcription to the transcript in the video's row. Mostly the service's own time.", seconds, quantiles("vidflow_worker_captions_seconds", "", ""), nil},
				{"Given up, overdue", "Videos whose result was given up, and those whose compression is overdue.", number, []query{
					{"max by (track) (vidflow_pipeline_failed_videos)", "{{track}} given up"}, {"max(vidflow_pipeline_overdue_videos)", "overdue"},
				}, nil},
				{"Open dead letters", "Results that could not be understood and were neither sent back nor overtaken: vidflow dlq list.", number, by("track", "max by (track) (vidflow_pipeline_open_dead_letters)"), nil},
			}},
			{"Results", []panel{
				{"Results", "Results by what became of them: applied, superseded by a newer one, gone from Kafka, of a missing video, refused for good.", perSecond, by("outcome", "sum by (outcome) (rate(vidflow_worker_results_total[$__rate_interval]))"), nil},
				{"From record to row", "From the time of the record in Kafka to the column set. Two minutes are promised.", seconds, quantiles("vidflow_worker_result_apply_seconds", "", "track"), nil},
				{"Oldest tried and not applied", "Age of the oldest result that a step has tried to apply and has not yet. Above 120 s is not well.", seconds, by("track", "max by (track) (vidflow_worker_oldest_unapplied_seconds)"), nil},
				{"Bridge lag", "Age of the oldest record that neither Temporal nor the dead-letter topic has yet. Above 60 s is not well.", seconds, by("topic", "max by (topic) (vidflow_bridge_lag_seconds)"), nil},
				{"Bridge lag, records", "Records between the committed offsets and the ends.", number, by("topic", "sum by (topic) (vidflow_bridge_lag_records)"), nil},
				{"Steps that fail", "Failed tries of steps. They are tried again without end.", perSecond, by("step", "sum by (step) (rate(vidflow_worker_step_failures_total[$__rate_interval]))"), nil},
			}},
			{"Outbox", []panel{
				{"Intents", "Runs to start and deleted videos to clean up after.", number, by("kind", "max by (kind) (vidflow_pipeline_outbox_intents)"), nil},
				{"Oldest intent", "A run that waits for more than 60 s is not well.", seconds, by("kind", "max by (kind) (vidflow_pipeline_outbox_oldest_seconds)"), nil},
				{"From row to run", "From a video's row committed to its run started.", seconds, quantiles("vidflow_starter_run_start_seconds", "", ""), nil},
			}},
		},
	}
}

func worker() board {
	return board{
		uid: "vidflow-worker", title: "vidflow worker", job: "vidflow-worker",
		about: "The worker: steps, Temporal tasks, and what its libraries say.",
		rows: []row{
			{"Steps", []panel{
				{"Results", "By track and outcome.", perSecond, []query{{`sum by (track, outcome) (rate(vidflow_worker_results_total{job="$job"}[$__rate_interval]))`, "{{track}} {{outcome}}"}}, nil},
				{"Steps that fail", "Failed tries of steps.", perSecond, by("step", `sum by (step) (rate(vidflow_worker_step_failures_total{job="$job"}[$__rate_interval]))`), nil},
				{"Missing videos", "Runs that found no video: deleted, or never known here.", perSecond, by("reason", `sum by (reason) (rate(vidflow_worker_missing_videos_total{job="$job"}[$__rate_interval]))`), nil},
			}},
			{"Temporal tasks", []panel{
				{"Workflow tasks wait", "From a workflow task scheduled to a worker that takes it. Grows when workers are too few.", seconds, quantiles("temporal_workflow_task_schedule_to_start_latency_seconds", `{job="$job"}`, ""), nil},
				{"Workflow tasks take", "How long the workflow's code works on a task, its local activities included.", seconds, quantiles("temporal_workflow_task_execution_latency_seconds", `{job="$job"}`, ""), nil},
				{"Workflow tasks fail", "Failed workflow tasks: a panic, or code that does not agree with histories.", perSecond, by("failure_reason", `sum by (failure_reason) (rate(temporal_workflow_task_execution_failed_total{job="$job"}[$__rate_interval]))`), nil},
				{"Activities take", "Regular activities: steps that did not succeed at once.", seconds, quantiles("temporal_activity_execution_latency_seconds", `{job="$job"}`, "activity_type"), nil},
				{"Local activities take", "Steps at their first try.", seconds, quantiles("temporal_local_activity_execution_latency_seconds", `{job="$job"}`, "activity_type"), nil},
				{"Slots in use", "How many tasks it works on at once.", number, by("worker_type", `sum by (worker_type) (temporal_worker_task_slots_used{job="$job"})`), nil},
				{"Runs ended", "Workflow runs by how they ended.", perSecond, []query{
					{`sum(rate(temporal_workflow_completed_total{job="$job"}[$__rate_interval]))`, "completed"},
					{`sum(rate(temporal_workflow_failed_total{job="$job"}[$__rate_interval]))`, "failed"},
				}, nil},
				{"Pollers", "Polls for tasks that are open.", number, by("poller_type", `sum by (poller_type) (temporal_num_pollers{job="$job"})`), nil},
			}},
			temporalRequests(), kafka(), database(), process(),
		},
	}
}

func starter() board {
	const requests = `vidflow_starter_http_request_duration_seconds`
	return board{
		uid: "vidflow-starter", title: "vidflow starter", job: "vidflow-starter",
		about: "The API and the relay, and what their libraries say.",
		rows: []row{
			{"API", []panel{
				{"Requests", "By route.", "reqps", by("route", `sum by (route) (rate(`+requests+`_count{job="$job"}[$__rate_interval]))`), nil},
				{"Answers", "By status.", "reqps", by("status", `sum by (status) (rate(`+requests+`_count{job="$job"}[$__rate_interval]))`), nil},
				{"Latency", "One request in twenty takes longer.", seconds, by("route", `histogram_quantile(0.95, sum by (le, route) (rate(`+requests+`_bucket{job="$job"}[$__rate_interval])))`), nil},
				{"Event listeners", "Open streams of events.", number, by("kind", `sum by (kind) (vidflow_starter_event_listeners{job="$job"})`), nil},
				{"Source of events", "1 for the one in use: notifications of Postgres, or polling.", number, by("mode", `max by (mode) (vidflow_starter_event_source{job="$job"})`), nil},
			}},
			{"Relay", []panel{
				{"Intents", "Attempts to start runs and to clean up, by outcome. What failed is tried again.", perSecond, []query{{`sum by (kind, outcome) (rate(vidflow_starter_intents_total{job="$job"}[$__rate_interval]))`, "{{kind}} {{outcome}}"}}, nil},
				{"From row to run", "From a video's row committed to its run started.", seconds, quantiles("vidflow_starter_run_start_seconds", `{job="$job"}`, ""), nil},
				{"Database not read", "Times that the database did not say how the pipeline is.", perSecond, one(`sum(rate(vidflow_pipeline_read_failures_total{job="$job"}[$__rate_interval]))`), nil},
			}},
			temporalRequests(), kafka(), database(), process(),
		},
	}
}

func bridge() board {
	return board{
		uid: "vidflow-kafkabridge", title: "vidflow kafkabridge", job: "vidflow-kafkabridge",
		about: "The bridge from Kafka to Temporal, and what its libraries say. Its bounds are in docs/strain.md.",
		rows: []row{
			{"Records", []panel{
				{"Received", "Records taken from Kafka.", perSecond, by("topic", `sum by (topic) (rate(vidflow_bridge_received_total{job="$job"}[$__rate_interval]))`), nil},
				{"Done with", "Records by what became of them: signalled, merged into a newer one, dead-lettered, or returned with their partition.", perSecond, by("outcome", `sum by (outcome) (rate(vidflow_bridge_records_total{job="$job"}[$__rate_interval]))`), nil},
				{"Held back", "Signals that Temporal did not take, by the class of its error.", perSecond, by("class", `sum by (class) (rate(vidflow_bridge_held_back_total{job="$job"}[$__rate_interval]))`), nil},
				{"In flight", "Records taken and not yet done with: at most 50,000 of a topic.", number, by("topic", `sum by (topic) (vidflow_bridge_records_in_flight{job="$job"})`), nil},
				{"Memory of these", "At most 64 MiB of a topic.", bytes, by("topic", `sum by (topic) (vidflow_bridge_bytes_in_flight{job="$job"})`), nil},
				{"Lag", "Age of the oldest record that is not accepted.", seconds, by("topic", `max by (topic) (vidflow_bridge_lag_seconds{job="$job"})`), nil},
				{"Partitions", "Partitions of each topic that an instance has.", number, []query{{`vidflow_bridge_partitions{job="$job"}`, "{{topic}} {{instance}}"}}, nil},
				{"Dead letters", "By the class of their fault.", perSecond, []query{
					{`sum by (class) (rate(vidflow_bridge_dead_letters_total{job="$job"}[$__rate_interval]))`, "{{class}}"},
					{`sum(rate(vidflow_bridge_dead_letter_failures_total{job="$job"}[$__rate_interval]))`, "not written"},
				}, nil},
				{"Commits", "By whether the broker took them.", perSecond, by("outcome", `sum by (outcome) (rate(vidflow_bridge_commits_total{job="$job"}[$__rate_interval]))`), nil},
			}},
			temporalRequests(), kafka(), process(),
		},
	}
}

// What the libraries of a process say.

func temporalRequests() row {
	return row{"Temporal client", []panel{
		{"Requests", "By operation.", "reqps", by("operation", `sum by (operation) (rate(temporal_request_total{job="$job"}[$__rate_interval]))`), nil},
		{"Requests that fail", "Some are no trouble: NOT_FOUND of a run that has ended.", "reqps", []query{{`sum by (operation, status_code) (rate(temporal_request_failure_total{job="$job"}[$__rate_interval]))`, "{{operation}} {{status_code}}"}}, nil},
		{"Latency", "One request in twenty takes longer.", seconds, by("operation", `histogram_quantile(0.95, sum by (le, operation) (rate(temporal_request_latency_seconds_bucket{job="$job"}[$__rate_interval])))`), nil},
	}}
}

func kafka() row {
	return row{"Kafka clients", []panel{
		{"Read and written", "Bytes on the wire, by client.", units.BytesPerSecondIEC, []query{
			{`sum by (client) (rate(kafka_read_bytes_total{job="$job"}[$__rate_interval]))`, "{{client}} read"},
			{`sum by (client) (rate(kafka_write_bytes_total{job="$job"}[$__rate_interval]))`, "{{client}} written"},
		}, nil},
		{"Connections that fail", "Connections to brokers that could not be made.", perSecond, by("client", `sum by (client) (rate(kafka_connect_errors_total{job="$job"}[$__rate_interval]))`), nil},
		{"Requests take", "One request in twenty takes longer; a poll waits for records.", seconds, by("client", `histogram_quantile(0.95, sum by (le, client) (rate(kafka_request_duration_e2e_seconds_bucket{job="$job"}[$__rate_interval])))`), nil},
	}}
}

func database() row {
	return row{"Database connections", []panel{
		{"In use", "Connections in use, of so many.", number, []query{
			{`pgxpool_acquired_connections{job="$job"}`, "{{instance}} in use"}, {`pgxpool_max_connections{job="$job"}`, "{{instance}} at most"},
		}, nil},
		{"Waits", "Times that all were in use and somebody had to wait.", perSecond, by("instance", `rate(pgxpool_empty_acquire_total{job="$job"}[$__rate_interval])`), nil},
		{"New", "Connections made. Many are a sign of a server or a pooler that closes them.", perSecond, by("instance", `rate(pgxpool_new_connections_total{job="$job"}[$__rate_interval])`), nil},
	}}
}

func process() row {
	return row{"Process", []panel{
		{"CPU", "Cores in use.", number, by("instance", `rate(process_cpu_seconds_total{job="$job"}[$__rate_interval])`), nil},
		{"Memory", "Resident memory.", bytes, by("instance", `process_resident_memory_bytes{job="$job"}`), nil},
		{"Goroutines", "A number that only grows is a leak.", number, by("instance", `go_goroutines{job="$job"}`), nil},
	}}
}

// Expression is one of a panel.
type Expression struct{ Board, Panel, Expr string }

// Expressions are all, with Grafana's variables as whoever looks would have them: the interval of rates, and the job.
func Expressions(rateInterval string) []Expression {
	var all []Expression
	for _, b := range []board{overview(), worker(), starter(), bridge()} {
		fill := strings.NewReplacer("$__rate_interval", rateInterval, "$job", b.job)
		for _, r := range b.rows {
			for _, p := range r.panels {
				for _, q := range p.queries {
					all = append(all, Expression{b.uid, p.title, fill.Replace(q.expr)})
				}
			}
		}
	}
	return all
}
