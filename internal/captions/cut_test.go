package captions_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/captions"
)

func TestWithoutWords(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]string{
		"no words":    `{"video_id": "x", "transcription": {"words": []}}`,
		"null":        `{"transcription": {"words": null}}`,
		"empty words": `{"transcription": {"words": [{"text": "", "start": 0, "end": 1}, {"text": " \u0000\n", "start": 1, "end": 1}]}}`,
	} {
		got, err := captions.FromTranscript(strings.NewReader(stored))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("WEBVTT\n\n", string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, stored := range []string{"", "[]", "{}", `{"transcription": 1}`, `{"transcription": {"words": "none"}}`} {
		if _, err := captions.FromTranscript(strings.NewReader(stored)); err == nil {
			t.Errorf("%q: no error", stored)
		}
	}
}

// TestTimes are those that services get wrong.
func TestTimes(t *testing.T) {
	t.Parallel()
	word := func(text string, start, end float64) captions.Word {
		return captions.Word{Text: text, Start: start, End: end}
	}
	for name, row := range map[string]struct {
		words []captions.Word
		want  string
	}{
		"none at all: as long as reading takes": {
			[]captions.Word{word("One two three four five six seven.", 0, 0), word("Eight nine ten eleven twelve thirteen.", 0, 0)},
			"WEBVTT\n\n00:00:00.000 --> 00:00:04.352\nOne two three four five six seven.\nEight nine ten eleven twelve thirteen.\n",
		},
		"of the phrase, for each of its words": {
			[]captions.Word{word("One", 10, 14), word("two,", 10, 14), word("three.", 10, 14), word("Four.", 14.8, 15)},
			"WEBVTT\n\n00:00:10.000 --> 00:00:14.000\nOne two, three.\n\n00:00:14.800 --> 00:00:15.800\nFour.\n",
		},
		"a little out of order: the text keeps its order": {
			[]captions.Word{word("One", 1, 1.5), word("two", 0.9, 1.4), word("three.", 1.5, 2)},
			"WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nOne two three.\n",
		},
		"out of order: in the order of the times": {
			[]captions.Word{word("Later.", 20, 21), word("Sooner.", 1, 2)},
			"WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nSooner.\n\n00:00:20.000 --> 00:00:21.000\nLater.\n",
		},
		"a word that never ends": {
			[]captions.Word{word("One.", 1, 90), word("Two.", 60, 61)},
			"WEBVTT\n\n00:00:01.000 --> 00:00:08.000\nOne.\n\n00:01:00.000 --> 00:01:01.000\nTwo.\n",
		},
		"a phrase over another word": {
			[]captions.Word{word(strings.Repeat("phrase ", 13)+"ends.", 1, 61), word("Next.", 7, 8)},
			"WEBVTT\n\n00:00:01.000 --> 00:00:04.469\nphrase phrase phrase phrase\nphrase phrase phrase phrase\n\n" +
				"00:00:04.469 --> 00:00:08.000\nphrase phrase phrase\nphrase phrase ends. Next.\n",
		},
		"beyond what a clock shows": {
			[]captions.Word{word("One.", 1e300, 1e301), word("Two.", 359_999, 1e300)},
			"WEBVTT\n\n99:59:59.000 --> 100:00:00.000\nOne. Two.\n",
		},
		"in the hundredth hour": {
			[]captions.Word{word("One.", 3_599.9994, 3_600.0006)},
			"WEBVTT\n\n00:59:59.999 --> 01:00:00.999\nOne.\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(row.want, string(captions.WebVTT(checkFile(t, row.words)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestMoreThanTime is that 3,000 sentences are said within a millisecond: even so each has its cue.
func TestMoreThanTime(t *testing.T) {
	t.Parallel()
	words := []captions.Word{{Text: "Next.", Start: 1.001, End: 2}}
	for range 3000 {
		words = append(words, captions.Word{Text: "This sentence is as long as what two lines take.", Start: 1, End: 1})
	}
	if cues := checkFile(t, words); len(cues) < 1500 {
		t.Errorf("%d cues", len(cues))
	}
}

// TestSpaces stand where the script sets them, whatever the service takes for a word.
func TestSpaces(t *testing.T) {
	t.Parallel()
	for want, words := range map[string][]string{
		"Hello, world!":    {"Hello", ",", "world", "!"},
		"New York is big.": {" New York", " is", " big."},
		"Bonjour !":        {"Bonjour !"},
		"我们用 Python 写3个。":  {"我们", "用", "Python", "写", "3", "个", "。"},
		"コンピューターを使います。":    {"コンピューター", "を", "使い", "ます", "。"},
		"สวัสดีครับ 3 คน Go ครับ": {"สวัสดี", "ครับ", "3", "คน", "Go", "ครับ"},
		"안녕하세요 여러분.":              {"안녕하세요", "여러분."},
		"مرحباً بكم، جميعاً":      {"مرحباً", "بكم", "،", "جميعاً"},
		"a + b = 3":               {"a", "+", "b", "=", "3"},
	} {
		var timed []captions.Word
		for i, w := range words {
			timed = append(timed, captions.Word{Text: w, Start: float64(i) / 10, End: float64(i+1) / 10})
		}
		cues := checkFile(t, timed)
		if len(cues) != 1 || len(cues[0].Lines) != 1 || cues[0].Lines[0] != want {
			t.Errorf("%q became %+v, want %q", words, cues, want)
		}
	}
}

// BenchmarkThreeHours is the longest that is said to come.
func BenchmarkThreeHours(b *testing.B) {
	for name, text := range map[string]string{"words": "algorithms ", "ideographs": "搜索 "} {
		words := spoken(strings.Repeat(strings.Repeat(text, 11)+"end.\n", 2400))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				captions.WebVTT(captions.Cut(words))
			}
			b.ReportMetric(float64(len(words)), "words")
		})
	}
}
