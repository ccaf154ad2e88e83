package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/kafkatool"
	"github.com/codeendelea/vidflow/internal/testvideo"
)

type kafkaCmd struct {
	Check         kafkaCheckCmd   `cmd:"" help:"Check brokers, login, topics, groups and permissions, and send a record round."`
	SendTestVideo kafkaVideoCmd   `cmd:"" help:"Ask for the transcription of a test video, and follow it to the end."`
	Tail          kafkaTailCmd    `cmd:"" help:"Show what the records of topics say."`
	Produce       kafkaProduceCmd `cmd:"" help:"Write a record to a topic."`
}

func (t *toolbox) topics() kafkatool.Topics {
	k := t.cfg.Kafka
	return kafkatool.Topics{Requests: k.ProduceTopic, Transcripts: k.ConsumeTopic, Compressions: k.CompressionTopic}
}

type kafkaCheckCmd struct {
	Process        []string `arg:"" optional:"" enum:"worker,starter,kafkabridge,dlq" help:"Only what these need: worker, starter, kafkabridge, dlq. For logins of their own."`
	RoundTripTopic string   `placeholder:"TOPIC" help:"Topic to send a record round, instead of the dead letters of the transcription results."`
	NoRoundTrip    bool     `help:"Write nothing."`
	JSON           bool     `name:"json" help:"Write a JSON object."`
	toolFlags      `embed:""`
}

// Help is shown by "vidflow kafka check --help".
func (kafkaCheckCmd) Help() string {
	return "Looks at each broker, TLS, the login, the topics and their settings, the consumer groups and, for each process, the " +
		"permissions it needs, and says how to mend what is wrong. Nothing is changed but for one record, which is sent round " +
		"through the dead-letter topic of the transcription results: nobody but vidflow reads that, and it passes over it. Where " +
		"processes are named it is sent only if dlq is among them, or --round-trip-topic is given.\n\n" +
		"Exit code 1: something failed. Warnings do not count.\n\n" +
		"Examples:\n\n  vidflow kafka check\n\n  vidflow kafka check worker\n\n" +
		"  vidflow kafka check --json | jq -r '.findings[] | select(.status == \"failed\") | .mend'"
}

func (c *kafkaCheckCmd) run(ctx context.Context, t *toolbox) error {
	k := t.cfg.Kafka
	cfg := kafkatool.CheckConfig{
		Kafka: kafkaConfig(k), RequestTopic: k.ProduceTopic, TranscriptionTopic: k.ConsumeTopic, CompressionTopic: k.CompressionTopic,
		TranscriptionGroup: k.TranscriptionGroup, CompressionGroup: k.CompressionGroup, DeadLetterGroup: k.DeadLetterGroup,
		Processes: c.Process, RoundTrip: c.RoundTripTopic,
	}
	// Of the processes none but the tool for dead letters both writes and reads the topic.
	everything := len(c.Process) == 0 || slices.Contains(c.Process, kafkatool.DeadLetters)
	if cfg.RoundTrip == "" && everything {
		cfg.RoundTrip = k.ConsumeTopic + contract.DeadLetterSuffix
	}
	if c.NoRoundTrip {
		cfg.RoundTrip = ""
	}
	report, err := kafkatool.Check(ctx, cfg, t.log)
	if err != nil {
		return err
	}
	if c.JSON {
		err = t.json(report)
	} else {
		err = report.Print(t.stdout)
	}
	if err == nil && report.Count(kafkatool.Failed) > 0 {
		err = errSaid
	}
	return err
}

type kafkaVideoCmd struct {
	VideoURL  string        `default:"https://download.blender.org/peach/bigbuckbunny_movies/BigBuckBunny_320x180.mp4" placeholder:"URL" help:"Where the services find the video. It is one of ten minutes when not given."`
	VideoID   string        `placeholder:"ID" help:"Id of the video; a new one when not given. Without the API alone."`
	Over      string        `enum:"kafka,api,both," default:"" placeholder:"kafka|api|both" help:"Over Kafka alone, through the API, or one after the other; both when --api, --token and --course are there, else kafka."`
	API       string        `name:"api" placeholder:"URL" help:"The API ($$VIDFLOW_API)."`
	Token     string        `placeholder:"TOKEN" help:"Token of somebody who may add videos to the course ($$VIDFLOW_TOKEN)."`
	Course    string        `placeholder:"ID" help:"Course to add the video to ($$VIDFLOW_COURSE)."`
	Keep      bool          `help:"Leave the video that was created through the API there."`
	Timeout   time.Duration `default:"5m" help:"How long to wait; for each way."`
	JSON      bool          `name:"json" help:"Write a JSON object for each step, on a line of its own."`
	toolFlags `embed:""`
}

// Help is shown by "vidflow kafka send-test-video --help".
func (kafkaVideoCmd) Help() string {
	return "Over Kafka: writes a request for a transcription, as the worker does, waits for the transcript, and then for the bridge " +
		"to have taken it. The video is in no database, so its run ends without doing anything.\n\n" +
		"Through the API: creates a video in a course, shows each change of its pipeline until both results are in, and deletes it.\n\n" +
		"Examples:\n\n  vidflow kafka send-test-video\n\n  source .dev/env; vidflow kafka send-test-video --timeout 1m"
}

func (c *kafkaVideoCmd) run(ctx context.Context, t *toolbox) error {
	fill := func(field *string, name string) {
		if *field == "" {
			*field = t.env[name]
		}
	}
	fill(&c.API, "VIDFLOW_API")
	fill(&c.Token, "VIDFLOW_TOKEN")
	fill(&c.Course, "VIDFLOW_COURSE")
	complete := c.API != "" && c.Token != "" && c.Course != ""
	switch {
	case c.Over == "" && complete:
		c.Over = "both"
	case c.Over == "":
		c.Over = "kafka"
	case c.Over != "kafka" && !complete:
		return errors.New("the API needs --api, --token and --course, or VIDFLOW_API, VIDFLOW_TOKEN and VIDFLOW_COURSE")
	}
	if c.VideoID == "" {
		c.VideoID = uuid.NewString()
	}
	id, err := contract.ParseVideoID(c.VideoID)
	if err != nil {
		return fmt.Errorf("--video-id: %w", err)
	}
	tell := func(s testvideo.Step) {
		if c.JSON {
			_ = t.json(s)
			return
		}
		line := fmt.Sprintf("%7.1f s  %s", s.After.Seconds(), kafkatool.Printable(s.Text))
		if s.Place != "" {
			line += "  [" + s.Place + "]"
		}
		_, _ = fmt.Fprintln(t.stdout, line)
	}
	if c.Over != "api" {
		err := testvideo.OverKafka(ctx, testvideo.KafkaConfig{
			Kafka: kafkaConfig(t.cfg.Kafka), Topics: t.topics(), Group: t.cfg.Kafka.TranscriptionGroup,
			VideoID: id, VideoURL: c.VideoURL, Timeout: c.Timeout,
		}, t.log, tell)
		if err != nil {
			return err
		}
	}
	if c.Over == "kafka" {
		return nil
	}
	return testvideo.OverAPI(ctx, testvideo.APIConfig{
		URL: c.API, Token: c.Token, CourseID: c.Course, VideoURL: c.VideoURL, Timeout: c.Timeout, Keep: c.Keep,
	}, tell)
}

type kafkaTailCmd struct {
	Topics    []string `arg:"" optional:"" name:"topic" help:"Which; requests, transcripts, compressions and dead-letters stand for those of vidflow. The first three when none is named."`
	From      string   `default:"last:10" help:"Where to begin: start, end, an offset, last:N of each partition, a time (2026-11-24T12:00:00Z, 2026-11-24), or how long ago (90m, 2h, 3d)."`
	Partition int32    `default:"-1" placeholder:"N" help:"Only this partition."`
	Video     string   `placeholder:"ID" help:"Only what is about this video."`
	Follow    bool     `short:"f" help:"Go on with what comes, until it is stopped."`
	Limit     int      `placeholder:"N" help:"Stop after so many."`
	Values    bool     `help:"Show the values, too."`
	JSON      bool     `name:"json" help:"Write a JSON object for each, on a line of its own."`
	toolFlags `embed:""`
}

// Help is shown by "vidflow kafka tail --help".
func (kafkaTailCmd) Help() string {
	return "Reads without a group, so that nobody else gets less. The records of a partition are in order, those of different " +
		"partitions are not. What the bridge would not understand is shown with the reason.\n\n" +
		"Examples:\n\n  vidflow kafka tail --follow --from end\n\n  vidflow kafka tail transcripts --from 2h --video 0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01\n\n" +
		"  vidflow kafka tail update_transcribe --partition 0 --from 4711 --limit 1 --values"
}

func (c *kafkaTailCmd) run(ctx context.Context, t *toolbox) error {
	from, err := parseFrom(c.From, t.now)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	var video contract.VideoID
	if c.Video != "" {
		if video, err = contract.ParseVideoID(c.Video); err != nil {
			return fmt.Errorf("--video: %w", err)
		}
	}
	scanner, err := kafka.NewScanner(kafkaConfig(t.cfg.Kafka), t.log, "tail")
	if err != nil {
		return err
	}
	defer scanner.Close()
	spans, err := scanner.Spans(ctx, from, c.names(t.topics())...)
	if err != nil {
		return err
	}
	if c.Partition >= 0 {
		kept := spans[:0]
		for _, s := range spans {
			if s.Partition == c.Partition {
				kept = append(kept, s)
			}
		}
		if spans = kept; len(spans) == 0 {
			return fmt.Errorf("there is no partition %d", c.Partition)
		}
	}
	shown, enough := 0, errors.New("enough")
	err = scanner.Scan(ctx, spans, c.Follow, func(rec *kgo.Record) error {
		m := t.topics().Read(rec, c.Values)
		if video != "" && m.VideoID != video {
			return nil
		}
		shown++
		if err := c.show(t, m); err != nil {
			return err
		}
		if shown == c.Limit {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) || c.Follow && ctx.Err() != nil {
		return nil
	}
	if err == nil && shown == 0 && !c.JSON {
		t.note("No records.")
	}
	return err
}

// names resolves what stands for topics of vidflow.
func (c *kafkaTailCmd) names(topics kafkatool.Topics) []string {
	if len(c.Topics) == 0 {
		return []string{topics.Requests, topics.Transcripts, topics.Compressions}
	}
	var names []string
	for _, name := range c.Topics {
		switch name {
		case "requests":
			names = append(names, topics.Requests)
		case "transcripts":
			names = append(names, topics.Transcripts)
		case "compressions":
			names = append(names, topics.Compressions)
		case "dead-letters":
			names = append(names, topics.Transcripts+contract.DeadLetterSuffix, topics.Compressions+contract.DeadLetterSuffix)
		default:
			names = append(names, name)
		}
	}
	return names
}

func (c *kafkaTailCmd) show(t *toolbox, m kafkatool.Message) error {
	if c.JSON {
		return t.json(m)
	}
	text := m.Line() + "\n"
	if c.Values {
		switch {
		case m.Value != nil:
			text += kafkatool.Printable(*m.Value) + "\n"
		case m.ValueBase64 != nil:
			text += fmt.Sprintf("%q\n", m.ValueBase64)
		}
	}
	_, err := io.WriteString(t.stdout, text)
	return err
}

// parseFrom reads where to begin. A number alone is an offset; how long ago has a unit.
func parseFrom(text string, now time.Time) (kafka.From, error) {
	switch text {
	case "start", "earliest":
		return kafka.Start(), nil
	case "end", "latest":
		return kafka.End(), nil
	}
	if n, ok := strings.CutPrefix(text, "last:"); ok {
		last, err := strconv.ParseUint(n, 10, 31)
		if err != nil {
			return kafka.From{}, fmt.Errorf("%q; want last:10", text)
		}
		return kafka.Last(int64(last)), nil
	}
	if offset, err := strconv.ParseUint(text, 10, 63); err == nil {
		return kafka.Offset(int64(offset)), nil
	}
	at, err := parseWhen(text, now)
	if err != nil {
		return kafka.From{}, fmt.Errorf("%q; want start, end, an offset, last:10, a time, or how long ago: 90m, 2h, 3d", text)
	}
	return kafka.At(at), nil
}

type kafkaProduceCmd struct {
	Topic     string   `arg:"" help:"Where to."`
	Value     *string  `arg:"" optional:"" help:"The value. Read from standard input when neither this nor --file nor --no-value is given."`
	Key       *string  `placeholder:"KEY" help:"The key; none when not given."`
	Header    []string `sep:"none" placeholder:"NAME=VALUE" help:"A header; may be repeated."`
	File      string   `type:"existingfile" placeholder:"PATH" help:"File to read the value from."`
	NoValue   bool     `help:"A record without a value."`
	DryRun    bool     `help:"Say what the bridge would make of it, and write nothing."`
	JSON      bool     `name:"json" help:"Write a JSON object."`
	toolFlags `embed:""`
}

// Help is shown by "vidflow kafka produce --help".
func (kafkaProduceCmd) Help() string {
	return "Returns when all in-sync replicas have it. On a topic of vidflow it says what the record means, and warns of one that " +
		"the bridge will not understand.\n\n" +
		"Examples:\n\n  vidflow kafka produce finish_compress --key $id https://cdn.example.org/1080p.mp4\n\n" +
		"  vidflow kafka produce update_transcribe --key $id --file transcript.json --header source=by-hand\n\n" +
		"  jq -c . transcript.json | vidflow kafka produce update_transcribe"
}

func (c *kafkaProduceCmd) run(ctx context.Context, t *toolbox) error {
	rec, err := c.record(t)
	if err != nil {
		return err
	}
	m := t.topics().Read(rec, false)
	if !m.Understood {
		t.note("Warning: %s", kafkatool.Printable(m.Says))
	}
	if c.DryRun {
		t.note("Not written: %s", kafkatool.Printable(m.Says))
		return nil
	}
	producer, err := kafka.NewProducer(kafkaConfig(t.cfg.Kafka), t.log, "produce")
	if err != nil {
		return err
	}
	defer producer.Close()
	if m.Partition, m.Offset, err = producer.Publish(ctx, rec.Topic, rec.Key, rec.Value, rec.Headers...); err != nil {
		return err
	}
	if c.JSON {
		m.Time = t.now.UTC()
		return t.json(m)
	}
	_, err = fmt.Fprintf(t.stdout, "%s/%d@%d  %s\n", m.Topic, m.Partition, m.Offset, kafkatool.Printable(m.Says))
	return err
}

// record is what the arguments describe.
func (c *kafkaProduceCmd) record(t *toolbox) (*kgo.Record, error) {
	rec := &kgo.Record{Topic: c.Topic}
	if c.Key != nil {
		rec.Key = []byte(*c.Key)
	}
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--header %q: want NAME=VALUE", h)
		}
		rec.Headers = append(rec.Headers, kafka.Header{Key: name, Value: []byte(value)})
	}
	given := 0
	for _, is := range []bool{c.Value != nil, c.File != "", c.NoValue} {
		if is {
			given++
		}
	}
	var err error
	switch {
	case given > 1:
		return nil, errors.New("want one of a value, --file and --no-value")
	case c.Value != nil:
		rec.Value = []byte(*c.Value)
	case c.File != "":
		rec.Value, err = os.ReadFile(c.File)
	case !c.NoValue:
		rec.Value, err = io.ReadAll(t.stdin)
	}
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	return rec, nil
}
