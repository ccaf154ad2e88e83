package kafkabridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refusedBy are errors of Temporal's client with the class that each has.
var refusedBy = map[string]struct {
	err  error
	want refusal
}{
	"away":                     {serviceerror.NewUnavailable("away"), refusedAway},
	"away, as gRPC says it":    {status.Error(codes.Unavailable, "connection refused"), refusedAway},
	"too slow":                 {serviceerror.NewDeadlineExceeded("too slow"), refusedTimeout},
	"too slow, noticed here":   {context.DeadlineExceeded, refusedTimeout},
	"over its rate":            {exhausted(enumspb.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT), refusedRate},
	"over its actions":         {exhausted(enumspb.RESOURCE_EXHAUSTED_CAUSE_APS_LIMIT), refusedRate},
	"over all it can":          {exhausted(enumspb.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED), refusedRate},
	"exhausted without cause":  {status.Error(codes.ResourceExhausted, "message is too large"), refusedRate},
	"busy workflow":            {exhausted(enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW), refusedBusy},
	"not ready":                {serviceerror.NewWorkflowNotReady("not yet"), refusedBusy},
	"over the limit":           {serviceerror.NewInvalidArgument("exceeded workflow execution limit for signal events"), refusedLimit},
	"no such run":              {serviceerror.NewNotFound("workflow execution not found"), refusedRun},
	"closed run":               {serviceerror.NewNotFound("workflow execution already completed"), refusedRun},
	"started by another":       {serviceerror.NewWorkflowExecutionAlreadyStarted("already", "", ""), refusedRun},
	"no namespace":             {serviceerror.NewNamespaceNotFound("default"), refusedNamespace},
	"deleted namespace":        {serviceerror.NewNamespaceInvalidState("default", enumspb.NAMESPACE_STATE_DELETED, nil), refusedNamespace},
	"namespace active abroad":  {serviceerror.NewNamespaceNotActive("default", "here", "there"), refusedNamespace},
	"namespace that is moving": {serviceerror.NewNamespaceUnavailable("default"), refusedNamespace},
	"no permission":            {serviceerror.NewPermissionDenied("no", ""), refusedLogin},
	"no login":                 {status.Error(codes.Unauthenticated, "who?"), refusedLogin},
	"given up":                 {context.Canceled, refusedStopping},
	"cancelled there":          {serviceerror.NewCanceled("stop"), refusedStopping},
	"broken":                   {serviceerror.NewInternal("?"), refusedOther},
	"anything else":            {errors.New("?"), refusedOther},
}

func exhausted(cause enumspb.ResourceExhaustedCause) error {
	return &serviceerror.ResourceExhausted{Cause: cause, Scope: enumspb.RESOURCE_EXHAUSTED_SCOPE_NAMESPACE, Message: "enough"}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for name, tt := range refusedBy {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			equal(t, "class", classify(tt.err), tt.want)
			equal(t, "class of it wrapped", classify(fmt.Errorf("signal video/1: %w", tt.err)), tt.want)
			wantLevel := slog.LevelWarn
			if tt.want == refusedNamespace || tt.want == refusedLogin {
				wantLevel = slog.LevelError
			}
			equal(t, "level", tt.want.level(), wantLevel)
		})
	}
}
