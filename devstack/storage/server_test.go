package storage_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/devstack/storage"
)

// request makes a call with the service role's key, unless header says otherwise.
func (b *bundle) request(t *testing.T, method, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+"/storage/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+serviceRole(t))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// The answers are those that the real server was seen to give.
func TestProtocol(t *testing.T) {
	t.Parallel()
	anon, err := storage.AnonKey(jwtSecret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t)
	b.request(t, http.MethodPost, "/object/captions/there.json", `{}`)
	b.request(t, http.MethodPost, "/bucket", `{"id": "images", "name": "images", "public": true, "file_size_limit": "1KB",
		"allowed_mime_types": ["image/*"]}`)
	rows := map[string]struct {
		method, path, body string
		header             []string
		status             int
		want               string // JSON; "*" fits any string
	}{
		"upload": {
			method: "POST", path: "/object/captions/a/b.json", status: 200, want: `{"Key":"captions/a/b.json","Id":"*"}`,
		},
		"replace": {
			method: "POST", path: "/object/captions/there.json", header: []string{"X-Upsert", "true"},
			status: 200, want: `{"Key":"captions/there.json","Id":"*"}`,
		},
		"PUT": {method: "PUT", path: "/object/captions/there.json", status: 200, want: `{"Key":"captions/there.json","Id":"*"}`},
		"duplicate": {
			method: "POST", path: "/object/captions/there.json", status: 400,
			want: `{"statusCode":"409","error":"Duplicate","message":"The resource already exists","code":"KeyAlreadyExists"}`,
		},
		"upload to no bucket": {
			method: "POST", path: "/object/nowhere/a.json", status: 400,
			want: `{"statusCode":"404","error":"Bucket not found","message":"Bucket not found","code":"NoSuchBucket"}`,
		},
		"token that is none": {
			method: "POST", path: "/object/captions/a.json", header: []string{"Authorization", "Bearer nonsense"}, status: 400,
			want: `{"statusCode":"403","error":"Unauthorized","message":"Invalid Compact JWS","code":"AccessDenied"}`,
		},
		"secret key as a bearer token alone": {
			method: "POST", path: "/object/captions/a.json", header: []string{"Authorization", "Bearer " + secretKey}, status: 400,
			want: `{"statusCode":"403","error":"Unauthorized","message":"Invalid Compact JWS","code":"AccessDenied"}`,
		},
		"unknown secret key": {
			method: "GET", path: "/bucket/captions", header: []string{"Authorization", "", "Apikey", "sb_secret_x"}, status: 401,
			want: `{"message":"Invalid API key","hint":"*"}`,
		},
		"no token": {
			method: "POST", path: "/object/captions/a.json", header: []string{"Authorization", ""}, status: 400,
			want: `{"statusCode":"400","error":"Error","message":"headers must have required property 'authorization'"}`,
		},
		"anon may not upload": {
			method: "POST", path: "/object/captions/a.json", header: []string{"Authorization", "Bearer " + anon}, status: 400,
			want: `{"statusCode":"403","error":"Unauthorized","message":"new row violates row-level security policy","code":"AccessDenied"}`,
		},
		"anon sees no bucket": {
			method: "GET", path: "/bucket/captions", header: []string{"Authorization", "Bearer " + anon}, status: 400,
			want: `{"statusCode":"404","error":"Bucket not found","message":"Bucket not found","code":"NoSuchBucket"}`,
		},
		"invalid key": {
			method: "POST", path: "/object/captions/a%23b.json", status: 400,
			want: `{"statusCode":"400","error":"InvalidKey","message":"Invalid key: a#b.json","code":"InvalidKey"}`,
		},
		"bucket's limit": {
			method: "POST", path: "/object/images/a.png", body: strings.Repeat("x", 1025), header: []string{"Content-Type", "image/png"},
			status: 400,
			want: `{"statusCode":"413","error":"Payload too large","message":"The object exceeded the maximum allowed size",
				"code":"EntityTooLarge"}`,
		},
		"bucket's types": {
			method: "POST", path: "/object/images/a.json", status: 400,
			want: `{"statusCode":"415","error":"invalid_mime_type","message":"mime type application/json is not supported",
				"code":"InvalidMimeType"}`,
		},
		"missing object": {
			method: "GET", path: "/object/public/captions/missing.json", header: []string{"Authorization", ""}, status: 400,
			want: `{"statusCode":"404","error":"not_found","message":"Object not found","code":"NoSuchKey"}`,
		},
		"delete of a missing object": {
			method: "DELETE", path: "/object/captions/missing.json", status: 400,
			want: `{"statusCode":"404","error":"not_found","message":"Object not found","code":"NoSuchKey"}`,
		},
		"delete of a list without what is there": {
			method: "DELETE", path: "/object/captions", body: `{"prefixes": ["missing.json"]}`, status: 200, want: `[]`,
		},
		"delete of an empty list": {
			method: "DELETE", path: "/object/captions", body: `{}`, status: 400,
			want: `{"statusCode":"400","error":"Error","message":"body must have required property 'prefixes'"}`,
		},
		"bucket that exists": {
			method: "POST", path: "/bucket", body: `{"name": "captions"}`, status: 400,
			want: `{"statusCode":"409","error":"Duplicate","message":"The resource already exists","code":"BucketAlreadyExists"}`,
		},
		"bucket that is not empty": {
			method: "DELETE", path: "/bucket/captions", status: 400,
			want: `{"statusCode":"409","error":"InvalidRequest","message":"The bucket you tried to delete is not empty","code":"InvalidRequest"}`,
		},
		"bucket": {
			method: "GET", path: "/bucket/images", status: 200,
			want: `{"id":"images","name":"images","owner":"","public":true,"file_size_limit":1024,"allowed_mime_types":["image/*"],
				"created_at":"*","updated_at":"*"}`,
		},
		"no route": {
			method: "GET", path: "/objects", status: 404,
			want: `{"message":"Route GET:/objects not found","error":"Not Found","statusCode":404}`,
		},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, answer := b.request(t, row.method, row.path, row.body, row.header...)
			if status != row.status {
				t.Errorf("got status %d, want %d", status, row.status)
			}
			var got, want any
			if err := json.Unmarshal([]byte(answer), &got); err != nil {
				t.Fatalf("%v in %s", err, answer)
			}
			if err := json.Unmarshal([]byte(row.want), &want); err != nil {
				t.Fatal(err)
			}
			anyString := cmp.FilterValues(func(x, y any) bool { return x == "*" || y == "*" }, cmp.Ignore())
			if diff := cmp.Diff(want, got, anyString); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestServerKeepsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sameDir := func(c *storage.Config) { c.Dir = dir }
	before := setup(t, sameDir)
	before.request(t, http.MethodPost, "/object/captions/"+path, `{"kept": true}`)
	after := setup(t, sameDir)
	if got, ok := after.stored(t, path); got != `{"kept": true}` || !ok {
		t.Errorf("got %q, want the object from before the restart", got)
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, answer := b.request(t, http.MethodPost, "/object/captions/form.json",
		"--x\r\nContent-Disposition: form-data; name=\"cacheControl\"\r\n\r\n3600\r\n"+
			"--x\r\nContent-Disposition: form-data; name=\"\"; filename=\"form.json\"\r\nContent-Type: application/json\r\n\r\n{}\r\n--x--\r\n",
		"Content-Type", "multipart/form-data; boundary=x")
	if status != http.StatusOK {
		t.Fatalf("got %d %s", status, answer)
	}
	if got, _ := b.stored(t, "form.json"); got != "{}" {
		t.Errorf("got %q, want the file in the form", got)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"videos/b.json", "videos/a.json", "other/c.json"} {
		b.request(t, http.MethodPost, "/object/captions/"+path, `{}`)
	}
	_, answer := b.request(t, http.MethodPost, "/object/list/captions", `{"prefix": "videos/"}`)
	var list []struct{ Name string }
	if err := json.Unmarshal([]byte(answer), &list); err != nil {
		t.Fatal(err)
	}
	want := []struct{ Name string }{{"videos/a.json"}, {"videos/b.json"}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBrowsers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.request(t, http.MethodPost, "/object/captions/"+path, `{"words": []}`)
	url := b.url + "/storage/v1/object/public/captions/" + path
	call := func(method string, header ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://learn.example.com")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}
	preflight := call(http.MethodOptions, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range")
	if preflight.StatusCode != http.StatusNoContent || preflight.Header.Get("Access-Control-Allow-Headers") != "range" {
		t.Errorf("preflight: got %v %v", preflight.Status, preflight.Header)
	}
	whole := call(http.MethodGet)
	if whole.StatusCode != http.StatusOK || whole.Header.Get("Access-Control-Allow-Origin") != "*" || whole.Header.Get("ETag") == "" {
		t.Errorf("got %v %v", whole.Status, whole.Header)
	}
	if again := call(http.MethodGet, "If-None-Match", whole.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("the same again: got %v", again.Status)
	}
	if part := call(http.MethodGet, "Range", "bytes=0-3"); part.StatusCode != http.StatusPartialContent || part.ContentLength != 4 {
		t.Errorf("a part: got %v", part.Status)
	}
	if head := call(http.MethodHead); head.StatusCode != http.StatusOK || head.ContentLength != whole.ContentLength {
		t.Errorf("HEAD: got %v", head.Status)
	}
}

// Nothing that is held lands when the server stops, as after a crash.
func TestCloseDropsHeldUploads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sameDir := func(c *storage.Config) { c.Dir = dir }
	before := setup(t, sameDir)
	before.order(t, storage.Fault{Kind: storage.Hold, Path: "held"})
	before.order(t, storage.Fault{Kind: storage.Slow, Path: "slow", Delay: storage.Duration(time.Hour)})
	client := before.client(t)
	failed := make(chan error, 2)
	for _, path := range []string{"held.json", "slow.json"} {
		go func() { failed <- client.Put(t.Context(), path, []byte(`{}`)) }()
	}
	for _, path := range []string{"held", "slow"} {
		if _, err := before.control.Uploads(t.Context(), path, "", 1, deadline); err != nil {
			t.Fatal(err)
		}
	}
	before.server.Close()
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("an upload succeeded")
		}
	}
	after := setup(t, sameDir)
	for _, path := range []string{"held.json", "slow.json"} {
		if _, ok := after.stored(t, path); ok {
			t.Errorf("%s has landed", path)
		}
	}
}

func TestControlRefusesNonsense(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, f := range []storage.Fault{{Kind: "explode"}, {Kind: storage.Hold, Op: storage.OpRead}, {Kind: storage.Drop, Count: -1}} {
		if err := b.control.Order(t.Context(), f); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
}
