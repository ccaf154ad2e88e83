package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/supabase"
)

// crowd is what calls a starter at one time.
type crowd struct {
	name string
	// size of the transcripts, in bytes.
	size int
	// puts are callers who put a transcript in, each for a video of its own.
	puts int
	// captions are callers who want the captions of a video, each of another one.
	captions int
	// listeners follow all videos of the course, and lists read them.
	listeners, lists int
}

func (c *command) crowds() []crowd {
	const kib = 1 << 10
	const whole, hours = largest - 64*kib, 1200 * kib
	named := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	return []crowd{
		{name: named("%d put in a transcript of 1.2 MB", c.Callers), size: hours, puts: c.Callers},
		{name: named("%d put in one of 16 MiB", c.Callers), size: whole, puts: c.Callers},
		{name: named("captions of %d of 16 MiB", c.Largest), size: whole, captions: c.Largest},
		{
			name: named("both, %d listeners and %d lists", 20*c.Callers, c.Callers), size: whole,
			puts: c.Callers, captions: c.Largest, listeners: 20 * c.Callers, lists: c.Callers,
		},
	}
}

func (c *command) starter(ctx context.Context, r *report) error {
	s, err := c.servers(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	for _, crowd := range c.crowds() {
		if !strings.Contains(crowd.name, c.Match) {
			continue
		}
		m, err := s.starter(ctx, crowd)
		if err != nil {
			return fmt.Errorf("%s: %w", crowd.name, err)
		}
		r.add(crowd.name, m)
	}
	return nil
}

// starter measures a starter that is called by a crowd.
func (s *servers) starter(ctx context.Context, c crowd) (m measurement, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := s.begin(ctx); err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.end(ctx)) }()
	put, err := s.videos(ctx, c.puts)
	if err != nil {
		return m, err
	}
	captioned, err := s.captioned(ctx, c)
	if err != nil {
		return m, err
	}
	token, err := seed.Token(os.Getenv("JWT_SECRET"), seed.Lecturer, time.Now(), time.Hour)
	if err != nil {
		return m, err
	}

	starter, err := s.start(ctx, "starter")
	if err != nil {
		return m, err
	}
	defer starter.Stop(context.Background())
	api := caller{url: s.block.URL(ports.API), token: token}
	course := "/api/courses/" + seed.Courses[0].ID
	hearing, goAway := context.WithCancel(ctx)
	defer goAway()
	var listeners errgroup.Group
	for range c.listeners {
		conn, err := listen(hearing, s.block.Addr(ports.API), course+"/events", token)
		if err != nil {
			return m, err
		}
		listeners.Go(func() error {
			defer context.AfterFunc(hearing, func() { _ = conn.Close() })()
			_, err := io.Copy(io.Discard, conn)
			if hearing.Err() != nil {
				return nil
			}
			return errors.Join(errors.New("a stream of events has ended"), err)
		})
	}
	began := time.Now()
	calls, calling := errgroup.WithContext(ctx)
	values := newValues(backlog{size: c.size})
	for i, id := range put {
		calls.Go(func() error {
			return api.do(calling, http.MethodPut, "/api/videos/"+string(id)+"/transcription", values.of(i, string(id)), http.StatusAccepted)
		})
	}
	for _, id := range captioned {
		calls.Go(func() error {
			return api.do(calling, http.MethodGet, "/api/videos/"+string(id)+"/captions.vtt", nil, http.StatusOK)
		})
	}
	for range c.lists {
		calls.Go(func() error { return api.do(calling, http.MethodGet, course+"/pipeline?limit=100", nil, http.StatusOK) })
	}
	if err := calls.Wait(); err != nil {
		return m, err
	}
	m.took = time.Since(began)
	if m.peak, err = peak(starter.PID()); err != nil {
		return m, err
	}
	goAway()
	if err := listeners.Wait(); err != nil {
		return m, err
	}
	if _, err := stop(starter); err != nil {
		return m, fmt.Errorf("the starter: %w", err)
	}
	ends, err := s.admin.ListEndOffsets(ctx, s.topic)
	if err != nil {
		return m, err
	}
	var records int64
	for _, o := range ends[s.topic] {
		records += o.Offset
	}
	if records < int64(c.puts) {
		return m, fmt.Errorf("%d transcripts of %d are on Kafka", records, c.puts)
	}
	return m, nil
}

// captioned adds videos whose transcripts are stored.
func (s *servers) captioned(ctx context.Context, c crowd) ([]contract.VideoID, error) {
	ids, err := s.videos(ctx, c.captions)
	if err != nil {
		return nil, err
	}
	client, err := newStorage()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	values := newValues(backlog{size: c.size})
	for i, id := range ids {
		_, stored, err := contract.DecodeToStore([]byte(id), []byte(strings.Join(values.of(i, string(id)), "")))
		if err != nil {
			return nil, err
		}
		if err := client.Put(ctx, id.TranscriptPath(), stored); err != nil {
			return nil, err
		}
		if _, err := s.db.Exec(ctx, `update pipeline.videos set transcription_state = 'done', transcribed_at = now(),
			transcript_position = row($2::uuid, 0, $3, now())::pipeline.position where video_id = $1::uuid`, string(id), uuid.NewString(), i); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func newStorage() (*supabase.Client, error) {
	return supabase.New(supabase.Config{URL: os.Getenv("SUPABASE_URL"), ServiceKey: os.Getenv("SUPABASE_SERVICE_KEY")})
}

// listen opens a stream of events, and returns when it has begun.
func listen(ctx context.Context, addr, path, token string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, addr, token)
	status, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if err == nil && !strings.Contains(status, " 200 ") {
		err = fmt.Errorf("a stream of events began with %q", status)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// caller calls as a client should: told to come again later, it does.
type caller struct{ url, token string }

func (c caller) do(ctx context.Context, method, path string, body []string, want int) error {
	for {
		wait, err := c.try(ctx, method, path, body, want)
		if err != nil || wait == 0 {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c caller) try(ctx context.Context, method, path string, body []string, want int) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, nil)
	if err != nil {
		return 0, err
	}
	if body != nil { // no copy of it is made here
		var parts []io.Reader
		for _, part := range body {
			parts = append(parts, strings.NewReader(part))
			req.ContentLength += int64(len(part))
		}
		req.Body = io.NopCloser(io.MultiReader(parts...))
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		return time.Duration(seconds) * time.Second, err
	}
	if resp.StatusCode != want {
		return 0, fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return 0, nil
}
