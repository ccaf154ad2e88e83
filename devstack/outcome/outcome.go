// Package outcome says what must be true, everywhere, of a video that went through the whole pipeline: in storage, in
// the database, in the API's answer and in Temporal. The transcript is worked out anew from the video's id.
package outcome

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// Querier is a connection or a pool.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Places are where a video leaves its marks.
type Places struct {
	API      api.Client
	Database Querier
	Temporal client.Client
	// Storage is SUPABASE_URL.
	Storage string
}

// Wanted is what the external services said of the video.
type Wanted struct {
	// Stored are the bytes of the transcript in storage.
	Stored []byte
	// Compressed is the URL of the compressed video.
	Compressed string
}

// Of is what a simulator that behaves like b says of a video. Length is that of its recording; zero for its own.
func Of(id contract.VideoID, b simulator.Behaviour, length time.Duration) (Wanted, error) {
	var opts []simulator.Option
	if length > 0 {
		opts = append(opts, simulator.Length(length))
	}
	stored, err := simulator.Stored(id, b.TranscriptForm(id), opts...)
	if err != nil {
		return Wanted{}, err
	}
	return Wanted{Stored: stored, Compressed: simulator.CompressedURL(id, opts...)}, nil
}

// Check looks everywhere and answers everything that is not as wanted. A run that has yet to close is waited for.
func (p Places) Check(ctx context.Context, id contract.VideoID, want Wanted) error {
	checks := []struct {
		what  string
		check func(context.Context, contract.VideoID, Wanted) error
	}{
		{"GET …/pipeline", p.checkAPI},
		{"database", p.checkColumns},
		{"public URL", p.checkStorage},
		{"Temporal", p.checkRun},
	}
	var errs []error
	for _, c := range checks {
		if err := c.check(ctx, id, want); err != nil {
			errs = append(errs, fmt.Errorf("video %s: %s: %w", id, c.what, err))
		}
	}
	return errors.Join(errs...)
}

// TranscriptURL is the public URL of a video's transcript.
func (p Places) TranscriptURL(id contract.VideoID) string {
	return p.Storage + "/storage/v1/object/public/captions/videos/" + string(id) + ".json"
}

func (p Places) checkAPI(ctx context.Context, id contract.VideoID, want Wanted) error {
	v, err := p.API.Pipeline(ctx, id)
	if err != nil {
		return err
	}
	type answer struct{ state, transcript, camera string }
	got := answer{v.Pipeline.State, v.TranscriptURL, v.CameraURL}
	if wanted := (answer{"done", p.TranscriptURL(id), want.Compressed}); got != wanted {
		return fmt.Errorf("got %+v, want %+v", got, wanted)
	}
	t := v.Pipeline.Transcription
	if t.Words < 1 || t.Language == "" || t.Duration <= 0 || t.LastError != nil {
		return fmt.Errorf("transcription is %+v", t)
	}
	return nil
}

func (p Places) checkColumns(ctx context.Context, id contract.VideoID, want Wanted) error {
	var transcript *string
	var camera string
	err := p.Database.QueryRow(ctx, "select transcript_url, camera_video_url from public.videos where id::text = $1",
		string(id)).Scan(&transcript, &camera)
	switch {
	case err != nil:
		return err
	case transcript == nil:
		return errors.New("transcript_url is null")
	case *transcript != p.TranscriptURL(id):
		return fmt.Errorf("transcript_url is %s, want %s", *transcript, p.TranscriptURL(id))
	case camera != want.Compressed:
		return fmt.Errorf("camera_video_url is %s, want %s", camera, want.Compressed)
	}
	return nil
}

// Transcript is what is stored at the public URL of a video's transcript.
func (p Places) Transcript(ctx context.Context, id contract.VideoID) ([]byte, error) {
	status, body, err := p.fetch(ctx, p.TranscriptURL(id))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", status, body)
	}
	return body, err
}

func (p Places) checkStorage(ctx context.Context, id contract.VideoID, want Wanted) error {
	body, err := p.Transcript(ctx, id)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(body, want.Stored):
		return fmt.Errorf("got %d bytes that differ from the %d wanted: %s", len(body), len(want.Stored), difference(body, want.Stored))
	}
	return nil
}

// CheckGone answers whether anything is left of a deleted video: its row, its transcript, an open run.
func (p Places) CheckGone(ctx context.Context, id contract.VideoID) error {
	var rows int
	err := p.Database.QueryRow(ctx, "select count(*) from public.videos where id::text = $1", string(id)).Scan(&rows)
	if err != nil {
		return err
	}
	if rows != 0 {
		return fmt.Errorf("video %s: its row is still there", id)
	}
	status, body, err := p.fetch(ctx, p.TranscriptURL(id))
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		return fmt.Errorf("video %s: its transcript is still there: %.80s", id, body)
	}
	open, err := p.open(ctx, id)
	if err != nil {
		return err
	}
	if open {
		return fmt.Errorf("video %s: its run is still open", id)
	}
	return nil
}

func (p Places) fetch(ctx context.Context, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// checkRun waits for the latest run to close, which it does a moment after the last result was applied.
func (p Places) checkRun(ctx context.Context, id contract.VideoID, _ Wanted) error {
	workflowID := workflows.WorkflowID(id)
	run, err := p.Temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	if err != nil {
		return err
	}
	runID := run.GetWorkflowExecutionInfo().GetExecution().GetRunId()
	if err := p.Temporal.GetWorkflow(ctx, workflowID, runID).Get(ctx, nil); err != nil {
		return fmt.Errorf("the run did not end well: %w", err)
	}
	return nil
}

func (p Places) open(ctx context.Context, id contract.VideoID) (bool, error) {
	list, err := p.Temporal.WorkflowService().ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: "default",
		Query:     fmt.Sprintf("WorkflowId = '%s'", workflows.WorkflowID(id)),
	})
	if err != nil {
		return false, err
	}
	for _, run := range list.GetExecutions() {
		if run.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return true, nil
		}
	}
	return false, nil
}

// difference shows where two texts part.
func difference(got, want []byte) string {
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	const around = 40
	excerpt := func(b []byte) []byte { return b[max(0, min(at-around, len(b))):min(at+around, len(b))] }
	return fmt.Sprintf("from byte %d on, got …%q…, want …%q…", at, excerpt(got), excerpt(want))
}
