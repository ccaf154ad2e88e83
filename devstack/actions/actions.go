// Package actions counts what Temporal Cloud bills for a run, from its history.
package actions

import (
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

// Count is the number of billable actions of a run, by https://docs.temporal.io/cloud/actions: its start, a signal, a timer,
// an upsert of search attributes, an activity and each of its retries, an update; the local activities of a workflow task are
// one, and so are a start and the signal that came with it. Signs of life of activities and queries are actions that no
// history tells. What the rules do not speak of costs nothing, but an event that this workflow has no use for is an error, so
// that none is left out unseen.
func Count(events []*historypb.HistoryEvent) (int, error) {
	n := 0
	localOf := map[int64]bool{} // workflow tasks that had local activities, by the event that completed them
	for i, e := range events {
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
			if i == 1 {
				break // it came with the start
			}
			n++
		case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, enumspb.EVENT_TYPE_TIMER_STARTED,
			enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
			n++
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
			n += int(e.GetActivityTaskStartedEventAttributes().GetAttempt())
		case enumspb.EVENT_TYPE_MARKER_RECORDED:
			marker := e.GetMarkerRecordedEventAttributes()
			if name := marker.GetMarkerName(); name != "LocalActivity" {
				return 0, fmt.Errorf("event %d is a marker %q, for which no rule is known here", e.GetEventId(), name)
			}
			if task := marker.GetWorkflowTaskCompletedEventId(); !localOf[task] {
				localOf[task] = true
				n++
			}
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED,
			enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
			enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
			enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED,
			enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED, enumspb.EVENT_TYPE_TIMER_FIRED, enumspb.EVENT_TYPE_TIMER_CANCELED,
			enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
			enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		default:
			return 0, fmt.Errorf("event %d is %s, for which no rule is known here", e.GetEventId(), e.GetEventType())
		}
	}
	return n, nil
}
