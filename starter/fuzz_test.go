package starter_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/starter"
)

// everyVideo is a store in which every course is the same lecturer's, and every video is there.
type everyVideo struct {
	starter.Store
	lecturer string
}

func (s everyVideo) Course(_ context.Context, id string) (postgres.Course, error) {
	return postgres.Course{ID: id, OwnerID: s.lecturer}, nil
}

func (s everyVideo) Owner(context.Context, contract.VideoID) (postgres.Course, error) {
	return postgres.Course{ID: uuid.NewString(), OwnerID: s.lecturer}, nil
}

func (everyVideo) Video(_ context.Context, id contract.VideoID) (postgres.Loaded, error) {
	return postgres.Loaded{Video: &contract.Video{ID: id}, Pipeline: &contract.Pipeline{VideoID: id}}, nil
}

func (everyVideo) CourseVideos(context.Context, postgres.ListQuery) ([]postgres.Loaded, *postgres.Cursor, error) {
	return nil, nil, nil
}

func (everyVideo) CreateVideo(_ context.Context, n postgres.NewVideo) (postgres.Created, error) {
	return postgres.Created{VideoID: n.Video.ID, Loaded: postgres.Loaded{Video: &n.Video, Pipeline: &contract.Pipeline{VideoID: n.Video.ID}}}, nil
}

func (everyVideo) DeleteVideo(context.Context, contract.VideoID, time.Duration) (bool, error) {
	return true, nil
}

// FuzzAPI sends requests of every kind, as the lecturer whose everything is. Whatever they are like, the answer is JSON,
// a success or a whole problem document, is nobody's fault here, and says nothing of what is inside.
func FuzzAPI(f *testing.F) {
	const lecturer = "5a3c1e2d-0b4f-4c6a-9e8d-7f6e5d4c3b2a"
	s, err := starter.New(starter.Deps{
		Store: everyVideo{lecturer: lecturer}, Temporal: temporalAway{}, Publisher: &publisher{}, Objects: &objects{},
	}, starter.Config{JWTSecret: secret, ResultTopic: resultTopic}, discard)
	if err != nil {
		f.Fatal(err)
	}
	stopped, cancel := context.WithCancel(f.Context())
	cancel()
	if err := s.Events().Run(stopped); err != nil { // so that a stream ends as it begins
		f.Fatal(err)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims(lecturer, starter.Lecturer)).SignedString([]byte(secret))
	if err != nil {
		f.Fatal(err)
	}
	const id = "0b5a2f1e-9c1d-4a53-8f0e-1d2c3b4a5968"
	good, err := json.Marshal(body())
	if err != nil {
		f.Fatal(err)
	}
	for i, seed := range []struct{ path, query, key, body string }{
		{"/api/courses/" + id + "/videos", "", "key-1", string(good)},
		{"/api/videos/" + id + "/transcription", "", "", `{"transcription":{"words":[{"text":"a","start":0,"end":1}]}}`},
		{"/api/videos/" + id + "/transcription/retry", "", "", `{"force":true}`},
		{"/api/courses/" + id + "/pipeline", "state=failed,done&limit=3&cursor=MjAyNg", "", ""},
		{"/api/videos/" + id + "/pipeline", "", "", ""},
		{"/api/videos/" + id + "/events", "", "", ""},
		{"/api/courses/" + id + "/events", "", "", ""},
		{"/api/videos/../" + id, "a=%zz", "\x00", "{"},
		{"/api/videos/%2e%2e%2f" + id + "/pipeline", ";", strings.Repeat("k", 300), strings.Repeat(`{"a":`, 1000)},
		{"/api/courses/" + strings.ToUpper(id) + "/videos", "", "", `{"title":null,"level":["beginner"],"camera_video_url":"javascript:alert(1)"}`},
	} {
		f.Add(uint8(i), seed.path, seed.query, "application/json", seed.key, []byte(seed.body))
	}
	methods := []string{http.MethodPost, http.MethodPut, http.MethodGet, http.MethodDelete, http.MethodHead, http.MethodOptions, http.MethodPatch}
	f.Fuzz(func(t *testing.T, method uint8, path, query, contentType, key string, content []byte) {
		r := &http.Request{
			Method: methods[int(method)%len(methods)], URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{},
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "example.org", RemoteAddr: "192.0.2.1:1", RequestURI: "/",
		}
		r = r.WithContext(t.Context())
		r.Body, r.ContentLength = http.NoBody, int64(len(content))
		if len(content) > 0 {
			r.Body = readCloser{strings.NewReader(string(content))}
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", contentType)
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)

		outage := w.Code == http.StatusServiceUnavailable && // there is no Temporal here
			(strings.HasSuffix(path, "/retry") || strings.HasSuffix(path, "/events"))
		if w.Code >= 500 && !outage {
			t.Fatalf("%s %q: %d %s", r.Method, path, w.Code, w.Body)
		}
		if leak := leaked(w.Body.String(), string(content)+path+query+key+contentType); w.Code >= 400 && leak != "" {
			t.Errorf("the answer says %q: %s", leak, w.Body)
		}
		kind := w.Header().Get("Content-Type")
		if w.Body.Len() == 0 || kind == "text/event-stream" || strings.HasPrefix(path, "/api/docs") {
			return
		}
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || !strings.Contains(kind, "json") {
			t.Fatalf("%s %q is answered with %s: %s", r.Method, path, kind, w.Body)
		}
		if ok, has := answer["success"].(bool); has && ok != (w.Code < 400) {
			t.Errorf("%d with success %t", w.Code, ok)
		}
	})
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// inside are words that no caller needs to read: of the language, of the servers behind the API and of its packages.
var inside = []string{
	"goroutine", "panic", "runtime", ".go:", "nil pointer", "interface {}", "unmarshal", "struct", "reflect", "stack",
	"pgx", "SQLSTATE", "sqlstate", "pipeline.", "relation ", "constraint", "duplicate key", "grpc", "rpc error", "serviceerror",
	"temporal", "Temporal", "kafka", "Kafka", "supabase", "postgres", "Postgres", "starter", "contract.", "huma", "chi.",
	"context deadline", "context canceled", "dial tcp", "connection refused", "127.0.0.1", "192.0.2.", secret,
}

// leaked is the first word of inside that an answer has and the request had not; "" when there is none.
func leaked(answer, request string) string {
	for _, word := range inside {
		if strings.Contains(answer, word) && !strings.Contains(request, word) {
			return word
		}
	}
	return ""
}
