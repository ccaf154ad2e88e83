package starter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/starter"
)

func (w *world) put(id contract.VideoID, body any, headers ...string) answer {
	w.t.Helper()
	return w.call(http.MethodPut, "/api/videos/"+id.String()+"/transcription", w.owner(), body, headers...)
}

// TestPutTranscription produces what it was given, byte by byte, in every accepted form.
func TestPutTranscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.db.Video(t, w.course)
	for name, value := range map[string]string{
		"nested without an id": transcript,
		"nested":               fmt.Sprintf(`{"video_id":%q,"transcription":{"duration":1,"words":[]},"extra":{"kept":true}}`, id),
		"flat":                 fmt.Sprintf(`{"videoId":%q,"duration":1,"language":"en","words":[{"word":"hi","start":0,"end":1,"confidence":0.9}]}`, id),
		"id in capitals":       fmt.Sprintf(`{"video_id":%q,"transcription":{"duration":1,"words":[]}}`, strings.ToUpper(id.String())),
		"with white space":     "\n" + transcript + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			a := w.put(id, value).expect(t, http.StatusAccepted)
			equal(t, "Location", a.header.Get("Location"), pipelineOf(id))
			last := w.publisher.records[len(w.publisher.records)-1]
			if last.topic != resultTopic || last.key != id.String() || last.value != value ||
				last.headers[contract.HeaderContentType] != "application/json" || last.headers[contract.HeaderTimestamp] == "" {
				t.Errorf("produced %+v", last)
			}
			equal(t, "answer", decode[starter.TranscriptAnswer](t, a).Data,
				starter.TranscriptView{ID: id.String(), Topic: resultTopic, Partition: 3, Offset: int64(len(w.publisher.records) + 40)})
		})
	}
}

func TestPutTranscriptionRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.MaxTranscriptBytes = 1000 })
	id := w.db.Video(t, w.course)
	for name, c := range map[string]struct {
		value    string
		status   int
		location string
	}{
		"nothing":           {"", 400, "body"},
		"white space":       {"  ", 422, "body"},
		"not JSON":          {`{"transcription":`, 422, "body"},
		"no transcript":     {`{"video_id":"` + id.String() + `"}`, 422, "body"},
		"another video's":   {`{"video_id":"` + uuid.NewString() + `","transcription":{"duration":1,"words":[]}}`, 422, "body.video_id"},
		"id that is none":   {`{"video_id":"../../x","transcription":{"duration":1,"words":[]}}`, 422, "body"},
		"language too long": {`{"transcription":{"duration":1,"language":"` + strings.Repeat("x", 36) + `","words":[]}}`, 422, "body"},
		"too large":         {`{"transcription":{"duration":1,"words":[]},"x":"` + strings.Repeat("x", 1000) + `"}`, 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.put(id, c.value).expect(t, c.status)
			p := decode[starter.Problem](t, a)
			if c.location != "" && (len(p.Errors) != 1 || p.Errors[0].Location != c.location) {
				t.Errorf("errors %+v, want one at %s", p.Errors, c.location)
			}
		})
	}
	equal(t, "records", len(w.publisher.records), 0)
}

// slowPublisher takes a record when it is let to.
type slowPublisher struct {
	starter.Publisher
	taking, goOn chan struct{}
}

func (p *slowPublisher) Publish(
	ctx context.Context, topic string, key, value []byte, headers ...kafka.Header,
) (partition int32, offset int64, err error) {
	p.taking <- struct{}{}
	<-p.goOn
	return p.Publisher.Publish(ctx, topic, key, value, headers...)
}

// TestPutTranscriptionWaitsForRoom: of the transcripts on their way to Kafka only so many are in memory. Who waits for room
// gets it; who waits in vain is told to come again.
func TestPutTranscriptionWaitsForRoom(t *testing.T) {
	t.Parallel()
	for name, patience := range map[string]time.Duration{"long enough": time.Minute, "in vain": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slow := &slowPublisher{taking: make(chan struct{}, 2), goOn: make(chan struct{})}
			w := newWorld(t, func(deps *starter.Deps, cfg *starter.Config) {
				slow.Publisher, deps.Publisher = deps.Publisher, slow
				cfg.BodiesBytes, cfg.BodyPatience = 1, patience // each is there alone
			})
			first, second := w.db.Video(t, w.course), w.db.Video(t, w.course)
			var calls sync.WaitGroup
			calls.Go(func() { w.put(first, transcript).expect(t, http.StatusAccepted) })
			<-slow.taking
			ended := make(chan struct{})
			calls.Go(func() {
				defer close(ended)
				a := w.put(second, transcript)
				if patience == time.Minute {
					a.expect(t, http.StatusAccepted)
					return
				}
				a.expect(t, http.StatusServiceUnavailable).code(t, "busy")
				equal(t, "Retry-After", a.header.Get("Retry-After"), "5")
			})
			if patience < time.Minute {
				select {
				case <-ended:
				case <-slow.taking:
					t.Error("the second is there beside the first")
				}
			}
			close(slow.goOn)
			calls.Wait()
			w.put(second, transcript).expect(t, http.StatusAccepted)
		})
	}
}

func TestPutTranscriptionWithoutKafka(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.db.Video(t, w.course)
	w.publisher.fail(errors.New("dial tcp 10.1.2.3:9092: connection refused"))
	a := w.put(id, transcript).expect(t, http.StatusServiceUnavailable)
	equal(t, "Retry-After", a.header.Get("Retry-After"), "5")
	if strings.Contains(string(a.body), "10.1.2.3") {
		t.Errorf("the answer names a broker: %s", a.body)
	}
	w.publisher.fail(fmt.Errorf("publish: %w", kafka.ErrTooLarge))
	w.put(id, transcript).expect(t, http.StatusRequestEntityTooLarge).code(t, "body_too_large")
	w.publisher.fail(nil)
	w.put(id, transcript).expect(t, http.StatusAccepted)
}

// TestPutTranscriptionOnKafka sends three megabytes over a real client, and is answered in time when the broker is gone.
func TestPutTranscriptionOnKafka(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, resultTopic),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "8000000"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	producer, err := kafka.NewProducer(kafka.Config{Brokers: cluster.ListenAddrs()}, discard, "starter")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	patient := func(limit time.Duration) option {
		return func(deps *starter.Deps, cfg *starter.Config) { deps.Publisher, cfg.PublishTimeout = producer, limit }
	}
	w := newWorld(t, patient(soon))
	id := w.db.Video(t, w.course)
	value := `{"transcription":{"duration":1,"words":[]},"filler":"` + strings.Repeat("x", 3_000_000) + `"}`
	w.put(id, value).expect(t, http.StatusAccepted)

	consumer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(resultTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(8_000_000))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	records := consumer.PollFetches(ctx).Records()
	if len(records) != 1 || string(records[0].Key) != id.String() || string(records[0].Value) != value {
		t.Fatalf("%d records, or another than was put", len(records))
	}

	cluster.Close()
	w = newWorld(t, patient(time.Second))
	w.put(w.db.Video(t, w.course), transcript).expect(t, http.StatusServiceUnavailable)
}
