package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/devstack/bench/report"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// The topics of results.
const (
	transcribed = "update_transcribe"
	compressed  = "finish_compress"
)

// signalsUnderWay is how many calls the bridge has under way at most; a floor has as many.
const signalsUnderWay = 64

var bridging = Measure{
	Name:   "bridge",
	About:  "records from Kafka into signals, over a loop that only signals with start",
	Keys:   []string{"bridge_throughput_ratio", "bridge_cpu_ms_per_record"},
	Stores: true,
	Run: func(ctx context.Context, lab *Lab, out *report.Report) error {
		b, err := newResults(lab)
		if err != nil {
			return err
		}
		defer b.close()
		// No worker runs: a signal is written to its run's history, and that is all that becomes of it, on both sides. Half of
		// the signals start a run; the other half go to the runs that the other side made in the round before.
		runs := lab.N(1500)
		earlier := "before the first"
		if _, err := b.signal(ctx, earlier, "", runs, signalsUnderWay); err != nil {
			return err
		}
		curve := report.Series{Plot: "signals", Name: "signal with start", X: "calls under way", Y: "signals a second"}
		for _, calls := range []int{8, 16, 32, 64, 128, 256} {
			alone, err := b.signal(ctx, fmt.Sprintf("calls/%d", calls), "", lab.N(1000), calls)
			if err != nil {
				return err
			}
			curve.Points = append(curve.Points, [2]float64{float64(calls), alone.rate})
		}
		out.Series = append(out.Series, curve)
		for _, length := range []time.Duration{10 * time.Second, 10 * time.Minute} {
			note := fmt.Sprintf("transcripts of %s, compressions", map[bool]string{true: "10 s", false: "10 min"}[length < time.Minute])
			ratio := report.Row{Key: "bridge_throughput_ratio", Goal: &report.Goal{Op: report.AtLeast, Value: 0.95}, Of: note}
			cost := report.Row{Key: "bridge_cpu_ms_per_record", Unit: "ms", Of: note}
			for round := range lab.Rounds {
				name := fmt.Sprintf("floor/%v/%d", length, round)
				floor, err := b.signal(ctx, name, earlier, runs, signalsUnderWay)
				if err != nil {
					return err
				}
				earlier = name
				name = fmt.Sprintf("bridge/%v/%d", length, round)
				ours, err := b.bridge(ctx, name, earlier, runs, length)
				if err != nil {
					return err
				}
				earlier = name
				lab.Say("%s: the bridge signals %.0f a second for %.3f ms of work each and %.3f of the server's, the floor %.0f for %.3f and %.3f",
					note, ours.rate, ours.work, ours.server, floor.rate, floor.work, floor.server)
				ratio.Rounds = append(ratio.Rounds, report.Round{Ours: ours.rate, Floor: floor.rate, Value: ours.rate / floor.rate})
				cost.Rounds = append(cost.Rounds, report.Round{Ours: ours.work, Floor: floor.work, Value: ours.work})
			}
			out.Add(ratio)
			out.Add(cost)
		}
		return nil
	},
}

// results puts results on Kafka and sees what becomes of them.
type results struct {
	lab      *Lab
	kafka    *kgo.Client
	admin    *kadm.Client
	temporal client.Client
}

func newResults(lab *Lab) (*results, error) {
	kafka, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(lab.Env.Value("KAFKA_BROKERS"), ",")...),
		kgo.ProducerLinger(20*time.Millisecond), kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedBytes(64<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, err
	}
	temporal, err := lab.temporal()
	if err != nil {
		kafka.Close()
		return nil, err
	}
	return &results{lab: lab, kafka: kafka, admin: kadm.NewClient(kafka), temporal: temporal}, nil
}

func (b *results) close() {
	b.temporal.Close()
	b.kafka.Close()
}

// pace is how fast signals went, and what each cost the process that sent it.
type pace struct {
	rate float64 // signals a second
	work float64 // milliseconds of the processor
	// server is what each cost the Temporal server, in the same unit, without its database where that is another process.
	server float64
}

// signal has the floor signal: each run of a name, and each that an earlier floor or bridge made; none when it is empty.
func (b *results) signal(ctx context.Context, name, earlier string, runs, calls int) (pace, error) {
	floor, err := b.lab.Floor(ctx, "signals", "--name="+name, "--earlier="+earlier, "--runs="+strconv.Itoa(runs),
		"--concurrency="+strconv.Itoa(calls), "--bytes="+strconv.Itoa(referenceBytes()))
	if err != nil {
		return pace{}, err
	}
	server := b.lab.Server(TemporalSrv)
	served, err := server.CPU()
	if err != nil {
		return pace{}, err
	}
	var said struct{ Signals, Seconds float64 }
	if err := floor.result(ctx, &said); err != nil {
		return pace{}, err
	}
	serving, errServer := server.CPU()
	work, errFloor := floor.CPU()
	floor.Stop(ctx)
	if err := errors.Join(errServer, errFloor); err != nil {
		return pace{}, err
	}
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / said.Signals }
	return pace{rate: said.Signals / said.Seconds, work: each(work), server: each(serving - served)}, nil
}

// bridge has a bridge signal the same, from records that it finds when it starts: a transcript of that length for each run
// of a name, and a compression for each that was made before. Time counts from the first signals that are seen.
func (b *results) bridge(ctx context.Context, name, earlier string, runs int, length time.Duration) (pace, error) {
	if err := b.produce(ctx, name, earlier, runs, length); err != nil {
		return pace{}, err
	}
	bridge, err := b.lab.Start(ctx, Bridge)
	if err != nil {
		return pace{}, err
	}
	defer bridge.Stop(ctx)
	var first, last sighting
	err = watchSignals(ctx, bridge, 2*runs, func(s sighting) {
		s.served, _ = b.lab.Server(TemporalSrv).CPU()
		if s.signalled > 0 && first.signalled == 0 {
			first = s
		}
		last = s
	})
	if err != nil {
		return pace{}, err
	}
	if err := counted(ctx, bridge, 2*runs); err != nil {
		return pace{}, err
	}
	bridge.Stop(ctx)
	if err := b.clear(ctx); err != nil {
		return pace{}, err
	}
	signals := float64(last.signalled - first.signalled)
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / signals }
	return pace{
		rate: signals / last.at.Sub(first.at).Seconds(), work: each(last.work - first.work), server: each(last.served - first.served),
	}, b.check(ctx, map[string]int64{name: 3, earlier: 4}, runs)
}

// counted checks that the bridge itself counts one signal for each record.
func counted(ctx context.Context, bridge *Child, records int) error {
	values, err := bridge.metrics(ctx)
	if err != nil {
		return err
	}
	signalled := 0
	for series, value := range values {
		if strings.HasPrefix(series, "vidflow_bridge_records_total{") && strings.Contains(series, `outcome="signalled"`) {
			signalled += int(value)
		}
	}
	if signalled != records {
		return fmt.Errorf("the bridge has sent %d signals for %d records", signalled, records)
	}
	return nil
}

// check looks whether the runs of each name have so many events: of their start, of each signal, and of the task that waits.
func (b *results) check(ctx context.Context, events map[string]int64, runs int) error {
	for i := 0; i < runs; i += max(runs/20, 1) {
		for name, want := range events {
			id := workflows.WorkflowID(videoOf(name, i))
			run, err := b.temporal.DescribeWorkflowExecution(ctx, id, "")
			if err != nil {
				return err
			}
			if got := run.GetWorkflowExecutionInfo().GetHistoryLength(); got != want {
				return fmt.Errorf("run %s has %d events and not %d", id, got, want)
			}
		}
	}
	return nil
}

// produce puts the records on their topics.
func (b *results) produce(ctx context.Context, name, earlier string, runs int, length time.Duration) error {
	transcript := transcripts(length)
	var failed error
	promise := func(_ *kgo.Record, err error) { failed = errors.Join(failed, err) } // called one after the other
	for i := range runs {
		video := videoOf(name, i)
		b.kafka.Produce(ctx, &kgo.Record{Topic: transcribed, Key: []byte(video), Value: transcript(i, video)}, promise)
		key, value := simulator.CompressionMessage(videoOf(earlier, i), simulator.URLObject)
		b.kafka.Produce(ctx, &kgo.Record{Topic: compressed, Key: key, Value: value}, promise)
	}
	if err := b.kafka.Flush(ctx); err != nil {
		return err
	}
	return failed
}

// clear has the broker forget the records.
func (b *results) clear(ctx context.Context) error {
	ends, err := b.admin.ListEndOffsets(ctx, transcribed, compressed)
	if err != nil {
		return err
	}
	_, err = b.admin.DeleteRecords(ctx, ends.Offsets())
	return err
}

// transcripts makes results of that length for any video out of a few that are made once.
func transcripts(length time.Duration) func(i int, video contract.VideoID) []byte {
	const somebody = contract.VideoID("0b5a2f1e-9c1d-4a53-8f0e-1d2c3b4a5968")
	var made [8][]byte
	for i := range made {
		made[i] = simulator.Transcript(somebody, simulator.Take(i), simulator.Length(length))
	}
	return func(i int, video contract.VideoID) []byte {
		return bytes.Replace(made[i%len(made)], []byte(somebody), []byte(video), 1)
	}
}

// videoOf is the i-th video of a name; the floor makes the same ids.
func videoOf(name string, i int) contract.VideoID {
	return contract.VideoID(uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s/%d", name, i)).String())
}

// referenceBytes is about the size of a signal's argument.
func referenceBytes() int {
	ref := contract.Reference{
		Topic: transcribed, TopicID: uuid.New(), Partition: 1, Offset: 1000, Size: 65_000, SHA256: make([]byte, 32),
		Transcript: &contract.TranscriptSummary{Duration: 600.25, Language: "en", Words: 1200},
	}
	ref.Position = contract.NewPosition(ref.TopicID, ref.Partition, ref.Offset, time.Now(), time.Now())
	encoded, err := json.Marshal(ref)
	if err != nil {
		panic(err) // it has no part that cannot be encoded
	}
	return len(encoded)
}

// sighting is what a bridge had done at a time.
type sighting struct {
	at        time.Time
	signalled int
	work      time.Duration // of the bridge
	served    time.Duration // the same of the Temporal server
}

// watchSignals looks at a bridge until it has sent so many signals. It counts the lines of its log: to ask the bridge itself
// that often would be work that nobody else gives it.
func watchSignals(ctx context.Context, bridge *Child, signals int, saw func(sighting)) error {
	log, err := os.Open(bridge.Log)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var now sighting
	var cut []byte // the beginning of a line that was not all there
	for {
		more, err := io.ReadAll(log)
		if err != nil {
			return err
		}
		more = append(cut, more...)
		end := bytes.LastIndexByte(more, '\n') + 1
		now.signalled += bytes.Count(more[:end], []byte(`"msg":"workflow signalled"`))
		cut = bytes.Clone(more[end:])
		now.at = time.Now()
		if now.work, err = bridge.CPU(); err != nil {
			return err
		}
		saw(now)
		if now.signalled >= signals {
			return nil
		}
		select {
		case <-ticker.C:
		case <-bridge.process.Done():
			return fmt.Errorf("the bridge ended: %w\n%s", bridge.process.Wait(), bridge.tail())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
