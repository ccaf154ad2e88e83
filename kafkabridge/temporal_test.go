package kafkabridge

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/workflows"
)

// arrivals is what a run of the stand-in was signalled.
type arrivals struct {
	Transcript, Compression contract.Reference
}

// standIn takes the workflow's place: it ends once it has been signalled a result of each kind.
func standIn(ctx workflow.Context, _ workflows.VideoInput) (a arrivals, err error) {
	workflow.GetSignalChannel(ctx, workflows.SignalTranscribed).Receive(ctx, &a.Transcript)
	workflow.GetSignalChannel(ctx, workflows.SignalCompressed).Receive(ctx, &a.Compression)
	return a, nil
}

func runStandIn(t *testing.T, temporal client.Client) {
	t.Helper()
	w := worker.New(temporal, workflows.TaskQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(standIn, workflow.RegisterOptions{Name: workflows.VideoWorkflow})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

// outcomeOf waits for the run of a video that is open, or was last.
func outcomeOf(t *testing.T, temporal client.Client, video int) (runID string, a arrivals) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run := temporal.GetWorkflow(ctx, workflows.WorkflowID(videoID(video)), "")
	if err := run.Get(ctx, &a); err != nil {
		t.Fatalf("video %d: %v", video, err)
	}
	return run.GetRunID(), a
}

func TestBridge_on_a_real_Temporal_server(t *testing.T) {
	t.Parallel()
	temporal := temporaltest.NewBare(t).Client
	runStandIn(t, temporal)
	r := newRig(t, defaultPartitions)
	r.start(temporal, func(c *Config) { c.SignalInterval = time.Second })

	const n = 30
	r.put(transcripts, 0, each(0, n, small)...)
	r.put(compressions, 1, each(0, n, compression)...)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: n})
	r.eventuallyCommitted(compressionGroup, map[int32]int64{1: n})
	runs := make(map[string]bool)
	for video := range n {
		run, a := outcomeOf(t, temporal, video)
		runs[run] = true
		equal(t, "transcript's offset", a.Transcript.Offset, int64(video))
		equal(t, "transcript's topic id", a.Transcript.TopicID, r.topicID(transcripts))
		equal(t, "transcript's words", a.Transcript.Transcript.Words, 1)
		equal(t, "compression's URL", a.Compression.URL, string(compression(video).Value))
	}

	// Results for runs that have ended start others.
	r.put(transcripts, 0, each(0, n, small)...)
	r.put(compressions, 1, each(0, n, compression)...)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 2 * n})
	r.eventuallyCommitted(compressionGroup, map[int32]int64{1: 2 * n})
	for video := range n {
		run, a := outcomeOf(t, temporal, video)
		runs[run] = true
		equal(t, "second transcript's offset", a.Transcript.Offset, int64(n+video))
	}
	equal(t, "runs", len(runs), 2*n)
}

func TestBridge_waits_for_a_namespace(t *testing.T) {
	t.Parallel()
	known := temporaltest.NewBare(t).Client
	name := "bridge-" + uuid.NewString()
	temporal, err := client.NewLazyClient(client.Options{
		HostPort: os.Getenv(temporaltest.Variable), Namespace: name, Logger: log.NewStructuredLogger(quiet()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(temporal.Close)
	r := newRig(t, 1)
	b := r.start(temporal, nil)
	r.put(transcripts, 0, small(1))
	r.eventually("attempts", func() bool { return b.Stats().Retries > 10 })
	equal(t, "commits", r.commitsOf(transcriptGroup), []committed(nil))
	equal(t, "dead letters", b.Stats().DeadLetters, int64(0))
	_, err = known.WorkflowService().RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 1})
}
