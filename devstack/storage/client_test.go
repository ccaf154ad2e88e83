package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/supabase"
)

// These tests hold the client that ships, internal/supabase, against the stand-in.

const (
	jwtSecret = "a secret of at least thirty-two bytes"
	secretKey = "sb_secret_0123456789abcdef_checksum"
	bucket    = "captions"
	path      = "videos/0b4d3c1e-6f5a-4c1b-9a57-1f2e3d4c5b6a.json"
)

// deadline is for what must happen; a test that reaches it fails.
const deadline = 2 * time.Minute

type bundle struct {
	server  *storage.Server
	control storage.Controller
	url     string
}

func setup(t *testing.T, change ...func(*storage.Config)) *bundle {
	t.Helper()
	cfg := storage.Config{
		Dir: t.TempDir(), JWTSecret: jwtSecret, SecretKeys: []string{secretKey}, PublicBuckets: []string{bucket},
	}
	for _, c := range change {
		c(&cfg)
	}
	s, err := storage.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	api, control := httptest.NewServer(s.Handler()), httptest.NewServer(s.Control())
	t.Cleanup(func() {
		s.Close()
		api.Close()
		control.Close()
	})
	return &bundle{server: s, control: storage.Controller{URL: control.URL}, url: api.URL}
}

func (b *bundle) client(t *testing.T, change ...func(*supabase.Config)) *supabase.Client {
	t.Helper()
	cfg := supabase.Config{URL: b.url, ServiceKey: serviceRole(t), Timeout: deadline}
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

func (b *bundle) order(t *testing.T, f storage.Fault) {
	t.Helper()
	if err := b.control.Order(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func serviceRole(t *testing.T) string {
	t.Helper()
	key, err := storage.ServiceRoleKey(jwtSecret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// stored reads an object as a browser does.
func (b *bundle) stored(t *testing.T, path string) (string, bool) {
	t.Helper()
	body, res := get(t, b.url+"/storage/v1/object/public/"+bucket+"/"+path)
	return body, res.StatusCode == http.StatusOK
}

func get(t *testing.T, url string) (string, *http.Response) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), res
}

// failure is what callers learn of an error.
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
	if e.Message == "" {
		t.Error("the error has no message")
	}
	return failure{e.Status, e.Code, e.Temporary(), e.Configuration(), e.Final(), e.InDoubt()}
}

func TestClient(t *testing.T) {
	t.Parallel()
	keys := map[string]string{"legacy": serviceRole(t), "secret": secretKey}
	for name, key := range keys {
		t.Run("stores, replaces, reads and deletes with a "+name+" key", func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			c := b.client(t, func(cfg *supabase.Config) { cfg.ServiceKey = key })
			if err := c.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, body := range []string{`{"a": 1}`, `{"a": 2}`, `{"a": 2}`} {
				if err := c.Put(t.Context(), path, []byte(body)); err != nil {
					t.Fatal(err)
				}
				got, err := c.Get(t.Context(), path)
				if err != nil || string(got) != body {
					t.Fatalf("got %q, %v, want %q", got, err, body)
				}
			}
			public, res := get(t, c.PublicURL(path))
			if public != `{"a": 2}` || res.Header.Get("Content-Type") != "application/json" ||
				res.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("the public URL gives %q, %v", public, res.Header)
			}
			for range 2 { // what is not there is deleted already
				if err := c.Delete(t.Context(), path); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Get(t.Context(), path); !errors.Is(err, supabase.ErrNotFound) {
					t.Fatalf("got %v, want ErrNotFound", err)
				}
			}
		})
	}

	t.Run("stores three hours of speech", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.client(t)
		body := bytes.Repeat([]byte("x"), 3<<20)
		if err := c.Put(t.Context(), path, body); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Get(t.Context(), path); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	})

	t.Run("serves many goroutines at once", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.client(t)
		group, ctx := errgroup.WithContext(t.Context())
		for worker := range 24 {
			group.Go(func() error {
				for round := range 10 {
					path, body := fmt.Sprintf("videos/%d.json", worker), fmt.Appendf(nil, `{"round": %d}`, round)
					if err := c.Put(ctx, path, body); err != nil {
						return err
					}
					got, err := c.Get(ctx, path)
					if err != nil || !bytes.Equal(got, body) {
						return fmt.Errorf("got %q, %w, want %q", got, err, body)
					}
				}
				return c.Delete(ctx, fmt.Sprintf("videos/%d.json", worker))
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	otherKey, err := storage.ServiceRoleKey("another secret of more than 32 bytes", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	expired, err := storage.ServiceRoleKey(jwtSecret, time.Now().AddDate(-20, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]struct {
		storage func(*storage.Config)
		client  func(*supabase.Config)
		fault   storage.Fault
		path    string
		want    failure
		lands   bool
	}{
		"too many connections": {
			fault: storage.Fault{Kind: storage.SlowDown},
			want:  failure{Status: 429, Code: "SlowDown", Temporary: true},
		},
		"time-out of the database": {
			fault: storage.Fault{Kind: storage.DatabaseTimeout},
			want:  failure{Status: 544, Code: "DatabaseTimeout", Temporary: true, InDoubt: true},
		},
		"time-out of the database that lands": {
			fault: storage.Fault{Kind: storage.DatabaseTimeout, Lands: true},
			want:  failure{Status: 544, Code: "DatabaseTimeout", Temporary: true, InDoubt: true}, lands: true,
		},
		"internal error": {
			fault: storage.Fault{Kind: storage.InternalError},
			want:  failure{Status: 500, Code: "InternalError", Temporary: true, InDoubt: true},
		},
		"page of a proxy": {
			fault: storage.Fault{Kind: storage.BadGateway},
			want:  failure{Status: 502, Temporary: true, InDoubt: true},
		},
		"cut connection": {
			fault: storage.Fault{Kind: storage.Drop},
			want:  failure{Temporary: true, InDoubt: true},
		},
		"cut connection that lands": {
			fault: storage.Fault{Kind: storage.Drop, Lands: true},
			want:  failure{Temporary: true, InDoubt: true}, lands: true,
		},
		"cut answer": {
			fault: storage.Fault{Kind: storage.Half},
			want:  failure{Temporary: true, InDoubt: true}, lands: true,
		},
		"missing bucket": {
			client: func(c *supabase.Config) { c.Bucket = "captoins" },
			want:   failure{Status: 404, Code: "NoSuchBucket", Configuration: true},
		},
		"key that is no JWT": {
			client: func(c *supabase.Config) { c.ServiceKey = "not-a-token" },
			want:   failure{Status: 403, Code: "AccessDenied", Configuration: true},
		},
		"key of another project": {
			client: func(c *supabase.Config) { c.ServiceKey = otherKey },
			want:   failure{Status: 403, Code: "AccessDenied", Configuration: true},
		},
		"expired key": {
			client: func(c *supabase.Config) { c.ServiceKey = expired },
			want:   failure{Status: 403, Code: "AccessDenied", Configuration: true},
		},
		"unknown secret key": {
			client: func(c *supabase.Config) { c.ServiceKey = "sb_secret_revoked" },
			want:   failure{Status: 401, Configuration: true},
		},
		"too large": {
			storage: func(c *storage.Config) { c.FileSizeLimit = 5 },
			want:    failure{Status: 413, Code: "EntityTooLarge", Final: true},
		},
		"path that leads out": {
			path: "videos/../../secrets.json",
			want: failure{Status: 400, Code: "InvalidKey", Final: true},
		},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var storageChanges []func(*storage.Config)
			if row.storage != nil {
				storageChanges = append(storageChanges, row.storage)
			}
			b := setup(t, storageChanges...)
			var key string
			c := b.client(t, func(cfg *supabase.Config) {
				if row.client != nil {
					row.client(cfg)
				}
				key = cfg.ServiceKey
			})
			if row.fault.Kind != "" {
				b.order(t, row.fault)
			}
			if row.path == "" {
				row.path = path
			}
			err := c.Put(t.Context(), row.path, []byte(`{"words": []}`))
			if got := failureOf(t, err); got != row.want {
				t.Errorf("got  %+v\nwant %+v\nof %v", got, row.want, err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), key) {
				t.Error("the error tells the key")
			}
			if _, ok := b.stored(t, path); ok != row.lands {
				t.Errorf("landed: got %v, want %v", ok, row.lands)
			}
			if row.want.Temporary { // the fault is used up
				if err := c.Put(t.Context(), path, []byte(`{}`)); err != nil {
					t.Errorf("the next upload fails: %v", err)
				}
			}
		})
	}
}

func TestClientCheck(t *testing.T) {
	t.Parallel()
	rows := map[string]struct {
		change  func(*supabase.Config)
		private bool
		fault   storage.Kind
		want    failure
		says    string
	}{
		"missing bucket": {
			change: func(c *supabase.Config) { c.Bucket = "captoins" },
			want:   failure{Status: 404, Code: "NoSuchBucket", Configuration: true}, says: `"captoins"`,
		},
		"refused JWT": {
			change: func(c *supabase.Config) { c.ServiceKey = "not-a-token" },
			want:   failure{Status: 403, Code: "AccessDenied", Configuration: true}, says: "SUPABASE_SERVICE_KEY",
		},
		"refused secret key": {
			change: func(c *supabase.Config) { c.ServiceKey = "sb_secret_revoked" },
			want:   failure{Status: 401, Configuration: true}, says: "SUPABASE_SERVICE_KEY",
		},
		"private bucket": {
			private: true,
			want:    failure{Status: 403, Code: "BucketNotPublic", Configuration: true}, says: "make it public",
		},
		"address of something else": {
			change: func(c *supabase.Config) { c.URL += "/elsewhere" },
			want:   failure{Status: 404, Configuration: true}, says: "not found",
		},
		"nobody there": {
			change: func(c *supabase.Config) { c.URL = "http://127.0.0.1:1" },
			want:   failure{Temporary: true}, says: "refused",
		},
		"database away": {
			fault: storage.DatabaseTimeout,
			want:  failure{Status: 544, Code: "DatabaseTimeout", Temporary: true, InDoubt: true}, says: "timed out",
		},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if row.fault != "" {
				b.order(t, storage.Fault{Kind: row.fault, Op: storage.OpBucket})
			}
			if row.private {
				b.request(t, http.MethodPut, "/bucket/"+bucket, `{"public": false}`)
			}
			change := row.change
			if change == nil {
				change = func(*supabase.Config) {}
			}
			err := b.client(t, change).Check(t.Context())
			if got := failureOf(t, err); got != row.want {
				t.Errorf("got  %+v\nwant %+v\nof %v", got, row.want, err)
			}
			if !strings.Contains(err.Error(), row.says) {
				t.Errorf("%q does not say %q", err, row.says)
			}
		})
	}
}

// An upload whose client has given up can still land, after a newer one: what claims are there for.
func TestClientLateUpload(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.client(t)
	b.order(t, storage.Fault{Kind: storage.Hold})

	ctx, giveUp := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- c.Put(ctx, path, []byte(`"old"`)) }()
	if _, err := b.control.Uploads(t.Context(), path, storage.Held, 1, deadline); err != nil {
		t.Fatal(err)
	}
	giveUp()
	err := <-failed
	if want := (failure{Temporary: true, InDoubt: true}); failureOf(t, err) != want || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %+v of %v, want %+v of context.Canceled", failureOf(t, err), err, want)
	}
	if err := c.Put(t.Context(), path, []byte(`"new"`)); err != nil {
		t.Fatal(err)
	}
	if n, err := b.control.Release(t.Context(), path); n != 1 || err != nil {
		t.Fatalf("released %d, %v, want 1", n, err)
	}
	if got, _ := b.stored(t, path); got != `"old"` {
		t.Errorf("got %s, want the upload that was held", got)
	}
	log, err := b.control.Uploads(t.Context(), path, storage.Landed, 2, 0)
	if err != nil || len(log) != 2 || log[0].Landing != 2 || log[1].Landing != 1 {
		t.Errorf("got the log %+v, %v", log, err)
	}
}

// Reading and deleting have the same troubles.
func TestClientErrorsOfOtherCalls(t *testing.T) {
	t.Parallel()
	lost, cut := failure{Temporary: true, InDoubt: true}, failure{Temporary: true, InDoubt: true}
	rows := map[string]struct {
		fault   storage.Fault
		want    failure
		removed bool
	}{
		"read that is cut": {storage.Fault{Kind: storage.Half, Op: storage.OpRead}, cut, false},
		// Twice, because Go sends a GET again that fails on a connection that was used before.
		"read that is dropped":   {storage.Fault{Kind: storage.Drop, Op: storage.OpRead, Count: 2}, lost, false},
		"delete that is dropped": {storage.Fault{Kind: storage.Drop, Op: storage.OpDelete}, lost, false},
		"delete that is cut":     {storage.Fault{Kind: storage.Half, Op: storage.OpDelete}, cut, true},
		"delete by a proxy": {
			storage.Fault{Kind: storage.BadGateway, Op: storage.OpDelete}, failure{Status: 502, Temporary: true, InDoubt: true}, false,
		},
		"delete too often": {
			storage.Fault{Kind: storage.SlowDown, Op: storage.OpDelete}, failure{Status: 429, Code: "SlowDown", Temporary: true}, false,
		},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			c := b.client(t)
			if err := c.Put(t.Context(), path, []byte(`{"words": []}`)); err != nil {
				t.Fatal(err)
			}
			b.order(t, row.fault)
			var err error
			if row.fault.Op == storage.OpRead {
				_, err = c.Get(t.Context(), path)
			} else {
				err = c.Delete(t.Context(), path)
			}
			if got := failureOf(t, err); got != row.want {
				t.Errorf("got %+v of %v, want %+v", got, err, row.want)
			}
			if _, ok := b.stored(t, path); ok == row.removed {
				t.Errorf("removed: got %v, want %v", !ok, row.removed)
			}
		})
	}
}

func TestClientTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.client(t, func(cfg *supabase.Config) { cfg.Timeout = time.Second })
	b.order(t, storage.Fault{Kind: storage.Hold})
	err := c.Put(t.Context(), path, []byte(`{}`))
	if want := (failure{Temporary: true, InDoubt: true}); failureOf(t, err) != want || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v of %v, want %+v of context.DeadlineExceeded", failureOf(t, err), err, want)
	}
}
