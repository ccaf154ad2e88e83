package captions_test

import (
	"bytes"
	"html"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/asticode/go-astisub"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rivo/uniseg"
	"pgregory.net/rapid"

	"github.com/codeendelea/vidflow/internal/captions"
)

// reporter is a test of any kind.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// checkFile fails unless the cues are what readers can follow and players show: whatever the words were.
func checkFile(t reporter, words []captions.Word) []captions.Cue {
	t.Helper()
	cues := captions.Cut(words)
	for i, c := range cues {
		if c.Start < 0 || c.End <= c.Start {
			t.Errorf("cue %d is shown from %d to %d", i, c.Start, c.End)
		}
		if c.End-c.Start > 7000 {
			t.Errorf("cue %d is shown for %d ms", i, c.End-c.Start)
		}
		if i > 0 && c.Start < cues[i-1].End {
			t.Errorf("cue %d begins at %d, before the one before ends at %d", i, c.Start, cues[i-1].End)
		}
		if n := len(c.Lines); n < 1 || n > 2 {
			t.Errorf("cue %d has %d lines", i, n)
		}
		for _, line := range c.Lines {
			if w := uniseg.StringWidth(line); w > 42 {
				t.Errorf("cue %d has a line of %d columns: %q", i, w, line)
			}
			if strings.TrimSpace(line) != line || bare(line) == "" || !utf8.ValidString(line) {
				t.Errorf("cue %d has the line %q", i, line)
			}
		}
	}

	var said, shown []rune
	ordered := true
	for i, w := range words {
		said = append(said, []rune(bare(w.Text))...)
		ordered = ordered && (i == 0 || w.Start >= words[i-1].Start)
	}
	for _, c := range cues {
		shown = append(shown, []rune(bare(strings.Join(c.Lines, "")))...)
	}
	if !ordered { // then at least nothing is lost
		slices.Sort(said)
		slices.Sort(shown)
	}
	if diff := cmp.Diff(string(said), string(shown)); diff != "" {
		t.Errorf("text (-said +shown):\n%s", diff)
	}

	checkParses(t, cues)
	return cues
}

// bare is a text without what setting it may add or take away: white space, what no text can hold, and what shows nothing.
func bare(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// checkParses reads the file as the recommendation has players do it (WebVTT, 6.1 and 6.4), and more strictly: there is
// nothing in it but cues, each of timings and text.
func checkParses(t reporter, cues []captions.Cue) {
	t.Helper()
	file := string(captions.WebVTT(cues))
	body, ok := strings.CutPrefix(file, "WEBVTT\n\n")
	if !ok || strings.ContainsAny(file, "\x00\r") {
		t.Fatalf("no WebVTT file: %q", file)
	}
	var got []captions.Cue
	for block := range strings.SplitSeq(body, "\n\n") {
		if body == "" {
			break
		}
		timings, text, _ := strings.Cut(block, "\n")
		m := timingsPattern.FindStringSubmatch(timings)
		if m == nil {
			t.Fatalf("cue %d begins with %q", len(got), timings)
		}
		c := captions.Cue{Start: clock(m[1:5]), End: clock(m[5:9])}
		for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
			if strings.ContainsAny(line, "<>") || line == "" {
				t.Errorf("cue %d has a line that means something else: %q", len(got), line)
			}
			c.Lines = append(c.Lines, html.UnescapeString(line))
		}
		got = append(got, c)
	}
	if diff := cmp.Diff(cues, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("cues as parsed (-want +got):\n%s", diff)
	}
}

var timingsPattern = regexp.MustCompile(`^(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})$`)

func clock(parts []string) int64 {
	var n [4]int64
	for i, part := range parts {
		n[i], _ = strconv.ParseInt(part, 10, 64)
	}
	return ((n[0]*60+n[1])*60+n[2])*1000 + n[3]
}

// checkLibrary has the file read by a library. It takes text that begins like a comment for one, so it is asked only about
// text that does not.
func checkLibrary(t reporter, cues []captions.Cue) {
	t.Helper()
	file := captions.WebVTT(cues)
	parsed, err := astisub.ReadFromWebVTT(bytes.NewReader(file))
	if err != nil {
		t.Fatalf("%v:\n%s", err, file)
	}
	var got []captions.Cue
	for _, item := range parsed.Items {
		c := captions.Cue{Start: item.StartAt.Milliseconds(), End: item.EndAt.Milliseconds()}
		for _, line := range item.Lines {
			var text strings.Builder
			for _, part := range line.Items {
				text.WriteString(part.Text)
			}
			c.Lines = append(c.Lines, strings.ReplaceAll(text.String(), "&gt;", ">")) // which it does not know
		}
		got = append(got, c)
	}
	if diff := cmp.Diff(cues, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("cues as a library reads them (-want +got):\n%s", diff)
	}
}

// TestAnyWords gives words and times that no service should send.
func TestAnyWords(t *testing.T) {
	t.Parallel()
	seconds := rapid.OneOf(
		rapid.Float64Range(0, 30), rapid.Float64Range(0, 1e7), rapid.Float64(),
		rapid.SampledFrom([]float64{0, 0, 0, 1, 1, 5, -1, math.NaN(), math.Inf(1), math.MaxFloat64}))
	text := rapid.OneOf(
		rapid.String(), rapid.StringN(0, 200, 400),
		rapid.SampledFrom([]string{
			"-->", "<c>", "&amp;", "WEBVTT", "NOTE", "\n\n", "\x00", "\ufeff", "你好", "世界。", "สวัสดี", "مرحبا", "42", "👩‍👩‍👧‍👦", "e\u0301",
			"\u0301", "\u200d", "\u202e", "a b  c", "\u00a0", "\xff", ".", "(", "…", "\u2028", strings.Repeat("word", 50), strings.Repeat("界", 90),
		}))
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) captions.Word {
			return captions.Word{Text: text.Draw(t, "text"), Start: seconds.Draw(t, "start"), End: seconds.Draw(t, "end")}
		}), 0, 40).Draw(t, "words")
		checkFile(t, words)
	})
}

// lecture draws words as a service times them: one after the other, with pauses here and there.
func lecture(t *rapid.T) []captions.Word {
	vocabulary := rapid.SampledFrom(rapid.SampledFrom([][]string{
		{"we", "look", "at", "trees,", "then", "graphs.", "Why?", "Because", "algorithms", "terminate", "internationalisation", "so", "ok:"},
		{"我们", "今天", "来看", "二叉树", "的", "搜索", "算法,", "代码。", "为什么?", "Python", "3"},
		{"سوف", "نرى", "اليوم", "خوارزمية", "البحث،", "الشجرة.", "Python", "42"},
	}).Draw(t, "language"))
	at := rapid.Int64Range(0, 5000).Draw(t, "first")
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) captions.Word {
		text := vocabulary.Draw(t, "text")
		start := at
		end := start + rapid.Int64Range(60, 900).Draw(t, "length")
		at = end + rapid.OneOf(rapid.Int64Range(0, 60), rapid.Int64Range(0, 3000)).Draw(t, "gap")
		return captions.Word{Text: text, Start: float64(start) / 1000, End: float64(end) / 1000}
	}), 1, 60).Draw(t, "words")
}

// TestSpeech cuts what services do send: then cues keep time with the words, too.
func TestSpeech(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := lecture(t)
		cues := checkFile(t, words)
		checkLibrary(t, cues)
		at := 0 // of the first word that is not shown yet
		for i, c := range cues {
			first, length := at, len([]rune(bare(strings.Join(c.Lines, ""))))
			for n := 0; n < length; at++ {
				n += len([]rune(bare(words[at].Text)))
			}
			last := words[at-1]
			if got, want := c.Start, ms(words[first].Start); got != want {
				t.Errorf("cue %d begins at %d, its first word at %d", i, got, want)
			}
			for k := first + 1; k < at; k++ {
				if p := ms(words[k].Start) - ms(words[k-1].End); p >= 700 {
					t.Errorf("cue %d goes on over a pause of %d ms: %q", i, p, c.Lines)
				}
			}
			next := int64(math.MaxInt64)
			if i+1 < len(cues) {
				next = cues[i+1].Start
			}
			columns := uniseg.StringWidth(strings.Join(c.Lines, " ")) - len(c.Lines) // or one more
			if shortest := min(max(1000, int64(columns)*1000/17), 7000, next-c.Start); c.End-c.Start < shortest {
				t.Errorf("cue %d is shown for %d ms and could be for %d: %q", i, c.End-c.Start, shortest, c.Lines)
			}
			if c.End < ms(last.End) && c.End-c.Start < 7000 {
				t.Errorf("cue %d ends at %d, its last word at %d", i, c.End, ms(last.End))
			}
			if gap := next - c.End; gap > 0 && gap < 500 && next-c.Start <= 7000 {
				t.Errorf("a gap of %d ms after cue %d", gap, i)
			}
		}
	})
}

func ms(seconds float64) int64 { return int64(math.Round(seconds * 1000)) }

// TestGraphemeClusters of a word that is longer than a line stay whole.
func TestGraphemeClusters(t *testing.T) {
	t.Parallel()
	clusters := rapid.SliceOfN(rapid.SampledFrom([]string{
		"👩‍👩‍👧‍👦", "🇰🇪", "e\u0301", "a", "क्षि", "ก็", "界", "👍🏽", "한", "ạ̈̂", "ب",
	}), 1, 200)
	rapid.Check(t, func(t *rapid.T) {
		word := strings.Join(clusters.Draw(t, "clusters"), "")
		var want, got []string
		want = clustersOf(want, word)
		for _, c := range checkFile(t, []captions.Word{{Text: word, Start: 1, End: 20}}) {
			for _, line := range c.Lines {
				got = clustersOf(got, strings.Trim(line, "\u200E\u200F"))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("clusters (-want +got):\n%s", diff)
		}
	})
}

func clustersOf(to []string, text string) []string {
	for g := uniseg.NewGraphemes(text); g.Next(); {
		to = append(to, g.Str())
	}
	return to
}

// FuzzCut has words and times come from bytes. Words are parted by the line separator, so that they can hold white space.
func FuzzCut(f *testing.F) {
	f.Add("Hello,\u2028world.", []byte{0, 5, 6, 9})
	f.Add("你好\u2028世界。\u2028--> <b>", []byte{0, 0, 0, 0, 0, 0})
	f.Add("مرحبا\u202842\u2028"+strings.Repeat("👩‍👩‍👧‍👦", 30), []byte{255, 1, 7})
	f.Fuzz(func(t *testing.T, text string, times []byte) {
		var words []captions.Word
		for i, word := range strings.Split(text, "\u2028") {
			w := captions.Word{Text: word}
			if len(times) > 0 {
				w.Start = float64(times[2*i%len(times)]) / 10
				w.End = float64(times[(2*i+1)%len(times)]) / 10
			}
			words = append(words, w)
		}
		checkFile(t, words)
	})
}

// FuzzTranscript is whatever lies in the storage.
func FuzzTranscript(f *testing.F) {
	f.Add([]byte(`{"video_id": "x", "transcription": {"duration": 1.5, "words": [{"text": "hello", "start": 0.0, "end": 0.5}]}}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		if words, err := captions.Words(bytes.NewReader(stored)); err == nil {
			checkFile(t, words)
		}
	})
}
