package main

import (
	"context"
	"net"
	"regexp"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/worker"
	"github.com/codeendelea/vidflow/workflows"
)

// TestServers_migrate_adds_the_attributes_that_are_missing, and no others: as from an earlier version, and from none.
func TestServers_migrate_adds_the_attributes_that_are_missing(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	ns := temporaltest.NewBare(t)
	env := servers(t, map[string]string{"DATABASE_URL": db.AdminURL, "TEMPORAL_NAMESPACE": ns.Name})
	_, err := ns.Client.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
		Namespace: ns.Name, SearchAttributes: map[string]enumspb.IndexedValueType{"CourseId": enumspb.INDEXED_VALUE_TYPE_KEYWORD},
	})
	if err != nil {
		t.Fatal(err)
	}
	if known, _ := worker.KnowsSearchAttributes(t.Context(), ns.Client, ns.Name); known {
		t.Fatal("the attributes are there already")
	}
	for _, want := range []string{`Temporal search attributes created`, `Temporal search attributes are up to date`} {
		if got := invoke(t, env, "migrate"); got.code != exitOK || !strings.Contains(got.stderr, want) {
			t.Errorf("exit code %d, want 0 and %q\n%s", got.code, want, got.stderr)
		}
		if known, err := worker.KnowsSearchAttributes(t.Context(), ns.Client, ns.Name); !known {
			t.Errorf("search attributes: %v", err)
		}
	}
}

// TestServers_migrate_goes_on_where_the_attributes_are_refused, and says what a person can do. Temporal Cloud has no such
// API, and a server may not let everybody use it.
func TestServers_migrate_goes_on_where_the_attributes_are_refused(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]codes.Code{"forbidden": codes.PermissionDenied, "not there": codes.Unimplemented} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := postgrestest.New(t)
			ns := temporaltest.NewBare(t)
			env := servers(t, map[string]string{"DATABASE_URL": db.AdminURL, "TEMPORAL_NAMESPACE": ns.Name})
			address := env["TEMPORAL_ADDRESS"]
			env["TEMPORAL_ADDRESS"] = refusing(t, address, "/temporal.api.operatorservice.v1.OperatorService/", code)

			var got outcome
			for range 2 {
				got = invoke(t, env, "migrate")
				if got.code != exitOK {
					t.Fatalf("exit code %d\n%s", got.code, got.stderr)
				}
				for _, key := range workflows.SearchAttributes() {
					command := "temporal operator search-attribute create --address " + env["TEMPORAL_ADDRESS"] +
						" --namespace " + ns.Name + " --name " + key.GetName() + " --type " + key.GetValueType().String() + "\n"
					if !strings.Contains(got.stdout, command) || !strings.Contains(got.stdout, " --sa "+key.GetName()+"="+key.GetValueType().String()) {
						t.Errorf("no command makes %s in\n%s", key.GetName(), got.stdout)
					}
				}
			}
			env["DATABASE_URL"] = db.URL
			r := start(t, env, "worker")
			r.until("Temporal search attributes are missing, runs do without")
			r.until(`"msg":"worker started"`)
			r.stop()
			if code := r.code(); code != exitOK {
				t.Errorf("exit code: got %d, want %d\n%s", code, exitOK, r.log)
			}

			commands := regexp.MustCompile(`(?m)^temporal .+$`).FindAllString(got.stdout, -1)
			temporaltest.Paste(t, strings.ReplaceAll(strings.Join(commands, "\n"), env["TEMPORAL_ADDRESS"], address)) // as somebody who may
			if known, err := worker.KnowsSearchAttributes(t.Context(), ns.Client, ns.Name); !known {
				t.Errorf("search attributes, after %q: %v", commands, err)
			}
		})
	}
}

// TestServers_migrate_refuses_an_attribute_of_another_type, and says how it is removed.
func TestServers_migrate_refuses_an_attribute_of_another_type(t *testing.T) {
	t.Parallel()
	ns := temporaltest.NewBare(t)
	env := servers(t, map[string]string{"DATABASE_URL": postgrestest.New(t).AdminURL, "TEMPORAL_NAMESPACE": ns.Name})
	temporaltest.Paste(t, "temporal operator search-attribute create --namespace "+ns.Name+" --name CourseId --type Text")
	got := invoke(t, env, "migrate")
	if want := "search attribute CourseId exists with type Text, and Keyword is wanted"; got.code != exitFailed || !strings.Contains(got.stderr, want) {
		t.Errorf("exit code %d, want %d and %q\n%s", got.code, exitFailed, want, got.stderr)
	}
	temporaltest.Paste(t, quoted(t, got.stderr, "temporal operator search-attribute remove"))
	if got := invoke(t, env, "migrate"); got.code != exitOK {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	if known, err := worker.KnowsSearchAttributes(t.Context(), ns.Client, ns.Name); !known {
		t.Errorf("search attributes: %v", err)
	}
}

// refusing stands before a gRPC server and refuses the calls whose method begins with prefix. It knows nothing of what
// passes.
func refusing(t *testing.T, server, prefix string, code codes.Code) string {
	t.Helper()
	conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	proxy := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		if strings.HasPrefix(method, prefix) {
			return status.Error(code, "refused by the test")
		}
		var request, answer []byte
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		header, _ := metadata.FromIncomingContext(stream.Context())
		if err := conn.Invoke(metadata.NewOutgoingContext(stream.Context(), header), method, &request, &answer, grpc.ForceCodec(raw{})); err != nil {
			return err
		}
		return stream.SendMsg(&answer)
	}))
	t.Cleanup(proxy.Stop)
	var listen net.ListenConfig
	l, err := listen.Listen(context.WithoutCancel(t.Context()), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = proxy.Serve(l) }()
	return l.Addr().String()
}

// raw leaves messages as they are.
type raw struct{}

func (raw) Name() string                       { return "proto" }
func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
