package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What is still in order.
const (
	// lagAllowed is how old the oldest record may be that the bridge has not acknowledged.
	lagAllowed = time.Minute
	// outboxAllowed is how old the oldest intent may be: the relay looks every five seconds.
	outboxAllowed = time.Minute
	// backlogAllowed is how long a task may wait for a worker.
	backlogAllowed = time.Minute
	// troubleAllowed is how long a step may fail: it is tried again at most a minute later.
	troubleAllowed = time.Minute
	// starterSilent is how long ago the starter's last statement may be: its relay makes one every five seconds.
	starterSilent = time.Minute
	// runsMissing is the least number of unfinished videos without a run that is worth a word, and one in runsShare of all
	// must be: Temporal's counts lag behind.
	runsMissing = 10
	runsShare   = 100
)

// assignor is how the bridge's instances share partitions.
const assignor = "cooperative-sticky"

// verdict collects reasons.
type verdict []Reason

func (v *verdict) add(level Level, do, format string, args ...any) {
	*v = append(*v, Reason{Level: level, What: fmt.Sprintf(format, args...), Do: do})
}

// judge says what is wrong, the worst first.
func judge(r Report) []Reason {
	v := verdict{}
	v.servers(r)
	v.processes(r)
	v.backlogs(r)
	v.work(r)
	slices.SortStableFunc(v, func(a, b Reason) int { return rank(a.Level) - rank(b.Level) })
	return v
}

func rank(l Level) int { return slices.Index([]Level{Broken, Degraded, Unknown, OK}, l) }

func worst(reasons []Reason) Level {
	level := OK
	for _, r := range reasons {
		if rank(r.Level) < rank(level) {
			level = r.Level
		}
	}
	return level
}

func (v *verdict) servers(r Report) {
	if r.Postgres.Error != "" {
		v.add(Broken, mendOr(r.Postgres.Error, "look whether Postgres runs and is reached from here"), "Postgres cannot be used: nothing is created, asked for or applied.")
	}
	if r.Temporal.Error != "" {
		v.add(Broken, "look whether Temporal runs and is reached from here", "Temporal cannot be used: no run starts or goes on.")
	}
	if r.Kafka.Error != "" {
		v.add(Broken, "vidflow kafka check", "Kafka cannot be used: nothing is asked for, and no result comes in.")
	}
	if r.Storage.Error != "" {
		v.add(Broken, "look whether the storage runs and is reached from here", "The storage cannot be used: no transcript is stored.")
	}
}

// mendOr is what an error itself says to do, else something else.
func mendOr(err, otherwise string) string {
	if _, mend, ok := strings.Cut(err, ". To mend it: "); ok {
		return mend
	}
	return otherwise
}

func (v *verdict) processes(r Report) {
	if r.Temporal.Error == "" {
		v.worker(r.Worker)
	}
	if r.Kafka.Error == "" {
		for i, g := range r.Kafka.Groups {
			v.group(g, i < 2)
		}
	}
	const mend = "start vidflow starter; where one runs: vidflow probe starter"
	st := r.Starter
	switch {
	case st.APIError != "":
		v.add(Broken, mend, "The API at %s does not answer.", st.API)
	case st.API == "" && st.Error == "" && !st.Pooled && stale(st.Sessions):
		v.add(Broken, mend, "No starter is connected to Postgres: the API is away, and created videos get no run.")
	}
}

func (v *verdict) worker(w Worker) {
	const mend = "start vidflow worker; where one runs: vidflow probe worker"
	switch {
	case w.Error != "":
		v.add(Unknown, "allow the login to describe task queues", "It cannot be told whether a worker runs.")
	case slices.ContainsFunc(w.Pollers, func(p Poller) bool { return !p.Silent && !p.Stopped }):
	default:
		v.add(Broken, mend, "No worker polls task queue %q: no run goes on, and nothing is applied.", w.TaskQueue)
	}
	if w.Unserved != "" {
		v.add(Broken, w.Mend, "%s", w.Unserved)
	}
	if w.Stranded > 0 {
		v.add(Degraded, "start a worker of that version again; or move them to another, see docs/upgrades.md",
			"%s to a version that no worker runs, such as %s: no result is applied.", plural(w.Stranded, "open run")+
				map[bool]string{true: " belongs", false: " belong"}[w.Stranded == 1], w.StrandedVersion)
	}
}

// stale reports whether all connections have been idle for longer than a starter that works.
func stale(sessions []Session) bool {
	return !slices.ContainsFunc(sessions, func(s Session) bool {
		return s.AgeSeconds == nil || *s.AgeSeconds <= starterSilent.Seconds()
	})
}

// group judges a consumer group: the bridge's, or that by which the API learns of dead letters.
func (v *verdict) group(g Group, bridge bool) {
	topics := strings.Join(g.Topics, " and ")
	switch {
	case g.Error != "":
		v.add(Unknown, "see vidflow kafka check", "How far %s is read cannot be told: %s.", topics, g.Error)
		return
	case len(g.Members) == 0 && bridge:
		v.add(Broken, "start vidflow kafkabridge; where one runs: vidflow probe kafkabridge",
			"No kafkabridge consumes %s: results are not applied.", topics)
		return
	case len(g.Members) == 0:
		v.add(Degraded, "vidflow probe starter", "No starter reads %s: the count of dead letters is not kept.", topics)
		return
	case g.Protocol != "" && g.Protocol != assignor:
		v.add(Broken, "stop the other consumers, see vidflow kafka check", "Others than vidflow consume %s (they share partitions by %q).", topics, g.Protocol)
		return
	}
	if g.LagSeconds != nil && *g.LagSeconds > lagAllowed.Seconds() {
		v.add(Degraded, "look at the log of the "+map[bool]string{true: "kafkabridge", false: "starter"}[bridge],
			"%s of %s%s unread, the oldest for %s.", plural(g.Lag, "record"), topics, are(int(g.Lag)), ago(*g.LagSeconds))
	}
}

func (v *verdict) backlogs(r Report) {
	if r.Worker.BacklogSeconds > backlogAllowed.Seconds() {
		v.add(Degraded, "look at the worker's log, or run more workers", "%s waiting for a worker, the oldest for %s.",
			plural(r.Worker.Backlog, "task")+are(int(r.Worker.Backlog)), ago(r.Worker.BacklogSeconds))
	}
	for _, i := range r.Outbox.Intents {
		if i.AgeSeconds > outboxAllowed.Seconds() {
			v.add(Degraded, "look at the log of the starter", "The outbox is behind: %s to %s, the oldest for %s.",
				plural(int64(i.Count), "intent"), purpose(i), ago(i.AgeSeconds))
		}
	}
}

func (v *verdict) work(r Report) {
	if n := r.Temporal.StuckRuns; n > 0 {
		v.add(Degraded, "look at the worker's log; vidflow replay tells whether its version is the cause", "%s cannot go on: workflow tasks fail.", plural(n, "run"))
	}
	if u := r.Videos.Unattended; u.Count > 0 && u.Oldest != nil {
		v.add(Degraded, "vidflow status "+string(u.Oldest.VideoID),
			"Nobody sees to %s: a deadline has passed, for the first %s ago.", plural(int64(u.Count), "video"), ago(u.Oldest.AgeSeconds))
	}
	if u := r.Videos.Troubled; u.Count > 0 && u.Oldest != nil && u.Oldest.AgeSeconds > troubleAllowed.Seconds() {
		v.add(Degraded, "vidflow status "+string(u.Oldest.VideoID), "%s in trouble, the first for %s: %s",
			plural(int64(u.Count), "video")+are(u.Count), ago(u.Oldest.AgeSeconds), r.Videos.TroubledError)
	}
	if r.Videos.Error == "" && r.Temporal.Error == "" && r.Temporal.CountError == "" {
		missing := int64(r.Videos.Unfinished) - r.Temporal.OpenRuns
		for _, i := range r.Outbox.Intents {
			if i.Kind == "run" {
				missing -= int64(i.Count)
			}
		}
		if missing >= max(runsMissing, int64(r.Videos.Unfinished)/runsShare) {
			v.add(Degraded, "vidflow adopt --dry-run", "About %d of %d unfinished videos have no run in namespace %s.", missing,
				r.Videos.Unfinished, r.Temporal.Namespace)
		}
	}
	if n := r.Videos.Overdue.Count; n > 0 {
		v.add(Degraded, "look whether the compression service runs", "%s overdue.", plural(int64(n), "compression")+are(n))
	}
	if n := r.Videos.FailedLately; n > 0 {
		do := "vidflow status VIDEO"
		if len(r.Videos.Newest) > 0 {
			do = "vidflow status " + string(r.Videos.Newest[0].VideoID)
		}
		v.add(Degraded, do, "%s failed since yesterday.", plural(int64(n), "video"))
	}
	if n := r.DeadLetters.Open; n > 0 {
		v.add(Degraded, "vidflow dlq list", "%s open.", plural(int64(n), "dead letter")+are(n))
	}
}

func are(n int) string {
	if n == 1 {
		return " is"
	}
	return " are"
}

func purpose(i Intent) string {
	if i.Kind == "run" {
		return "start a run"
	}
	return "clean up after a deletion"
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ago writes an age with two digits at most of its largest unit.
func ago(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour && int(d.Minutes())%60 == 0:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}
