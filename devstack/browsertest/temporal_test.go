package browsertest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/browser"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

var screenshots = flag.String("screenshots", "", "write the pictures of docs/operators.md into this folder")

// The videos, by what becomes of them.
const (
	waiting    contract.VideoID = "0b000000-0000-4000-8000-000000000001"
	askedAgain contract.VideoID = "0b000000-0000-4000-8000-000000000002"
	overdue    contract.VideoID = "0b000000-0000-4000-8000-000000000003"
	givenUp    contract.VideoID = "0b000000-0000-4000-8000-000000000004"
	done       contract.VideoID = "0b000000-0000-4000-8000-000000000005"
	failing    contract.VideoID = "0b000000-0000-4000-8000-000000000006"
	deleted    contract.VideoID = "0b000000-0000-4000-8000-000000000007"
	unknown    contract.VideoID = "0b000000-0000-4000-8000-000000000008"
	retried    contract.VideoID = "0b000000-0000-4000-8000-000000000009"
	cancelled  contract.VideoID = "0b000000-0000-4000-8000-00000000000a"
)

var titles = map[contract.VideoID]string{
	waiting: "Binary search, step by step", askedAgain: "Hash tables and collisions", overdue: "Quicksort in practice",
	givenUp: "Graphs: breadth first", done: "Merge sort, explained", failing: "Dynamic programming", deleted: "Heaps, first take",
	retried: "Processes and threads", cancelled: "Virtual memory",
}

func (w *world) states() {
	w.start("kafkabridge")
	w.start("starter")
	state := func(track func(contract.Pipeline) contract.TrackState, want contract.TrackState) func(contract.Pipeline) bool {
		return func(p contract.Pipeline) bool { return track(p) == want }
	}
	transcription := func(p contract.Pipeline) contract.TrackState { return p.Transcription.State }
	compression := func(p contract.Pipeline) contract.TrackState { return p.Compression.State }

	w.start("worker", envfile.Var{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: "2s"})
	w.create(givenUp, seed.Courses[0], titles[givenUp])
	w.compress(givenUp)
	w.pipeline(givenUp, "the transcription is given up", state(transcription, contract.GivenUp))
	w.stop("worker")

	for _, id := range []contract.VideoID{done, overdue, askedAgain, failing, deleted, waiting} {
		w.create(id, seed.Courses[0], titles[id])
	}
	for _, id := range []contract.VideoID{retried, cancelled} {
		w.create(id, seed.Courses[1], titles[id])
	}
	w.db.Exec(w.t, `update pipeline.videos set asks = 1, asked_at = now() - interval '6 hours 3 minutes' where video_id = $1`, askedAgain)
	w.db.Exec(w.t, `update pipeline.videos set compression_since = now() - interval '25 hours' where video_id = $1`, overdue)
	if err := w.storage.Order(w.t.Context(), storage.Fault{Kind: storage.BadGateway, Path: string(failing), Count: 1000}); err != nil {
		w.t.Fatal(err)
	}
	w.start("worker")
	for id := range titles {
		w.pipeline(id, "asked", func(p contract.Pipeline) bool { return p.Transcription.Asks > 0 })
	}
	for _, id := range []contract.VideoID{done, overdue, failing, retried, unknown} {
		w.transcribe(id)
	}
	for _, id := range []contract.VideoID{done, retried, failing} {
		w.compress(id)
	}
	w.pipeline(askedAgain, "it is asked for again", func(p contract.Pipeline) bool { return p.Transcription.Asks == 2 })
	w.pipeline(overdue, "the compression is overdue", state(compression, contract.Overdue))
	w.pipeline(failing, "the step fails", func(p contract.Pipeline) bool { return p.Transcription.LastError != nil })
	w.pipeline(done, "both are done", state(compression, contract.Done))
}

func TestTemporalUI(t *testing.T) {
	w := newWorld(t, "ui", "default")
	w.states()
	ui := need(t, "VIDFLOW_TEST_TEMPORAL_UI")
	tab := browser.New(t).Tab(t)
	n := 0
	shot := func(name, path string, texts ...string) {
		tab.Open(ui + path)
		tab.AwaitText(texts...)
		<-time.After(4*time.Second)
		n++
		os.WriteFile(filepath.Join(*screenshots, fmt.Sprintf("%02d-%s.png", n, name)), tab.Screenshot(), 0o644)
		os.WriteFile(filepath.Join(*screenshots, fmt.Sprintf("%02d-%s.txt", n, name)), []byte(tab.Text()), 0o644)
	}
	shot("list", "/namespaces/default/workflows", string(waiting))
	run := func(id contract.VideoID) string {
		d, err := w.temporal.DescribeWorkflowExecution(t.Context(), workflows.WorkflowID(id), "")
		if err != nil {
			t.Fatal(err)
		}
		return "/namespaces/default/workflows/" + strings.ReplaceAll(workflows.WorkflowID(id), "/", "%2F") + "/" + d.WorkflowExecutionInfo.Execution.RunId
	}
	for _, id := range []contract.VideoID{failing, givenUp, unknown} {
		shot("run-"+titles[id], run(id), string(id))
		for _, page := range []string{"history", "pending-activities", "user-metadata", "query", "workers"} {
			shot("run-"+titles[id]+"-"+page, run(id)+"/"+page, string(id))
		}
	}
	shot("start", "/namespaces/default/workflows/start-workflow", "Start")
	shot("tq", "/namespaces/default/task-queues/videos", "videos")
	shot("workers", "/namespaces/default/workers", "orkers")
}
