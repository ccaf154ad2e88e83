package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/codeendelea/vidflow/devstack/storage"
)

// storageServer serves the stand-in for Supabase Storage and its control, which faults are ordered from. The control's
// orders go with a stop.
type storageServer struct {
	cfg           storage.Config
	addr, control string

	mu      sync.Mutex
	running *storage.Server // nil while stopped
	servers []*http.Server
	done    sync.WaitGroup
}

func (s *storageServer) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil
	}
	running, err := storage.New(s.cfg)
	if err != nil {
		return fmt.Errorf("start the storage stand-in: %w", err)
	}
	s.running = running
	err = errors.Join(
		s.serve(ctx, s.addr, running.Handler()),
		s.serve(ctx, s.control, running.Control()))
	if err != nil {
		s.stop()
		return fmt.Errorf("start the storage stand-in: %w", err)
	}
	return nil
}

func (s *storageServer) Stop(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	return nil
}

func (s *storageServer) serve(ctx context.Context, addr string, handler http.Handler) error {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s.servers = append(s.servers, server)
	s.done.Go(func() { _ = server.Serve(l) })
	return nil
}

// stop ends what is running as a crash would: connections are cut.
func (s *storageServer) stop() {
	if s.running == nil {
		return
	}
	s.running.Close()
	for _, server := range s.servers {
		_ = server.Close()
	}
	s.done.Wait()
	s.running, s.servers = nil, nil
}
