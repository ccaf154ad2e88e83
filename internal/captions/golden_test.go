package captions_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rivo/uniseg"

	"github.com/codeendelea/vidflow/internal/captions"
	"github.com/codeendelea/vidflow/internal/golden"
)

// spoken times a text: its words are what white space parts, after each line is a pause of 0.9 s.
func spoken(text string) []captions.Word {
	var words []captions.Word
	at := int64(500) // milliseconds
	for line := range strings.Lines(text) {
		for _, w := range strings.Fields(line) {
			end := at + 80 + 55*int64(uniseg.StringWidth(w))
			words = append(words, captions.Word{Text: w, Start: float64(at) / 1000, End: float64(end) / 1000})
			at = end + 30
		}
		at += 900
	}
	return words
}

// TestGolden shows for several scripts how cues are cut, for people to look at.
func TestGolden(t *testing.T) {
	t.Parallel()
	texts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(texts) == 0 {
		t.Fatalf("no texts: %v", err)
	}
	all := sha256.New()
	for _, path := range texts {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cues := checkFile(t, spoken(string(text)))
		if path != "testdata/odd.txt" {
			checkLibrary(t, cues)
		}
		got := captions.WebVTT(cues)
		all.Write(got)
		golden.Equal(t, strings.TrimSuffix(path, ".txt")+".vtt", got)
	}
	checkVersion(t, fmt.Sprintf("%d %x", captions.Version, all.Sum(nil)))
}

// checkVersion keeps Version honest: files that differ have another. Versions are only ever added.
func checkVersion(t *testing.T, now string) {
	t.Helper()
	const path = "testdata/versions"
	known, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	lines := strings.Fields(strings.ReplaceAll(string(known), " ", "="))
	if slices.Contains(lines, strings.ReplaceAll(now, " ", "=")) {
		return
	}
	version, _, _ := strings.Cut(now, " ")
	if bytes.Contains(append([]byte("\n"), known...), []byte("\n"+version+" ")) {
		t.Fatalf("the same transcripts give other files than they did under version %s: raise captions.Version, so that "+
			"players fetch them", version)
	}
	if !golden.Updating() {
		t.Fatalf("version %s is not in %s: run go test ./internal/captions -update", version, path)
	}
	if err := os.WriteFile(path, append(known, now+"\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
}
