package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/seed"
)

// TestTypeScript has the example of clients/typescript walk through the API. It needs node and what `make typescript` makes,
// so it runs where VIDFLOW_TEST_TYPESCRIPT is set: `make test-typescript`.
func TestTypeScript(t *testing.T) {
	t.Parallel()
	if os.Getenv("VIDFLOW_TEST_TYPESCRIPT") == "" {
		t.Skip("VIDFLOW_TEST_TYPESCRIPT is not set: make test-typescript")
	}
	p := newPipeline(t)
	p.start(everyProcess...)
	cmd := exec.CommandContext(t.Context(), "node", "dist/walk.js")
	cmd.Dir = filepath.Join("..", "..", "clients", "typescript")
	cmd.Env = envfile.Vars{
		{Name: "VIDFLOW_URL", Value: p.places.API.URL},
		{Name: "VIDFLOW_TOKEN", Value: p.places.API.Token},
		{Name: "VIDFLOW_COURSE", Value: seed.Courses[0].ID},
	}.Environ([]string{"PATH=" + os.Getenv("PATH")})
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
