package audit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
)

// Servers are where a pipeline leaves its marks.
type Servers struct {
	// Database is the superuser's address of the database.
	Database string
	Brokers  []string
	Topics   Topics
	// Storage is the project's URL.
	Storage   string
	Temporal  client.Client
	Namespace string
}

const workflowPrefix = "video/"

// TranscriptURL is the public URL of a video's transcript.
func (s Servers) TranscriptURL(video string) string {
	return s.Storage + "/storage/v1/object/public/captions/videos/" + video + ".json"
}

// Unrest is what is still under way, a sentence each: what an audit has to wait for. It is cheap.
func (s Servers) Unrest(ctx context.Context) ([]string, error) {
	conn, err := pgx.Connect(ctx, s.Database)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	unrest, err := s.waiting(ctx, conn)
	if err != nil {
		return nil, err
	}
	unanswered, vanished, err := unsettled(ctx, conn)
	if err != nil {
		return nil, err
	}
	if unanswered > 0 {
		unrest = append(unrest, fmt.Sprintf("%d videos wait for a result", unanswered))
	}
	if vanished > 0 {
		unrest = append(unrest, fmt.Sprintf("%d rows have vanished without being noticed", vanished))
	}
	open, err := s.Temporal.WorkflowService().CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: s.Namespace, Query: "ExecutionStatus = 'Running'",
	})
	if err != nil {
		return nil, err
	}
	if open.GetCount() > 0 {
		unrest = append(unrest, fmt.Sprintf("%d runs are open", open.GetCount()))
	}
	return unrest, nil
}

func (s Servers) waiting(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	left, err := pending(ctx, conn)
	if err != nil {
		return nil, err
	}
	behind, err := lag(ctx, s.Brokers, s.Topics)
	return append(left, behind...), err
}

// Gather collects all evidence of a pipeline at rest. What only the test knows (Retries, Accepted, AskAgainAfter) it
// leaves to the caller.
func (s Servers) Gather(ctx context.Context) (*Evidence, error) {
	conn, err := pgx.Connect(ctx, s.Database)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	e := &Evidence{TranscriptURL: s.TranscriptURL}
	if e.Rows, err = videoRows(ctx, conn); err != nil {
		return nil, fmt.Errorf("read the rows: %w", err)
	}
	if err := e.history(ctx, conn); err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	if e.Tracked, err = tracked(ctx, conn); err != nil {
		return nil, fmt.Errorf("read who created videos: %w", err)
	}
	if err := e.published(ctx, s.Brokers, s.Topics); err != nil {
		return nil, err
	}
	if e.Waiting, err = s.waiting(ctx, conn); err != nil {
		return nil, err
	}
	if e.Runs, err = s.runs(ctx); err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	if e.Objects, err = s.objects(ctx, e.known()); err != nil {
		return nil, fmt.Errorf("read the objects: %w", err)
	}
	return e, nil
}

// known are all videos that anything says something of.
func (e *Evidence) known() []string {
	known := map[string]bool{}
	for video := range e.Rows {
		known[video] = true
	}
	for _, r := range e.Records {
		known[r.Video] = true
	}
	for video := range e.Runs {
		known[video] = true
	}
	for video := range e.Tracked {
		known[video] = true
	}
	delete(known, "")
	list := make([]string, 0, len(known))
	for video := range known {
		list = append(list, video)
	}
	return list
}

func (s Servers) runs(ctx context.Context) (map[string][]Run, error) {
	list := map[string][]Run{}
	request := &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.Namespace, PageSize: 500, Query: "WorkflowType = 'Video'"}
	for {
		page, err := s.Temporal.WorkflowService().ListWorkflowExecutions(ctx, request)
		if err != nil {
			return nil, err
		}
		for _, info := range page.GetExecutions() {
			video := strings.TrimPrefix(info.GetExecution().GetWorkflowId(), workflowPrefix)
			list[video] = append(list[video], run(info))
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			break
		}
	}
	for _, runs := range list {
		slices.SortFunc(runs, func(a, b Run) int { return a.Started.Compare(b.Started) })
	}
	return list, nil
}

func run(info *workflowpb.WorkflowExecutionInfo) Run {
	r := Run{ID: info.GetExecution().GetRunId(), Started: info.GetStartTime().AsTime(), Status: info.GetStatus().String()}
	if info.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW {
		r.Status = Completed // its successor is in the list
	}
	return r
}

func (s Servers) objects(ctx context.Context, videos []string) (map[string]Object, error) {
	list := make(map[string]Object, len(videos))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, video := range videos {
		group.Go(func() error {
			o, err := fetch(ctx, s.TranscriptURL(video))
			mu.Lock()
			defer mu.Unlock()
			list[video] = o
			return err
		})
	}
	return list, group.Wait()
}

func fetch(ctx context.Context, url string) (Object, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Object{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Object{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return Object{}, err
	case resp.StatusCode == http.StatusOK:
		return Object{There: true, Sum: sha256.Sum256(body), Bytes: len(body)}, nil
	case resp.StatusCode == http.StatusNotFound, strings.Contains(string(body), `"404"`):
		return Object{}, nil
	}
	return Object{}, fmt.Errorf("GET %s: %s: %.200s", url, resp.Status, body)
}
