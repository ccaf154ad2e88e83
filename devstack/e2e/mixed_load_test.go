package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/api"
	"github.com/codeendelea/vidflow/devstack/chaos/audit"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// load creates videos until it is stopped, and has people do to some of them what people do.
type load struct {
	p       *pipeline
	created atomic.Int64
	pausing chan struct{}
	working sync.WaitGroup

	mu       sync.Mutex
	ids      []contract.VideoID // of videos whose results nobody meddles with
	retries  map[string]int
	accepted []audit.Place

	calls sync.RWMutex // held by each call
	apis  []api.Client
}

func newLoad(p *pipeline) *load {
	return &load{p: p, pausing: make(chan struct{}), retries: map[string]int{}}
}

// to sends calls to these from now on; none is under way to another when it returns.
func (l *load) to(apis ...api.Client) {
	l.calls.Lock()
	defer l.calls.Unlock()
	l.apis = apis
}

func (l *load) start() {
	l.working.Go(func() {
		ticker := time.NewTicker(250 * time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.pausing:
				return
			case <-ticker.C:
				l.working.Go(func() {
					if err := l.video(n); err != nil && l.p.t.Context().Err() == nil { // else the test has failed already
						l.p.t.Errorf("video %d: %v", n, err)
					}
				})
			}
		}
	})
	l.p.t.Cleanup(l.stop)
}

// stop creates no more videos, and waits for what is done to the last.
func (l *load) stop() {
	select {
	case <-l.pausing:
	default:
		close(l.pausing)
	}
	l.working.Wait()
}

// await waits until so many videos are done of those that are created from now on.
func (l *load) await(n int) {
	l.p.t.Helper()
	l.mu.Lock()
	before := len(l.ids)
	l.mu.Unlock()
	l.p.await(fmt.Sprintf("%d more videos are done", n), func(ctx context.Context) error {
		l.mu.Lock()
		ids := make([]string, 0, n)
		for _, id := range l.ids[before:] {
			ids = append(ids, string(id))
		}
		l.mu.Unlock()
		var done int
		err := l.p.db.Admin.QueryRow(ctx, `select count(*) from pipeline.videos
			where video_id::text = any($1) and transcription_state = 'done' and compression_state = 'done'`, ids).Scan(&done)
		if err == nil && done < n {
			err = fmt.Errorf("%d of %d", done, len(ids))
		}
		return err
	})
}

func titled(title string) api.NewVideo {
	v := newVideo(10 * time.Second)
	v.Title = "Mixed: " + title + " [10s]"
	return v
}

// call has do call one of the APIs: the n-th, in turn.
func (l *load) call(n int, do func(context.Context, api.Client) error) error {
	l.calls.RLock()
	defer l.calls.RUnlock()
	ctx, cancel := context.WithTimeout(l.p.t.Context(), patience)
	defer cancel()
	return do(ctx, l.apis[n%len(l.apis)])
}

// send is call with a request that has to succeed.
func (l *load) send(n int, method, path string, body []byte) error {
	return l.call(n, func(ctx context.Context, to api.Client) error {
		status, answer, err := call(ctx, to, method, path, body)
		if err == nil && status/100 != 2 {
			err = fmt.Errorf("%s %s: %d: %s", method, path, status, answer)
		}
		return err
	})
}

func (l *load) video(n int) error {
	var id contract.VideoID
	err := l.call(n, func(ctx context.Context, to api.Client) error {
		v, err := to.Create(ctx, seed.Courses[0].ID, titled(strconv.Itoa(n)))
		id = v.ID
		return err
	})
	if err != nil {
		return err
	}
	l.created.Add(1)
	path := "/api/videos/" + string(id)
	if err := l.awaitAsked(id); err != nil {
		return err
	}
	switch n % 10 {
	case 1: // a result that nobody can understand
		topic := l.p.topics.transcribed
		if n%20 == 1 {
			topic = l.p.topics.compressed
		}
		return l.produce(&kgo.Record{
			Topic: topic, Key: []byte(id), Value: []byte("{"),
			Headers: []kgo.RecordHeader{{Key: audit.PoisonHeader, Value: []byte("yes")}},
		})
	case 3: // asked for once more
		return l.retry(n+1, id)
	case 5: // more results than were asked for
		for take := range 3 {
			key, value := simulator.TranscriptMessage(id, simulator.Nested, simulator.Take(take+1), simulator.Length(10*time.Second))
			if err := l.produce(&kgo.Record{Topic: l.p.topics.transcribed, Key: key, Value: value}); err != nil {
				return err
			}
		}
	case 7:
		return l.send(n+1, http.MethodDelete, path, nil)
	case 8: // put in by hand
		_, value := simulator.TranscriptMessage(id, simulator.Nested, simulator.Take(9), simulator.Length(10*time.Second))
		return l.send(n+1, http.MethodPut, path+"/transcription", value)
	default:
		l.mu.Lock()
		l.ids = append(l.ids, id)
		l.mu.Unlock()
	}
	return nil
}

// retry asks for another transcription, again when Temporal is too busy to say at once that it was: as the API says, and people do.
func (l *load) retry(n int, id contract.VideoID) error {
	return l.call(n, func(ctx context.Context, to api.Client) error {
		path := "/api/videos/" + string(id) + "/transcription/retry"
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			l.mu.Lock()
			l.retries[string(id)]++ // also if it is not answered: it may have come through
			l.mu.Unlock()
			status, answer, err := call(ctx, to, http.MethodPost, path, []byte(`{"force": true}`))
			switch {
			case err != nil || status/100 == 2:
				return err
			case status != http.StatusServiceUnavailable:
				return fmt.Errorf("POST %s: %d: %s", path, status, answer)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("POST %s: %d: %s: %w", path, status, answer, ctx.Err())
			case <-ticker.C:
			}
		}
	})
}

// awaitAsked waits until the video was asked for. The services answer nothing else, so that a result from elsewhere that came
// before would leave its video without a compression.
func (l *load) awaitAsked(id contract.VideoID) error {
	ctx, cancel := context.WithTimeout(l.p.t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		var asked bool
		err := l.p.db.Admin.QueryRow(ctx, `select asks > 0 from pipeline.videos where video_id = $1`, string(id)).Scan(&asked)
		if asked || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is not asked for: %w", ctx.Err())
		case <-ticker.C:
		}
	}
}

func (l *load) produce(r *kgo.Record) error {
	err := l.p.kafka.ProduceSync(l.p.t.Context(), r).FirstErr()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.accepted = append(l.accepted, audit.Place{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset})
	}
	return err
}

// call calls an API.
func call(ctx context.Context, to api.Client, method, path string, body []byte) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, to.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+to.Token)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}
