package starter_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/internal/golden"
	"github.com/codeendelea/vidflow/starter"
	"github.com/codeendelea/vidflow/workflows"
)

// retrying is a Temporal whose runs answer every retry the same.
type retrying struct {
	temporalAway
	refuse error // what the update fails with
	fail   error // what the call fails with
}

func (r retrying) UpdateWithStartWorkflow(ctx context.Context, _ client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	if errors.Is(r.fail, context.DeadlineExceeded) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return retried{err: r.refuse}, r.fail
}

type retried struct{ err error }

func (retried) WorkflowID() string { return "" }
func (retried) RunID() string      { return "" }
func (retried) UpdateID() string   { return "" }

func (r retried) Get(_ context.Context, valuePtr any) error {
	if r.err != nil {
		return r.err
	}
	return json.Unmarshal([]byte(`{"ask": 7}`), valuePtr)
}

func TestRetryOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		temporal   retrying
		status     int
		code       string
		retryAfter string
	}{
		"asked": {retrying{}, 202, "", ""},
		"nothing to retry": {retrying{refuse: temporal.NewNonRetryableApplicationError(
			"an answer is awaited until noon", workflows.ErrNothingToRetry, nil)}, 409, "nothing_to_retry", ""},
		"refused when admitted": {retrying{fail: temporal.NewNonRetryableApplicationError(
			"an answer is awaited until noon", workflows.ErrNothingToRetry, nil)}, 409, "nothing_to_retry", ""},
		"no video":       {retrying{refuse: temporal.NewNonRetryableApplicationError("gone", workflows.ErrNoVideo, nil)}, 404, "no_video", ""},
		"busy":           {retrying{refuse: temporal.NewNonRetryableApplicationError("busy", workflows.ErrBusy, nil)}, 503, "busy", "2"},
		"run ended":      {retrying{refuse: temporal.NewNonRetryableApplicationError("Workflow Update failed", "AcceptedUpdateCompletedWorkflow", nil)}, 503, "busy", "2"},
		"run failed":     {retrying{refuse: temporal.NewNonRetryableApplicationError("boom at line 3", "Panic", nil)}, 500, "internal_error", ""},
		"away":           {retrying{fail: serviceerror.NewUnavailable("connection refused to 10.1.2.3:7233")}, 503, "unavailable", "5"},
		"no worker":      {retrying{fail: context.DeadlineExceeded}, 503, "unavailable", "5"},
		"namespace gone": {retrying{fail: serviceerror.NewNamespaceNotFound("videos-prod")}, 503, "unavailable", "5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(deps *starter.Deps, cfg *starter.Config) {
				deps.Temporal, cfg.RetryTimeout = c.temporal, soon
				if errors.Is(c.temporal.fail, context.DeadlineExceeded) {
					cfg.RetryTimeout = 50 * time.Millisecond
				}
			})
			id := w.db.Video(t, w.course)
			a := w.call(http.MethodPost, "/api/videos/"+id.String()+"/transcription/retry", w.owner(), `{"force": false}`).expect(t, c.status)
			equal(t, "Retry-After", a.header.Get("Retry-After"), c.retryAfter)
			if c.code != "" {
				a.code(t, c.code)
				if c.status >= 500 {
					golden.Equal(t, "testdata/problems/retry_"+c.code+".json", anonymous(t, a))
				}
				if c.status == 409 {
					equal(t, "sentence", decode[starter.Problem](t, a).Message, "an answer is awaited until noon")
				}
				return
			}
			got := decode[starter.RetryAnswer](t, a)
			equal(t, "ask", got.Data.Ask, 7)
			equal(t, "id", got.Data.ID, id.String())
			equal(t, "Location", a.header.Get("Location"), pipelineOf(id))
		})
	}
}

// anonymous takes the request id out of a problem.
func anonymous(t *testing.T, a answer) []byte {
	t.Helper()
	p := decode[map[string]any](t, a)
	delete(p, "request_id")
	out, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// TestRetryBody takes the wish to force from the body or the query, and neither is needed.
func TestRetryBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query string
		body  any
		force bool
	}{
		"no body":    {"", nil, false},
		"empty":      {"", `{}`, false},
		"forced":     {"", `{"force":true,"why":"because"}`, true},
		"by query":   {"?force=true", nil, true},
		"not forced": {"?force=false", `{"force":false}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan client.UpdateWithStartWorkflowOptions, 1)
			w := newWorld(t, func(deps *starter.Deps, _ *starter.Config) { deps.Temporal = noting{asked: asked} })
			id := w.db.Video(t, w.course)
			w.call(http.MethodPost, "/api/videos/"+id.String()+"/transcription/retry"+c.query, w.owner(), c.body).expect(t, http.StatusAccepted)
			o := (<-asked).UpdateOptions
			equal(t, "update", o.UpdateName, workflows.UpdateRetry)
			equal(t, "workflow", o.WorkflowID, "video/"+id.String())
			equal(t, "arguments", o.Args, []any{workflows.Retry{Force: c.force}})
		})
	}
}

type noting struct {
	retrying
	asked chan<- client.UpdateWithStartWorkflowOptions
}

func (n noting) UpdateWithStartWorkflow(_ context.Context, o client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	n.asked <- o
	return retried{}, nil
}

func TestRetryNeedsTheVideo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call(http.MethodPost, "/api/videos/"+uuid.NewString()+"/transcription/retry", w.admin(), nil).expect(t, http.StatusNotFound).code(t, "no_video")
}
