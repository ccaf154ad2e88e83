package report

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What is made of a report stands in a document between two lines that start with these.
const (
	tableBegins = "<!-- results:"
	tableEnds   = "<!-- end of results -->"
)

// Markdown is the report as a reader of the documents sees it: the machine, and the table.
func (r *Report) Markdown() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s, %d cores, %.0f GiB of memory, %s, %s; vidflow %s. Measured on %s in %s.\n\n",
		m.CPU, m.Cores, float64(m.Memory)/(1<<30), m.Kernel, m.Go, r.Version, r.Began.Format("2 January 2006"),
		(time.Duration(r.Seconds) * time.Second).Round(time.Minute/6))
	b.WriteString("| key | of | store | ours | floor | value | spread | goal | |\n|---|---|---|---:|---:|---:|---:|---:|---|\n")
	for _, row := range r.Rows {
		c := row.cells()
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s | %s |\n",
			row.Key, row.Of, row.Store, c.ours, c.floor, c.value, c.spread, c.goal, c.verdict)
	}
	return b.String()
}

// Documents are those that show the baseline, by their names in docs, each with what it shows.
func Documents() map[string]func(*Report) string {
	return map[string]func(*Report) string{"performance.md": (*Report).Markdown, "growth.md": (*Report).Growth, "scale.md": (*Report).Ends}
}

// IntoDocument returns the document with the text between its two markers.
func IntoDocument(document []byte, text string) ([]byte, error) {
	begin := bytes.Index(document, []byte(tableBegins))
	if begin < 0 {
		return nil, fmt.Errorf("the document has no line that starts with %q", tableBegins)
	}
	line := bytes.IndexByte(document[begin:], '\n')
	end := bytes.Index(document, []byte(tableEnds))
	if line < 0 || end < begin+line {
		return nil, errors.New("the document does not say where its table ends: " + tableEnds)
	}
	return bytes.Join([][]byte{
		document[:begin+line+1], []byte("\n"), []byte(text), []byte("\n"), document[end:],
	}, nil), nil
}
