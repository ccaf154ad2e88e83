package kafkabridge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/workflows"
)

func TestBridge_signals_both_kinds_of_result_and_commits_them(t *testing.T) {
	t.Parallel()
	r := newRig(t, defaultPartitions)
	at := time.UnixMilli(1_700_000_000_123).UTC()
	rec, comp := small(1), compression(1)
	rec.Timestamp = at
	comp.Timestamp = time.Now().Add(time.Hour) // a producer whose clock runs ahead
	now := time.Now().Truncate(time.Millisecond)
	r.put(transcripts, 1, rec)
	r.put(compressions, 0, comp)

	temporal := newFakeTemporal(nil)
	b := r.start(temporal, func(c *Config) { c.Now = func() time.Time { return now } })
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{1: 1})
	r.eventuallyCommitted(compressionGroup, map[int32]int64{0: 1})
	b.stop()

	hash := func(rec *kgo.Record) []byte { sum := sha256.Sum256(rec.Value); return sum[:] }
	want := []signal{
		{Video: videoID(1), Name: workflows.SignalCompressed, Ref: contract.Reference{
			Topic: compressions, TopicID: r.topicID(compressions), Size: len(comp.Value), SHA256: hash(comp),
			Position: contract.Position{TopicID: r.topicID(compressions), Time: now.UTC()},
			URL:      "https://cdn.example.com/1.mp4",
		}},
		{Video: videoID(1), Name: workflows.SignalTranscribed, Ref: contract.Reference{
			Topic: transcripts, TopicID: r.topicID(transcripts), Partition: 1, Size: len(rec.Value), SHA256: hash(rec),
			Position:   contract.Position{TopicID: r.topicID(transcripts), Partition: 1, Time: at},
			Transcript: &contract.TranscriptSummary{Duration: 2.5, Language: "en", Words: 1},
		}},
	}
	byName := cmpopts.SortSlices(func(a, b signal) bool { return a.Name < b.Name })
	if diff := cmp.Diff(want, temporal.signals(), byName); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
	equal(t, "problems", temporal.faults(), []string(nil))
	if s := b.Stats(); s.Received != 2 || s.Accepted != 2 || s.Signals != 2 || s.DeadLetters != 0 {
		t.Errorf("stats: %+v", s)
	}
	for _, want := range []string{`msg="Kafka message received"`, `msg="workflow signalled"`} {
		if !r.logged(want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

func TestBridge_holds_the_offset_while_Temporal_is_away(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	g := &gate{closed: true}
	temporal := newFakeTemporal(g.answer)
	r.start(temporal, nil)
	r.put(transcripts, 0, each(0, 20, small)...)
	r.eventually("many attempts", func() bool { return g.attempts() > 200 })
	equal(t, "commits while Temporal is away", r.commitsOf(transcriptGroup), []committed(nil))
	g.open()
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 20})
	equal(t, "signals", len(temporal.signals()), 20)
}

func TestBridge_commits_only_up_to_the_first_that_is_not_accepted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	g := &gate{closed: true, only: func(s signal) bool { return s.Video == videoID(7) }}
	temporal := newFakeTemporal(g.answer)
	b := r.start(temporal, nil)
	r.put(transcripts, 0, each(0, 20, small)...)
	r.eventually("all others are signalled", func() bool { return len(temporal.signals()) == 19 })
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 7})
	b.stop()
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 7})

	again := newFakeTemporal(nil)
	r.start(again, nil)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 20})
	got := videos(again.signals())
	var want []contract.VideoID
	for i := 7; i < 20; i++ {
		want = append(want, videoID(i))
	}
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b contract.VideoID) bool { return a < b })); diff != "" {
		t.Errorf("signalled after the restart, which repeats only what was not committed (-want +got):\n%s", diff)
	}
}

func TestBridge_finishes_what_is_in_hand_when_it_is_stopped(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	sending, finish := make(chan struct{}), make(chan struct{})
	temporal := newFakeTemporal(func(context.Context, signal) error {
		close(sending)
		<-finish
		return nil
	})
	b := r.start(temporal, func(c *Config) { c.DrainTimeout = patience })
	r.put(transcripts, 0, small(1))
	<-sending
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		b.stop()
	}()
	r.eventually("the other consumer has stopped", func() bool { return b.consumers[1].current.Load() == nil })
	close(finish)
	<-stopped
	equal(t, "signals", len(temporal.signals()), 1)
	equal(t, "committed", r.offsets(transcriptGroup), map[int32]int64{0: 1})
	if members := r.cluster.GroupInfo(transcriptGroup).Members; len(members) != 0 {
		t.Errorf("the group still has members: %v", members)
	}
}

func TestBridge_merges_what_waits_for_a_video_and_keeps_its_order(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	sending, hold := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() {
		close(sending)
		<-hold
	})
	temporal := newFakeTemporal(func(context.Context, signal) error {
		first()
		return nil
	})
	b := r.start(temporal, nil)
	r.put(transcripts, 0, small(1))
	<-sending
	r.put(transcripts, 0, each(1, 1000, func(int) *kgo.Record { return small(1) })...)
	r.eventually("all are in hand", func() bool { return b.Stats().Received == 1000 })
	close(hold)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 1000})
	var offsets []int64
	for _, s := range temporal.signals() {
		offsets = append(offsets, s.Ref.Offset)
	}
	equal(t, "offsets of the signals", offsets, []int64{0, 999})
	equal(t, "problems", temporal.faults(), []string(nil))
}

// poison by what is wrong with it.
var poison = map[string]struct {
	topic string
	rec   func() *kgo.Record
	class string
}{
	"no value": {transcripts, func() *kgo.Record { return &kgo.Record{Key: []byte(videoID(1))} }, contract.ClassNoValue},
	"no JSON":  {transcripts, func() *kgo.Record { return &kgo.Record{Value: []byte("{")} }, contract.ClassJSON},
	"no UUID": {transcripts, func() *kgo.Record {
		return &kgo.Record{Value: []byte(`{"video_id":"../x","transcription":{"duration":1,"words":[]}}`)}
	}, contract.ClassVideoID},
	"another kind of value":  {transcripts, func() *kgo.Record { return &kgo.Record{Value: []byte(`[1]`)} }, contract.ClassSchema},
	"compression, no key":    {compressions, func() *kgo.Record { return &kgo.Record{Value: []byte("https://x.example/1")} }, contract.ClassNoKey},
	"compression, not a URL": {compressions, func() *kgo.Record { return &kgo.Record{Key: []byte(videoID(1)), Value: []byte("ftp://x")} }, contract.ClassURL},
}

func TestBridge_buries_poison_before_it_commits(t *testing.T) {
	t.Parallel()
	for name, tc := range poison {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, defaultPartitions)
			group, grave := transcriptGroup, transcriptGrave
			if tc.topic == compressions {
				group, grave = compressionGroup, compressionGrave
			}
			rec := tc.rec()
			rec.Timestamp = time.UnixMilli(1_700_000_000_123)
			rec.Headers = []kgo.RecordHeader{{Key: "theirs", Value: []byte("a")}, {Key: "theirs", Value: []byte("b")}}
			refused := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: grave, Err: kerr.PolicyViolation, Count: -1})
			r.put(tc.topic, 1, rec)
			temporal := newFakeTemporal(nil)
			b := r.start(temporal, nil)
			r.eventually("attempts to bury it", func() bool { return b.Stats().Unburied >= 5 })
			equal(t, "commits before it is buried", r.commitsOf(group), []committed(nil))
			if !r.logged("Kafka dead-letter topic cannot be written") {
				t.Error("nothing loud is in the log")
			}
			refused.Remove()
			r.eventuallyCommitted(group, map[int32]int64{1: 1})

			got := r.read(grave, 1)
			equal(t, "dead letters", len(got), 1)
			equal(t, "key", string(got[0].Key), string(rec.Key))
			equal(t, "value", string(got[0].Value), string(rec.Value))
			equal(t, "first headers", got[0].Headers[:2], rec.Headers)
			own := headers(got[0])
			if own[contract.HeaderReason] == "" {
				t.Error("it gives no reason")
			}
			delete(own, contract.HeaderReason)
			equal(t, "headers", own, map[string]string{
				"theirs":                       "b",
				contract.HeaderOriginTopic:     tc.topic,
				contract.HeaderOriginTopicID:   r.topicID(tc.topic).String(),
				contract.HeaderOriginPartition: "1",
				contract.HeaderOriginOffset:    "0",
				contract.HeaderOriginTime:      "1700000000123",
				contract.HeaderClass:           tc.class,
				contract.HeaderVersion:         "v1.2.3",
				contract.HeaderHost:            "here",
			})
			equal(t, "signals", temporal.signals(), []signal(nil))
			equal(t, "names the video in the log", r.logged(string(videoID(1))), string(rec.Key) == string(videoID(1)))
		})
	}
}

func TestBridge_goes_on_past_poison(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	bad := func(int) *kgo.Record { return &kgo.Record{Value: []byte("bad")} }
	temporal := newFakeTemporal(nil)
	r.start(temporal, nil)
	r.put(transcripts, 0, slices.Concat(each(0, 100, bad), each(0, 10, small), each(0, 100, bad))...)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 210})
	equal(t, "signals", len(temporal.signals()), 10)
	letters := make(map[string]int)
	for _, rec := range r.read(transcriptGrave, 200) {
		letters[headers(rec)[contract.HeaderOriginOffset]]++
	}
	equal(t, "origins", len(letters), 200)
}

func TestBridge_buries_without_value_what_the_dead_letter_topic_finds_too_large(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "10000000"}))
	limit := "100000"
	if err := errors.Join(r.cluster.DeleteTopic(transcriptGrave),
		r.cluster.CreateTopic(transcriptGrave, 1, map[string]string{"max.message.bytes": limit})); err != nil {
		t.Fatal(err)
	}
	value := []byte(`{"video_id":"` + strings.Repeat("\u00e9x", 1_000_000) + `"`)
	r.put(transcripts, 0, &kgo.Record{Key: []byte("k"), Value: value})
	r.start(newFakeTemporal(nil), nil)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 1})
	got := r.read(transcriptGrave, 1)[0]
	sum := sha256.Sum256(value)
	own := headers(got)
	equal(t, "value", len(got.Value), 0)
	equal(t, "key", string(got.Key), "k")
	equal(t, "size", own[contract.HeaderSize], strconv.Itoa(len(value)))
	equal(t, "hash", own[contract.HeaderSHA256], hex.EncodeToString(sum[:]))
	equal(t, "origin", own[contract.HeaderOriginTopic]+"/"+own[contract.HeaderOriginOffset], transcripts+"/0")
}

func TestBridge_keeps_the_position_of_a_redriven_record(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	old := uuid.New()
	good := small(1)
	good.Headers = []kgo.RecordHeader{
		{Key: contract.HeaderOriginTopic, Value: []byte(transcripts)},
		{Key: contract.HeaderOriginTopicID, Value: []byte(old.String())},
		{Key: contract.HeaderOriginPartition, Value: []byte("5")},
		{Key: contract.HeaderOriginOffset, Value: []byte("77")},
		{Key: contract.HeaderOriginTime, Value: []byte("1600000000000")},
		{Key: contract.HeaderReason, Value: []byte("earlier reason")},
	}
	nonsense := small(2)
	nonsense.Headers = slices.Clone(good.Headers)
	nonsense.Headers[3].Value = []byte("-1")
	stranger := small(3)
	stranger.Headers = slices.Clone(good.Headers)
	stranger.Headers[0].Value = []byte("elsewhere")
	poisoned := &kgo.Record{Value: []byte("still bad"), Headers: good.Headers}
	r.put(transcripts, 0, good, nonsense, stranger, poisoned)

	temporal := newFakeTemporal(nil)
	r.start(temporal, nil)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 4})
	got := make(map[contract.VideoID]contract.Reference)
	for _, s := range temporal.signals() {
		got[s.Video] = s.Ref
	}
	equal(t, "position of the redriven record", got[videoID(1)].Position,
		contract.Position{TopicID: old, Partition: 5, Offset: 77, Time: time.UnixMilli(1_600_000_000_000).UTC()})
	equal(t, "where it is read", got[videoID(1)].TopicID, r.topicID(transcripts))
	for _, n := range []int{2, 3} { // origins that cannot be: the record's own position
		equal(t, "position without an origin", got[videoID(n)].Position.TopicID, r.topicID(transcripts))
		equal(t, "position without an origin", got[videoID(n)].Position.Offset, int64(n-1))
	}
	letter := r.read(transcriptGrave, 1)[0]
	own := headers(letter)
	equal(t, "origin of a record that died twice", own[contract.HeaderOriginTopicID]+"/"+own[contract.HeaderOriginOffset], old.String()+"/77")
	if own[contract.HeaderReason] == "earlier reason" {
		t.Error("it gives the reason of its first death")
	}
	count := 0
	for _, h := range letter.Headers {
		if h.Key == contract.HeaderOriginOffset {
			count++
		}
	}
	equal(t, "origins on it", count, 1)
}

func TestBridge_takes_huge_records(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "100000000"}))
	r.put(transcripts, 0, transcript(1, 1_300_000))
	r.put(transcripts, 0, transcript(2, 8_000_000)) // beyond the limit of a fetch, and of the window
	r.put(transcripts, 0, small(3))
	temporal := newFakeTemporal(nil)
	r.start(temporal, func(c *Config) { c.FetchBytes, c.MaxBytes = 1<<16, 1<<20 })
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 3})
	for _, s := range temporal.signals() {
		if s.Video == videoID(2) && s.Ref.Size < 8_000_000-100 {
			t.Errorf("the huge record has %d bytes", s.Ref.Size)
		}
	}
	equal(t, "signals", len(temporal.signals()), 3)
}

func TestBridge_bounds_what_is_in_flight(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	g := &gate{closed: true}
	temporal := newFakeTemporal(g.answer)
	b := r.start(temporal, func(c *Config) { c.MaxRecords, c.MaxPartitionRecords = 10, 10 })
	r.put(transcripts, 0, each(0, 300, small)...)
	r.eventually("many attempts", func() bool { return g.attempts() > 300 })
	equal(t, "taken while Temporal is away", b.Stats().Received, int64(10))
	g.open()
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 300})
}

func TestBridge_bounds_the_bytes_of_poison_that_waits(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	refused := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: transcriptGrave, Err: kerr.PolicyViolation, Count: -1})
	bad := make([]byte, 100_000)
	_, _ = rand.Read(bad) // never fails; what can be compressed would come in one fetch, beyond any bound
	for range 60 {
		r.put(transcripts, 0, &kgo.Record{Value: bad})
	}
	b := r.start(newFakeTemporal(nil), func(c *Config) { c.MaxPartitionBytes = 1 << 20 })
	r.eventually("attempts", func() bool { return b.Stats().Unburied > 100 })
	if got := b.Stats().Received; got > 30 { // a fetch may bring more than the bound before it is seen
		t.Errorf("%d records of 100 KB are in flight, the bound is 1 MiB", got)
	}
	refused.Remove()
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 60})
}

func TestBridge_pauses_a_partition_that_is_full_and_no_other(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	g := &gate{closed: true, only: func(s signal) bool { return s.Ref.Partition == 0 }}
	temporal := newFakeTemporal(g.answer)
	r.start(temporal, func(c *Config) { c.MaxRecords, c.MaxPartitionRecords = 2000, 5 })
	r.put(transcripts, 0, each(0, 150, small)...)
	for i := range 30 {
		r.put(transcripts, 1, each(10_000+100*i, 10_000+100*(i+1), small)...)
	}
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{1: 3000})
	g.open()
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 150, 1: 3000})
}

func TestBridge_takes_over_where_another_program_left_off(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		latest    bool
		committed bool
		want      int // signals for the five records that are there
	}{
		"at its committed offset":                {committed: true, want: 2},
		"at its committed offset, whatever else": {committed: true, latest: true, want: 2},
		"at the start without one":               {want: 5},
		"at the end without one, when told to":   {latest: true, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.put(transcripts, 0, each(0, 5, small)...)
			if tc.committed {
				var offsets kadm.Offsets
				offsets.AddOffset(transcripts, 0, 3, -1)
				if err := r.admin.CommitAllOffsets(t.Context(), transcriptGroup, offsets); err != nil {
					t.Fatal(err)
				}
			}
			temporal := newFakeTemporal(nil)
			b := r.start(temporal, func(c *Config) { c.StartLatest = tc.latest })
			r.eventually("it is ready", func() bool { return ready(t, b.Bridge) == nil })
			r.warmUp(transcriptGroup)
			old := slices.DeleteFunc(videos(temporal.signals()), func(v contract.VideoID) bool { return v == warmVideo })
			equal(t, "signals", len(old), tc.want)
		})
	}
}

func TestBridge_begins_at_the_start_when_the_committed_offset_is_gone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.put(transcripts, 0, each(0, 10, small)...)
	var offsets kadm.Offsets
	offsets.AddOffset(transcripts, 0, 2, -1)
	if err := r.admin.CommitAllOffsets(t.Context(), transcriptGroup, offsets); err != nil {
		t.Fatal(err)
	}
	if err := r.cluster.DeleteRecords(transcripts, 0, 5); err != nil {
		t.Fatal(err)
	}
	temporal := newFakeTemporal(nil)
	r.start(temporal, func(c *Config) { c.StartLatest = true })
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 10})
	equal(t, "signals", len(temporal.signals()), 5)
}

func TestBridge_consumes_a_topic_that_was_made_anew_from_its_start(t *testing.T) {
	t.Parallel()
	for _, latest := range []bool{false, true} {
		t.Run(fmt.Sprintf("start at the end: %t", latest), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			g := &gate{closed: true, only: func(s signal) bool { return s.Video == videoID(99) }}
			temporal := newFakeTemporal(g.answer)
			b := r.start(temporal, func(c *Config) { c.StartLatest = latest })
			warm := r.warmUp(transcriptGroup)
			before := len(temporal.signals())
			r.put(transcripts, 0, append(each(0, 10, small), small(99))...) // the last is held back
			r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: warm + 10})
			r.eventually("it is held back", func() bool { return g.attempts() > 0 })

			r.makeAnew(transcripts, 2)
			r.put(transcripts, 0, each(100, 103, small)...)
			r.eventually("the new records are signalled", func() bool { return len(temporal.signals()) == before+13 })
			r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 3})
			g.open()
			r.put(transcripts, 0, small(200))
			r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 4})
			for _, s := range temporal.signals()[before+10:] {
				if s.Video != videoID(99) && s.Ref.TopicID != r.topicID(transcripts) {
					t.Errorf("signal with the old topic's id: %+v", s)
				}
			}
			equal(t, "topics made anew", b.Stats().Remade, int64(1))
		})
	}
}

func TestBridge_drops_an_offset_that_was_committed_for_an_older_topic(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.put(transcripts, 0, each(0, 5, small)...)
	b := r.start(newFakeTemporal(nil), nil)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 5})
	b.stop()
	old := r.topicID(transcripts)

	// Before Kafka 4.2 a commit can land on the new topic after it was made.
	r.makeAnew(transcripts, 1)
	r.put(transcripts, 0, each(10, 17, small)...)
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: transcripts, At: 5, LeaderEpoch: -1, Metadata: topicNote(old)})
	if err := r.admin.CommitAllOffsets(t.Context(), transcriptGroup, offsets); err != nil {
		t.Fatal(err)
	}
	temporal := newFakeTemporal(nil)
	r.start(temporal, nil)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 7})
	equal(t, "signals", len(temporal.signals()), 7)
}

func TestBridge_waits_for_a_topic_that_is_missing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	temporal := newFakeTemporal(nil)
	r.start(temporal, nil)
	r.put(transcripts, 0, small(0))
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 1})
	if err := r.cluster.DeleteTopic(transcripts); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is said", func() bool { return r.logged("Kafka topic is missing") })
	r.put(compressions, 0, compression(5)) // the other goes on
	r.eventuallyCommitted(compressionGroup, map[int32]int64{0: 1})
	if err := r.cluster.CreateTopic(transcripts, 1, nil); err != nil {
		t.Fatal(err)
	}
	r.cl.PurgeTopicsFromClient(transcripts)
	r.put(transcripts, 0, each(1, 3, small)...)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 2})
}

func ready(t *testing.T, b *Bridge) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var errs []error
	for _, c := range b.Checks() {
		errs = append(errs, c.Probe(ctx))
	}
	return errors.Join(errs...)
}

func TestBridge_checks_name_what_is_missing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	b := r.newBridge(newFakeTemporal(nil), func(c *Config) { c.Compression.Topic = "nowhere" })
	defer b.Close()
	got := make(map[string]string)
	for _, c := range b.Checks() {
		if !c.Required {
			t.Errorf("%s is not required", c.Name)
		}
		got[c.Name] = ""
		if err := c.Probe(t.Context()); err != nil {
			if !process.CanNeverWork(err) {
				t.Errorf("%s: waiting is thought to mend %v", c.Name, err)
			}
			got[c.Name], _, _ = strings.Cut(err.Error(), " (")
		}
	}
	equal(t, "checks", got, map[string]string{
		"Kafka dead letters":               "Kafka topics missing: nowhere.dlq",
		"Kafka consumer update_transcribe": "",
		"Kafka consumer nowhere":           "Kafka topics missing: nowhere",
	})
}

func TestBridge_outlives_its_broker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRig(t, 2, kfake.DataDir(dir))
	temporal := newFakeTemporal(nil)
	b := r.start(temporal, nil)
	r.put(transcripts, 0, each(0, 10, small)...)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 10})
	r.eventually("both groups are joined", func() bool { return ready(t, b.Bridge) == nil })

	_, port, err := net.SplitHostPort(r.cluster.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	r.cluster.Close()
	r.eventually("it is not ready without a broker", func() bool { return ready(t, b.Bridge) != nil })
	r.eventually("the log says that the broker is away", func() bool { return r.logged("Kafka broker is away") })
	r.eventually("the broker is back at its port", func() bool { // which a client's connection may have for a moment
		r.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.Ports(number))
		return err == nil
	})
	t.Cleanup(r.cluster.Close)
	r.put(transcripts, 1, each(10, 20, small)...)
	r.eventuallyCommitted(transcriptGroup, map[int32]int64{0: 10, 1: 10})
	r.eventually("it is ready again", func() bool { return ready(t, b.Bridge) == nil })
	equal(t, "signals", len(temporal.signals()), 20)
}
