package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/readiness"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/internal/contract"
)

// TestTakeOver takes over from the running KafkaJS consumers and gives back to them, while results keep coming, on the real
// Apache Kafka: nothing is lost, and each side begins at the offsets that the other has committed. Then both groups are
// rewound to their start, which changes nothing. The environment is the old server's where that accepts any certificate.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	needKafkaJS(t)
	logs := t.TempDir()
	p := newPipeline(t, envfile.Var{Name: "KAFKA_SSL_CA_FILE"}, envfile.Var{Name: "KAFKA_SSL_REJECT_UNAUTHORIZED", Value: "false"})
	p.own = map[string]envfile.Vars{bridge: {{Name: "LOG_DIR", Value: logs}}}
	p.start(worker)
	stream := p.results()

	old := []*oldConsumer{p.startOld("old-1"), p.startOld("old-2")}
	for _, o := range old {
		o.awaitJoined()
	}
	p.awaitHandled(100, old...)

	p.launch(bridge)
	p.awaitHeldBy(old...)
	p.checkHeld(old...)
	p.awaitHandled(50, old...) // which it does not disturb
	old[0].stop()
	p.awaitHeldBy(old[1])
	old[1].stop()
	began := time.Now()
	p.awaitStatus(bridge, "ready")
	t.Logf("the bridge is ready %s after the last consumer has left", time.Since(began).Round(time.Millisecond))
	if took := time.Since(began); took > 40*time.Second { // a session lasts 45
		t.Errorf("the bridge needs %s to join, want a few seconds", took)
	}
	stream.awaitMore(50)
	p.checkGoesOn("the bridge", committedBy(old...), func() []place { return p.received(logs) })

	// The way back. Those who come too early give up, and do no harm.
	early := p.startOld("early")
	early.awaitCrashed("The group member's supported protocols are incompatible with those of existing members")
	stream.awaitMore(50)
	p.awaitStatus(bridge, "ready")
	p.stop(bridge)
	byBridge := p.committed()
	again := []*oldConsumer{p.startOld("again-1"), p.startOld("again-2")}
	for _, o := range again {
		o.awaitJoined()
	}
	p.awaitHandled(50, again...)
	early.checkStillOut()
	early.stop()
	videos := stream.stop()
	p.awaitAcknowledged()
	for _, o := range again {
		o.stop()
	}
	p.checkGoesOn("the old consumer", byBridge, func() []place { return handledBy(again...) })

	// Everything was handled by one or the other.
	p.checkAll(handledBy(old...), p.received(logs), handledBy(again...))
	before := p.awaitApplied(videos)
	p.checkNoLetters()

	// A rewound group: all of it comes again, and nothing changes.
	p.rewind()
	received := len(p.received(logs))
	p.start(bridge)
	p.awaitAcknowledged()
	if again := len(p.received(logs)) - received; again < 2*len(videos) { // and more where a busy machine is slow to hand a partition over
		t.Errorf("%d results came again after the rewind, want %d", again, 2*len(videos))
	}
	p.awaitQuiet(videos)
	if after := p.awaitApplied(videos); !maps.Equal(before, after) {
		t.Error("rows or objects are not what they were before the rewind")
	}
	p.checkNoLetters()
	p.checkSaysUnverified(logs)
}

// TestTakeOver_killed: an old consumer is killed in the middle of its work and does not leave. The bridge waits, as Kafka does,
// until the session has run out, and applies again what was not committed, which changes nothing.
func TestTakeOver_killed(t *testing.T) {
	t.Parallel()
	needKafkaJS(t)
	logs := t.TempDir()
	p := newPipeline(t)
	p.own = map[string]envfile.Vars{bridge: {{Name: "LOG_DIR", Value: logs}}}
	p.start(worker)
	stream := p.results()
	killed, other := p.startOld("old-killed"), p.startOld("old-other")
	killed.awaitJoined()
	other.awaitJoined()
	p.awaitHandled(100, killed, other)
	p.launch(bridge)
	p.awaitHeldBy(killed, other)

	burst, err := p.makeResults(t.Context(), 300)
	if err != nil {
		t.Fatal(err)
	}
	killed.killAtWork(5)
	began := time.Now()
	other.stop()
	committed := p.committed()
	p.awaitHeldBy(killed)
	videos := append(burst, stream.stop()...) // not more than are soon worked off
	p.awaitStatus(bridge, "ready")
	took := time.Since(began)
	t.Logf("the bridge is ready %s after an old consumer was killed", took.Round(time.Second))
	if took < 20*time.Second || took > time.Minute {
		t.Errorf("the bridge is ready after %s, want the 30 s of a session and a few more", took)
	}
	p.checkGoesOn("the bridge", committed, func() []place { return p.received(logs) })
	p.awaitAcknowledged()
	p.awaitApplied(videos)
	p.checkNoLetters()
	again := len(beyond(committed, handledBy(killed, other)))
	if repeated := p.checkAll(handledBy(killed, other), p.received(logs)); repeated != again || again == 0 {
		t.Errorf("%d results were handled by both, want the %d that were not committed, and some", repeated, again)
	}
}

func needKafkaJS(t *testing.T) {
	t.Helper()
	if os.Getenv("VIDFLOW_TEST_KAFKAJS") == "" {
		t.Skip("for Apache Kafka with Node alone: make test-takeover")
	}
	if !onApacheKafka(t) {
		t.Fatal("this test needs Apache Kafka: make test-takeover")
	}
}

// at is a record's place.
type at struct {
	topic     string
	partition int32
}

// place is a record, by its topic, partition and offset.
type place struct {
	at
	offset int64
}

// held is each member's id, by the client id that is in it.
func (p *pipeline) held(group string) (members []string) {
	p.t.Helper()
	groups, err := kadm.NewClient(p.kafka).DescribeGroups(p.t.Context(), group)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, m := range groups[group].Members {
		members = append(members, m.MemberID)
	}
	return members
}

func (p *pipeline) groups() map[string]string {
	return map[string]string{
		p.topics.transcribed: p.env.Value("KAFKA_TRANSCRIPTION_GROUP"), p.topics.compressed: p.env.Value("KAFKA_COMPRESSION_GROUP"),
	}
}

// awaitHeldBy waits until the bridge says that it waits for these and nobody else.
func (p *pipeline) awaitHeldBy(old ...*oldConsumer) {
	p.t.Helper()
	p.await("the bridge names who holds its groups", func(ctx context.Context) error {
		answer, err := readiness.Ask(ctx, p.block.URL(opsPort[bridge]))
		if err != nil {
			return err
		}
		said := fmt.Sprintf("%+v", answer)
		if answer.Status != "not ready" {
			return errors.New(said)
		}
		for _, group := range p.groups() {
			members := p.held(group)
			if len(members) != len(old) {
				return fmt.Errorf("the group has %d members", len(members))
			}
			for _, m := range members {
				if !strings.Contains(said, m) {
					return fmt.Errorf("member %s is not named in %s", m, said)
				}
			}
		}
		if n := strings.Count(said, "at 127.0.0.1 (old-"); n != 2*len(old) {
			return fmt.Errorf("%d members are named, want %d: %s", n, 2*len(old), said)
		}
		return nil
	})
}

// checkHeld: the check says the same, as a warning, and that the certificate is not checked.
func (p *pipeline) checkHeld(old ...*oldConsumer) {
	p.t.Helper()
	command := p.toolCommand("kafka", "check", "kafkabridge")
	out, err := command.CombinedOutput()
	if err != nil {
		p.t.Errorf("kafka check ends with %v, want a warning:\n%s", err, out)
	}
	for _, o := range old {
		if n := bytes.Count(out, []byte(o.name+" at 127.0.0.1 ("+o.name+"-")); n != 2 {
			p.t.Errorf("kafka check names %s for %d groups, want 2:\n%s", o.name, n, out)
		}
	}
	if !bytes.Contains(out, []byte("not checked")) {
		p.t.Errorf("kafka check does not say that certificates are not checked:\n%s", out)
	}
}

// received are the records that the bridge has taken in hand, by its log.
func (p *pipeline) received(logs string) (places []place) {
	p.t.Helper()
	p.eachLogged(logs, func(line []byte) {
		var e struct {
			Msg       string
			Topic     string
			Partition int32
			Offset    int64
		}
		if json.Unmarshal(line, &e) == nil && e.Msg == "Kafka message received" {
			places = append(places, place{at{e.Topic, e.Partition}, e.Offset})
		}
	})
	return places
}

func (p *pipeline) eachLogged(logs string, use func(line []byte)) {
	p.t.Helper()
	file, err := os.Open(filepath.Join(logs, "combined.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		use(lines.Bytes())
	}
}

// checkSaysUnverified: the log says at its start that any certificate is accepted.
func (p *pipeline) checkSaysUnverified(logs string) {
	p.t.Helper()
	said := false
	p.eachLogged(logs, func(line []byte) {
		said = said || bytes.Contains(line, []byte("KAFKA_SSL_REJECT_UNAUTHORIZED")) && bytes.Contains(line, []byte(`"level":"WARN"`))
	})
	if !said {
		p.t.Error("the log does not warn that certificates are not checked")
	}
}

func firstOf(places []place) map[at]int64 {
	first := map[at]int64{}
	for _, pl := range places {
		if offset, ok := first[pl.at]; !ok || pl.offset < offset {
			first[pl.at] = pl.offset
		}
	}
	return first
}

// committed is what the groups have committed.
func (p *pipeline) committed() map[at]int64 {
	p.t.Helper()
	offsets := map[at]int64{}
	for topic, group := range p.groups() {
		fetched, err := kadm.NewClient(p.kafka).FetchOffsets(p.t.Context(), group)
		if err != nil {
			p.t.Fatal(err)
		}
		for partition, o := range fetched[topic] {
			offsets[at{topic, partition}] = o.At
		}
	}
	return offsets
}

// checkGoesOn: who takes over reads each partition from where the other has committed.
func (p *pipeline) checkGoesOn(who string, committed map[at]int64, taken func() []place) {
	p.t.Helper()
	if len(committed) != 8 { // four partitions of two topics
		p.t.Errorf("%d partitions were committed before %s took over, want all 8: %v", len(committed), who, committed)
	}
	var first map[at]int64
	p.await(who+" has a record of each partition", func(context.Context) error {
		if first = firstOf(taken()); len(first) != 8 {
			return fmt.Errorf("it has begun at %v", first)
		}
		return nil
	})
	if !maps.Equal(committed, first) {
		p.t.Errorf("%s begins at %v, want what was committed, %v", who, first, committed)
	}
}

// checkAll: every record of both topics was handled by somebody; it answers how many were more than once.
func (p *pipeline) checkAll(parts ...[]place) (repeated int) {
	p.t.Helper()
	times := map[place]int{}
	each := make([]int, len(parts))
	for i, part := range parts {
		each[i] = len(part)
		for _, pl := range part {
			times[pl]++
		}
	}
	ends, err := kadm.NewClient(p.kafka).ListEndOffsets(p.t.Context(), p.topics.transcribed, p.topics.compressed)
	if err != nil {
		p.t.Fatal(err)
	}
	records, missing := 0, 0
	ends.Each(func(end kadm.ListedOffset) {
		for offset := range end.Offset {
			records++
			switch n := times[place{at{end.Topic, end.Partition}, offset}]; {
			case n == 0:
				missing++
			case n > 1:
				repeated++
			}
		}
	})
	p.t.Logf("%d results: handled by the old consumers and the bridge, in turn, %d; %d more than once, %d by nobody",
		records, each, repeated, missing)
	if missing > 0 {
		p.t.Errorf("%d of %d results were handled by nobody", missing, records)
	}
	for _, n := range each {
		if n < 100 {
			p.t.Errorf("one had only %d results: this was no take-over under load", n)
		}
	}
	return repeated
}

func (p *pipeline) checkNoLetters() {
	p.t.Helper()
	ends, err := kadm.NewClient(p.kafka).ListEndOffsets(p.t.Context(),
		p.topics.transcribed+contract.DeadLetterSuffix, p.topics.compressed+contract.DeadLetterSuffix)
	if err != nil {
		p.t.Fatal(err)
	}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			p.t.Errorf("%d dead letters in %s", end.Offset, end.Topic)
		}
	})
}

// applied is what became of a video: the addresses in its row and its transcript.
type applied struct{ transcript, camera, stored string }

// awaitApplied waits until every video has what its results said.
func (p *pipeline) awaitApplied(videos []contract.VideoID) map[contract.VideoID]applied {
	p.t.Helper()
	var mu sync.Mutex
	all := make(map[contract.VideoID]applied, len(videos))
	p.await("every result is applied", func(ctx context.Context) error {
		var group errgroup.Group
		group.SetLimit(8)
		for _, id := range videos {
			group.Go(func() error {
				var a applied
				err := p.db.Admin.QueryRow(ctx, "select coalesce(transcript_url, ''), camera_video_url from public.videos where id = $1",
					string(id)).Scan(&a.transcript, &a.camera)
				if err != nil {
					return err
				}
				if a.transcript != p.places.TranscriptURL(id) || a.camera != compressedURL(id) {
					return fmt.Errorf("video %s has %+v", id, a)
				}
				stored, err := p.places.Transcript(ctx, id)
				if err != nil {
					return err
				}
				var got, want any
				if json.Unmarshal(stored, &got) != nil || json.Unmarshal(tiny(id, 0), &want) != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					return fmt.Errorf("the transcript of video %s is %s", id, stored)
				}
				a.stored = string(stored)
				mu.Lock()
				defer mu.Unlock()
				all[id] = a
				return nil
			})
		}
		return group.Wait()
	})
	return all
}

// awaitQuiet waits until no run works on any of the videos' results.
func (p *pipeline) awaitQuiet(videos []contract.VideoID) {
	p.t.Helper()
	p.await("every result that came again is applied", func(ctx context.Context) error {
		var done int
		err := p.db.Admin.QueryRow(ctx, `select count(*) from pipeline.videos
			where transcription_state = 'done' and compression_state = 'done'`).Scan(&done)
		if err == nil && done != len(videos) {
			err = fmt.Errorf("%d of %d videos are done", done, len(videos))
		}
		return err
	})
}

// rewind sets both groups back to the first record, with Kafka's own tool.
func (p *pipeline) rewind() {
	p.t.Helper()
	for topic, group := range p.groups() {
		ctx, cancel := context.WithTimeout(p.t.Context(), patience)
		defer cancel()
		line := slices.Concat(strings.Split(need(p.t, "VIDFLOW_TEST_KAFKA_JAVA"), "\n"), []string{
			"org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", need(p.t, "VIDFLOW_TEST_KAFKA_BROKERS"),
			"--group", group, "--topic", topic, "--reset-offsets", "--to-earliest", "--execute",
		})
		if out, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput(); err != nil {
			p.t.Fatalf("rewind group %s: %v\n%s", group, err, out)
		}
	}
	for pl, offset := range p.committed() {
		if offset != 0 {
			p.t.Fatalf("%v is at %d after the rewind", pl, offset)
		}
	}
}

func compressedURL(id contract.VideoID) string {
	return "https://cdn.example.test/" + string(id) + ".mp4"
}

// results is a stream of videos of the old server, each with both of its results.
func (p *pipeline) results() *stream {
	p.t.Helper()
	return p.streamOf(50*time.Millisecond, func(ctx context.Context) (contract.VideoID, error) {
		ids, err := p.makeResults(ctx, 1)
		if err != nil {
			return "", err
		}
		return ids[0], nil
	})
}

// makeResults makes videos of the old server, and both results of each.
func (p *pipeline) makeResults(ctx context.Context, videos int) (ids []contract.VideoID, err error) {
	texts := make([]string, 0, videos)
	records := make([]*kgo.Record, 0, 2*videos)
	for range videos {
		text := uuid.NewString()
		id := contract.VideoID(text)
		ids, texts = append(ids, id), append(texts, text)
		records = append(records,
			&kgo.Record{Topic: p.topics.transcribed, Key: []byte(id), Value: tiny(id, 0)},
			&kgo.Record{Topic: p.topics.compressed, Key: []byte(id), Value: []byte(compressedURL(id))})
	}
	_, err = p.db.Admin.Exec(ctx, `insert into public.videos (id, course_id, title, description, camera_video_url)
		select id::uuid, $2, 'Of the old server', 'A video of the old server.', 'https://example.test/raw.mp4' from unnest($1::text[]) id`,
		texts, seed.Courses[0].ID)
	if err != nil {
		return nil, err
	}
	return ids, p.kafka.ProduceSync(ctx, records...).FirstErr()
}
