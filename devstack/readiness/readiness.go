// Package readiness asks a process of vidflow whether it has all it needs.
package readiness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/codeendelea/vidflow/internal/process"
)

// Ask asks the process whose probes are at url, without a path.
func Ask(ctx context.Context, url string) (process.Readiness, error) {
	var answer process.Readiness
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return answer, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer, fmt.Errorf("its probes do not answer yet: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 64 << 10
	if err := json.NewDecoder(io.LimitReader(resp.Body, most)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("its probes answered %s, which makes no sense: %w", resp.Status, err)
	}
	return answer, nil
}

// Missing asks too, and says what the process waits for; empty when it is ready.
func Missing(ctx context.Context, url string) string {
	answer, err := Ask(ctx, url)
	if err != nil {
		return err.Error()
	}
	if answer.Status == process.StatusReady {
		return ""
	}
	var missing []string
	for _, c := range answer.Checks {
		if c.State != process.StateUp {
			missing = append(missing, strings.TrimSuffix(c.Name+": "+c.Error, ": "))
		}
	}
	if len(missing) == 0 {
		return answer.Status
	}
	return strings.Join(missing, "; ")
}
