package simulator_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/rivo/uniseg"

	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/captions"
	"github.com/codeendelea/vidflow/internal/contract"
)

// TestCaptionsOfRecordings measures the captions of an hour in each of several languages by what readers need.
func TestCaptionsOfRecordings(t *testing.T) {
	t.Parallel()
	for n := range 24 {
		id := contract.VideoID(uuid.NewSHA1(uuid.NameSpaceURL, fmt.Append(nil, n)).String())
		words, err := captions.Words(bytes.NewReader(simulator.Transcript(id, simulator.Length(time.Hour))))
		if err != nil {
			t.Fatal(err)
		}
		cues := captions.Cut(words)
		var fast, short, atPunctuation int
		for _, c := range cues {
			text := strings.Join(c.Lines, " ")
			shown := c.End - c.Start
			if int64(uniseg.StringWidth(text))*1000 > 20*shown {
				fast++
			}
			if shown < 1000 {
				short++
			}
			if last, _ := utf8.DecodeLastRuneInString(text); unicode.IsPunct(last) {
				atPunctuation++
			}
		}
		percent := func(n int) int { return 100 * n / len(cues) }
		t.Logf("%.30q: %d words, %d cues, %d KB; %d%% faster than 20 columns a second, %d%% shorter than a second, %d%% end at punctuation",
			words[0].Text+" "+words[1].Text, len(words), len(cues), len(captions.WebVTT(cues))/1000, percent(fast), percent(short), percent(atPunctuation))
		if percent(fast) > 5 || percent(short) > 5 || percent(atPunctuation) < 70 {
			t.Errorf("hard to read")
		}
	}
}
