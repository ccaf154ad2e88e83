package captions

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/text/unicode/bidi"
)

// Marks of a direction, which show nothing.
const (
	leftToRightMark = "\u200E"
	rightToLeftMark = "\u200F"
)

// lines sets tokens on lines, the second of which begins with tokens[second].
func (s style) lines(tokens []token, second int) []string {
	lines := []string{s.text(tokens[:second])}
	if second < len(tokens) {
		lines = append(lines, s.text(tokens[second:]))
	}
	return lines
}

// text is a line. Players take its direction from its first character that has one (WebVTT, 7.4), which is wrong where a
// line begins with a word or a number of another script: then a mark says it.
func (s style) text(tokens []token) string {
	var b strings.Builder
	for i, t := range tokens {
		if i > 0 && t.spaced {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	line := b.String()
	first := bidi.ON
	for _, r := range line {
		if first = directionOf(r); first != bidi.ON {
			break
		}
	}
	switch {
	case s.rightToLeft && first != bidi.R:
		return rightToLeftMark + line
	case !s.rightToLeft && first == bidi.R:
		return leftToRightMark + line
	}
	return line
}

// escape is for all that means something in the text of a cue; without > there is no arrow either.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// WebVTT writes a file of cues, which may be none. It is written here and not by a library because the well-kept one,
// go-astisub, writes no file without cues and leaves an arrow in a text as it is, which ends the cue for a parser.
func WebVTT(cues []Cue) []byte {
	var b bytes.Buffer
	b.WriteString("WEBVTT\n\n")
	for i, c := range cues {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s --> %s\n", timestamp(c.Start), timestamp(c.End))
		for _, line := range c.Lines {
			_, _ = escape.WriteString(&b, line)
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func timestamp(ms int64) string {
	return fmt.Sprintf("%02d:%02d:%02d.%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, ms%1000)
}
