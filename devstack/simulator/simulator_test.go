package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
)

const (
	requests       = "Transcribe"
	transcriptions = "update_transcribe"
	compressions   = "finish_compress"

	// deadline is for what must happen; a test that reaches it fails.
	deadline = 2 * time.Minute
)

type bundle struct {
	brokers []string
	client  *kgo.Client // produces requests and consumes results from the start
}

func setup(t *testing.T) *bundle {
	t.Helper()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.SeedTopics(3, requests, transcriptions, compressions),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": fmt.Sprint(16 << 20)}),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(
		kgo.SeedBrokers(cluster.ListenAddrs()...),
		kgo.ConsumeTopics(transcriptions, compressions),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(50*time.Millisecond),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &bundle{brokers: cluster.ListenAddrs(), client: client}
}

// prompt answers at once.
func prompt(change ...func(*simulator.Behaviour)) simulator.Behaviour {
	b := simulator.DefaultBehaviour()
	b.TranscriptionDelay, b.CompressionDelay = simulator.Range{}, simulator.Range{}
	b.RepeatWithin, b.ReorderWithin = 0, 0
	b.Length = simulator.Duration(10 * time.Second)
	for _, c := range change {
		c(&b)
	}
	return b
}

// start runs a simulator; stop ends it and waits.
func (b *bundle) start(t *testing.T, behaviour simulator.Behaviour) (s *simulator.Simulator, stop func()) {
	t.Helper()
	s, err := simulator.New(simulator.Config{Brokers: b.brokers, Behaviour: &behaviour, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(deadline):
			t.Error("Run does not return")
		}
		s.Close()
	}
	t.Cleanup(stop)
	return s, stop
}

func (b *bundle) ask(t *testing.T, title string, ids ...contract.VideoID) {
	t.Helper()
	for _, id := range ids {
		value, err := json.Marshal(contract.NewRequest(id, "https://example.com/v.mp4", contract.RequestMetadata{Title: title}))
		if err != nil {
			t.Fatal(err)
		}
		record := &kgo.Record{Topic: requests, Key: []byte(id), Value: value}
		if err := b.client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// results waits for n results and returns them all, by topic and value.
func (b *bundle) results(t *testing.T, n int) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	got := map[string]int{}
	for count := 0; count < n; {
		fetches := b.client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("got %d results, want %d", count, n)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got[r.Topic+" "+string(r.Value)]++
			count++
		})
	}
	return got
}

// expected are the results of videos in the canonical forms, each so many times.
func expected(times int, length time.Duration, ids ...contract.VideoID) map[string]int {
	want := map[string]int{}
	for _, id := range ids {
		want[transcriptions+" "+string(simulator.Transcript(id, simulator.Length(length)))] += times
		want[compressions+" "+simulator.CompressedURL(id)] += times
	}
	return want
}

// wait waits until a simulator's counts are as they should be.
func wait(t *testing.T, s *simulator.Simulator, what string, ok func(simulator.Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok(s.Stats()) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not in time, got %+v", what, s.Stats())
		}
	}
}

func ids(n int) []contract.VideoID {
	list := make([]contract.VideoID, n)
	for i := range list {
		list[i] = videoID(i)
	}
	return list
}

func TestSimulator(t *testing.T) {
	t.Parallel()

	t.Run("answers each request with both results", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.start(t, prompt())
		b.ask(t, "", ids(30)...)
		if diff := cmp.Diff(expected(1, 10*time.Second, ids(30)...), b.results(t, 60)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})

	t.Run("takes the length from the title", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.start(t, prompt())
		b.ask(t, "Graphs, all of them [3h]", videoID(1))
		got := b.results(t, 2)
		if diff := cmp.Diff(expected(1, 3*time.Hour, videoID(1)), got); diff != "" {
			t.Error("the results are others than expected")
		}
		for result := range got {
			if strings.HasPrefix(result, transcriptions) && len(result) <= 1<<20 {
				t.Errorf("three hours are only %d bytes", len(result))
			}
		}
	})

	t.Run("uses every form", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		behaviour := prompt(func(b *simulator.Behaviour) {
			b.TranscriptForms, b.CompressionForms = simulator.TranscriptForms(), simulator.CompressionForms()
		})
		b.start(t, behaviour)
		b.ask(t, "", ids(60)...)
		want := map[string]int{}
		used := map[simulator.TranscriptForm]bool{}
		for _, id := range ids(60) {
			form := behaviour.TranscriptForm(id)
			used[form] = true
			_, transcript := simulator.TranscriptMessage(id, form, simulator.Length(10*time.Second))
			_, compression := simulator.CompressionMessage(id, behaviour.CompressionForm(id))
			want[transcriptions+" "+string(transcript)]++
			want[compressions+" "+string(compression)]++
		}
		if diff := cmp.Diff(want, b.results(t, 120)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if len(used) != len(simulator.TranscriptForms()) {
			t.Errorf("only the forms %v were used", used)
		}
	})

	t.Run("repeats itself", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.start(t, prompt(func(b *simulator.Behaviour) { b.Repeats = 1 }))
		b.ask(t, "", ids(5)...)
		if diff := cmp.Diff(expected(2, 10*time.Second, ids(5)...), b.results(t, 20)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})

	t.Run("is silent until told to speak", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		s, _ := b.start(t, prompt(func(b *simulator.Behaviour) { b.SilentTranscriptions, b.SilentCompressions = 1, 1 }))
		b.ask(t, "", videoID(1), videoID(2))
		wait(t, s, "requests taken", func(s simulator.Stats) bool { return s.Requests == 2 && s.Pending == 0 })
		if err := s.Behave(prompt()); err != nil {
			t.Fatal(err)
		}
		b.ask(t, "", videoID(3))
		if diff := cmp.Diff(expected(1, 10*time.Second, videoID(3)), b.results(t, 2)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})

	t.Run("ignores what it cannot understand", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		s, _ := b.start(t, prompt())
		for _, value := range []string{"", "nonsense", `{"video_id": "../../x"}`, `{}`} {
			if err := b.client.ProduceSync(t.Context(), &kgo.Record{Topic: requests, Value: []byte(value)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		b.ask(t, "", videoID(3))
		if diff := cmp.Diff(expected(1, 10*time.Second, videoID(3)), b.results(t, 2)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		wait(t, s, "requests ignored", func(s simulator.Stats) bool { return s.Ignored == 4 })
	})

	t.Run("goes on after a restart where it was", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.ask(t, "", ids(10)...)
		_, stop := b.start(t, prompt())
		if diff := cmp.Diff(expected(1, 10*time.Second, ids(10)...), b.results(t, 20)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		stop()

		// Requests that wait for their time are not answered, and not forgotten.
		slow := prompt(func(b *simulator.Behaviour) {
			b.TranscriptionDelay = simulator.Range{Min: simulator.Duration(time.Hour), Max: simulator.Duration(time.Hour)}
		})
		b.ask(t, "", videoID(20), videoID(21))
		s, stop := b.start(t, slow)
		wait(t, s, "requests taken", func(s simulator.Stats) bool { return s.Requests == 2 && s.Pending == 2 && s.Compressions == 2 })
		stop()

		s, stop = b.start(t, prompt())
		want := expected(1, 10*time.Second, videoID(20), videoID(21))
		for _, id := range []contract.VideoID{videoID(20), videoID(21)} {
			want[compressions+" "+simulator.CompressedURL(id)]++ // once before and once after the restart
		}
		if diff := cmp.Diff(want, b.results(t, 6)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		wait(t, s, "nothing else", func(s simulator.Stats) bool { return s.Requests == 2 && s.Pending == 0 })
		stop()
		lag, err := kadm.NewClient(b.client).Lag(t.Context(), "simulator")
		if err != nil {
			t.Fatal(err)
		}
		if got := lag["simulator"].Lag.Total(); got != 0 {
			t.Errorf("got a lag of %d, want all committed", got)
		}
	})
}

func TestEmit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s, _ := b.start(t, prompt())
	id := videoID(5)
	sent, err := s.Emit(t.Context(), simulator.Emission{VideoID: string(id), Transcription: true, TranscriptForm: simulator.Flat, Take: 2})
	if err != nil || len(sent) != 1 || sent[0].Topic != transcriptions || sent[0].Form != "flat" {
		t.Fatalf("got %+v, %v", sent, err)
	}
	_, value := simulator.TranscriptMessage(id, simulator.Flat, simulator.Length(10*time.Second), simulator.Take(2))
	if diff := cmp.Diff(map[string]int{transcriptions + " " + string(value): 1}, b.results(t, 1)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := s.Emit(t.Context(), simulator.Emission{VideoID: "nobody"}); err == nil {
		t.Error("a video id that is none was accepted")
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s, _ := b.start(t, prompt())
	control := httptest.NewServer(s.Control())
	t.Cleanup(control.Close)
	call := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, control.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer bytes.Buffer
		if _, err := answer.ReadFrom(res.Body); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, answer.String()
	}

	before := s.Behaviour()
	status, answer := call(http.MethodPatch, "/behaviour", `{"repeats": 0.5, "transcript_forms": ["flat"]}`)
	if status != http.StatusOK {
		t.Fatalf("got %d %s", status, answer)
	}
	want := before
	want.Repeats, want.TranscriptForms = 0.5, []simulator.TranscriptForm{simulator.Flat}
	if diff := cmp.Diff(want, s.Behaviour()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if before.TranscriptForms[0] != simulator.Nested {
		t.Error("a behaviour that was handed out has changed")
	}
	for _, wrong := range []string{
		`{"repeats": 2}`, `{"transcript_forms": []}`, `{"transcript_forms": ["sung"]}`, `{"length": "-1s"}`, `{"speed": 3}`,
		`{"transcription_delay": {"min": "5s", "max": "1s"}}`, `nonsense`,
	} {
		if status, answer := call(http.MethodPatch, "/behaviour", wrong); status != http.StatusBadRequest {
			t.Errorf("%s: got %d %s, want 400", wrong, status, answer)
		}
	}
	if diff := cmp.Diff(want, s.Behaviour()); diff != "" {
		t.Errorf("a refused change was made (-want +got):\n%s", diff)
	}
	if status, answer := call(http.MethodPut, "/behaviour", `{}`); status != http.StatusOK {
		t.Fatalf("got %d %s", status, answer)
	}
	if diff := cmp.Diff(simulator.DefaultBehaviour(), s.Behaviour()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	status, answer = call(http.MethodPost, "/emit", fmt.Sprintf(`{"video_id": %q, "compression": true}`, videoID(9)))
	if status != http.StatusOK || !strings.Contains(answer, compressions) {
		t.Errorf("got %d %s", status, answer)
	}
	if diff := cmp.Diff(map[string]int{compressions + " " + simulator.CompressedURL(videoID(9)): 1}, b.results(t, 1)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, answer := call(http.MethodGet, "/stats", ""); !strings.Contains(answer, `"compressions":1`) {
		t.Errorf("got the stats %s", answer)
	}
}
