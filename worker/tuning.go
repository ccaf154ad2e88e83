package worker

import (
	"runtime"

	sdk "go.temporal.io/sdk/worker"
)

// cachedWorkflows is how many runs the worker keeps in memory between two of their workflow tasks: none.
//
// Measured (make bench ARGS=--only=waiting; decision 25): a cached run holds 75 KB, most of it stacks of goroutines, and runs
// wait for hours. A task of a run that is not cached comes with the whole history, some 20 events, whose replay costs less
// than keeping the run did: worker and server need as much processor time as with every run cached. A bounded cache with
// more runs than fit is the worst, at two and a half times of that: a task then comes without the history, and it has to be
// fetched. Without a cache there is also no queue of the worker's own, in which tasks wait 5 s for a worker that has died.
const cachedWorkflows = 0

// tasksPerCore is how many workflow tasks are in hand at once for each core, and so how many steps are under way, of which
// most wait for the database or the storage. A task that is in hand has its step's 5 s running: with the SDK's 1,000, those of a backlog
// spend them waiting for each other, and go on as regular activities, which cost more.
const tasksPerCore = 32

// pollersPerCore is how far the number of pollers may grow for each core while the server has tasks waiting. One poller takes
// a task per round trip: nearly enough beside the server, too few across a network. Measured with a backlog of 1,200 runs on two
// cores: 30 runs begun a second instead of the 26 of the SDK's two pollers. With nothing to do there is one of each kind, which
// asks once a minute.
const pollersPerCore = 8

// tune sets what makes the worker fast, by the processors that it may use. It is to be called before any worker of this
// operating-system process is made.
func tune(o *sdk.Options) {
	sdk.SetStickyWorkflowCacheSize(cachedWorkflows)
	cores := runtime.GOMAXPROCS(0)
	o.MaxConcurrentWorkflowTaskExecutionSize = tasksPerCore * cores
	pollers := sdk.NewPollerBehaviorAutoscaling(sdk.PollerBehaviorAutoscalingOptions{
		InitialNumberOfPollers: 2, MinimumNumberOfPollers: 1, MaximumNumberOfPollers: pollersPerCore * cores,
	})
	o.WorkflowTaskPollerBehavior, o.ActivityTaskPollerBehavior = pollers, pollers
}
