package worker

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
)

// heartbeats sends signs of life for every activity that asks for them, as long as it runs. So an activity whose worker
// was killed or cut off is tried again soon after, on another one, and not after the whole of its time; and one that
// nobody waits for any more has its context cancelled.
type heartbeats struct {
	interceptor.WorkerInterceptorBase
}

func (*heartbeats) InterceptActivity(
	_ context.Context, next interceptor.ActivityInboundInterceptor,
) interceptor.ActivityInboundInterceptor {
	return &heart{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

type heart struct {
	interceptor.ActivityInboundInterceptorBase
}

func (h *heart) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	timeout := activity.GetInfo(ctx).HeartbeatTimeout // 0 for local activities
	if timeout == 0 {
		return h.Next.ExecuteActivity(ctx, in)
	}
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(timeout / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	defer func() { close(done); <-stopped }()
	return h.Next.ExecuteActivity(ctx, in)
}
