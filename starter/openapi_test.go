package starter_test

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/starter"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestOpenAPI keeps the committed document, from which clients are generated, the same as the code's.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	got, err := starter.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "../openapi.json", got)
}

// golden compares got with a file, or writes it when the tests run with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with make test-one PKG='./starter -update')", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant, run make test-one PKG='./starter -update'\n%s", path, diff)
	}
}
