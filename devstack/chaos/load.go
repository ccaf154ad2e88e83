package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/chaos/audit"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

// load is what people and services do while things go wrong: videos are created, deleted and retried, and results are
// sent that nobody has asked for. Every call is repeated until it is answered, as a caller would.
type load struct {
	*world
	plan     Plan
	started  time.Time
	topics   audit.Topics
	producer *kgo.Client
	note     func(format string, args ...any)

	mu       sync.Mutex
	ids      []string // of videos that there are or were
	retries  map[string]int
	accepted []audit.Place
}

const (
	callTimeout = 8 * time.Second
	callPause   = 400 * time.Millisecond
	// tooLarge is the largest record that is sent.
	tooLarge = 64 << 20
)

func newLoad(w *world, p Plan, t audit.Topics, note func(string, ...any)) (*load, error) {
	producer, err := kgo.NewClient(
		kgo.SeedBrokers(w.proxied[kafka]),
		kgo.ClientID("chaos"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(tooLarge),
		kgo.MaxBufferedBytes(4*tooLarge),
	)
	if err != nil {
		return nil, err
	}
	return &load{world: w, plan: p, topics: t, producer: producer, note: note, retries: map[string]int{}}, nil
}

// run does all that is planned; it returns when the last call is answered.
func (l *load) run(ctx context.Context, started time.Time) error {
	l.started = started
	defer l.producer.Close()
	failures := make(chan error, len(l.plan.Videos)+len(l.plan.Poison))
	var all sync.WaitGroup
	for _, v := range l.plan.Videos {
		all.Go(func() {
			if err := l.video(ctx, v); err != nil {
				failures <- fmt.Errorf("video %d: %w", v.N, err)
			}
		})
	}
	for i, p := range l.plan.Poison {
		all.Go(func() {
			if err := l.poison(ctx, i, p); err != nil {
				failures <- fmt.Errorf("poison %d: %w", i, err)
			}
		})
	}
	all.Wait()
	close(failures)
	var errs []error
	for err := range failures {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (l *load) video(ctx context.Context, v Video) error {
	if !sleepUntil(ctx, l.started.Add(v.At)) {
		return ctx.Err()
	}
	id, err := l.create(ctx, v)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.ids = append(l.ids, string(id))
	l.mu.Unlock()
	var fate sync.WaitGroup
	var failed error
	fate.Go(func() { failed = l.meet(ctx, v, id) })
	for i, p := range v.Plants {
		if !sleepUntil(ctx, l.started.Add(p.At)) {
			break
		}
		if err := l.plant(ctx, v, id, i, p); err != nil {
			return err
		}
	}
	fate.Wait()
	return errors.Join(failed, ctx.Err())
}

func (l *load) create(ctx context.Context, v Video) (contract.VideoID, error) {
	title := fmt.Sprintf("Chaos %d-%d [%s]", l.plan.Seed, v.N, v.Length)
	switch v.Fate {
	case Unknown:
		return l.id(v.N), nil
	case Elsewhere:
		id := l.id(v.N)
		return id, l.query(ctx, `insert into public.videos (id, course_id, title, description, camera_video_url)
			values ($1, $2, $3, 'Made elsewhere', 'https://example.test/original.mp4') on conflict do nothing`,
			string(id), l.Course, title)
	}
	body, err := json.Marshal(map[string]any{
		"title": title, "description": "A video that has a hard time.",
		"camera_video_url": fmt.Sprintf("https://example.test/lectures/%d.mp4", v.N), "level": "beginner",
	})
	if err != nil {
		return "", err
	}
	answer, err := l.call(ctx, v.N, http.MethodPost, "/api/courses/"+l.Course+"/videos", body, fmt.Sprintf("chaos-%d-%d", l.plan.Seed, v.N))
	if err != nil {
		return "", err
	}
	var created struct{ Data struct{ ID contract.VideoID } }
	err = json.Unmarshal(answer, &created)
	return created.Data.ID, err
}

// id is that of a video that the API does not make; it follows from the seed.
func (l *load) id(n int) contract.VideoID {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%d", l.plan.Seed, n))
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return contract.VideoID(id.String())
}

// meet has the video's fate happen.
func (l *load) meet(ctx context.Context, v Video, id contract.VideoID) error {
	if v.Fate == Plain || v.Fate == Elsewhere || v.Fate == Unknown || !sleepUntil(ctx, l.started.Add(v.FateAt)) {
		return nil
	}
	path := "/api/videos/" + string(id)
	var err error
	switch v.Fate {
	case Deleted:
		_, err = l.call(ctx, v.N, http.MethodDelete, path, nil, "")
	case Vanished:
		err = l.query(ctx, "delete from public.videos where id = $1", string(id))
	case PutIn:
		_, value := simulator.TranscriptMessage(id, simulator.Nested, simulator.Length(v.Length), simulator.Take(50))
		_, err = l.call(ctx, v.N, http.MethodPut, path+"/transcription", value, "")
	case Retried:
		l.mu.Lock()
		l.retries[string(id)]++
		l.mu.Unlock()
		_, err = l.call(ctx, v.N, http.MethodPost, path+"/transcription/retry", []byte(`{"force": true}`), "")
	}
	return err
}

// call calls an instance of the API, and the next one when there is no answer, until it is answered. A video that is not
// there any more was deleted by a call whose answer was lost.
func (l *load) call(ctx context.Context, first int, method, path string, body []byte, key string) ([]byte, error) {
	for try := first; ; try++ {
		status, answer, err := l.once(ctx, method, l.apis[try%len(l.apis)]+path, body, key)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil && status/100 == 2, status == http.StatusNotFound && method == http.MethodDelete:
			return answer, nil
		case err == nil && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout && status != http.StatusConflict:
			return nil, fmt.Errorf("%s %s: %d: %s", method, path, status, answer)
		case err == nil:
			l.note("%s %s: %d: %.300s", method, path, status, answer)
		default:
			l.note("%s %s: %v", method, path, err)
		}
		if method == http.MethodPost && key == "" { // a retry that may have been carried out, and will be again
			l.mu.Lock()
			l.retries[videoOf(path)]++
			l.mu.Unlock()
		}
		if !sleep(ctx, callPause) {
			return nil, ctx.Err()
		}
	}
}

// videoOf is the id in a path /api/videos/{id}/….
func videoOf(path string) string {
	const prefix, length = len("/api/videos/"), 36
	return path[prefix : prefix+length]
}

func (l *load) once(ctx context.Context, method, url string, body []byte, key string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+l.Token)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// query carries out a statement as the API server would, whatever is wrong with the database meanwhile.
func (l *load) query(ctx context.Context, sql string, args ...any) error {
	for {
		err := l.queryOnce(ctx, sql, args...)
		if err == nil || ctx.Err() != nil {
			return err
		}
		l.note("%.40s…: %v", sql, err)
		sleep(ctx, callPause)
	}
}

func (l *load) queryOnce(ctx context.Context, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, l.Postgres.URL(l.Database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql, args...)
	return err
}

// plant sends a result. Records of one video are sent one after the other, so that their times rise with their offsets.
func (l *load) plant(ctx context.Context, v Video, id contract.VideoID, n int, p Plant) error {
	r := &kgo.Record{Topic: l.topics.Compressions}
	opts := []simulator.Option{simulator.Length(v.Length), simulator.Take(p.Take)}
	if p.Transcription {
		r.Topic = l.topics.Transcriptions
		r.Key, r.Value = simulator.TranscriptMessage(id, p.TranscriptForm, opts...)
	} else {
		r.Key, r.Value = simulator.CompressionMessage(id, p.CompressionForm, opts...)
	}
	own := partitionOf(string(id))
	switch {
	case p.Older:
		// The times of older ones rise too, and nobody else sends anything of the video there.
		r.Partition, r.Timestamp = (own+1)%partitions, time.Now().Add(-time.Hour)
	case v.Fate == Elsewhere || v.Fate == Unknown:
		if r.Partition = p.Partition; len(r.Key) > 0 || r.Partition == (own+1)%partitions {
			r.Partition = own
		}
	default:
		r.Partition = own
	}
	for range p.Times {
		again := *r
		if err := l.send(ctx, &again); err != nil {
			return fmt.Errorf("plant %d: %w", n, err)
		}
	}
	return nil
}

// partitionOf is where a record with that key goes, as every client has it.
func partitionOf(key string) int32 {
	keyed := kgo.StickyKeyPartitioner(nil).ForTopic("")
	return int32(keyed.Partition(&kgo.Record{Key: []byte(key)}, partitions))
}

func (l *load) poison(ctx context.Context, n int, p Poison) error {
	if !sleepUntil(ctx, l.started.Add(p.At)) {
		return ctx.Err()
	}
	l.mu.Lock()
	video := string(l.id(-1 - n))
	if len(l.ids) > 0 {
		video = l.ids[n%len(l.ids)]
	}
	l.mu.Unlock()
	r := &kgo.Record{Headers: []kgo.RecordHeader{{Key: audit.PoisonHeader, Value: []byte("yes")}}, Partition: int32(n % partitions)}
	if p.Transcription {
		r.Topic = l.topics.Transcriptions
		r.Key, r.Value = poisonTranscripts[p.Sort].message(video)
	} else {
		r.Topic = l.topics.Compressions
		r.Key, r.Value = poisonCompressions[p.Sort].message(video)
	}
	return l.send(ctx, r)
}

// send sends a record until Kafka has taken it.
func (l *load) send(ctx context.Context, r *kgo.Record) error {
	for {
		again := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}
		err := l.producer.ProduceSync(ctx, again).FirstErr()
		if err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.accepted = append(l.accepted, audit.Place{Topic: again.Topic, Partition: again.Partition, Offset: again.Offset})
			return nil
		}
		l.note("send to %s: %v", r.Topic, err)
		if !sleep(ctx, callPause) {
			return err
		}
	}
}
