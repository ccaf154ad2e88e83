// Package golden compares, in tests, what the code makes with a file of the repository. The flag -update writes the file.
package golden

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the files that the code makes, instead of comparing them")

// Updating reports whether files are written and not compared.
func Updating() bool { return *update }

// Equal fails the test unless the file says what was got. With -update it writes the file instead, where it differs.
func Equal(t *testing.T, path string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err == nil && bytes.Equal(want, got) {
		return
	}
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v; run the test with -update to make it", err)
	}
	t.Errorf("%s differs; if that is meant, run `make generate`, or this test with -update (-file +code):\n%s",
		path, cmp.Diff(string(want), string(got)))
}
