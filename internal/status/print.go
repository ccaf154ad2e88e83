package status

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/codeendelea/vidflow/internal/versions"
)

// width is how many columns a screen may take.
const width = 100

// screen is text that grows line by line.
type screen struct {
	strings.Builder
	color bool
}

// Codes of terminals.
const (
	red    = "31"
	yellow = "33"
	green  = "32"
	bold   = "1"
	dim    = "2"
)

func (s *screen) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) line(format string, args ...any) {
	s.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

func colorOf(l Level) string {
	switch l {
	case Broken:
		return red
	case OK:
		return green
	default:
		return yellow
	}
}

// wrapped writes a text behind a mark of a fixed width, on as many lines as it takes, up to most.
func (s *screen) wrapped(mark string, markWidth int, text string, most int) {
	lines := wrap(oneLine(text), width-markWidth)
	if len(lines) > most {
		lines = lines[:most]
		last := []rune(lines[most-1])
		lines[most-1] = string(last[:min(len(last), width-markWidth-2)]) + " …"
	}
	for _, l := range lines {
		s.line("%s%s", mark, l)
		mark = strings.Repeat(" ", markWidth)
	}
}

// wrap breaks a text between words; a word that is longer than a line is cut.
func wrap(text string, columns int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > columns {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			runes := []rune(word)
			lines, word = append(lines, string(runes[:columns])), string(runes[columns:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= columns:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// oneLine keeps from a terminal what it would act on: texts may come from anybody.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// cut is a text of at most so many characters.
func cut(text string, most int) string {
	runes := []rune(oneLine(text))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most-1]) + "…"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// Print writes the report for people: what is wrong and what to do about it first, then all that was found out.
func (r Report) Print(w io.Writer, color bool) error {
	s := &screen{color: color}
	s.verdict(r.Verdict, "everything that could be asked is in order", r.At, r.Reasons)
	s.processes(r)
	s.section("KAFKA", because("Kafka", r.Kafka.Error, r.Kafka.Error), func() {
		for _, g := range r.Kafka.Groups {
			s.row(groupTitle(g), "%s", groupLag(g))
		}
	})
	s.section("OUTBOX", because("Postgres", r.Postgres.Error, r.Outbox.Error), func() {
		for _, i := range r.Outbox.Intents {
			s.row(string(i.Kind), "%s", intent(i))
		}
	})
	s.section("VIDEOS", because("Postgres", r.Postgres.Error, r.Videos.Error), func() { s.videos(r.Videos) })
	s.section("DEAD LETTERS", because("Postgres", r.Postgres.Error, r.DeadLetters.Error), func() { s.deadLetters(r.DeadLetters) })
	s.servers(r)
	_, err := io.WriteString(w, s.String())
	return err
}

func (s *screen) verdict(level Level, well string, at time.Time, reasons []Reason) {
	word := s.paint(bold+";"+colorOf(level), strings.ToUpper(string(level)))
	if len(reasons) == 0 {
		s.line("%s  %s  %s", word, well, s.paint(dim, stamp(at)))
		return
	}
	s.line("%s  %s", word, s.paint(dim, stamp(at)))
	for _, r := range reasons {
		mark := "  " + s.paint(colorOf(r.Level), "●") + " "
		if line := r.What + " → " + r.Do; utf8.RuneCountInString(line) <= width-4 {
			s.wrapped(mark, 4, line, 1)
			continue
		}
		s.wrapped(mark, 4, r.What, 3)
		s.wrapped("    → ", 6, r.Do, 3)
	}
}

// because is why a section is missing; what is wrong with a server as a whole is said once, below.
func because(server, itsError, err string) string {
	if err != "" && itsError != "" {
		return "cannot be told: " + server + " does not answer"
	}
	return err
}

// section writes a heading, and below it what there is or why there is nothing.
func (s *screen) section(title, err string, rows func()) {
	s.line("")
	s.line("%s", s.paint(bold, title))
	if err != "" {
		s.failed("", err)
		return
	}
	rows()
}

const titleWidth = 18

func (s *screen) row(title, format string, args ...any) {
	s.line("  %-*s%s", titleWidth, cut(title, titleWidth-1), cut(fmt.Sprintf(format, args...), width-titleWidth-2))
}

// whole is for what people copy: it is never cut.
func (s *screen) whole(title, text string) { s.line("  %-*s%s", titleWidth, title, oneLine(text)) }

func (s *screen) failed(title, err string) {
	mark, markWidth := "  ", 2
	if title != "" {
		mark, markWidth = fmt.Sprintf("  %-*s", titleWidth, cut(title, titleWidth-1)), titleWidth+2
	}
	s.wrapped(mark+s.paint(red, "✗")+" ", markWidth+2, err, 3)
}

// unversioned is the version of a worker that has none.
var unversioned = versions.Version{}.String()

// getNew names the versions that get new videos; empty where Worker Versioning is not used.
func getNew(shares []VersionShare) string {
	var names []string
	for _, share := range shares {
		name := share.Version
		if share.Percentage < 100 {
			name += fmt.Sprintf(" (%.0f %%)", share.Percentage)
		}
		names = append(names, name)
	}
	if get := strings.Join(names, ", "); get != unversioned {
		return get
	}
	return ""
}

func (s *screen) processes(r Report) {
	s.section("PROCESSES", "", func() {
		switch {
		case r.Worker.Error != "":
			s.failed("worker", "cannot be told: Temporal does not answer")
		case len(r.Worker.Pollers) == 0:
			s.row("worker", "none polls task queue %s", r.Worker.TaskQueue)
		}
		for i, p := range r.Worker.Pollers {
			if i == most {
				s.row("", "… and %d more", len(r.Worker.Pollers)-most)
				break
			}
			title := map[bool]string{true: "worker"}[i == 0]
			seen := "polled " + ago(p.AgeSeconds) + " ago"
			switch {
			case p.Silent:
				seen = "silent for " + ago(p.AgeSeconds)
			case p.Stopped:
				seen = "stopped"
			}
			if p.Version != unversioned {
				seen += ", " + p.Version
			}
			s.row(title, "%-48s %s", cut(p.Identity, 48), seen)
		}
		if get := getNew(r.Worker.Versions); get != "" {
			s.row("", "new videos go to %s", get)
		}
		s.bridge(r.Kafka)
		s.starter(r.Starter, r.Kafka)
	})
}

// most is how many of a kind are named.
const most = 4

func (s *screen) bridge(k Kafka) {
	if k.Error != "" {
		s.failed("kafkabridge", "cannot be told: Kafka does not answer")
		return
	}
	for i, g := range k.Groups[:min(2, len(k.Groups))] {
		title := map[bool]string{true: "kafkabridge"}[i == 0]
		if g.Error != "" {
			s.failed(title, g.Error)
			continue
		}
		var hosts []string
		for _, m := range g.Members {
			hosts = append(hosts, m.ClientID+" at "+m.Host)
		}
		if len(hosts) > most {
			hosts = append(hosts[:most], "…")
		}
		s.row(title, "%-18s %s, %s", cut(g.Topics[0], 18), strings.ToLower(g.State), join(plural(int64(len(g.Members)), "member"), strings.Join(hosts, ", ")))
	}
}

func join(parts ...string) string {
	var all []string
	for _, p := range parts {
		if p != "" {
			all = append(all, p)
		}
	}
	return strings.Join(all, ": ")
}

func (s *screen) starter(st Starter, k Kafka) {
	title := "starter"
	switch {
	case st.APIError != "":
		s.failed(title, "the API at "+st.API+" does not answer: "+st.APIError)
		title = ""
	case st.API != "":
		s.row(title, "the API at %s answers", st.API)
		title = ""
	}
	switch {
	case st.Error != "" && title != "":
		s.failed(title, "cannot be told: Postgres does not answer")
	case st.Pooled && len(k.Groups) > 2 && len(k.Groups[2].Members) > 0:
		s.row(title, "%s of group %s", plural(int64(len(k.Groups[2].Members)), "member"), k.Groups[2].Name)
	case st.Pooled && title != "":
		s.row(title, "cannot be told: a pooler hides who is connected (--api asks the API)")
	case st.Error == "" && !st.Pooled && len(st.Sessions) == 0:
		s.row(title, "none is connected to Postgres")
	}
	if st.Pooled {
		return
	}
	for i, session := range st.Sessions {
		if i == most {
			s.row("", "… and %d more", len(st.Sessions)-most)
			break
		}
		at, active := session.Address, ""
		if at == "" {
			at = "an address that the database does not tell"
		}
		if session.AgeSeconds != nil {
			active = ", active " + ago(*session.AgeSeconds) + " ago"
		}
		s.row(title, "%s from %s%s", plural(int64(session.Connections), "connection"), at, active)
		title = ""
	}
}

func groupTitle(g Group) string {
	if len(g.Topics) > 1 {
		return "dead letters"
	}
	return g.Topics[0]
}

func groupLag(g Group) string {
	switch {
	case g.Error != "":
		return "✗ " + g.Error
	case g.Lag == 0:
		return "all read"
	case g.LagSeconds != nil:
		return fmt.Sprintf("%s unread, the oldest from %s ago", plural(g.Lag, "record"), ago(*g.LagSeconds))
	case g.OldestError != "":
		return fmt.Sprintf("%s unread; since when cannot be told: %s", plural(g.Lag, "record"), g.OldestError)
	default:
		return plural(g.Lag, "record") + " unread"
	}
}

func intent(i Intent) string {
	if i.Count == 0 {
		return "none"
	}
	line := fmt.Sprintf("%d to %s, the oldest from %s ago", i.Count, purpose(i), ago(i.AgeSeconds))
	if i.LastError != "" {
		line += "; last error: " + i.LastError
	}
	return line
}

func (s *screen) videos(v Videos) {
	s.row("transcription", "%s", queue(v.Transcription, "waiting", "for %s"))
	s.row("compression", "%s", queue(v.Compression, "waiting", "for %s"))
	s.row("overdue", "%s", queue(v.Overdue, "overdue", "waiting for %s"))
	if v.Unattended.Count > 0 {
		s.row("unattended", "%s", queue(v.Unattended, "past a deadline", "due %s ago"))
	}
	if v.Troubled.Count > 0 {
		s.row("in trouble", "%s", queue(v.Troubled, "in trouble", "for %s"))
	}
	if v.Failed == 0 {
		s.row("failed", "none")
		return
	}
	s.row("failed", "%d, of them %d since yesterday", v.Failed, v.FailedLately)
	for _, g := range v.Newest {
		at := "some time"
		if g.At != nil {
			at = ago(g.AgeSeconds)
		}
		s.line("    %s", cut(fmt.Sprintf("%s  %s, %s ago: %s", g.VideoID, g.Track, at, g.Reason), width-4))
	}
}

func queue(q Queue, what, howLong string) string {
	if q.Count == 0 {
		return "none"
	}
	line := fmt.Sprintf("%d %s", q.Count, what)
	if q.Oldest != nil {
		line += fmt.Sprintf(", oldest %s, "+howLong, q.Oldest.VideoID, ago(q.Oldest.AgeSeconds))
	}
	return line
}

func (s *screen) deadLetters(d DeadLetters) {
	if d.Open == 0 {
		s.line("  none open")
		return
	}
	for i, c := range d.Kinds {
		if i == most {
			s.line("  … and %d more kinds", len(d.Kinds)-most)
			break
		}
		s.row(c.Topic, "%d of class %s, the newest from %s ago", c.Count, c.Class, ago(c.AgeSeconds))
	}
	for _, l := range d.Newest[:min(1, len(d.Newest))] {
		s.line("    %s", cut(fmt.Sprintf("%s: %s", l.Letter, l.Reason), width-4))
	}
}

func (s *screen) servers(r Report) {
	s.section("SERVERS", "", func() {
		t := r.Temporal
		switch {
		case t.Error != "":
			s.failed("Temporal", t.Error)
		case t.CountError != "":
			s.row("Temporal", "ok, namespace %s at %s; runs not counted: %s", t.Namespace, t.Address, t.CountError)
		default:
			s.row("Temporal", "ok, namespace %s at %s", t.Namespace, t.Address)
			stuck := ""
			if t.StuckRuns > 0 {
				stuck = fmt.Sprintf(" (%d cannot go on)", t.StuckRuns)
			}
			s.row("", "%s%s; %d failed since yesterday", plural(t.OpenRuns, "open run"), stuck, t.FailedLately)
		}
		if len(t.MissingAttributes) > 0 {
			s.row("", "search attributes missing (vidflow migrate): %s", strings.Join(t.MissingAttributes, ", "))
		}
		if r.Kafka.Error != "" {
			s.failed("Kafka", r.Kafka.Error)
		} else {
			s.row("Kafka", "ok")
		}
		if r.Postgres.Error != "" {
			s.failed("Postgres", r.Postgres.Error)
		} else {
			s.row("Postgres", "ok, schema at version %d", r.Postgres.Schema)
		}
		if r.Storage.Error != "" {
			s.failed("storage", r.Storage.Error)
		} else {
			s.row("storage", "ok, bucket %s at %s", r.Storage.Bucket, r.Storage.URL)
		}
	})
}
