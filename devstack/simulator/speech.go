package simulator

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/codeendelea/vidflow/internal/contract"
)

// The lengths that videos have unless a length is asked for.
const (
	MinLength = 10 * time.Second
	MaxLength = 3 * time.Hour
)

// Option asks for another recording of a video than the usual one.
type Option func(*recording)

// Length asks for speech of that length.
func Length(d time.Duration) Option { return func(r *recording) { r.length = d } }

// Take asks for the n-th recording of the same video; all differ, and 0 is the usual one.
func Take(n int) Option { return func(r *recording) { r.take = n } }

// Language asks for speech in the language with that BCP 47 tag, which must be one that is spoken here.
func Language(tag string) Option { return func(r *recording) { r.language = tag } }

// recording is what is said in a video.
type recording struct {
	id       contract.VideoID
	take     int
	length   time.Duration
	language string
}

func record(id contract.VideoID, opts []Option) recording {
	r := recording{id: id}
	for _, o := range opts {
		o(&r)
	}
	return r
}

// random is the source of all that a recording consists of; what names the use.
func (r recording) random(what string) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", what, r.id, r.take))))
}

// word of a recording; times are hundredths of a second, so that they are exact.
type word struct {
	text       string
	start, end int64
	confidence int // in thousandths
}

// speech is a recording, written down.
type speech struct {
	language language
	length   int64 // hundredths of a second
	words    []word
}

// speak makes up the words: sentences with pauses between them, until the time is over. It has at least one word.
func (r recording) speak() speech {
	random := r.random("speech")
	s := speech{language: pickLanguage(random), length: pickLength(random).Milliseconds() / 10}
	if r.language != "" {
		s.language = languages[slices.IndexFunc(languages, func(l language) bool { return l.tag == r.language })]
	}
	if r.length > 0 {
		s.length = max(r.length.Milliseconds()/10, 1)
	}
	at := random.Int64N(min(s.length/4, 80) + 1)
	inSentence, sentence := 0, 6+random.IntN(14)
	for {
		text := s.language.words[random.IntN(len(s.language.words))]
		end := at + 7 + s.language.runeTime*int64(min(utf8.RuneCountInString(text), 12)) + random.Int64N(9)
		confidence := 1000 - random.IntN(140)
		if len(s.words) > 0 && end > s.length {
			break
		}
		end = min(end, s.length)
		gap := 1 + random.Int64N(5)
		inSentence++
		switch {
		case inSentence == sentence:
			text += s.language.stop
			gap = 30 + random.Int64N(90)
			inSentence, sentence = 0, 6+random.IntN(14)
		case random.IntN(11) == 0:
			text += s.language.pause
			gap += 12
		}
		s.words = append(s.words, word{text: text, start: at, end: end, confidence: confidence})
		at = end + gap
		if at >= s.length {
			break
		}
	}
	return s
}

// text is the whole of it.
func (s speech) text() string {
	var b strings.Builder
	for i, w := range s.words {
		if i > 0 {
			b.WriteString(s.language.space)
		}
		b.WriteString(w.text)
	}
	return b.String()
}

func pickLanguage(random *rand.Rand) language {
	total := 0
	for _, l := range languages {
		total += l.share
	}
	n := random.IntN(total)
	for _, l := range languages {
		if n -= l.share; n < 0 {
			return l
		}
	}
	panic("unreachable")
}

// pickLength is as lengths of lectures are: mostly minutes, now and then hours.
func pickLength(random *rand.Rand) time.Duration {
	spans := []struct {
		percent    int
		from, till time.Duration
	}{
		{10, MinLength, time.Minute},
		{55, time.Minute, 10 * time.Minute},
		{25, 10 * time.Minute, 30 * time.Minute},
		{8, 30 * time.Minute, time.Hour},
		{2, time.Hour, MaxLength},
	}
	n := random.IntN(100)
	for _, s := range spans {
		if n -= s.percent; n < 0 {
			// The shorter the more, within a span too.
			seconds := s.from.Seconds() * math.Pow(s.till.Seconds()/s.from.Seconds(), random.Float64())
			return time.Duration(seconds*100) * 10 * time.Millisecond
		}
	}
	panic("unreachable")
}
