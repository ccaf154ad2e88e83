package worker

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	sdk "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// TestMetrics_of_tries counts each by its outcome, and forgets what is settled.
func TestMetrics_of_tries(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	for track, outcomes := range map[contract.Track][]workflows.Outcome{
		contract.TranscriptionTrack: {workflows.ResultApplied, workflows.ResultApplied, workflows.ResultSuperseded, workflows.ResultGone, ""},
		contract.CompressionTrack:   {workflows.VideoMissing, ""},
	} {
		for _, outcome := range outcomes {
			m.ResultTried(activities.Try{Track: track, Outcome: outcome, RecordTime: time.Now().Add(-3 * time.Second)})
		}
	}
	m.ResultTried(activities.Try{Track: contract.TranscriptionTrack, Refused: true})
	m.ResultTried(activities.Try{Track: contract.TranscriptionTrack, Outcome: workflows.ResultApplied, RecordTime: time.Now().Add(time.Hour)})
	m.VideoMissing(workflows.Unknown)
	m.Captioned(90 * time.Second)
	want := `
		# HELP vidflow_worker_missing_videos_total Times that a run looked for its video and found none, by why. A run looks twice for one that is unknown.
		# TYPE vidflow_worker_missing_videos_total counter
		vidflow_worker_missing_videos_total{reason="deleted"} 0
		vidflow_worker_missing_videos_total{reason="unknown"} 1
		# HELP vidflow_worker_results_total Results that a step was done with, by what became of them: applied, superseded by a newer one, gone from Kafka, of a missing video, refused for good. A step that is repeated after an outcome that nobody learned counts again.
		# TYPE vidflow_worker_results_total counter
		vidflow_worker_results_total{outcome="applied",track="compression"} 0
		vidflow_worker_results_total{outcome="applied",track="transcription"} 3
		vidflow_worker_results_total{outcome="gone",track="compression"} 0
		vidflow_worker_results_total{outcome="gone",track="transcription"} 1
		vidflow_worker_results_total{outcome="missing",track="compression"} 1
		vidflow_worker_results_total{outcome="missing",track="transcription"} 0
		vidflow_worker_results_total{outcome="refused",track="compression"} 0
		vidflow_worker_results_total{outcome="refused",track="transcription"} 1
		vidflow_worker_results_total{outcome="superseded",track="compression"} 0
		vidflow_worker_results_total{outcome="superseded",track="transcription"} 1
	`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want),
		"vidflow_worker_missing_videos_total", "vidflow_worker_results_total"); err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "vidflow_worker_result_apply_seconds" {
			continue
		}
		for _, h := range f.GetMetric() {
			if h.GetLabel()[0].GetValue() != string(contract.TranscriptionTrack) {
				continue
			}
			// Two of three seconds, and one from a clock that is ahead.
			if got := h.GetHistogram(); got.GetSampleCount() != 3 || got.GetSampleSum() < 6 || got.GetSampleSum() > 60 {
				t.Errorf("apply seconds: %v", got)
			}
		}
	}
}

func TestMetrics_of_what_is_not_applied(t *testing.T) {
	t.Parallel()
	now := time.Now()
	u := newUnapplied(func() time.Time { return now })
	try := func(id contract.VideoID, age time.Duration) activities.Try {
		return activities.Try{Track: contract.TranscriptionTrack, VideoID: id, RecordTime: now.Add(-age)}
	}
	is := func(what string, want time.Duration) {
		t.Helper()
		if got := u.age(contract.TranscriptionTrack); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
		if got := u.age(contract.CompressionTrack); got != 0 {
			t.Errorf("%s: the other track has %s", what, got)
		}
	}
	is("nothing was tried", 0)
	u.failed(try("a", time.Minute))
	is("one failed", time.Minute)
	now = now.Add(time.Minute)
	u.failed(try("b", time.Hour))
	is("an older one failed", time.Hour)
	u.failed(try("b", time.Second)) // a newer result of the same video, before any was applied
	is("its video still waits", time.Hour)
	u.settled(try("b", time.Second))
	is("it was applied", 2*time.Minute)
	u.settled(try("c", 0))
	is("another was applied", 2*time.Minute)
	u.failed(try("d", -time.Hour))
	u.settled(try("a", 0))
	is("a record from a clock that is ahead", 0)

	u.failed(try("e", 24*time.Hour))
	now = now.Add(unappliedFor)
	is("it may come again", 24*time.Hour+unappliedFor)
	now = now.Add(time.Second)
	is("it did not come again: another worker has it", 0)

	for n := range maxUnapplied + 100 {
		u.failed(try(contract.VideoID(strconv.Itoa(n)), time.Minute))
	}
	if got := len(u.videos[contract.TranscriptionTrack]); got > maxUnapplied {
		t.Errorf("%d are remembered, want at most %d", got, maxUnapplied)
	}
	is("there are too many", time.Minute)
}

// TestMetrics_of_steps counts the tries that fail, of local activities too.
func TestMetrics_of_steps(t *testing.T) {
	t.Parallel()
	m, err := NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(sdk.Options{
		Interceptors:             []interceptor.WorkerInterceptor{&failures{metrics: m}},
		DeadlockDetectionTimeout: 3 * time.Minute, // the machine may be busy
	})
	tries := 0
	step := func(context.Context) error {
		if tries++; tries < 4 {
			return errors.New("not yet")
		}
		return nil
	}
	env.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: workflows.StepReopen})
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		local := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
			ScheduleToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
		})
		if err := workflow.ExecuteLocalActivity(local, workflows.StepReopen).Get(ctx, nil); err == nil {
			return errors.New("the first try succeeded")
		}
		regular := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		return workflow.ExecuteActivity(regular, workflows.StepReopen).Get(ctx, nil)
	})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if got := testutil.ToFloat64(m.stepFailures.WithLabelValues(workflows.StepReopen)); got != 3 {
		t.Errorf("got %v failures, want 3 of %d tries", got, tries)
	}
}

func TestMetrics_register_once(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	if _, err := NewMetrics(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("two register in the same place")
	}
}
