package e2e

import (
	"strconv"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/docs"
	"github.com/codeendelea/vidflow/devstack/ports"
)

// TestTakeOver_rehearsal follows docs/take-over.md to the letter, on a platform of its own.
func TestTakeOver_rehearsal(t *testing.T) {
	t.Parallel()
	needKafkaJS(t)
	block := freeBlock(t)
	docs.Run(t, "docs/take-over.md", docs.Options{
		Env: []string{ports.Variable + "=" + strconv.Itoa(block.Base), "GORACE=halt_on_error=1"}, Limit: 6 * time.Minute,
	})
}
