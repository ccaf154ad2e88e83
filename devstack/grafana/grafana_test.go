package grafana

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/codeendelea/vidflow/internal/golden"
)

const folder = "../../deploy/grafana/dashboards"

// TestBoards_are_up_to_date: the committed files are what the code makes, and Grafana's own types take them.
func TestBoards_are_up_to_date(t *testing.T) {
	t.Parallel()
	boards, err := Boards()
	if err != nil {
		t.Fatal(err)
	}
	plugins.RegisterDefaultPlugins()
	var want []string
	for name, text := range boards {
		want = append(want, filepath.Join(folder, name))
		golden.Equal(t, filepath.Join(folder, name), text)
		for _, err := range problems(text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	slices.Sort(want)
	got, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files in %s (-code +there):\n%s", folder, diff)
	}
}

// problems are what Grafana's own types do not take of a dashboard.
func problems(text []byte) []error {
	var all []error
	note := func(err error) {
		var several cog.BuildErrors // of which there may be none: then it is no error
		if errors.As(err, &several) {
			for _, one := range several {
				all = append(all, one)
			}
		} else if err != nil {
			all = append(all, err)
		}
	}
	var d dashboard.Dashboard //nolint:staticcheck // see render
	note(d.UnmarshalJSONStrict(text))
	note(d.Validate())
	return all
}

func TestProblems(t *testing.T) {
	t.Parallel()
	boards, err := Boards()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ old, bad string }{
		{`"title": "Results",`, `"title": "Results", "tittle": "Results",`},
		{`"description": "Whether`, `"description": 7, "tooltip": "Whether`},
		{`"uid": "${datasource}"`, `"uid": true`},
	} {
		text := strings.Replace(string(boards["vidflow-overview.json"]), row.old, row.bad, 1)
		if len(problems([]byte(text))) == 0 {
			t.Errorf("%s in the place of %s is taken", row.bad, row.old)
		}
	}
}

// TestPanels_explain_themselves: each has a title of its own, says what it shows, and has a unit and an expression.
func TestPanels_explain_themselves(t *testing.T) {
	t.Parallel()
	uids := map[string]bool{}
	for _, b := range []board{overview(), worker(), starter(), bridge()} {
		if uids[b.uid] {
			t.Errorf("two dashboards are %s", b.uid)
		}
		uids[b.uid] = true
		for _, r := range b.rows {
			titles := map[string]bool{}
			for _, p := range r.panels {
				if p.title == "" || p.about == "" || p.unit == "" || len(p.queries) == 0 || titles[p.title] {
					shown, _ := json.Marshal([]string{b.title, r.title, p.title, p.about, p.unit})
					t.Errorf("a panel lacks something, or has the title of its neighbour: %s", shown)
				}
				titles[p.title] = true
			}
		}
	}
}
