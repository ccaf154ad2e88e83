package kafkatool

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Status is how a finding turned out.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // works, and may not for long or not for everything
	Failed  Status = "failed"
	Unknown Status = "unknown" // could not be found out
)

// Finding is one thing that was looked at.
type Finding struct {
	Status Status `json:"status"`
	// What kind of thing it is ("broker", "topic", "kafkabridge") and which.
	What string `json:"what"`
	Name string `json:"name"`
	// Detail is a sentence without a full stop.
	Detail string `json:"detail"`
	// Mend is a command, or a sentence, that mends it; empty when nothing is to be mended.
	Mend string `json:"mend,omitempty"`
}

// Report is everything that was looked at.
type Report struct {
	Findings []Finding `json:"findings"`
}

func (r *Report) add(f Finding) { r.Findings = append(r.Findings, f) }

// Count returns how many findings have the status.
func (r Report) Count(s Status) (n int) {
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// Print writes a table for people, and under each line what mends it.
func (r Report) Print(w io.Writer) error {
	var what, name int
	for _, f := range r.Findings {
		what, name = max(what, utf8.RuneCountInString(f.What)), max(name, utf8.RuneCountInString(f.Name))
	}
	var b strings.Builder
	for _, f := range r.Findings {
		line := fmt.Sprintf("%-7s  %-*s  %-*s  %s", f.Status, what, f.What, name, f.Name, f.Detail)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		if f.Mend != "" {
			fmt.Fprintf(&b, "         └─ %s\n", f.Mend)
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d warnings, %d failed, %d unknown\n", r.Count(OK), r.Count(Warning), r.Count(Failed), r.Count(Unknown))
	_, err := io.WriteString(w, b.String())
	return err
}
