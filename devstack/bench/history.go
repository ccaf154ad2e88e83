package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/actions"
	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

var histories = Measure{
	Name:  "history",
	About: "what a run costs the Temporal server: events, bytes, billable actions",
	Keys:  []string{"history_events", "history_bytes", "temporal_actions"},
	Exact: true,
	Run:   measureHistories,
}

// Titles of the videos whose runs are looked at: one as people write them, and the longest that the API takes.
const (
	usualTitle   = "Recursion and the call stack: why every function comes home"
	longestTitle = 255
)

const (
	// historyTries is how often a run is looked at anew that was in trouble, as on a busy machine.
	historyTries = 3
	// historyTimeout is for all tries of one kind of video, from its creation to the end of its run.
	historyTimeout = 2 * time.Minute
)

func measureHistories(ctx context.Context, lab *Lab, out *report.Report) error {
	for _, name := range []string{Worker, Starter, Bridge} {
		if _, err := lab.Start(ctx, name); err != nil {
			return err
		}
	}
	temporal, err := lab.temporal()
	if err != nil {
		return err
	}
	defer temporal.Close()
	service, err := simulator.New(simulator.Config{Brokers: []string{lab.Block.Addr(ports.Kafka)}})
	if err != nil {
		return err
	}
	defer service.Close()

	longest := strings.Repeat("Recursion ", longestTitle/10+1)[:longestTitle]
	runs := []struct {
		of, title string
		speech    time.Duration
	}{
		{"10 s of speech", usualTitle, 10 * time.Second},
		{"3 h of speech", usualTitle, 3 * time.Hour},
		{"3 h of speech, longest title", longest, 3 * time.Hour},
	}
	found := make([]run, len(runs))
	var group errgroup.Group
	for i, r := range runs {
		group.Go(func() (err error) {
			ctx, cancel := context.WithTimeout(ctx, historyTimeout)
			defer cancel()
			for range historyTries {
				found[i], err = oneRun(ctx, lab, temporal, service, r.title, r.speech)
				if err != nil || found[i].trouble == "" {
					break
				}
				lab.Say("a run of %s was in trouble, which is no normal run: %s", r.of, found[i].trouble)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, r := range runs {
		atMost := func(n float64) *report.Goal {
			if r.title != usualTitle {
				return nil // told: no one writes such titles
			}
			return &report.Goal{Op: report.AtMost, Value: n}
		}
		note := fmt.Sprintf("title of %d bytes", len(r.title))
		got := found[i]
		out.Add(report.Row{Key: "history_events", Of: r.of, Unit: "events", Goal: atMost(20), Value: got.events, Exact: true, Note: note})
		out.Add(report.Row{
			Key: "history_bytes", Of: r.of, Unit: "bytes", Goal: atMost(5000), Value: got.bytes, Exact: true,
			Note: note + "; as the server counts them",
		})
		out.Add(report.Row{Key: "temporal_actions", Of: r.of, Unit: "actions", Goal: atMost(10), Value: got.actions, Exact: true, Note: note})
	}
	return nil
}

// run is what a run came to.
type run struct {
	events, bytes, actions float64
	// trouble is the type of the first event that a normal run does not have.
	trouble string
}

// oneRun takes a video through the pipeline, first its transcript and then its compression, and looks at its run.
func oneRun(
	ctx context.Context, lab *Lab, temporal client.Client, service *simulator.Simulator, title string, speech time.Duration,
) (run, error) {
	video, err := lab.create(ctx, title)
	if err != nil {
		return run{}, err
	}
	if _, err := lab.api().Await(ctx, video, func(v api.Video) bool { return v.Pipeline.Transcription.Asks == 1 }); err != nil {
		return run{}, err
	}
	if _, err := service.Emit(ctx, simulator.Emission{VideoID: video.String(), Transcription: true, Length: simulator.Duration(speech)}); err != nil {
		return run{}, err
	}
	if _, err := lab.api().Await(ctx, video, func(v api.Video) bool { return v.Pipeline.Transcription.State == contract.Done }); err != nil {
		return run{}, err
	}
	if _, err := service.Emit(ctx, simulator.Emission{VideoID: video.String(), Compression: true}); err != nil {
		return run{}, err
	}
	id := workflows.WorkflowID(video)
	if err := temporal.GetWorkflow(ctx, id, "").Get(ctx, nil); err != nil {
		return run{}, fmt.Errorf("the run of video %s: %w", video, err)
	}
	described, err := temporal.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return run{}, err
	}
	info := described.GetWorkflowExecutionInfo()
	if len(info.GetSearchAttributes().GetIndexedFields()) == 0 {
		return run{}, fmt.Errorf("the run of video %s has no search attributes", video)
	}
	var events []*historypb.HistoryEvent
	for it := temporal.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		event, err := it.Next()
		if err != nil {
			return run{}, err
		}
		events = append(events, event)
	}
	n, err := actions.Count(events)
	if err != nil {
		return run{}, fmt.Errorf("the run of video %s: %w", video, err)
	}
	return run{events: float64(len(events)), bytes: float64(info.GetHistorySizeBytes()), actions: float64(n), trouble: trouble(events)}, nil
}

func trouble(events []*historypb.HistoryEvent) string {
	for _, e := range events {
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			return e.GetEventType().String()
		}
	}
	return ""
}
