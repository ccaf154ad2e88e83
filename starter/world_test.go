package starter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/starter"
)

const (
	secret      = "the secret of these tests"
	resultTopic = "update_transcribe"
)

// world is a starter on a real database, logged in as the least-privilege role, with fakes at its other edges.
type world struct {
	t         *testing.T
	db        *postgrestest.DB
	starter   *starter.Starter
	server    *httptest.Server
	publisher *publisher
	objects   *objects
	log       *logBuffer

	course   string
	lecturer string // whose course it is
}

// option changes what the starter is made with.
type option func(*starter.Deps, *starter.Config)

// newWorld has a Temporal that is away, unless an option brings another.
func newWorld(t *testing.T, opts ...option) *world {
	t.Helper()
	w := &world{t: t, db: postgrestest.New(t), publisher: &publisher{}, objects: &objects{}, log: &logBuffer{}}
	w.course, w.lecturer = w.db.Course(t)
	deps := starter.Deps{Store: w.db.Store, Temporal: temporalAway{}, Publisher: w.publisher, Objects: w.objects, Transcripts: w.objects}
	notifications, err := w.db.Store.Notifications(w.db.DirectURL)
	if err != nil {
		t.Fatal(err)
	}
	deps.Notifications = notifications
	cfg := starter.Config{JWTSecret: secret, ResultTopic: resultTopic, RelayInterval: 50 * time.Millisecond}
	for _, opt := range opts {
		opt(&deps, &cfg)
	}
	s, err := starter.New(deps, cfg, slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	w.starter, w.server = s, httptest.NewServer(s.Handler())
	t.Cleanup(w.server.Close)
	return w
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	body   []byte
	// request is what was sent, of which an answer may repeat a part.
	request string
}

// call sends a request with a token, unless that is empty. A body that is not a string, bytes or nil is sent as JSON.
func (w *world) call(method, path, token string, body any, headers ...string) answer {
	w.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		reader = b
	case string:
		reader = strings.NewReader(b)
	case []byte:
		reader = bytes.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			w.t.Fatal(err)
		}
		reader = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	res, err := w.server.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: content}
	if sent, err := httputil.DumpRequest(r, false); err == nil {
		a.request = string(sent) + fmt.Sprint(body)
	}
	return a
}

// expect fails the test unless the answer has this status; every answer must have its request id, and every one that
// is not a success must be a problem document that serves the old front end as well. None may say what is inside.
func (a answer) expect(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("no X-Request-Id")
	}
	if word := leaked(string(a.body), a.request); word != "" && a.header.Get("Content-Type") != "application/openapi+json" {
		t.Errorf("the answer says %q: %s", word, a.body)
	}
	if status < 400 {
		return a
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q, want a problem document", got)
	}
	p := decode[starter.Problem](t, a)
	if p.Success || p.Message == "" || p.Message != p.Detail || p.Status != status || p.Title != http.StatusText(status) ||
		p.Code == "" || p.RequestID != a.header.Get("X-Request-Id") {
		t.Errorf("not a whole problem document: %s", a.body)
	}
	return a
}

// code fails the test unless the problem has this code.
func (a answer) code(t *testing.T, want string) answer {
	t.Helper()
	if got := decode[starter.Problem](t, a).Code; got != want {
		t.Errorf("code %q, want %q: %s", got, want, a.body)
	}
	return a
}

func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// claims are those of a good token of the old server's.
func claims(user string, role starter.Role) jwt.MapClaims {
	return jwt.MapClaims{
		"iss": "codeendelea-lms", "aud": "codeendelea-lms-api", "sub": user, "email": user + "@example.org", "role": string(role),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
}

func sign(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (w *world) token(user string, role starter.Role) string {
	w.t.Helper()
	return sign(w.t, jwt.SigningMethodHS256, []byte(secret), claims(user, role))
}

// owner is a token of the lecturer whose course it is.
func (w *world) owner() string { return w.token(w.lecturer, starter.Lecturer) }

func (w *world) admin() string { return w.token(uuid.NewString(), starter.Admin) }

// body is a good request to create a video.
func body() map[string]any {
	return map[string]any{
		"title": "Graphs, part 1", "description": "Paths, cycles and trees.",
		"camera_video_url": "https://cdn.example.org/raw/graphs-1.mp4", "level": "beginner",
	}
}

func with(m map[string]any, name string, value any) map[string]any {
	m[name] = value
	return m
}

func without(m map[string]any, name string) map[string]any {
	delete(m, name)
	return m
}

func (w *world) videosPath() string { return "/api/courses/" + w.course + "/videos" }

// create makes a video over the API.
func (w *world) create() contract.VideoID {
	w.t.Helper()
	a := w.call(http.MethodPost, w.videosPath(), w.owner(), body()).expect(w.t, http.StatusCreated)
	id, err := contract.ParseVideoID(decode[starter.VideoAnswer](w.t, a).Data.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// runRelay lets the starter's relay work until the test ends.
func (w *world) runRelay() {
	w.t.Helper()
	runRelay(w.t, w.starter)
}

func runRelay(t *testing.T, s *starter.Starter) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Relay().Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("relay: %v", err)
			}
		case <-time.After(soon):
			t.Errorf("the relay does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// eventually waits for a condition, with a deadline that only a failure meets.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(soon)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", soon, what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// intents counts what the relay has yet to do.
func (w *world) intents() (n int) {
	w.t.Helper()
	if err := w.db.Admin.QueryRow(w.t.Context(), `select count(*) from pipeline.intents`).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// publisher is a Kafka that keeps what it is given, or is away.
type publisher struct {
	mu      sync.Mutex
	records []record
	err     error
}

type record struct {
	topic, key, value string
	headers           map[string]string
}

func (p *publisher) Publish(_ context.Context, topic string, key, value []byte, headers ...kafka.Header) (int32, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, 0, p.err
	}
	r := record{topic: topic, key: string(key), value: string(value), headers: map[string]string{}}
	for _, h := range headers {
		r.headers[h.Key] = string(h.Value)
	}
	p.records = append(p.records, r)
	return 3, int64(len(p.records) + 40), nil
}

func (p *publisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// objects is a storage that keeps what tests put there, notes what is read and removed, or is away.
type objects struct {
	mu      sync.Mutex
	content map[string]string
	reads   int
	removed []string
	err     error
	cut     error // what ends an object in its middle
}

func (o *objects) Open(_ context.Context, path string) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads++
	if o.err != nil {
		return nil, o.err
	}
	content, ok := o.content[path]
	if !ok {
		return nil, supabase.ErrNotFound
	}
	if o.cut != nil {
		return io.NopCloser(io.MultiReader(strings.NewReader(content[:len(content)/2]), iotest.ErrReader(o.cut))), nil
	}
	return io.NopCloser(strings.NewReader(content)), nil
}

func (o *objects) put(path, content string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.content == nil {
		o.content = map[string]string{}
	}
	o.content[path] = content
}

func (o *objects) wasRead() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads
}

func (o *objects) Delete(_ context.Context, path string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	o.removed = append(o.removed, path)
	return nil
}

func (o *objects) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *objects) breakOff(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cut = err
}

func (o *objects) was(path string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.removed {
		if p == path {
			return true
		}
	}
	return false
}

var errAway = errors.New("dial tcp 192.0.2.1:7233: connection refused")

// temporalAway is a Temporal that cannot be reached.
type temporalAway struct{}

func (temporalAway) ExecuteWorkflow(context.Context, client.StartWorkflowOptions, any, ...any) (client.WorkflowRun, error) {
	return nil, errAway
}

func (temporalAway) NewWithStartWorkflowOperation(client.StartWorkflowOptions, any, ...any) client.WithStartWorkflowOperation {
	return nil
}

func (temporalAway) UpdateWithStartWorkflow(context.Context, client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	return nil, errAway
}
func (temporalAway) CancelWorkflow(context.Context, string, string) error { return errAway }
func (temporalAway) TerminateWorkflow(context.Context, string, string, string, ...any) error {
	return errAway
}

func (temporalAway) DescribeWorkflow(context.Context, string, string) (*client.WorkflowExecutionDescription, error) {
	return nil, errAway
}

// logBuffer keeps the log for tests that read it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func pipelineOf(id fmt.Stringer) string { return "/api/videos/" + id.String() + "/pipeline" }

var discard = slog.New(slog.DiscardHandler)
