package status

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
)

// level of the whole that a video's looks like.
func (l VideoLevel) level() Level {
	switch l {
	case VideoOK:
		return OK
	case VideoFailed:
		return Broken
	default:
		return Degraded
	}
}

// Print writes for people where the video is: what it waits for and what to do first, then all that was found out.
func (v Video) Print(w io.Writer, color bool) error {
	s := &screen{color: color}
	word := strings.ToUpper(strings.ReplaceAll(string(v.Verdict), "_", " "))
	s.line("%s  video %s  %s", s.paint(bold+";"+colorOf(v.Verdict.level()), word), v.VideoID, s.paint(dim, stamp(v.At)))
	for _, text := range v.Says {
		s.wrapped("  "+s.paint(colorOf(v.Verdict.level()), "●")+" ", 4, text, 4)
	}
	if v.Do != "" {
		s.wrapped("    → ", 6, v.Do, 3)
	}
	s.known(v)
	s.runs(v.Runs)
	s.records(v)
	s.letters(v)
	s.object(v)
	_, err := io.WriteString(w, s.String())
	return err
}

func (s *screen) known(v Video) {
	s.section("VIDEO", v.Error, func() {
		if v.Row == nil {
			s.row("row", "none")
			return
		}
		s.row("title", "%s", v.Row.Title)
		s.row("course", "%s", v.Row.CourseID)
		s.whole("camera_video_url", v.Row.CameraVideoURL)
		s.whole("transcript_url", orNone(v.Row.TranscriptURL))
		s.row("created", "%s", stamp(v.Row.CreatedAt))
	})
	p := v.Pipeline
	if p == nil {
		return
	}
	s.section("PIPELINE", "", func() {
		s.row("state", "%s, revision %d, changed %s", v.State, p.Revision, stamp(p.UpdatedAt))
		t, c := p.Transcription, p.Compression
		asked := ""
		if t.AskedAt != nil {
			asked = ", the last " + stamp(*t.AskedAt)
		}
		s.track("transcription", t.Track, fmt.Sprintf("asks: %d of %d%s", t.Asks, t.AskLimit, asked))
		s.track("compression", c.Track, "since "+stamp(c.Since))
	})
	if len(v.Pending) > 0 {
		s.section("OUTBOX", "", func() {
			for _, i := range v.Pending {
				line := fmt.Sprintf("since %s, %s, next try %s", stamp(i.CreatedAt), tried(i.Attempts), stamp(i.NextAt))
				if i.LastError != "" {
					line += ": " + i.LastError
				}
				s.row(string(i.Kind), "%s", line)
			}
		})
	}
	if len(v.Claims) > 0 {
		s.section("CLAIMS", "", func() {
			for _, c := range v.Claims {
				s.row("storing", "record %d@%d, until %s", c.Position.Partition, c.Position.Offset, stamp(c.Until))
			}
		})
	}
}

func orNone(text *string) string {
	if text == nil {
		return "none"
	}
	return *text
}

func (s *screen) track(name string, t Track, more string) {
	line := string(t.State)
	switch {
	case t.DoneAt != nil && t.State == contract.Done:
		line += " " + stamp(*t.DoneAt) + "; " + more
	case t.State != contract.Untracked:
		line += "; " + more
	}
	if t.Next != nil {
		line += "; next " + stamp(*t.Next)
	}
	s.row(name, "%s", line)
	if t.LastError != nil {
		s.wrapped(fmt.Sprintf("  %-*s", titleWidth, ""), titleWidth+2, "last error"+at(t.LastErrorAt)+": "+*t.LastError, 2)
	}
}

func (s *screen) runs(r Runs) {
	s.section("RUNS", r.Error, func() {
		s.row("workflow id", "%s", r.WorkflowID)
		if len(r.List) == 0 {
			s.row("", "Temporal has none")
		}
		for _, run := range r.List {
			ended := ""
			if run.Closed != nil {
				ended = ", ended " + stamp(*run.Closed)
			}
			s.row(run.Status, "%s", run.RunID)
			s.row("", "started %s%s, %s", stamp(run.Started), ended, plural(run.HistoryLength, "event"))
			if run.Failure != "" {
				s.wrapped(fmt.Sprintf("  %-*s", titleWidth, ""), titleWidth+2, run.Failure, 2)
			}
			if run.TaskAttempts > 1 {
				s.row("", "workflow task %s", tried(int(run.TaskAttempts)))
			}
			for _, step := range run.Steps {
				s.step(step)
			}
		}
		switch {
		case r.QueryError != "":
			s.row("its own view", "%s", r.QueryError)
		case r.State != nil && r.State.Missing != "":
			s.row("its own view", "the video is %s", r.State.Missing)
		case r.State != nil:
			s.row("its own view", "transcription %s, asks: %d of %d; compression %s", r.State.Transcription, r.State.Asks, r.State.AskLimit,
				r.State.Compression)
		}
	})
}

func (s *screen) step(step Step) {
	next := ""
	if step.NextAt != nil {
		next = ", next " + stamp(*step.NextAt)
	}
	line := fmt.Sprintf("step %s: attempt %d, %s%s", step.Name, step.Attempt, step.State, next)
	if step.LastFailure != "" {
		line += ": " + step.LastFailure
	}
	s.wrapped(fmt.Sprintf("  %-*s", titleWidth, ""), titleWidth+2, line, 3)
}

func (s *screen) records(v Video) {
	r := v.Records
	if r.Error == "" && r.Transcription == nil && r.Compression == nil {
		return
	}
	s.section("RECORDS", r.Error, func() {
		for _, row := range []struct {
			name   string
			record *Record
			at     *contract.Position
		}{
			{"transcription", r.Transcription, v.Pipeline.Transcription.Applied},
			{"compression", r.Compression, v.Pipeline.Compression.Applied},
		} {
			if row.record == nil {
				continue
			}
			kept := "can still be read"
			if !row.record.Readable {
				kept = "cannot be read: " + row.record.Why
			}
			s.row(row.name, "%s/%d@%d of %s, %s", row.record.Topic, row.record.Partition, row.record.Offset, stamp(row.at.Time), kept)
		}
	})
}

func (s *screen) letters(v Video) {
	if len(v.Letters) == 0 {
		return
	}
	s.section("DEAD LETTERS", "", func() {
		for _, l := range v.Letters {
			became := "open"
			switch {
			case l.RedrivenAt != nil:
				became = "sent back " + stamp(*l.RedrivenAt)
			case !l.Open:
				became = "a newer result was applied"
			case l.WithoutValue:
				became = "open, without its value"
			}
			s.line("  %s", cut(fmt.Sprintf("%s  %s, %s: %s", l.Letter, stamp(l.DiedAt), became, l.Reason), width-2))
		}
	})
}

func (s *screen) object(v Video) {
	o := v.Object
	s.section("STORAGE", o.Error, func() {
		if !o.Exists {
			s.row("transcript", "none")
			return
		}
		line := fmt.Sprintf("%d bytes", o.Size)
		if o.Summary != nil {
			line += fmt.Sprintf(", %d words, %s", o.Summary.Words, time.Duration(o.Summary.Duration*float64(time.Second)).Round(time.Second))
		}
		if o.Matches {
			line += ", where transcript_url says"
		}
		s.row("transcript", "%s", line)
		s.whole("", o.URL)
		if o.Problem != "" {
			s.row("", "%s", o.Problem)
		}
	})
}
