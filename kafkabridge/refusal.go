package kafkabridge

import (
	"context"
	"errors"
	"log/slog"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refusal is the class of an error with which Temporal did not take a signal. None is the fault of the record: what was
// decoded fits every limit of a signal. So all have the same cure, which is time; they differ in who has to do something
// about it, and in the metric vidflow_bridge_held_back_total.
type refusal string

const (
	// refusedAway: no server answers, or the one that does cannot reach what it needs.
	refusedAway refusal = "away"
	// refusedTimeout: no answer in time. The signal may have been taken, and is then sent twice.
	refusedTimeout refusal = "timeout"
	// refusedRate: the server, or the namespace, is over its rate.
	refusedRate refusal = "rate"
	// refusedBusy: this workflow has too much going on, or is closing.
	refusedBusy refusal = "busy_workflow"
	// refusedLimit: the run is over its limit of signals or of history. The server calls it an invalid argument, as it
	// does nothing else that is sent from here. It passes when the run continues as new or ends.
	refusedLimit refusal = "limit"
	// refusedRun: there is no such run, or it is closed. A signal that starts a run where there is none meets this only
	// in a race.
	refusedRun refusal = "run"
	// refusedNamespace: it is missing, deleted, or active elsewhere.
	refusedNamespace refusal = "namespace"
	// refusedLogin: the server does not know us, or does not allow us this.
	refusedLogin refusal = "login"
	// refusedStopping: the bridge gave up, since it ends.
	refusedStopping refusal = "stopping"
	// refusedOther is everything else.
	refusedOther refusal = "other"
)

var refusals = []refusal{
	refusedAway, refusedTimeout, refusedRate, refusedBusy, refusedLimit, refusedRun, refusedNamespace, refusedLogin,
	refusedStopping, refusedOther,
}

// level is how loud a refusal is: an error where time alone mends nothing.
func (r refusal) level() slog.Level {
	switch r {
	case refusedNamespace, refusedLogin:
		return slog.LevelError
	default:
		return slog.LevelWarn
	}
}

// classify tells why Temporal did not take a signal: by the types of its errors, and where those say no more by the code
// of the answer; never by its text.
func classify(err error) refusal {
	if exhausted, ok := errors.AsType[*serviceerror.ResourceExhausted](err); ok {
		if exhausted.Cause == enumspb.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW {
			return refusedBusy
		}
		return refusedRate
	}
	if is[*serviceerror.NamespaceNotFound](err) || is[*serviceerror.NamespaceInvalidState](err) ||
		is[*serviceerror.NamespaceNotActive](err) || is[*serviceerror.NamespaceUnavailable](err) {
		return refusedNamespace
	}
	if is[*serviceerror.WorkflowNotReady](err) {
		return refusedBusy
	}
	switch codeOf(err) {
	case codes.Unavailable:
		return refusedAway
	case codes.DeadlineExceeded:
		return refusedTimeout
	case codes.ResourceExhausted:
		return refusedRate
	case codes.InvalidArgument:
		return refusedLimit
	case codes.NotFound, codes.AlreadyExists:
		return refusedRun
	case codes.PermissionDenied, codes.Unauthenticated:
		return refusedLogin
	case codes.Canceled:
		return refusedStopping
	default:
		return refusedOther
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// codeOf is the gRPC code of an error: of the service's own, of the transport's, or of a context that ran out on the way.
func codeOf(err error) codes.Code {
	if service, ok := errors.AsType[serviceerror.ServiceError](err); ok {
		return service.Status().Code()
	}
	if transport, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return transport.GRPCStatus().Code()
	}
	return status.FromContextError(contextError(err)).Code()
}

// contextError is the context's error within err, or else err.
func contextError(err error) error {
	for _, of := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, of) {
			return of
		}
	}
	return err
}
