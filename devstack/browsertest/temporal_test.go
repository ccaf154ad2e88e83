package browsertest

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"

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
	waiting: "1. Binary search", askedAgain: "Hash tables & collisions", overdue: "Quicksort in practice",
	givenUp: "Graphs: breadth first", done: "Merge sort, explained", failing: "Dynamic programming", deleted: "Heaps (first take)",
	retried: "Processes and threads", cancelled: "Virtual memory",
}

// The queries of docs/operators.md, in which a word in capitals is to be replaced.
const (
	queryWaiting  = `ExecutionStatus="Running" AND Transcription="waiting"`
	queryBefore   = `ExecutionStatus="Running" AND Transcription="waiting" AND StartTime<"TIME"`
	queryFailed   = `ExecutionStatus="Failed" AND CloseTime>="TIME"`
	queryVideo    = `WorkflowId="video/ID"`
	queryTitle    = `Title STARTS_WITH "TITLE"`
	queryOverdue  = `ExecutionStatus="Running" AND Compression="overdue"`
	queryAgain    = `ExecutionStatus="Running" AND Transcription="waiting" AND Asks>1`
	queryTrouble  = `ExecutionStatus="Running" AND Trouble IS NOT NULL`
	queryStep     = `ExecutionStatus="Running" AND Trouble="StoreTranscript"`
	queryUntitled = `ExecutionStatus="Running" AND Transcription IS NULL`
	queryCourse   = `CourseId="COURSE"`
	queryDeleted  = `ExecutionStatus="Completed" AND (Transcription="waiting" OR Compression="waiting" OR Compression="overdue")`
)

// TestOperatorsPage: the page has the queries and the addresses that are tested here, and shows every picture.
func TestOperatorsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	has := func(text string) {
		if !strings.Contains(string(page), text) {
			t.Errorf("docs/operators.md has no %s", text)
		}
	}
	for _, query := range []string{
		queryWaiting, queryBefore, queryFailed, queryVideo, queryTitle, queryOverdue, queryAgain, queryTrouble, queryStep, queryUntitled,
		queryCourse, queryDeleted,
	} {
		has("`" + query + "`")
	}
	for _, query := range []string{queryWaiting, queryOverdue, queryAgain, queryTrouble} {
		has("`/namespaces/default/workflows?query=" + url.QueryEscape(query) + "`")
	}
	has(startForm + "ID`")
	pictures, err := filepath.Glob("../../docs/images/temporal-*.png")
	if err != nil || len(pictures) == 0 {
		t.Fatalf("no pictures: %v", err)
	}
	for _, picture := range pictures {
		has("](images/" + filepath.Base(picture) + ")")
	}
	if shown := strings.Count(string(page), "](images/"); shown != len(pictures) {
		t.Errorf("docs/operators.md shows %d pictures, and there are %d", shown, len(pictures))
	}
}

// console is the Temporal UI, and the pipeline that it shows.
type console struct {
	*world
	tab *browser.Tab
	ui  string
	// others is when the videos but the first and the second were created.
	others time.Time
}

// newConsole brings the videos into their states.
func newConsole(t *testing.T) *console {
	t.Helper()
	c := &console{world: newWorld(t, "ui", "default"), ui: need(t, "VIDFLOW_TEST_TEMPORAL_UI")}
	c.start("kafkabridge")
	c.start("starter")

	// No answer at all, with short times.
	c.start("worker", envfile.Var{Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Value: "1s"})
	c.create(givenUp, seed.Courses[0], titles[givenUp])
	c.awaitRun(givenUp, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	c.compress(givenUp)
	c.awaitRun(givenUp, enumspb.WORKFLOW_EXECUTION_STATUS_FAILED)
	c.stop("worker")

	// The others have the times of production; what is late was moved back before their runs begin.
	c.create(waiting, seed.Courses[0], titles[waiting])
	c.awaitRun(waiting, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	c.others = time.Now()
	for _, id := range []contract.VideoID{done, overdue, askedAgain, failing, deleted} {
		c.create(id, seed.Courses[0], titles[id])
	}
	for _, id := range []contract.VideoID{retried, cancelled} {
		c.create(id, seed.Courses[1], titles[id])
	}
	c.db.Exec(t, `update pipeline.videos set asks = 1, asked_at = now() - interval '6 hours 3 minutes' where video_id = $1`, askedAgain)
	c.db.Exec(t, `update pipeline.videos set compression_since = now() - interval '25 hours' where video_id = $1`, overdue)
	if err := c.storage.Order(t.Context(), storage.Fault{Kind: storage.BadGateway, Path: string(failing), Count: 1000}); err != nil {
		t.Fatal(err)
	}
	c.start("worker")
	for id := range titles {
		c.pipeline(id, titles[id]+" is asked for", func(p contract.Pipeline) bool { return p.Transcription.Asks > 0 })
	}
	for _, id := range []contract.VideoID{done, overdue, failing, retried, unknown} {
		c.transcribe(id)
	}
	for _, id := range []contract.VideoID{done, failing} {
		c.compress(id)
	}
	if err := c.temporal.CancelWorkflow(t.Context(), workflows.WorkflowID(cancelled), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.db.Store.DeleteVideo(t.Context(), deleted, 0); err != nil {
		t.Fatal(err)
	}
	c.pipeline(askedAgain, "it is asked for again", func(p contract.Pipeline) bool { return p.Transcription.Asks == 2 })
	c.pipeline(overdue, "the compression is overdue", func(p contract.Pipeline) bool { return p.Compression.State == contract.Overdue })
	c.pipeline(failing, "the step fails", func(p contract.Pipeline) bool { return p.Transcription.LastError != nil })
	c.awaitRun(done, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	c.awaitRun(deleted, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	c.awaitRun(cancelled, enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED)
	c.awaitRun(unknown, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)

	c.tab = browser.New(t).Tab(t)
	c.tab.Open(c.ui + "/render") // the UI's origin, whose storage keeps what the gear below the list sets
	c.tab.Eval(`localStorage.setItem("namespace-workflow-table-columns", JSON.stringify({default:
		["Status", "Title", "Transcription", "Compression", "Asks", "Trouble", "Workflow ID", "Start"].map(label => ({label}))}))`, nil)
	return c
}

// awaitRun waits until the latest run of a video has that status.
func (c *console) awaitRun(id contract.VideoID, want enumspb.WorkflowExecutionStatus) {
	c.t.Helper()
	c.await(fmt.Sprintf("the run of %s is %s", titles[id], want), func(ctx context.Context) error {
		d, err := c.temporal.DescribeWorkflowExecution(ctx, workflows.WorkflowID(id), "")
		if err != nil {
			return err
		}
		if got := d.GetWorkflowExecutionInfo().GetStatus(); got != want {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// list opens the list of runs that a query finds and waits until it has these videos and no others, in any order.
func (c *console) list(query string, want ...contract.VideoID) {
	c.t.Helper()
	slices.Sort(want)
	c.await("the list of "+query, func(ctx context.Context) error {
		c.tab.Open(c.ui + "/namespaces/default/workflows?query=" + url.QueryEscape(query))
		ctx, cancel := context.WithTimeout(ctx, patience/3) // then it is opened anew
		defer cancel()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			var got []contract.VideoID
			c.tab.Eval(`[...new Set([...document.querySelectorAll("table a")].map(a => a.innerText.trim())
				.filter(s => s.startsWith("video/")).map(s => s.slice(6)))].sort()`, &got)
			diff := cmp.Diff(want, got)
			if diff == "" {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("rows (-want +got):\n%sthe page shows:\n%s", diff, c.tab.Text())
			case <-tick.C:
			}
		}
	})
}

// run opens a page of the latest run of a video.
func (c *console) run(id contract.VideoID, page string) {
	c.t.Helper()
	d, err := c.temporal.DescribeWorkflowExecution(c.t.Context(), workflows.WorkflowID(id), "")
	if err != nil {
		c.t.Fatal(err)
	}
	c.tab.Open(c.ui + "/namespaces/default/workflows/" + url.QueryEscape(workflows.WorkflowID(id)) + "/" +
		d.GetWorkflowExecutionInfo().GetExecution().GetRunId() + "/" + page)
}

// picture keeps what the tab shows, once it shows these texts.
func (c *console) picture(name string, texts ...string) {
	c.t.Helper()
	c.tab.AwaitText(texts...)
	if *screenshots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*screenshots, "temporal-"+name+".png"), c.tab.Screenshot(), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// in is the console for a subtest, whose failures are its own.
func (c *console) in(t *testing.T) *console {
	w := *c.world
	w.t = t
	return &console{world: &w, tab: c.tab.In(t), ui: c.ui, others: c.others}
}

// TestTemporalUI asks the questions of docs/operators.md and reads the answers where that page says that they are.
func TestTemporalUI(t *testing.T) {
	all := newConsole(t)
	for _, q := range []struct {
		name string
		ask  func(*console)
	}{
		{"all of them", func(c *console) {
			c.list("", waiting, askedAgain, overdue, givenUp, done, failing, deleted, unknown, retried, cancelled)
			c.picture("list", "1. Binary search", "StoreTranscript", "given_up", "Hash tables & collisions")
		}},
		{"which wait longest", func(c *console) {
			c.list(queryWaiting, waiting, askedAgain, failing)
			c.list(strings.Replace(queryBefore, "TIME", c.others.UTC().Format(time.RFC3339Nano), 1), waiting)
			c.run(waiting, "user-metadata")
			c.picture("waiting", "1. Binary search", "transcription waiting ask 1 of 3 at 20", "; if nothing comes, asked again at 20", "compression waiting since 20", "; if nothing comes, overdue at 20")
		}},
		{"which failed since yesterday, and why", func(c *console) {
			c.list(strings.Replace(queryFailed, "TIME", time.Now().Add(-24*time.Hour).UTC().Format(time.RFC3339), 1), givenUp)
			c.run(givenUp, "timeline")
			c.picture("failed", "FAILED", "No transcription came for any of 3 asks. See that the transcription service runs, then retry.", workflows.ErrTranscriptionGivenUp,
				": ask for the transcription again (2 of 3), unless it has come", ": give the transcription up, unless it has come")
			c.run(givenUp, "user-metadata")
			c.tab.AwaitText("transcription given up asked for 3 times", "No transcription came for any of 3 asks. See that the transcription service runs, then retry.",
				"To ask again: the update retry; when the run has ended, start one with the same id and the input")
		}},
		{"what happened to this one", func(c *console) {
			c.list(strings.Replace(queryTitle, "TITLE", "Merge", 1), done)
			c.list(strings.Replace(queryVideo, "ID", string(done), 1), done)
			c.run(done, "user-metadata")
			c.picture("done", "Merge sort, explained", "recording", "transcription done asked for once: transcript", "compression done compressed video", "All videos of the course")
			c.links(map[string]string{
				"recording":                "https://recordings.example.test/" + string(done) + ".mp4",
				"transcript":               need(c.t, "SUPABASE_URL") + "/storage/v1/object/public/captions/" + done.TranscriptPath(),
				"All videos of the course": c.ui + "/namespaces/default/workflows?query=CourseId%3D%22" + seed.Courses[0].ID + "%22",
			})
			c.run(done, "history")
			c.tab.AwaitText("Load the plan, ask for a transcription", "Store the transcript (", "Set the URL of the compressed video")
		}},
		{"which are overdue", func(c *console) {
			c.list(queryOverdue, overdue)
			c.run(overdue, "user-metadata")
			c.picture("overdue", "Quicksort in practice", "transcription done asked for once: transcript", "compression overdue since 20", "; if nothing comes, given up at 20")
		}},
		{"which are asked for again", func(c *console) {
			c.list(queryAgain, askedAgain)
			c.picture("asked-again", "Hash tables & collisions")
			c.run(askedAgain, "user-metadata")
			c.tab.AwaitText("Hash tables & collisions", "transcription waiting ask 2 of 3 at 20")
		}},
		{"where a step fails right now", func(c *console) {
			c.list(queryTrouble, failing)
			c.list(queryStep, failing)
			c.run(failing, "user-metadata")
			c.picture("trouble", "transcription waiting asked for once; a result has come and is being stored", "Store the transcript (", "fails since 20", "and is tried again until it succeeds. See that the storage, Kafka and the database are there.",
				"First error: storage: upload", "502 Bad Gateway", "Latest error and next try")
			var pending string
			c.tab.Eval(frameLinks+`.find(a => a.innerText === "Latest error and next try").href`, &pending)
			c.tab.Open(pending)
			c.picture("pending", "StoreTranscript", "Attempt", "Next Retry", "Last Failure", "502 Bad Gateway")
		}},
		{"all of a course", func(c *console) {
			c.list(strings.Replace(queryCourse, "COURSE", seed.Courses[1].ID, 1), retried, cancelled)
			c.picture("course", "Processes and threads", "Virtual memory")
		}},
		{"how to ask again while a run is open", func(c *console) {
			c.run(retried, "timeline")
			c.tab.AwaitText("Auto Refresh On")
			c.tab.Click("button", "More Actions")
			c.tab.Click("[role=menuitem]", "Send an Update")
			c.tab.Click(`[data-testid="update-select-button"]`, "")
			c.tab.AwaitText("Ask for another transcription.")
			c.tab.Click("[role=option]", "retry")
			c.tab.Type(`[aria-label="Data"]`, `{"force": true}`)
			c.picture("retry", "Send an Update", `"force"`)
			c.tab.Click("button", "Submit")
			c.pipeline(retried, "it is asked for again", func(p contract.Pipeline) bool { return p.Transcription.Asks == 2 })
		}},
		{"whether it was retried", func(c *console) {
			c.run(retried, "history")
			c.picture("retried", "Update Accepted", "Name retry", "Retry the transcription")
		}},
		{"how to ask again when the run has ended", func(c *console) {
			c.form(givenUp)
			c.tab.Type(`[aria-label="Data"]`, `{"videoId": "`+string(givenUp)+`", "retry": {}}`)
			c.picture("start", "Task Queue is Active", `"retry"`)
			c.tab.Click("button", "Start Workflow")
			c.pipeline(givenUp, "it is asked for a fourth time", func(p contract.Pipeline) bool {
				return p.Transcription.Asks == 4 && p.Transcription.State == contract.Waiting
			})
			c.awaitRun(givenUp, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		}},
		{"how to start a run by hand", func(c *console) {
			c.run(cancelled, "user-metadata")
			c.tab.AwaitText("CANCELED", "Virtual memory", "The run was cancelled: it finishes what it has in hand and asks for nothing more. To go on, start another one")
			c.form(cancelled)
			c.tab.Type(`[aria-label="Data"]`, `{"videoId": "`+string(cancelled)+`"}`)
			c.tab.Click("button", "Start Workflow")
			c.awaitRun(cancelled, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
			c.list(`ExecutionStatus="Running" AND CourseId="`+seed.Courses[1].ID+`"`, retried, cancelled)
		}},
		{"which were deleted while they ran", func(c *console) {
			c.list(queryDeleted, deleted)
			c.picture("deleted", "Heaps (first take)")
			c.run(deleted, "timeline")
			c.tab.AwaitText("COMPLETED", `"missing": "deleted"`)
			c.run(deleted, "user-metadata")
			c.tab.AwaitText("Heaps (first take)", "The video was deleted; nothing is left to do.")
		}},
		{"whether a worker polls", func(c *console) {
			c.tab.Open(c.ui + "/namespaces/default/task-queues/videos")
			c.picture("workers", "videos", "Pollers", "RUNNING", "SHUTTING DOWN")
		}},
		{"what a run without a video is", func(c *console) {
			c.list(queryUntitled, unknown)
			c.run(unknown, "user-metadata")
			c.picture("unknown", "Started by a result on update_transcribe-ui", "There is no video with this id yet. At 20", "it is looked for once more, then the run ends.")
		}},
		{"which video it is, whatever its title", func(c *console) {
			const id, title = contract.VideoID("0b000000-0000-4000-8000-00000000000b"), "Pointers: *p and *q | <b>bold</b>"
			c.create(id, seed.OtherCourse, title)
			c.pipeline(id, "it is asked for", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
			c.run(id, "user-metadata")
			c.tab.Await("summary and details say it as it is", frameTexts+`.split(`+"`"+title+"`"+`).length === 3`)
		}},
	} {
		t.Run(q.name, func(t *testing.T) { q.ask(all.in(t)) })
	}
}

// frameLinks are the links of what the UI makes of markdown.
const frameLinks = `[...document.querySelectorAll("iframe")].flatMap(f => [...f.contentDocument.querySelectorAll("a")])`

// frameTexts is what the UI makes of markdown, as a person reads it.
const frameTexts = `[...document.querySelectorAll("iframe")].map(f => f.contentDocument.body.innerText).join("\n")`

// links compares where links lead to.
func (c *console) links(want map[string]string) {
	c.t.Helper()
	var got map[string]string
	c.tab.Eval(`Object.fromEntries(`+frameLinks+`.map(a => [a.innerText, a.href]))`, &got)
	for text, address := range want {
		if got[text] != address {
			c.t.Errorf("the link %q leads to %q, want %q", text, got[text], address)
		}
	}
}

// startForm is the address of the form that starts a run; the id of the video follows.
const startForm = "/namespaces/default/workflows/start-workflow?workflowType=Video&taskQueue=videos&workflowId=video%2F"

// form opens the form that starts a run like the last one of a video.
func (c *console) form(id contract.VideoID) {
	c.t.Helper()
	c.tab.Open(c.ui + startForm + string(id))
	c.tab.Await("the form has the last run's input", `document.querySelector('[aria-label="Data"]')?.innerText.includes("`+string(id)+`")`)
}
