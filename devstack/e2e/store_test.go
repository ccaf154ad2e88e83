package e2e

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/devstack/control"
	"github.com/codeendelea/vidflow/workflows"
)

// TestExec_temporal_on_postgres: a run is there again after the server was away, in the database and in the list of runs.
func TestExec_temporal_on_postgres(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := devstackExec(t, t.TempDir(), "--temporal-store=postgres", "--", "sh", "-c",
		`echo "$TEMPORAL_ADDRESS $TEMPORAL_NAMESPACE $VIDFLOW_TEST_CONTROL $VIDFLOW_TEST_POSTGRES_URL"; cat`)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the stack ended with %v", err)
		}
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the stack says nothing: %v", err)
	}
	words := strings.Fields(line)
	if len(words) != 4 {
		t.Fatalf("got %q, want four addresses", line)
	}
	addr, namespace, servers, database := words[0], words[1], control.Client{URL: words[2]}, words[3]
	temporalClient, err := client.Dial(client.Options{HostPort: addr, Namespace: namespace, Logger: tlog.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	defer temporalClient.Close()
	const id, course = "video/kept", "0e5a3f7c-0000-4000-8000-000000000000"
	run, err := temporalClient.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: "nobody",
		TypedSearchAttributes: temporal.NewSearchAttributes(workflows.AttributeCourse.ValueSet(course)),
	}, "Nobody")
	if err != nil {
		t.Fatal(err)
	}

	if err := servers.StopServer(ctx, "temporal"); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		_ = conn.Close()
		t.Fatal("the server still answers")
	}
	if err := servers.StartServer(ctx, "temporal"); err != nil {
		t.Fatal(err)
	}

	if err := temporalClient.SignalWorkflow(ctx, id, run.GetRunID(), "hello", nil); err != nil {
		t.Errorf("signal the run after the restart: %v", err)
	}
	var events []enumspb.EventType
	for history := temporalClient.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); history.HasNext(); {
		event, err := history.Next()
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event.GetEventType())
	}
	want := []enumspb.EventType{
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
		enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("history after the restart (-want +got):\n%s", diff)
	}
	p := &pipeline{t: t}
	p.await("the run is in the list of runs", func(ctx context.Context) error {
		found, err := temporalClient.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Query: `CourseId = "` + course + `"`,
		})
		return one(found.GetCount(), err)
	})
	for name, table := range map[string]string{"temporal": "executions", "temporal_visibility": "executions_visibility"} {
		config, err := pgx.ParseConfig(database)
		if err != nil {
			t.Fatal(err)
		}
		config.Database = name
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		var rows int64
		err = conn.QueryRow(ctx, "select count(*) from "+table+" where workflow_id = $1", id).Scan(&rows)
		_ = conn.Close(ctx)
		if err := one(rows, err); err != nil {
			t.Errorf("%s in the database %s: %v", table, name, err)
		}
	}
}

func one(count int64, err error) error {
	if err == nil && count != 1 {
		err = fmt.Errorf("there are %d, want 1", count)
	}
	return err
}
