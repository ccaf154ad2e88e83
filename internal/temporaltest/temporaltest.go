// Package temporaltest gives each test a namespace of its own on a real Temporal server, so that tests may run in
// parallel although all of them use the same task queue. For tests alone.
package temporaltest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/codeendelea/vidflow/workflows"
)

// Variable holds the address of the server to test on.
const Variable = "TEMPORAL_ADDRESS"

// Namespace belongs to one test.
type Namespace struct {
	Name string
	// Client is connected to it.
	Client client.Client
}

// New makes a namespace with the search attributes of the workflow.
func New(t testing.TB) Namespace {
	t.Helper()
	return open(t, random(), true)
}

// NewBare makes a namespace without search attributes.
func NewBare(t testing.TB) Namespace {
	t.Helper()
	return open(t, random(), false)
}

// ShortHistories is the namespace in which the development stack's server suggests to continue as new after a few events.
// It is shared by all who ask for it.
func ShortHistories(t testing.TB) Namespace {
	t.Helper()
	return open(t, "short-histories", true)
}

func random() string { return "test-" + strings.ToLower(rand.Text()[:16]) }

func open(t testing.TB, name string, attributes bool) Namespace {
	t.Helper()
	address := os.Getenv(Variable)
	if address == "" {
		t.Fatalf("%s is not set: this test needs a Temporal server; run it with `make test`, or with `go run ./devstack exec -- go test ./its/package`", Variable)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	temporal, err := client.DialContext(ctx, client.Options{
		HostPort: address, Namespace: name, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		t.Fatalf("connect to Temporal at %s: %v", address, err)
	}
	t.Cleanup(temporal.Close)
	_, err = temporal.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil && !strings.Contains(err.Error(), "already") {
		t.Fatalf("make namespace %s: %v", name, err)
	}
	if attributes {
		types := map[string]enums.IndexedValueType{}
		for _, key := range workflows.SearchAttributes() {
			types[key.GetName()] = key.GetValueType()
		}
		_, err := temporal.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: name, SearchAttributes: types})
		if err != nil && !strings.Contains(err.Error(), "already") {
			t.Fatalf("add search attributes to namespace %s: %v", name, err)
		}
	}
	return Namespace{Name: name, Client: temporal}
}
