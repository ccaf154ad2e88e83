package actions_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"

	"github.com/codeendelea/vidflow/devstack/actions"
	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/internal/golden"
)

// lives are paths of a video through the workflow, as real runs recorded them for the replay tests.
var lives = []struct {
	what, history string
}{
	{"finished: asked once, both results come", "finished"},
	{"finished, without search attributes", "without-search-attributes"},
	{"asked again once", "asked-again"},
	{"asked again because the record was gone", "record-gone"},
	{"the compression is overdue, and comes", "overdue-then-compressed"},
	{"the transcription is given up after three asks, and comes all the same", "given-up-then-answered"},
	{"both are given up", "given-up"},
	{"retried by force after it was finished: the second run alone", "retried"},
	{"the storage refuses for a moment", "storage-down-with-its-trouble"},
	{"the broker is away for a moment", "broker-down"},
	{"both results are there before the worker is", "results-before-the-run"},
	{"a transcript of a video that was created elsewhere", "created-elsewhere"},
	{"deleted while it waits", "deleted-while-waiting"},
}

// TestTable is what the page on Temporal Cloud says a video costs.
func TestTable(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	table.WriteString("| a video is | events | bytes | actions | history |\n|---|---:|---:|---:|---|\n")
	for _, life := range lives {
		f, err := os.Open(filepath.Join("..", "..", "workflows", "testdata", "histories", life.history+".json"))
		if err != nil {
			t.Fatal(err)
		}
		history, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		count, err := actions.Count(history.GetEvents())
		if err != nil {
			t.Errorf("%s: %v", life.history, err)
		}
		size := 0
		for _, e := range history.GetEvents() {
			size += proto.Size(e)
		}
		fmt.Fprintf(&table, "| %s | %d | %s | %d | `%s` |\n", life.what, len(history.GetEvents()), report.Number(float64(size)), count, life.history)
	}
	file := filepath.Join("..", "..", "docs", "temporal-cloud.md")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	after, err := report.IntoDocument(before, table.String())
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, file, after)
}
