package actions_test

import (
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/codeendelea/vidflow/devstack/actions"
)

// TestCount_by_the_rules of the server's operator.
func TestCount_by_the_rules(t *testing.T) {
	t.Parallel()
	of := func(kind enumspb.EventType) *historypb.HistoryEvent { return &historypb.HistoryEvent{EventType: kind} }
	marker := func(name string, task int64) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{
			EventType: enumspb.EVENT_TYPE_MARKER_RECORDED,
			Attributes: &historypb.HistoryEvent_MarkerRecordedEventAttributes{
				MarkerRecordedEventAttributes: &historypb.MarkerRecordedEventAttributes{MarkerName: name, WorkflowTaskCompletedEventId: task},
			},
		}
	}
	attempts := func(n int32) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{
			EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED,
			Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{
				ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{Attempt: n},
			},
		}
	}
	for name, c := range map[string]struct {
		events []*historypb.HistoryEvent
		want   int
	}{
		"a start, a signal, a timer, attributes": {[]*historypb.HistoryEvent{
			of(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED), of(enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED), of(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED),
			of(enumspb.EVENT_TYPE_TIMER_STARTED), of(enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES),
		}, 4},
		"a signal that starts is one": {[]*historypb.HistoryEvent{
			of(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED), of(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED),
			of(enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED), of(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED),
		}, 2},
		"workflow tasks and the end cost nothing": {[]*historypb.HistoryEvent{
			of(enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED), of(enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED),
			of(enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED), of(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED),
		}, 0},
		"local activities of one task are one": {[]*historypb.HistoryEvent{
			marker("LocalActivity", 4), marker("LocalActivity", 4), marker("LocalActivity", 9),
		}, 2},
		"each try of an activity": {[]*historypb.HistoryEvent{of(enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED), attempts(3)}, 3},
	} {
		if got, err := actions.Count(c.events); err != nil || got != c.want {
			t.Errorf("%s: got %d, %v; want %d", name, got, err, c.want)
		}
	}
	for name, e := range map[string]*historypb.HistoryEvent{
		"marker": marker("Version", 4), "Nexus": of(enumspb.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED),
	} {
		if _, err := actions.Count([]*historypb.HistoryEvent{e}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want that no rule is known for it", name, err)
		}
	}
}
