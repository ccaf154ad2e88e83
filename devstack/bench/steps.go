package bench

import (
	"context"
	"strings"

	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/internal/contract"
)

var stepAllocs = Measure{
	Name:  "step-allocs",
	About: "what the worker allocates to check a transcript and bring it to the form that is stored",
	Keys:  []string{"step_allocs_store", "step_alloc_bytes_store"},
	Exact: true,
	Run: func(_ context.Context, _ *Lab, out *report.Report) error {
		for _, m := range resultMessages() {
			if !strings.Contains(m.name, "en") {
				continue // other scripts allocate as much for a byte
			}
			objects, size, err := allocated(m, func(m resultMessage) error {
				_, _, err := contract.DecodeToStore(m.key, m.value)
				return err
			})
			if err != nil {
				return err
			}
			out.Add(report.Row{Key: "step_allocs_store", Value: objects, Exact: true, Of: m.name})
			out.Add(report.Row{Key: "step_alloc_bytes_store", Unit: "B", Value: size, Exact: true, Of: m.name})
		}
		return nil
	},
}
