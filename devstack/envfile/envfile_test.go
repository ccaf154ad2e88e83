package envfile

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWrite_survives_a_shell has a real shell source the file, whatever the values are.
func TestWrite_survives_a_shell(t *testing.T) {
	t.Parallel()
	values := []string{
		"", "plain", "two words", "it's", `"quoted"`, `back\slash`, "$HOME", "`id`", "$(id)", "#hash", "a;b|c&d", "~", "*", "!x",
		"line\nbreak", "tab\t", "Ünïcödé 漢字", "'", "''", "-n", "a=b", "postgres://u:p@127.0.0.1:1/d?sslmode=disable",
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		b := make([]byte, random.IntN(40))
		for i := range b {
			b[i] = byte(1 + random.IntN(127)) // anything but NUL, which no variable can have
		}
		values = append(values, string(b)+".") // a shell drops line breaks at the end of what it captures
	}
	for _, want := range values {
		vars := Vars{{Name: "FIRST", Value: "1", Note: "a note\nof two lines"}, {Name: "VALUE", Value: want}, {Name: "LAST", Value: "3"}}
		file := filepath.Join(t.TempDir(), "env")
		if err := vars.Write(file, "title"); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("sh", "-eu", "-c", `. "$1"; printf '%s' "$FIRST[$VALUE]$LAST"; env | grep -q '^LAST=3$'`, "sh", file).CombinedOutput()
		if err != nil {
			t.Fatalf("value %q: %v: %s", want, err, out)
		}
		if diff := cmp.Diff("1["+want+"]3", string(out)); diff != "" {
			t.Errorf("value %q (-want +got):\n%s", want, diff)
		}
	}
}

func TestWrite_is_for_its_owner_and_leaves_nothing_else(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 { // the second one replaces the first
		if err := (Vars{{Name: "A", Value: "b"}}).Write(filepath.Join(dir, "env"), "title"); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the folder has %v, want the file alone", entries)
	}
	info, err := entries[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
}

func TestEnviron(t *testing.T) {
	t.Parallel()
	vars := Vars{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}.With(Var{Name: "B", Value: "3"}, Var{Name: "C", Value: ""})
	got := vars.Environ([]string{"PATH=/bin", "A=old", "AB=kept"})
	want := []string{"PATH=/bin", "AB=kept", "A=1", "B=3", "C="}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := vars.Value("B") + vars.Value("none"); got != "3" {
		t.Errorf("Value answers %q, want 3", got)
	}
}

func TestQuote_leaves_plain_words_readable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"127.0.0.1:8000": "127.0.0.1:8000", "": "''", "a b": "'a b'", "it's": `'it'\''s'`} {
		if got := Quote(in); got != want {
			t.Errorf("Quote(%q) is %s, want %s", in, got, want)
		}
	}
	if strings.ContainsAny(Quote("plain-word_1.2"), "'") {
		t.Error("a plain word is quoted")
	}
}
