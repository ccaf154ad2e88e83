package starter

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// typeRunEnded is the server's own: the run ended after it had accepted the retry and before it had answered.
const typeRunEnded = "AcceptedUpdateCompletedWorkflow"

// retryAfterBusy is what a caller is told to wait when the run of their video cannot take a retry just now.
const retryAfterBusy = 2 * time.Second

type retryInput struct {
	VideoID videoIDParam `path:"videoId"`
	Force   bool         `query:"force" doc:"The same as the body's member, for callers who send no body."`
	Body    *retryBody
}

type retryBody struct {
	_ struct{} `json:"-" additionalProperties:"true"`

	Force bool `json:"force,omitempty" doc:"Ask again although the transcript is stored, or an answer is still waited for."`
}

type retryOutput struct {
	Location string `header:"Location" doc:"Where the video's pipeline can be followed."`
	Body     RetryAnswer
}

// RetryAnswer says that a transcription is asked for again.
type RetryAnswer struct {
	Success bool      `json:"success" doc:"Always true."`
	Message string    `json:"message"`
	Data    RetryView `json:"data"`
}

// RetryView is what a retry led to.
type RetryView struct {
	ID       string       `json:"id" format:"uuid"`
	Ask      int          `json:"ask" doc:"The number of the ask that this led to, counted over the video's life."`
	Pipeline PipelineView `json:"pipeline"`
}

// retry hands the wish to the video's run, and starts one when there is none, in a single call. It needs Temporal and a
// worker that answers in time: only the run can say whether there is something to retry.
func (s *Starter) retry(ctx context.Context, in *retryInput) (*retryOutput, error) {
	id := in.VideoID.id
	caller := callerOf(ctx)
	if err := s.ownVideo(ctx, caller, id); err != nil {
		return nil, err
	}
	v, err := s.video(ctx, id)
	if err != nil {
		return nil, err
	}
	force := in.Force || (in.Body != nil && in.Body.Force)
	retried, err := s.askAgain(ctx, *v.Video, workflows.Retry{Force: force})
	if err != nil {
		return nil, retryProblem(err)
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "transcription retried", slog.String("video_id", id.String()),
		slog.String("workflow_id", workflows.WorkflowID(id)), slog.Int("ask", retried.Ask), slog.Bool("force", force),
		slog.String("user_id", caller.UserID), slog.String("request_id", requestID(ctx)))

	out := &retryOutput{Location: pipelinePath(id), Body: RetryAnswer{
		Success: true, Message: "The transcription is asked for again.",
		Data: RetryView{ID: id.String(), Ask: retried.Ask, Pipeline: viewPipeline(v)},
	}}
	// The retry is done, so what the database said before it is a lesser answer than none at all would be.
	if v, err := s.store.Video(ctx, id); err == nil {
		out.Body.Data.Pipeline = viewPipeline(v)
	}
	return out, nil
}

func (s *Starter) askAgain(ctx context.Context, v contract.Video, retry workflows.Retry) (workflows.Retried, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RetryTimeout)
	defer cancel()
	return sendRetry(ctx, s.temporal, startOptions(v, s.cfg.HideTitles), v.ID, retry, "")
}

// sendRetry hands a retry to the video's run, starts one with the options when there is none, and waits for the answer. Two
// with the same update id in the same run are one; an empty one is made up.
func sendRetry(
	ctx context.Context, temporal Temporal, options client.StartWorkflowOptions, id contract.VideoID, retry workflows.Retry,
	updateID string,
) (workflows.Retried, error) {
	start := temporal.NewWithStartWorkflowOperation(options, workflows.VideoWorkflow, workflows.VideoInput{VideoID: id.String()})
	update, err := temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID:     updateID,
			WorkflowID:   options.ID,
			UpdateName:   workflows.UpdateRetry,
			Args:         []any{retry},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return workflows.Retried{}, err
	}
	var retried workflows.Retried
	err = update.Get(ctx, &retried)
	return retried, err
}

// retryProblem tells a run that refuses from one that does not answer. Refusals carry a message for callers.
func retryProblem(err error) *Problem {
	var refused *temporal.ApplicationError
	if errors.As(err, &refused) {
		switch refused.Type() {
		case workflows.ErrNothingToRetry:
			return problem(http.StatusConflict, "nothing_to_retry", refused.Message())
		case workflows.ErrNoVideo:
			return noVideo()
		case workflows.ErrBusy, typeRunEnded:
			return problem(http.StatusServiceUnavailable, "busy", "The video's workflow is busy. Please try again shortly.").
				retryAfter(retryAfterBusy).because(err)
		}
		return internalError(err)
	}
	return unavailable("The workflow service", err)
}
