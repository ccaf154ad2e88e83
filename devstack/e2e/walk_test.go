package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	openapierrors "github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/pb33f/libopenapi/orderedmap"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/supabase"
)

// TestWalk goes through the API as a caller does who knows nothing but the committed openapi.json: every operation in it,
// and every status that it declares for one. What is sent and answered is held against the document by a library; a
// status that the document does not declare fails the test, and so does one that it declares and that nobody was shown.
func TestWalk(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	w := newWalk(t, p)
	p.start(everyProcess...)

	// The bodies of these come too slowly, which takes their time: up to 40 s.
	var slow sync.WaitGroup
	video := w.create()
	for _, name := range []string{"create-video", "retry-transcription", "put-transcription"} {
		slow.Go(func() { w.tooSlow(name, video) })
	}

	w.succeed(video)
	w.beRefused(video)
	w.fail()
	slow.Wait()
	w.exceed()
	w.beAway()
	w.check()
}

// succeed walks a video's whole life.
func (w *walk) succeed(waiting contract.VideoID) {
	w.do("health", http.StatusOK)
	w.do("get-video-pipeline", http.StatusOK, on(waiting))
	w.do("get-captions", http.StatusNotFound, on(waiting), anonymous)
	w.do("list-course-pipeline", http.StatusOK, query("state", "working,done"), query("limit", "1"))
	w.watch("video-events", on(waiting))
	w.watch("course-events")

	key := uuid.NewString()
	id := w.create(header("Idempotency-Key", key))
	if again := w.create(header("Idempotency-Key", key)); again != id {
		w.t.Errorf("the same key created %s and %s", id, again)
	}
	w.do("create-video", http.StatusUnprocessableEntity, header("Idempotency-Key", key), body(with(newBody(), "level", "advanced")))

	// One that takes a transcript and then has nothing to retry, unless it must.
	w.do("put-transcription", http.StatusAccepted, on(id), body(json.RawMessage(
		`{"transcription": {"duration": 2.5, "language": "en", "words": [{"text": "Hello.", "start": 0.0, "end": 0.5}]}}`)))
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if _, err := w.p.places.API.Await(ctx, id, transcribed); err != nil {
		w.t.Fatal(err)
	}
	file := w.do("get-captions", http.StatusOK, on(id), anonymous)
	if got := string(file.body); got != "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHello.\n" {
		w.t.Errorf("captions: %q", got)
	}
	w.do("get-captions", http.StatusNotModified, on(id), anonymous, header("If-None-Match", file.header.Get("ETag")))
	w.do("retry-transcription", http.StatusConflict, on(id))
	w.do("retry-transcription", http.StatusAccepted, on(id), body(map[string]any{"force": true}))
	w.do("get-video-pipeline", http.StatusOK, on(id))

	w.do("delete-video", http.StatusNoContent, on(id))
	w.do("create-video", http.StatusGone, header("Idempotency-Key", key), body(newBody()))
	w.do("video-events", http.StatusNoContent, on(id), header("Last-Event-ID", "1"))
	w.do("course-events", http.StatusNoContent, in(uuid.NewString()), header("Last-Event-ID", "1"))
	w.do("delete-video-pipeline", http.StatusNoContent, on(w.create()))
}

// beRefused asks every operation for what the caller may not have and for what is not there.
func (w *walk) beRefused(id contract.VideoID) {
	for name, op := range w.operations {
		if len(op.declared.Security) > 0 {
			w.do(name, http.StatusUnauthorized, anonymous)
			w.do(name, http.StatusForbidden, on(id), as(seed.Student))
			w.do(name, http.StatusForbidden, on(id), as(seed.OtherLecturer))
		}
		if strings.Contains(op.path, "{") {
			w.do(name, http.StatusNotFound, on(contract.VideoID(uuid.NewString())), in(uuid.NewString()), as(seed.Admin))
			w.do(name, http.StatusUnprocessableEntity, on("x"), in("x"), wrong)
		}
	}
}

// fail sends what cannot be understood, and what is too much.
func (w *walk) fail() {
	id := w.create()
	for _, name := range []string{"create-video", "retry-transcription"} {
		w.do(name, http.StatusBadRequest, on(id), raw("{", "application/json"), wrong)
		w.do(name, http.StatusUnsupportedMediaType, on(id), raw("title=Graphs", "application/x-www-form-urlencoded"), wrong)
		w.do(name, http.StatusRequestEntityTooLarge, on(id), body(with(newBody(), "more", strings.Repeat("x", 70_000))))
	}
	w.do("create-video", http.StatusUnprocessableEntity, body(with(newBody(), "title", "")), wrong)
	w.do("create-video", http.StatusUnprocessableEntity, body(with(newBody(), "level", "impossible")), wrong)
	w.do("retry-transcription", http.StatusUnprocessableEntity, on(id), body(map[string]any{"force": "yes"}), wrong)
	w.do("list-course-pipeline", http.StatusUnprocessableEntity, query("limit", "0"), wrong)
	w.do("list-course-pipeline", http.StatusUnprocessableEntity, query("state", "asleep"), wrong)
	w.do("list-course-pipeline", http.StatusUnprocessableEntity, query("cursor", "x"))
	w.do("put-transcription", http.StatusBadRequest, on(id), raw("", "application/json"), wrong)
	w.do("put-transcription", http.StatusUnprocessableEntity, on(id), body(map[string]any{"words": "none"}), wrong)
	w.do("put-transcription", http.StatusRequestEntityTooLarge, on(id),
		raw(`{"words": [], "more": "`+strings.Repeat("x", 17<<20)+`"}`, "application/json"))

	// What lies in the storage is no transcript: somebody else put it there.
	w.p.db.Exec(w.t, `update public.videos set transcript_url = 'https://example.test/t.json' where id = $1`, string(id))
	storage, err := supabase.New(supabase.Config{URL: w.p.env.Value("SUPABASE_URL"), ServiceKey: w.p.env.Value("SUPABASE_SERVICE_KEY")})
	if err != nil {
		w.t.Fatal(err)
	}
	defer storage.Close()
	if err := storage.Put(w.t.Context(), id.TranscriptPath(), []byte(`[]`)); err != nil {
		w.t.Fatal(err)
	}
	w.do("get-captions", http.StatusInternalServerError, on(id), anonymous)
}

// tooSlow sends headers and never the whole of a body.
func (w *walk) tooSlow(name string, id contract.VideoID) {
	r := w.request(name, on(id), body(newBody()))
	conn, err := net.Dial("tcp", r.URL.Host)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		w.t.Error(err)
	}
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		r.Method, r.URL.Path, r.URL.Host, r.Header.Get("Authorization"))
	if err != nil {
		w.t.Error(err)
		return
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		w.t.Errorf("%s, with a body that does not come: %v", name, err)
		return
	}
	w.answered(name, http.StatusRequestTimeout, r, resp)
}

// exceed asks for more than a caller may in a minute.
func (w *walk) exceed() {
	w.p.stop(starter)
	w.p.env = w.p.env.With(envfile.Var{Name: "RATE_LIMIT", Value: "1"})
	w.p.start(starter)
	w.do("list-course-pipeline", http.StatusOK, as(seed.Admin))
	for range 10 {
		w.do("get-captions", http.StatusNotFound, on(contract.VideoID(uuid.NewString())), anonymous)
	}
	for name, op := range w.operations {
		if op.declares(http.StatusTooManyRequests) {
			w.do(name, http.StatusTooManyRequests, as(seed.Admin))
		}
	}
	w.p.stop(starter)
	w.p.env = w.p.env.With(envfile.Var{Name: "RATE_LIMIT", Value: "0"})
	w.p.start(starter)
}

// beAway takes the database away from the API, and gives it back.
func (w *walk) beAway() {
	id := w.create()
	conn, err := pgx.Connect(w.t.Context(), need(w.t, "VIDFLOW_TEST_POSTGRES_URL")) // to another database of the same server
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	name := w.p.db.Admin.Config().ConnConfig.Database
	exec := func(sql string, args ...any) {
		w.t.Helper()
		if _, err := conn.Exec(w.t.Context(), sql, args...); err != nil {
			w.t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(`alter database "` + name + `" with allow_connections false`)
	exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, name)
	for name, op := range w.operations {
		if op.declares(http.StatusServiceUnavailable) {
			w.do(name, http.StatusServiceUnavailable, on(id))
		}
	}
	exec(`alter database "` + name + `" with allow_connections true`)
	w.p.awaitStatus(starter, "ready")
	w.do("get-video-pipeline", http.StatusOK, on(id))
}

// unseen are the declared statuses that nobody can be shown, and why.
func unseen(status int) (why string) {
	if status == http.StatusInternalServerError {
		return "a fault of ours, which is none that can be made"
	}
	return ""
}

// check fails the test for whatever the document declares and the walk has not met.
func (w *walk) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.operations)) {
		for _, status := range w.operations[name].statuses {
			if !w.met[name][status] && unseen(status) == "" {
				w.t.Errorf("%s declares %d, which the walk has not met", name, status)
			}
		}
	}
}

// walk is a caller with the document in hand.
type walk struct {
	t          *testing.T
	p          *pipeline
	validator  validator.Validator
	operations map[string]operation
	view       *v3.Document

	mu  sync.Mutex
	met map[string]map[int]bool
}

type operation struct {
	method, path string
	declared     *v3.Operation
	statuses     []int
}

func (o operation) declares(status int) bool { return slices.Contains(o.statuses, status) }

func newWalk(t *testing.T, p *pipeline) *walk {
	t.Helper()
	committed, err := os.ReadFile("../../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := libopenapi.NewDocument(committed)
	if err != nil {
		t.Fatal(err)
	}
	model, err := document.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document, config.WithFormatAssertions())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, errs := v.ValidateDocument(); !ok {
		t.Fatalf("openapi.json is no OpenAPI document: %v", explain(errs))
	}
	w := &walk{t: t, p: p, validator: v, view: &model.Model, operations: map[string]operation{}, met: map[string]map[int]bool{}}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, declared := range item.GetOperations().FromOldest() {
			op := operation{method: strings.ToUpper(method), path: path, declared: declared}
			for code := range declared.Responses.Codes.FromOldest() {
				status, err := strconv.Atoi(code)
				if err != nil {
					t.Fatalf("%s declares %q: each status is to be declared by itself", declared.OperationId, code)
				}
				op.statuses = append(op.statuses, status)
			}
			w.operations[declared.OperationId] = op
			w.met[declared.OperationId] = map[int]bool{}
		}
	}
	return w
}

// sent is a request in the making: what a good one of its operation's is, unless an option says otherwise.
type sent struct {
	video, course string
	user          *seed.User
	query         url.Values
	header        http.Header
	body          []byte
	wrong         bool
}

type option func(*sent)

func on(id contract.VideoID) option { return func(a *sent) { a.video = string(id) } }
func in(course string) option       { return func(a *sent) { a.course = course } }
func as(u seed.User) option         { return func(a *sent) { a.user = &u } }
func anonymous(a *sent)             { a.user = nil }
func query(name, value string) option {
	return func(a *sent) { a.query.Set(name, value) }
}

func header(name, value string) option {
	return func(a *sent) { a.header.Set(name, value) }
}

func body(v any) option {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(err) // of values that this test made
	}
	return raw(string(encoded), "application/json")
}

func raw(content, contentType string) option {
	return func(a *sent) {
		a.body = []byte(content)
		a.header.Set("Content-Type", contentType)
	}
}

// wrong says that the request is not one that the document allows; else it must be.
func wrong(a *sent) { a.wrong = true }

func newBody() map[string]any {
	return map[string]any{
		"title": "A walk", "description": "Through the whole API.", "level": "beginner",
		"camera_video_url": "https://example.test/lectures/walk.mp4",
	}
}

func with(m map[string]any, name string, value any) map[string]any {
	m[name] = value
	return m
}

func (w *walk) sent(name string, options []option) sent {
	a := sent{
		video: uuid.NewString(), course: seed.Courses[0].ID, user: &seed.Lecturer, query: url.Values{}, header: http.Header{},
	}
	switch name { // what cannot do without a body
	case "create-video":
		body(newBody())(&a)
	case "put-transcription":
		body(map[string]any{"words": []any{}})(&a)
	}
	for _, o := range options {
		o(&a)
	}
	return a
}

func (w *walk) request(name string, options ...option) *http.Request {
	w.t.Helper()
	op, ok := w.operations[name]
	if !ok {
		w.t.Fatalf("openapi.json has no operation %s", name)
	}
	a := w.sent(name, options)
	path := strings.NewReplacer("{videoId}", a.video, "{courseId}", a.course).Replace(op.path)
	r, err := http.NewRequestWithContext(w.t.Context(), op.method, w.p.places.API.URL+path+"?"+a.query.Encode(), bytes.NewReader(a.body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.URL.RawQuery = strings.TrimSuffix(r.URL.RawQuery, "?")
	r.Header = a.header
	if a.user != nil && len(op.declared.Security) > 0 {
		token, err := seed.Token(w.p.env.Value("JWT_SECRET"), *a.user, time.Now(), time.Hour)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// answer is what came back, read whole.
type answer struct {
	header http.Header
	body   []byte
}

// do sends a request, holds it and its answer against the document, and fails unless the answer has this status.
func (w *walk) do(name string, status int, options ...option) answer {
	w.t.Helper()
	r := w.request(name, options...)
	a := w.sent(name, options)
	w.holdRequest(name, r, a.wrong || status == http.StatusUnauthorized)
	for deadline := time.Now().Add(patience); ; {
		r.Body = io.NopCloser(bytes.NewReader(a.body))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		if resp.StatusCode != http.StatusServiceUnavailable || status == http.StatusServiceUnavailable || time.Now().After(deadline) {
			return w.answered(name, status, r, resp)
		}
		_ = resp.Body.Close() // a busy machine; it says itself that one is to try again
		<-time.After(time.Second)
	}
}

// holdRequest holds a request against the document.
func (w *walk) holdRequest(name string, r *http.Request, wrong bool) {
	w.t.Helper()
	switch ok, errs := w.validator.ValidateHttpRequestSync(r); {
	case !ok && !wrong:
		w.t.Errorf("%s: the document does not allow this request: %v", name, explain(errs))
	case ok && wrong:
		w.t.Errorf("%s: the document allows a request that is wrong", name)
	}
}

// answered holds an answer against the document.
func (w *walk) answered(name string, status int, r *http.Request, resp *http.Response) answer {
	w.t.Helper()
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Errorf("%s: %v", name, err)
	}
	if resp.StatusCode != status {
		w.t.Errorf("%s: status %d, want %d: %s", name, resp.StatusCode, status, content)
	}
	w.meet(name, r, resp, content)
	return answer{header: resp.Header, body: content}
}

func (w *walk) meet(name string, r *http.Request, resp *http.Response, content []byte) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	resp.Body = io.NopCloser(bytes.NewReader(content))
	if ok, errs := w.validator.ValidateHttpResponse(r, resp); !ok {
		w.t.Errorf("%s: the document does not declare this answer, %d %s: %v", name, resp.StatusCode, content, explain(errs))
	}
	declared := w.operations[name].declared.Responses.Codes.GetOrZero(strconv.Itoa(resp.StatusCode))
	if declared == nil {
		w.t.Errorf("%s answers %d, which the document does not declare: %s", name, resp.StatusCode, content)
		return
	}
	if len(content) > 0 || orderedmap.Len(declared.Content) > 0 {
		mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
		if orderedmap.Len(declared.Content) == 0 || declared.Content.GetOrZero(mediaType) == nil {
			w.t.Errorf("%s answers %d with %q, which the document does not declare", name, resp.StatusCode, mediaType)
		}
	}
	for header := range declared.Headers.FromOldest() {
		if optional := header == "Link" || header == "Idempotency-Replayed"; resp.Header.Get(header) == "" && !optional {
			w.t.Errorf("%s answers %d without %s", name, resp.StatusCode, header)
		}
	}
	w.met[name][resp.StatusCode] = true
}

// watch reads the first message of a stream of events, and holds its data against the document too.
func (w *walk) watch(name string, options ...option) {
	w.t.Helper()
	r := w.request(name, options...)
	w.holdRequest(name, r, false)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	resp, err := http.DefaultClient.Do(r.WithContext(ctx))
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			w.t.Fatalf("%s: no message: %v", name, err)
		}
		data, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "data: ")
		if !ok {
			continue
		}
		w.meet(name, r, resp, []byte("data: "+data+"\n\n"))
		schema := w.view.Components.Schemas.GetOrZero("VideoView").Schema()
		if ok, errs := schema_validation.NewSchemaValidator(config.WithFormatAssertions()).ValidateSchemaString(schema, data); !ok {
			w.t.Errorf("%s: the data of a message is no VideoView: %s: %v", name, data, explain(errs))
		}
		return
	}
}

// create creates a video.
func (w *walk) create(options ...option) contract.VideoID {
	w.t.Helper()
	a := w.do("create-video", http.StatusCreated, options...)
	var created struct {
		Data struct {
			ID contract.VideoID `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(a.body, &created); err != nil || created.Data.ID == "" {
		w.t.Fatalf("create a video: %v in %s", err, a.body)
	}
	return created.Data.ID
}

func explain(errs []*openapierrors.ValidationError) string {
	var b strings.Builder
	for _, e := range errs {
		fmt.Fprintf(&b, "\n- %s: %s", e.Message, e.Reason)
		for _, f := range e.SchemaValidationErrors {
			fmt.Fprintf(&b, "\n  %s: %s", f.FieldPath, f.Reason)
		}
	}
	return b.String()
}
