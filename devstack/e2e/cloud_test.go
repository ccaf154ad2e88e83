package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	querypb "go.temporal.io/api/query/v1"
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
			if got := p.tool("adopt"); !strings.Contains(got, "1 runs started") {
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
			if got := temporaltest.Paste(t, "temporal workflow list", p.env.Environ(nil)...); !strings.Contains(got, workflows.WorkflowID(id)) {
				t.Errorf("the Temporal CLI lists %s", got)
			}
			if certificates && front.Passed("vidflow") == 0 || !certificates && front.Passed("/temporal.api.workflowservice.v1.WorkflowService/SignalWithStartWorkflowExecution") == 0 {
				t.Error("nothing passed the front")
			}
		})
	}
}

// TestTemporalLearns nothing of a person, whatever happens to a video, but what docs/temporal-cloud.md says: the title, which
// one variable leaves out, and the address of the compressed video. Everything that Temporal keeps or hands out is searched.
func TestTemporalLearns(t *testing.T) {
	t.Parallel()
	for name, titles := range map[string]bool{"titles": true, "no titles": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, envfile.Var{Name: "TITLES_IN_TEMPORAL", Value: strconv.FormatBool(titles)})
			p.start(everyProcess...)
			const (
				title       = "Quicksort with Ada Lovelace"
				recording   = "https://cdn.example.test/raw/ada.mp4"
				token       = "signed-for-ada"
				description = "Recorded at the home of Charles Babbage."
				speech      = "analytical engines"
				compressed  = "https://cdn.example.test/small/1080p.mp4"
			)
			video := api.NewVideo{Title: title, Description: description, Level: string(contract.Beginner), CameraURL: recording}
			open := p.lives(video, speech, compressed)
			video.CameraURL += "?token=" + token
			signed := p.lives(video, speech, compressed)

			// The longest way that a title can take: a run that a person starts again for a video whose run is lost.
			if err := p.places.Temporal.TerminateWorkflow(t.Context(), workflows.WorkflowID(p.waits(video)), "", "lost"); err != nil {
				t.Fatal(err)
			}
			p.tool("adopt")

			// What must be found shows that what is not found is not there.
			said := p.everything(6)
			for what, secret := range map[string]string{
				"the description": description, "a word of the transcript": speech, "the token of the recording's address": token,
				"a user's id": seed.Lecturer.ID, "a user's address": seed.Lecturer.Email, "the caller's token": p.places.API.Token,
				"the key of the storage": p.env.Value("SUPABASE_SERVICE_KEY"), "the login of the database": p.env.Value("DATABASE_URL"),
				"the secret of the tokens": p.env.Value("JWT_SECRET"),
			} {
				if found := said.with(secret); found != "" {
					t.Errorf("Temporal learns %s: %s", what, found)
				}
			}
			for what, row := range map[string]struct {
				text string
				want bool
			}{
				"the title":                            {title, titles},
				"the recording's address":              {recording, titles},
				"the address of the compressed video":  {compressed, true},
				"the id of a video":                    {string(open), true},
				"the id of another video":              {string(signed), true},
				"the id of the course":                 {seed.Courses[0].ID, true},
				"the hash of the transcript, as bytes": {string(p.hash(open, speech)), true},
			} {
				if found := said.with(row.text); (found != "") != row.want {
					t.Errorf("Temporal learns %s: %t, want %t: %s", what, found != "", row.want, found)
				}
			}
		})
	}
}

// lives takes a video through much of what can happen: storage refuses its transcript twice, somebody asks for another, which
// comes as well.
func (p *pipeline) lives(video api.NewVideo, speech, compressed string) contract.VideoID {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	v, err := p.places.API.Create(ctx, seed.Courses[0].ID, video)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.storage.Order(ctx, storage.Fault{Kind: storage.SlowDown, Path: string(v.ID), Count: 2}); err != nil {
		p.t.Fatal(err)
	}
	until := func(wanted func(api.Video) bool) {
		p.t.Helper()
		if _, err := p.places.API.Await(ctx, v.ID, wanted); err != nil {
			p.t.Fatal(err)
		}
	}
	until(asked)
	p.produce(p.topics.transcribed, []byte(v.ID), spoken(v.ID, speech))
	until(transcribed)
	p.produce(p.topics.compressed, []byte(v.ID), []byte(compressed))
	until(api.Video.Done)
	for _, path := range []string{"/retry", ""} {
		method, body := http.MethodPost, `{"force": true}`
		if path == "" { // and a person puts one in
			method, body = http.MethodPut, string(spoken(v.ID, speech+" again"))
			until(asked)
		}
		request, err := http.NewRequestWithContext(ctx, method, p.places.API.URL+"/api/videos/"+string(v.ID)+"/transcription"+path, strings.NewReader(body))
		if err != nil {
			p.t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+p.places.API.Token)
		request.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			p.t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusAccepted {
			p.t.Fatalf("%s %s: %s", method, path, answer.Status)
		}
	}
	p.await("the second run ends", func(ctx context.Context) error {
		run, err := p.places.Temporal.DescribeWorkflowExecution(ctx, workflows.WorkflowID(v.ID), "")
		if err == nil && run.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			err = fmt.Errorf("it is %s", run.GetWorkflowExecutionInfo().GetStatus())
		}
		return err
	})
	return v.ID
}

// waits creates a video that nobody answers for.
func (p *pipeline) waits(video api.NewVideo) contract.VideoID {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	v, err := p.places.API.Create(ctx, seed.Courses[0].ID, video)
	if err == nil {
		_, err = p.places.API.Await(ctx, v.ID, asked)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return v.ID
}

func spoken(id contract.VideoID, speech string) []byte {
	return fmt.Appendf(nil, `{"video_id":%q,"transcription":{"duration":2,"language":"en","words":[{"text":%q,"start":0,"end":2}]}}`, id, speech)
}

func (*pipeline) hash(id contract.VideoID, speech string) []byte {
	sum := sha256.Sum256(spoken(id, speech))
	return []byte(base64.StdEncoding.EncodeToString(sum[:])) // as JSON has bytes
}

// said is what Temporal keeps or hands out, by what it is.
type said map[string][]byte

// everything is each run's history, description and entry in the list, and what its worker answers to queries, of at least so
// many runs.
func (p *pipeline) everything(atLeast int) said {
	p.t.Helper()
	all := said{}
	keep := func(what string, message proto.Message, err error) {
		p.t.Helper()
		if err != nil {
			p.t.Fatalf("%s: %v", what, err)
		}
		raw, err := proto.Marshal(message)
		if err != nil {
			p.t.Fatal(err)
		}
		text, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(message)
		if err != nil {
			p.t.Fatal(err)
		}
		all[what] = append(raw, text...)
	}
	ctx, c := p.t.Context(), p.places.Temporal
	for id, runs := range p.runs(atLeast) {
		for _, run := range runs {
			execution := run.GetExecution()
			what := func(part string) string { return fmt.Sprintf("%s of video %s, run %s", part, id, execution.GetRunId()) }
			keep(what("entry"), run, nil)
			history := &historypb.History{}
			for events := c.GetWorkflowHistory(ctx, execution.GetWorkflowId(), execution.GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
				event, err := events.Next()
				if err != nil {
					p.t.Fatal(err)
				}
				history.Events = append(history.Events, event)
			}
			keep(what("history"), history, nil)
			described, err := c.DescribeWorkflowExecution(ctx, execution.GetWorkflowId(), execution.GetRunId())
			keep(what("description"), described, err)
			for _, query := range []string{workflows.QueryState, "__temporal_workflow_metadata"} {
				answer, err := c.WorkflowService().QueryWorkflow(ctx, &workflowservice.QueryWorkflowRequest{
					Namespace: p.namespace.Name, Execution: execution, Query: &querypb.WorkflowQuery{QueryType: query},
				})
				keep(what(query), answer, err)
			}
		}
	}
	return all
}

// with tells in what the text is, as it is, escaped or in base64; "" is nowhere.
func (s said) with(text string) string {
	escaped, _ := json.Marshal(text)
	forms := [][]byte{
		[]byte(text), bytes.Trim(escaped, `"`), []byte(url.QueryEscape(text)), []byte(url.PathEscape(text)), []byte(workflows.PlainText(text)),
	}
	for shift := range 3 { // base64 takes three bytes at a time
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
		forms = append(forms, []byte(encoded[4:(shift+len(text))/3*4]))
	}
	for what, kept := range s {
		for _, form := range forms {
			if bytes.Contains(kept, form) {
				return what
			}
		}
	}
	return ""
}
