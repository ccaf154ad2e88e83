// Package control lets tests stop and start the servers of a running stack, over HTTP on the loopback interface.
package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Servers is what the control works on; a stack.
type Servers interface {
	StartServer(ctx context.Context, name string) error
	StopServer(ctx context.Context, name string) error
	KillServer(ctx context.Context, name string) error
}

// Serve answers POST /start?server=NAME, POST /stop?server=NAME and POST /kill?server=NAME on l until ctx is cancelled.
// All answer once it is done: after a stop or a kill the server's port is closed, after a start it serves.
func Serve(ctx context.Context, l net.Listener, servers Servers) error {
	server := &http.Server{Handler: handler(servers), ReadHeaderTimeout: 5 * time.Second}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-ctx.Done()
		_ = server.Close()
	}()
	err := server.Serve(l)
	if ctx.Err() != nil {
		<-closed
		return nil //nolint:nilerr // closed because it was asked to end
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the control of the stack: %w", err)
}

func handler(servers Servers) http.Handler {
	mux := http.NewServeMux()
	act := func(do func(context.Context, string) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			// A caller that goes away half way leaves no server half way.
			if err := do(context.WithoutCancel(r.Context()), r.URL.Query().Get("server")); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}
	}
	mux.HandleFunc("POST /start", act(servers.StartServer))
	mux.HandleFunc("POST /stop", act(servers.StopServer))
	mux.HandleFunc("POST /kill", act(servers.KillServer))
	return mux
}

// Client controls a stack that serves at URL, the value of VIDFLOW_TEST_CONTROL.
type Client struct{ URL string }

// StartServer starts a server and returns once it serves.
func (c Client) StartServer(ctx context.Context, name string) error {
	return c.post(ctx, "start", name)
}

// StopServer stops a server and returns once its port is closed. Its state is kept.
func (c Client) StopServer(ctx context.Context, name string) error { return c.post(ctx, "stop", name) }

// KillServer ends a server as a power cut would. Only servers that are processes of their own can be killed.
func (c Client) KillServer(ctx context.Context, name string) error { return c.post(ctx, "kill", name) }

func (c Client) post(ctx context.Context, action, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/"+action+"?server="+url.QueryEscape(name), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", action, name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusNoContent {
		const most = 4 << 10
		body, _ := io.ReadAll(io.LimitReader(resp.Body, most))
		return fmt.Errorf("%s %s: %s: %s", action, name, resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
