package oncall

import (
	"os"
	"testing"
)

// NeedPrometheus skips a test that is not run by `make test-alerts`, which sees to it that Prometheus is there.
func NeedPrometheus(t testing.TB) {
	t.Helper()
	if os.Getenv("VIDFLOW_TEST_PROMETHEUS") == "" {
		t.Skip("for a machine with Prometheus alone: make test-alerts")
	}
}
