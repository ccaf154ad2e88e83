package control

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type fakeServers struct {
	mu    sync.Mutex
	calls []string
}

func (f *fakeServers) StartServer(_ context.Context, name string) error {
	return f.call("start " + name)
}

func (f *fakeServers) StopServer(_ context.Context, name string) error { return f.call("stop " + name) }

func (f *fakeServers) KillServer(_ context.Context, name string) error { return f.call("kill " + name) }

func (f *fakeServers) call(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what)
	if strings.HasSuffix(what, " unknown") {
		return errors.New(`there is no server "unknown"`)
	}
	return nil
}

func TestControl(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var servers fakeServers
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, &servers) }()
	client := Client{URL: "http://" + l.Addr().String()}

	if err := errors.Join(client.StopServer(ctx, "kafka"), client.StartServer(ctx, "kafka"), client.KillServer(ctx, "kafka")); err != nil {
		t.Error(err)
	}
	if err := client.StopServer(ctx, "unknown"); err == nil || !strings.Contains(err.Error(), "there is no server") {
		t.Errorf("got %v, want the stack's own words", err)
	}
	if diff := cmp.Diff([]string{"stop kafka", "start kafka", "kill kafka", "stop unknown"}, servers.calls); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve ends with %v", err)
	}
	if err := client.StopServer(t.Context(), "kafka"); err == nil {
		t.Error("it still answers after its end")
	}
}
