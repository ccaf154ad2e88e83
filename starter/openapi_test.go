package starter_test

import (
	"testing"

	"github.com/codeendelea/vidflow/internal/golden"
	"github.com/codeendelea/vidflow/starter"
)

// TestOpenAPI keeps the committed document, from which clients are generated, the same as the code's.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	got, err := starter.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, "../openapi.json", got)
}
