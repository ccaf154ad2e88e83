package supabase_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/internal/supabase"
)

const (
	path     = "videos/0b4d3c1e-6f5a-4c1b-9a57-1f2e3d4c5b6a.json"
	stored   = `{"Key": "captions/videos/x.json", "Id": "1"}`
	deadline = 2 * time.Minute
)

// jwt is a key of the older kind, signed by nobody.
func jwt(role string) string {
	payload := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"iss": "supabase", "role": %q}`, role))
	return "eyJhbGciOiJIUzI1NiJ9." + payload + ".c2lnbmF0dXJl"
}

func client(t *testing.T, url string, change ...func(*supabase.Config)) *supabase.Client {
	t.Helper()
	cfg := supabase.Config{URL: url, ServiceKey: jwt("service_role"), Timeout: deadline}
	for _, c := range change {
		c(&cfg)
	}
	c, err := supabase.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestNew(t *testing.T) {
	t.Parallel()
	rows := map[string]struct{ url, key, says string }{
		"no URL":               {"", "k", "SUPABASE_URL"},
		"no scheme":            {"abcd.supabase.co", "k", "SUPABASE_URL"},
		"database URL":         {"postgres://abcd.supabase.co", "k", "SUPABASE_URL"},
		"URL with a password":  {"https://me:hush@abcd.supabase.co", "k", "SUPABASE_URL"},
		"URL with a query":     {"https://abcd.supabase.co/?key=hush", "k", "SUPABASE_URL"},
		"no key":               {"https://abcd.supabase.co", "", "SUPABASE_SERVICE_KEY is missing"},
		"key of two lines":     {"https://abcd.supabase.co", "hush\nhush", "SUPABASE_SERVICE_KEY"},
		"public key":           {"https://abcd.supabase.co", "sb_publishable_hush", "public key"},
		"public key, older":    {"https://abcd.supabase.co", jwt("anon"), "public key"},
		"key that is a secret": {"https://abcd.supabase.co", "sb_secret_hush", ""},
		"key, older":           {"https://abcd.supabase.co", jwt("service_role"), ""},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := supabase.New(supabase.Config{URL: row.url, ServiceKey: row.key})
			if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
				t.Fatalf("got %v, want an error that says %q", err, row.says)
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("%v tells a secret", err)
			}
		})
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	want := "https://abcd.supabase.co/storage/v1/object/public/captions/" + path
	for _, url := range []string{"https://abcd.supabase.co", "https://abcd.supabase.co/", " https://abcd.supabase.co\n"} {
		if got := client(t, url).PublicURL(path); got != want {
			t.Errorf("of %q: got %s, want %s", url, got, want)
		}
	}
}

// What storage-go adds to requests on their way is put right, whoever else is sending.
func TestRequests(t *testing.T) {
	t.Parallel()
	keys := map[string]struct{ key, authorization string }{
		"older key":  {jwt("service_role"), "Bearer " + jwt("service_role")},
		"secret key": {"sb_secret_hush", ""}, // no JWT, so that it would be refused as a bearer token
	}
	for name, row := range keys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			type request struct {
				Line   string
				Header http.Header
				Body   string
			}
			var mu sync.Mutex
			got := map[string]request{}
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				header := r.Header.Clone()
				for _, name := range []string{"Accept-Encoding", "Content-Length", "X-Client-Info", "User-Agent", "Accept"} {
					header.Del(name)
				}
				mu.Lock()
				got[r.Method] = request{r.Method + " " + r.URL.String(), header, string(body)}
				mu.Unlock()
				switch r.Method {
				case http.MethodPost:
					_, _ = io.WriteString(w, stored)
				case http.MethodDelete:
					_, _ = io.WriteString(w, `[]`)
				default:
					_, _ = io.WriteString(w, `{"words": []}`)
				}
			})
			c := client(t, url, func(cfg *supabase.Config) { cfg.ServiceKey = row.key })

			group, ctx := errgroup.WithContext(t.Context())
			for range 20 {
				group.Go(func() error { return c.Put(ctx, path, []byte(`{"words": []}`)) })
				group.Go(func() error { return c.Delete(ctx, path) })
				group.Go(func() error {
					_, err := c.Get(ctx, path)
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}

			header := func(more ...string) http.Header {
				h := http.Header{"Apikey": {row.key}}
				if row.authorization != "" {
					h.Set("Authorization", row.authorization)
				}
				for i := 0; i < len(more); i += 2 {
					h.Set(more[i], more[i+1])
				}
				return h
			}
			want := map[string]request{
				http.MethodPost: {
					"POST /storage/v1/object/captions/" + path,
					header("Content-Type", "application/json", "X-Upsert", "true"), `{"words": []}`,
				},
				http.MethodDelete: {
					"DELETE /storage/v1/object/captions", header("Content-Type", "application/json"), `{"prefixes":["` + path + `"]}`,
				},
				http.MethodGet: {
					"GET /storage/v1/object/authenticated/captions/" + path, header("Content-Type", "application/json"), "",
				},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Two clients in one process have nothing in common.
func TestTwoClients(t *testing.T) {
	t.Parallel()
	var group errgroup.Group
	for n := range 8 {
		key := fmt.Sprintf("sb_secret_%d", n)
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Values("Apikey"); !cmp.Equal(got, []string{key}) {
				t.Errorf("got the keys %v, want %s", got, key)
			}
			_, _ = io.WriteString(w, stored)
		})
		c := client(t, url, func(cfg *supabase.Config) { cfg.ServiceKey = key })
		for range 4 {
			group.Go(func() error { return c.Put(t.Context(), path, []byte(`{}`)) })
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

type failure struct {
	Status                          int
	Code                            string
	Temporary, Configuration, Final bool
	InDoubt                         bool
}

func failureOf(t *testing.T, err error) failure {
	t.Helper()
	var e *supabase.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *supabase.Error", err)
	}
	return failure{e.Status, e.Code, e.Temporary(), e.Configuration(), e.Final(), e.InDoubt()}
}

// Answers that the stand-in of the development stack does not give; those that it gives are tested there.
func TestAnswers(t *testing.T) {
	t.Parallel()
	key := jwt("service_role")
	rows := map[string]struct {
		status int
		body   string
		want   failure
		says   string
	}{
		"page of a proxy": {
			502, "<html><head><title>502 Bad\n Gateway</title></head></html>",
			failure{Status: 502, Temporary: true, InDoubt: true},
			`a page titled "502 Bad Gateway"`,
		},
		"nothing at all": {503, "", failure{Status: 503, Temporary: true, InDoubt: true}, "an empty answer"},
		"paused project": {540, "project paused", failure{Status: 540, Temporary: true, InDoubt: true}, "project paused"},
		"error inside a 400": {
			400, `{"statusCode":"503","error":"acquiring_lock_timeout","message":"acquiring lock timeout","code":"LockTimeout"}`,
			failure{Status: 503, Code: "LockTimeout", Temporary: true, InDoubt: true},
			"acquiring lock timeout",
		},
		"locked": {
			400, `{"statusCode":"423","error":"ResourceLocked","message":"The resource is locked","code":"ResourceLocked"}`,
			failure{Status: 423, Code: "ResourceLocked", Temporary: true},
			"locked",
		},
		"two uploads at once": {
			400, `{"statusCode":"409","error":"Duplicate","message":"The resource already exists","code":"KeyAlreadyExists"}`,
			failure{Status: 409, Code: "KeyAlreadyExists", Temporary: true},
			"already exists",
		},
		"bucket not found, before there were codes": {
			400, `{"statusCode":"404","error":"Bucket not found","message":"Bucket not found"}`,
			failure{Status: 404, Code: "NoSuchBucket", Configuration: true},
			"Bucket not found",
		},
		"status as a number": {
			400, `{"statusCode":403,"error":"Unauthorized","message":"new row violates row-level security policy"}`,
			failure{Status: 403, Configuration: true},
			"row-level security",
		},
		"key refused by the gateway": {
			401, `{"message":"Invalid API key","hint":"Double check your Supabase anon or service_role API key."}`,
			failure{Status: 401, Configuration: true},
			"Invalid API key",
		},
		"quota": {402, `{"message":"exceed_storage_size_quota"}`, failure{Status: 402, Configuration: true}, "quota"},
		"blocked by a firewall": {
			403, "<html><title>Attention Required!</title></html>",
			failure{Status: 403, Code: "NotStorage", Configuration: true},
			"Attention Required!",
		},
		"something else at that address": {
			404, "<html><title>Welcome</title></html>", failure{Status: 404, Code: "NotStorage", Configuration: true}, "Welcome",
		},
		"no such route": {
			404, `{"message":"no Route matched with those values"}`, failure{Status: 404, Configuration: true}, "no Route",
		},
		"limit of a proxy": {
			413, "<html><title>413 Request Entity Too Large</title></html>", failure{Status: 413, Final: true}, "Too Large",
		},
		"type not allowed in the bucket": {
			400, `{"statusCode":"415","error":"invalid_mime_type","message":"mime type application/json is not supported","code":"InvalidMimeType"}`,
			failure{Status: 415, Code: "InvalidMimeType", Configuration: true},
			"mime type",
		},
		"time-out of a proxy": {408, "", failure{Status: 408, Code: "NotStorage", Temporary: true, InDoubt: true}, "empty"},
		"success that is none": {
			200, "<html><title>Sign in to the hotel</title></html>", failure{Temporary: true, InDoubt: true}, "Sign in to the hotel",
		},
		"key in the message": {
			400, `{"statusCode":"403","error":"Unauthorized","message":"no such key ` + key + `","code":"AccessDenied"}`,
			failure{Status: 403, Code: "AccessDenied", Configuration: true},
			"no such key [key]",
		},
		"long message": {
			500, `{"statusCode":"500","message":"` + strings.Repeat("long ", 1000) + `"}`,
			failure{Status: 500, Temporary: true, InDoubt: true},
			"long …",
		},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			})
			err := client(t, url).Put(t.Context(), path, []byte(`{}`))
			if diff := cmp.Diff(row.want, failureOf(t, err)); diff != "" {
				t.Errorf("of %v (-want +got):\n%s", err, diff)
			}
			if !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), key) || len(err.Error()) > 700 {
				t.Errorf("got %q, want it to say %q", err, row.says)
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed, with the key") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere+r.URL.Path, status) })
		c := client(t, url)
		_, err := c.Get(t.Context(), path)
		if want := (failure{Status: status, Code: "NotStorage", Configuration: true}); failureOf(t, err) != want {
			t.Errorf("got %+v of %v, want %+v", failureOf(t, err), err, want)
		}
		if !strings.Contains(err.Error(), elsewhere) {
			t.Errorf("%q does not say where to", err)
		}
	}
}

func TestCutAnswers(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 400, 502} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"statusCode":"4`)
			panic(http.ErrAbortHandler)
		})
		err := client(t, url).Put(t.Context(), path, []byte(`{}`))
		got := failureOf(t, err)
		if !got.Temporary || !got.InDoubt || got.Configuration || got.Final {
			t.Errorf("status %d: got %+v of %v, want it temporary and in doubt", status, got, err)
		}
	}
}

// Whether an upload may still land decides whether its claim is given back.
func TestDoubt(t *testing.T) {
	t.Parallel()
	t.Run("none when nobody was there", func(t *testing.T) {
		t.Parallel()
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + l.Addr().String()
		_ = l.Close()
		err = client(t, url).Put(t.Context(), path, []byte(`{}`))
		if want := (failure{Temporary: true}); failureOf(t, err) != want {
			t.Errorf("got %+v of %v, want %+v", failureOf(t, err), err, want)
		}
	})
	t.Run("none when the context had ended", func(t *testing.T) {
		t.Parallel()
		url := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := client(t, url).Put(ctx, path, []byte(`{}`))
		if want := (failure{Temporary: true}); failureOf(t, err) != want || !errors.Is(err, context.Canceled) {
			t.Errorf("got %+v of %v, want %+v", failureOf(t, err), err, want)
		}
	})
	t.Run("none while waiting for a connection", func(t *testing.T) {
		t.Parallel()
		busy, release := make(chan struct{}), make(chan struct{})
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			close(busy) // panics when called twice
			<-release
			_, _ = io.WriteString(w, stored)
		})
		c := client(t, url, func(cfg *supabase.Config) { cfg.MaxConns = 1 })
		first := make(chan error, 1)
		go func() { first <- c.Put(t.Context(), path, []byte(`{}`)) }()
		<-busy
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := c.Put(ctx, path, []byte(`{}`))
		if want := (failure{Temporary: true}); failureOf(t, err) != want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %+v of %v, want %+v", failureOf(t, err), err, want)
		}
		close(release)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
	t.Run("when it was sent and not answered", func(t *testing.T) {
		t.Parallel()
		received := make(chan struct{}, 1)
		url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			received <- struct{}{}
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		c := client(t, url)
		go func() { failed <- c.Put(ctx, path, []byte(`{}`)) }()
		<-received
		cancel()
		err := <-failed
		if want := (failure{Temporary: true, InDoubt: true}); failureOf(t, err) != want || !errors.Is(err, context.Canceled) {
			t.Errorf("got %+v of %v, want %+v", failureOf(t, err), err, want)
		}
	})
}

// A failed answer gives its connection back like any other.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"statusCode":"429","error":"too_many_connections","message":"slow down","code":"SlowDown"}`)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := client(t, s.URL)
	for range 20 {
		if err := c.Put(t.Context(), path, []byte(`{}`)); err == nil {
			t.Fatal("no error")
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for 20 calls one after the other, want 1", n)
	}
}

func TestPathsStayInTheBucket(t *testing.T) {
	t.Parallel()
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was sent", r.URL) })
	c := client(t, url)
	for _, path := range []string{"../other/x.json", "/x.json", "a/../../x.json", "a//b", "a?b", "a%2e", "a b", ".", ".."} {
		err := c.Put(t.Context(), path, []byte(`{}`))
		if want := (failure{Status: 400, Code: "InvalidKey", Final: true}); failureOf(t, err) != want {
			t.Errorf("%q: got %+v, want %+v", path, failureOf(t, err), want)
		}
	}
}

func TestTheKeyIsNotLogged(t *testing.T) {
	t.Parallel()
	cfg := supabase.Config{URL: "https://abcd.supabase.co", ServiceKey: "sb_secret_hush"}
	c, err := supabase.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("storage", "client", c, "config", cfg)
	slog.New(slog.NewTextHandler(&b, nil)).Info("storage", "client", c, "config", cfg)
	fmt.Fprintf(&b, "%v %+v %#v %v %+v %#v", c, c, c, cfg, cfg, cfg)
	if strings.Contains(b.String(), "hush") {
		t.Errorf("the key is told: %s", b.String())
	}
}
