package kafkabridge

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// signal is one that the fake Temporal was sent.
type signal struct {
	Video contract.VideoID
	Name  string
	Ref   contract.Reference
}

// fakeTemporal accepts signals as answer says; nil accepts all.
type fakeTemporal struct {
	answer func(context.Context, signal) error

	mu       sync.Mutex
	accepted []signal
	problems []string
	busy     map[contract.VideoID]bool
	mostBusy int
	changed  chan struct{}
}

func newFakeTemporal(answer func(context.Context, signal) error) *fakeTemporal {
	if answer == nil {
		answer = func(context.Context, signal) error { return nil }
	}
	return &fakeTemporal{answer: answer, busy: make(map[contract.VideoID]bool), changed: make(chan struct{})}
}

// SignalWithStartWorkflow implements Signaller.
func (f *fakeTemporal) SignalWithStartWorkflow(
	ctx context.Context, workflowID, signalName string, arg any,
	options client.StartWorkflowOptions, workflow any, args ...any,
) (client.WorkflowRun, error) {
	s := signal{Name: signalName, Ref: arg.(contract.Reference)}
	f.mu.Lock()
	if len(args) == 1 {
		s.Video = contract.VideoID(args[0].(workflows.VideoInput).VideoID)
	}
	if workflowID != workflows.WorkflowID(s.Video) || options.ID != workflowID || options.TaskQueue != workflows.TaskQueue ||
		workflow != workflows.VideoWorkflow {
		f.problems = append(f.problems, fmt.Sprintf("started %v of %s with %+v", workflow, workflowID, options))
	}
	if f.busy[s.Video] {
		f.problems = append(f.problems, fmt.Sprintf("two signals to %s at once", s.Video))
	}
	f.busy[s.Video] = true
	f.mostBusy = max(f.mostBusy, len(f.busy))
	f.mu.Unlock()

	err := f.answer(ctx, s)

	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.busy, s.Video)
	if err == nil {
		f.accepted = append(f.accepted, s)
	}
	close(f.changed)
	f.changed = make(chan struct{})
	return nil, err
}

func (f *fakeTemporal) signals() []signal {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]signal(nil), f.accepted...)
}

// faults are what no signal may do, whatever the test.
func (f *fakeTemporal) faults() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.problems...)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func videoID(n int) contract.VideoID {
	return contract.VideoID(uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%d", n)).String())
}
