package supabase

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Supabase's own address speaks HTTP/2, where all calls share connections.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	var older atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			older.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/storage/v1/object/captions/busy.json" {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.WriteString(w, `{"Key": "x"}`)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c, err := New(Config{URL: s.URL, ServiceKey: "sb_secret_x", MaxConns: 4, Timeout: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.transport.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	c.transport.TLSClientConfig.NextProtos = nil // chosen by the transport, as without a configuration

	body := make([]byte, 70_000)
	group, ctx := errgroup.WithContext(t.Context())
	for n := range 24 {
		group.Go(func() error {
			for range 4 {
				if err := c.Put(ctx, fmt.Sprintf("videos/%d.json", n), body); err != nil {
					return err
				}
				if err := c.Put(ctx, "busy.json", body); err == nil {
					return fmt.Errorf("a refused upload succeeded")
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := older.Load(); n != 0 {
		t.Errorf("%d requests came by an older HTTP", n)
	}
}
