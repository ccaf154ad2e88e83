package captions

import (
	"math"
)

const (
	readingSpeed = 17 // columns a second

	minDuration = 1000 // milliseconds, as all that follow
	maxDuration = 7000
	longPause   = 700 // begins a new cue
	shortPause  = 300 // is as good a place for an end as others
	closedGap   = 500 // between cues; a shorter one is closed
)

// What a cut costs, in milliseconds for which a cue is missing to a reader, as far as such things compare.
const (
	costOfCue            = 300 // so that there are not too many
	costOfEndAtPause     = 200
	costOfEndAtClause    = 150
	costOfEndAnywhere    = 500
	costOfSentenceInside = 250 // that ends before the cue does
	costOfFullness       = 100 // of a full cue; by the square, so that two of like length are better
)

// cues cuts the tokens at those places that together cost least.
func (s style) cues(tokens []token) []Cue {
	n := len(tokens)
	// width of tokens[i:j] on a line is sum[j]-sum[i], less the space before the first.
	sum := make([]int, n+1)
	for i, t := range tokens {
		sum[i+1] = sum[i] + t.columns + t.space()
	}
	width := func(i, j int) int { return sum[j] - sum[i] - tokens[i].space() }

	best := make([]int64, n+1) // of tokens[:j]
	from := make([]int, n+1)   // where its last cue begins
	for j := 1; j <= n; j++ {
		best[j] = math.MaxInt64
		inside := int64(0)
		for i := j - 1; i >= 0; i-- {
			if i < j-1 {
				if s.breakLine(tokens, width, i, j) < 0 || tokens[j-1].end-tokens[i].start > maxDuration || pause(tokens, i+1) >= longPause {
					break
				}
				if tokens[i].ends == sentence {
					inside += costOfSentenceInside
				}
			}
			columns := int64(width(i, j))
			cost := best[i] + costOfCue + inside + endCost(tokens, j) + costOfFullness*columns*columns/int64(4*s.line*s.line) +
				lack(tokens, i, j, columns)
			if cost < best[j] {
				best[j], from[j] = cost, i
			}
		}
	}

	count := 0
	for j := n; j > 0; j = from[j] {
		count++
	}
	cues := make([]Cue, count)
	for j := n; j > 0; j = from[j] {
		count--
		i := from[j]
		columns := int64(width(i, j))
		start := tokens[i].start
		cues[count] = Cue{
			Start: start,
			End:   min(max(tokens[j-1].end, start+readingTime(columns)), start+maxDuration),
			Lines: s.lines(tokens[i:j], s.breakLine(tokens, width, i, j)-i),
		}
	}
	disentangle(cues)
	return cues
}

func (t token) space() int {
	if t.spaced {
		return 1
	}
	return 0
}

// pause is how long nothing is said before tokens[i].
func pause(tokens []token, i int) int64 {
	if i == 0 || i == len(tokens) {
		return math.MaxInt64
	}
	return tokens[i].start - tokens[i-1].end
}

func endCost(tokens []token, j int) int64 {
	switch p := pause(tokens, j); {
	case p >= longPause, tokens[j-1].ends == sentence:
		return 0
	case tokens[j-1].ends == clause:
		return costOfEndAtClause
	case p >= shortPause:
		return costOfEndAtPause
	}
	return costOfEndAnywhere
}

func readingTime(columns int64) int64 { return max(minDuration, columns*1000/readingSpeed) }

// lack is for how long a cue should be shown and cannot.
func lack(tokens []token, i, j int, columns int64) int64 {
	if j == len(tokens) {
		return 0
	}
	return max(0, min(readingTime(columns), maxDuration)-(tokens[j].start-tokens[i].start))
}

// disentangle moves ends, and starts of what begins at once, so that every cue is shown and none while another is.
func disentangle(cues []Cue) {
	for i := range cues {
		c := &cues[i]
		if i > 0 {
			c.Start = max(c.Start, cues[i-1].Start+1)
		}
		c.End = max(c.End, c.Start+1)
		if i > 0 && c.Start-cues[i-1].End < closedGap && c.Start-cues[i-1].Start <= maxDuration {
			cues[i-1].End = c.Start
		}
	}
}

// breakLine is where the second line of tokens[i:j] begins: j when they fit on one, negative when they fit on no two.
func (s style) breakLine(tokens []token, width func(i, j int) int, i, j int) int {
	if width(i, j) <= s.line {
		return j
	}
	if width(i, j) > 2*s.line+1 {
		return -1
	}
	at, least := -1, math.MaxInt
	for k := i + 1; k < j && width(i, k) <= s.line; k++ {
		first, second := width(i, k), width(k, j)
		if second > s.line {
			continue
		}
		cost := max(first-second, second-first)
		if first > second {
			cost++ // a second line that is longer leaves more of the picture
		}
		if tokens[k-1].ends == nothing {
			cost += s.line / 2
		}
		if cost < least {
			at, least = k, cost
		}
	}
	return at
}
