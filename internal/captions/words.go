package captions

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/bidi"
)

// token is what lines are made of: a word with the punctuation that sticks to it, or a part of one that is too long. It
// fits on a line.
type token struct {
	text       string
	columns    int
	start, end int64 // milliseconds; sorted by start, and no end is beyond the next start
	spaced     bool  // a space stands before it, unless a line begins with it
	ends       ending
}

// ending is what a token is the end of.
type ending int

const (
	nothing ending = iota
	clause
	sentence
)

// style is how a transcript as a whole is set.
type style struct {
	line        int // columns
	rightToLeft bool
}

const (
	narrowLine = 42 // columns
	wideLine   = 32 // columns, 16 full-width characters

	// maxTime is where players' clocks may end; later words come then.
	maxTime = (100*60*60 - 1) * 1000
	// maxStepBack is by how much alignment may be wrong about which of two words begins first: up to that, the order of
	// the list is the order of the text.
	maxStepBack = 500
)

// prepare brings words into a form that cues can be cut of.
func prepare(words []Word) ([]token, style) {
	tokens := make([]token, 0, len(words))
	for _, w := range words {
		text := clean(w.Text)
		if text == "" {
			continue
		}
		t := token{text: text, start: milliseconds(w.Start), end: milliseconds(w.End)}
		t.end = max(t.end, t.start)
		tokens = append(tokens, t)
	}
	order(tokens)
	spread(tokens)
	for i := range len(tokens) - 1 {
		tokens[i].end = min(tokens[i].end, tokens[i+1].start)
	}
	style := styleOf(tokens)
	tokens = style.glue(style.split(tokens))
	for i := range tokens {
		next := ""
		if i+1 < len(tokens) {
			next = tokens[i+1].text
		}
		tokens[i].ends = endingOf(tokens[i].text, next)
	}
	return tokens, style
}

// clean leaves no character that could end a line, a cue or a file, and one space where there were several. What would
// mean something to a player is escaped when it is written.
func clean(text string) string {
	fields := strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) && r != '\u00A0' && r != '\u202F' || unicode.IsControl(r)
	})
	for i, field := range fields {
		fields[i] = strings.TrimSpace(field) // of spaces that do not break
	}
	return strings.Join(slices.DeleteFunc(fields, func(field string) bool { return strings.IndexFunc(field, shows) < 0 }), " ")
}

// shows is false for characters that only say how others are shown.
func shows(r rune) bool { return !unicode.Is(unicode.Cf, r) }

func milliseconds(seconds float64) int64 {
	if !(seconds > 0) { // also what is not a number
		return 0
	}
	return int64(math.Round(math.Min(seconds*1000, maxTime)))
}

// order sorts by start. A small step back is one of the alignment: the text keeps its order.
func order(tokens []token) {
	for i := 1; i < len(tokens); i++ {
		if before := tokens[i-1].start; tokens[i].start < before && before-tokens[i].start <= maxStepBack {
			tokens[i].start = before
			tokens[i].end = max(tokens[i].end, before)
		}
	}
	slices.SortStableFunc(tokens, func(a, b token) int { return cmp.Compare(a.start, b.start) })
}

// spread gives words that all begin at once, as those of a service that times phrases only, the time that they have
// together, each its share.
func spread(tokens []token) {
	for i := 0; i < len(tokens); {
		start, end := tokens[i].start, tokens[i].end
		j, total := i, int64(0)
		for ; j < len(tokens) && tokens[j].start == start; j++ {
			end = max(end, tokens[j].end)
			total += int64(columnsOf(tokens[j].text)) + 1
		}
		if j < len(tokens) && (end <= start || end > tokens[j].start) {
			end = tokens[j].start
		}
		if j-i > 1 {
			if end <= start { // nobody knows: as long as reading takes
				end = start + total*1000/readingSpeed
			}
			at, before := start, int64(0)
			for k := i; k < j; k++ {
				before += int64(columnsOf(tokens[k].text)) + 1
				tokens[k].start = at
				at = start + (end-start)*before/total
				tokens[k].end = at
			}
		}
		i = j
	}
}

func styleOf(tokens []token) style {
	var columns, wide, left, right int
	for _, t := range tokens {
		for _, r := range t.text {
			if isWide(r) {
				wide += 2
			}
			switch directionOf(r) {
			case bidi.L:
				left++
			case bidi.R:
				right++
			}
		}
		columns += columnsOf(t.text)
	}
	s := style{line: narrowLine, rightToLeft: right > left}
	if 2*wide > columns {
		s.line = wideLine
	}
	return s
}

// directionOf is L or R for characters that have a direction of their own.
func directionOf(r rune) bidi.Class {
	p, _ := bidi.LookupRune(r)
	switch p.Class() {
	case bidi.L:
		return bidi.L
	case bidi.R, bidi.AL:
		return bidi.R
	}
	return bidi.ON
}

func isWide(r rune) bool { return r >= 0x1100 && columnsOf(string(r)) == 2 }

// columnsOf is the width of a text, at least 1: two for full-width characters and emoji, nothing for marks that combine.
func columnsOf(text string) int { return max(1, uniseg.StringWidth(text)) }

// split parts what the service took for one word and is more: at its spaces, and where it is longer than half a line, at
// the places where a line may be broken (UAX 14). What is still longer than a line is split between grapheme clusters. The
// parts share the time.
func (s style) split(tokens []token) []token {
	out := make([]token, 0, len(tokens))
	var before rune // the last letter or digit so far, 0 at the start
	for _, t := range tokens {
		parts := s.parts(t.text)
		total, done := int64(0), int64(0)
		for i := range parts {
			total += int64(parts[i].columns)
		}
		for i, p := range parts {
			p.start = t.start + (t.end-t.start)*done/total
			done += int64(p.columns)
			p.end = t.start + (t.end-t.start)*done/total
			if i == 0 {
				p.spaced = spaceBetween(before, p.text)
			}
			if r := lastWordRune(p.text); r != 0 {
				before = r
			}
			out = append(out, p)
		}
	}
	return out
}

func (s style) parts(text string) []token {
	var parts []token
	for i, word := range strings.Split(text, " ") {
		first := len(parts)
		if columnsOf(word) <= s.line/2 {
			parts = append(parts, token{text: word, columns: columnsOf(word)})
		} else {
			state := -1
			for rest := word; rest != ""; {
				var segment string
				segment, rest, _, state = uniseg.FirstLineSegmentInString(rest, state)
				parts = append(parts, s.pieces(segment)...)
			}
		}
		parts[first].spaced = i > 0
	}
	return parts
}

// pieces splits a text that is longer than a line.
func (s style) pieces(text string) []token {
	if c := columnsOf(text); c <= s.line {
		return []token{{text: text, columns: c}}
	}
	var pieces []token
	begin, at, columns, state := 0, 0, 0, -1
	for rest := text; rest != ""; {
		var cluster string
		var width int
		cluster, rest, width, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if columns+width > s.line && at > begin {
			pieces = append(pieces, token{text: text[begin:at], columns: max(1, columns)})
			begin, columns = at, 0
		}
		at += len(cluster)
		columns += width
	}
	return append(pieces, token{text: text[begin:], columns: max(1, columns)})
}

// spaceBetween says whether a space belongs between two words: not between those of scripts that are written without, nor
// between ideographs and digits, nor before punctuation.
func spaceBetween(before rune, text string) bool {
	if before == 0 {
		return false // nothing was said yet
	}
	after := firstWordRune(text)
	switch {
	case after == 0:
		return !onlyCloses(text)
	case unspaced(before):
		return !unspaced(after) && (!isWide(before) || !unicode.IsDigit(after))
	case unspaced(after):
		return !isWide(after) || !unicode.IsDigit(before)
	}
	return true
}

// unspaced reports whether r is of a script that sets no spaces between words.
func unspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo, unicode.Yi,
		unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) || r == '\u30FC' // ー is common to two scripts
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsSymbol(r) }

func firstWordRune(text string) rune {
	if i := strings.IndexFunc(text, wordRune); i >= 0 {
		r, _ := utf8.DecodeRuneInString(text[i:])
		return r
	}
	return 0
}

func lastWordRune(text string) rune {
	if i := strings.LastIndexFunc(text, wordRune); i >= 0 {
		r, _ := utf8.DecodeRuneInString(text[i:])
		return r
	}
	return 0
}

// onlyCloses reports whether a text is nothing but punctuation that belongs to what was said before.
func onlyCloses(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return !terminal(r) && !closing(r) }) < 0
}

func terminal(r rune) bool { return unicode.Is(unicode.Terminal_Punctuation, r) || r == '…' }

func closing(r rune) bool { return unicode.In(r, unicode.Pe, unicode.Pf) }

// glue joins what no line may be broken between: punctuation that comes as a word of its own to the word before it, and
// full-width characters of which one may not begin or end a line (UAX 14).
func (s style) glue(tokens []token) []token {
	out := tokens[:0]
	for _, t := range tokens {
		if len(out) > 0 {
			last := &out[len(out)-1]
			if !t.spaced && last.columns+t.columns <= s.line && (onlyCloses(t.text) || inseparable(last.text, t.text)) {
				last.text += t.text
				last.columns = columnsOf(last.text)
				last.end = max(last.end, t.end)
				continue
			}
		}
		out = append(out, t)
	}
	return out
}

func inseparable(before, after string) bool {
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	if !isWide(last) && !isWide(first) {
		return false // Thai and its like: only a dictionary knows, and the service has told
	}
	at, state := 0, -1
	for rest := before + after; rest != "" && at < len(before); {
		var segment string
		segment, rest, _, state = uniseg.FirstLineSegmentInString(rest, state)
		at += len(segment)
	}
	return at != len(before)
}

// titles end with a full stop and no sentence.
var titles = map[string]bool{"Dr.": true, "Mr.": true, "Mrs.": true, "Ms.": true, "Prof.": true, "St.": true, "Sr.": true, "Sra.": true, "Mme.": true}

// endingOf tells sentences from abbreviations, as far as they show: titles, initials, letters with stops between them, and
// those after which a word begins with a small letter.
func endingOf(text, next string) ending {
	text = strings.TrimRightFunc(text, func(r rune) bool { return closing(r) || r == '"' || r == '\'' })
	last, _ := utf8.DecodeLastRuneInString(text)
	switch {
	case unicode.Is(unicode.Sentence_Terminal, last) || last == '…':
		if titles[text] || strings.Contains(text[:len(text)-1], ".") || last == '.' && utf8.RuneCountInString(text) == 2 {
			return nothing
		}
		if r := firstWordRune(next); unicode.IsLower(r) {
			return clause
		}
		return sentence
	case unicode.Is(unicode.Terminal_Punctuation, last), unicode.Is(unicode.Pd, last):
		return clause
	}
	return nothing
}
