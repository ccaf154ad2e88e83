package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/interceptor"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/simulator"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/telemetry"
	"github.com/codeendelea/vidflow/internal/tracing"
	"github.com/codeendelea/vidflow/internal/tracing/tracingtest"
	"github.com/codeendelea/vidflow/workflows"
)

// Names of services, as the processes call themselves.
const (
	tracedWorker  = "vidflow-worker "
	tracedStarter = "vidflow-starter "
	tracedBridge  = "vidflow-kafkabridge "
	tracedService = "transcription-service "

	postVideo = "POST /api/courses/{courseId}/videos"
	runVideo  = "RunWorkflow:Video"
)

// traces has the processes send their spans to c: the worker over gRPC, the others over HTTP.
func (p *pipeline) traces(c *collector) {
	p.env = p.env.With(
		envfile.Var{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Value: c.http.URL},
		envfile.Var{Name: "OTEL_EXPORTER_OTLP_HEADERS", Value: "x-key=" + collectorKey},
		envfile.Var{Name: "OTEL_BSP_SCHEDULE_DELAY", Value: "100"},
	)
	p.own = map[string]envfile.Vars{worker: {
		{Name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Value: c.grpc},
		{Name: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", Value: "grpc"},
	}}
}

// serviceTraces are for the simulator.
func serviceTraces(t *testing.T, c *collector) trace.TracerProvider {
	t.Helper()
	provider, flush, err := telemetry.OpenTraces(t.Context(), telemetry.TraceOptions{
		Protocol: telemetry.OTLPOverGRPC, Endpoint: c.grpc, Service: strings.TrimSpace(tracedService), Version: "1",
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flush(context.Background()) })
	return provider
}

// awaitTrace waits until the trace of the one video that was created is whole and has all of the paths.
func (p *pipeline) awaitTrace(c *collector, paths ...[]string) tree {
	p.t.Helper()
	var got tree
	p.await("the trace is whole", func(context.Context) error {
		all := c.holding(postVideo)
		if len(all) != 1 {
			return fmt.Errorf("%d traces begin with the creation of a video", len(all))
		}
		got = all[0]
		errs := []error{got.whole()}
		for _, path := range paths {
			_, err := got.path(path...)
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("%w in\n%s", err, got)
		}
		return nil
	})
	return got
}

// TestTracing sees one trace from the API call through the workflow and Kafka to the external service and back, into
// storage and row.
func TestTracing(t *testing.T) {
	t.Parallel()
	p, c := newPipeline(t), newCollector(t)
	p.traces(c)
	p.start(everyProcess...)
	b := soon()
	b.Traceparent = true
	p.simulateTraced(b, serviceTraces(t, c))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	const length = 10 * time.Second
	v := newVideo(length)
	v.Description = "What nobody but its course shall read."
	v.CameraURL += "?signature=only-for-the-services"
	created, err := p.places.API.Create(ctx, seed.Courses[0].ID, v)
	if err != nil {
		t.Fatal(err)
	}
	p.awaitDone(ctx, b, length, created.ID)

	run := []string{tracedStarter + postVideo, tracedStarter + "relay run", tracedStarter + "StartWorkflow:Video", tracedWorker + runVideo}
	below := func(names ...string) []string { return slices.Concat(run, names) }
	asked := []string{tracedWorker + "RunActivity:Begin", tracedWorker + "send " + p.topics.ask}
	var paths [][]string
	for service, topic := range map[string]string{"transcribe": p.topics.transcribed, "compress": p.topics.compressed} {
		signal := "update_transcribe"
		if service == "compress" {
			signal = "finish_compress"
		}
		paths = append(paths, slices.Concat(run, asked, []string{
			tracedService + service, tracedBridge + "process " + topic,
			tracedBridge + "SignalWithStartWorkflow:Video", tracedWorker + "HandleSignal:" + signal,
		}))
	}
	store, set := tracedWorker+"RunActivity:StoreTranscript", tracedWorker+"RunActivity:SetVideoURL"
	got := p.awaitTrace(c, append(paths,
		below(store, tracedWorker+"read "+p.topics.transcribed),
		below(store, tracedWorker+"HTTP POST"),
	)...)
	t.Logf("the trace of a video, %d spans in %d bytes:\n%s", len(got), got.bytes(), got)
	events := p.history(ctx, created.ID)
	replays(t, created.ID, events)
	added, all := cost(events)
	t.Logf("its history has %d events and %d bytes, of which the trace is %d", len(events), all, added)
	for step, topic := range map[string]string{store: p.topics.transcribed, set: p.topics.compressed} {
		if err := got.refers(below(step), "process "+topic); err != nil {
			t.Error(err)
		}
	}
	for step, column := range map[string]string{store: "transcript_url", set: "camera_video_url"} {
		at, err := got.path(below(step)...)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(got.below(tree{at}, false), func(s span) bool {
			return strings.Contains(s.attribute("db.query.text"), "update public.videos v set "+column)
		}) {
			t.Errorf("no statement below %s sets %s", at.GetName(), column)
		}
	}
	for _, s := range got {
		if s.times != 1 {
			t.Errorf("%s %s came %d times", s.service, s.GetName(), s.times)
		}
	}
	for what, secret := range map[string]string{
		"the token": p.places.API.Token, "the storage's key": p.env.Value("SUPABASE_SERVICE_KEY"), "the title": v.Title,
		"the description": v.Description, "a query string": "only-for-the-services", "its own key": collectorKey,
	} {
		if c.contains(secret) {
			t.Errorf("a span shows %s", what)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) == 0 || slices.ContainsFunc(c.keys, func(key string) bool { return key != collectorKey }) {
		t.Errorf("the collector was shown the keys %q, want its own each time", c.keys)
	}
}

// refers looks for a link from the span at the end of a path to the one of a name.
func (t tree) refers(path []string, to string) error {
	from, err := t.path(path...)
	if err != nil {
		return err
	}
	for _, l := range from.GetLinks() {
		if slices.ContainsFunc(t, func(s span) bool { return s.GetName() == to && bytes.Equal(s.GetSpanId(), l.GetSpanId()) }) {
			return nil
		}
	}
	return fmt.Errorf("%s does not refer to %q", from.GetName(), to)
}

func (p *pipeline) history(ctx context.Context, id contract.VideoID) []*historypb.HistoryEvent {
	p.t.Helper()
	var events []*historypb.HistoryEvent
	for it := p.namespace.Client.GetWorkflowHistory(ctx, "video/"+string(id), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		event, err := it.Next()
		if err != nil {
			p.t.Fatal(err)
		}
		events = append(events, event)
	}
	if len(events) == 0 {
		p.t.Fatal("there is no history")
	}
	return events
}

// replays has the history replayed by workers with and without traces.
func replays(t *testing.T, id contract.VideoID, events []*historypb.HistoryEvent) {
	t.Helper()
	spans := tracingtest.New(t)
	var traced []interceptor.WorkerInterceptor
	for _, i := range tracing.Interceptors(spans) {
		traced = append(traced, i.(interceptor.WorkerInterceptor))
	}
	for _, interceptors := range [][]interceptor.WorkerInterceptor{nil, traced} {
		replayer, err := sdkworker.NewWorkflowReplayerWithOptions(sdkworker.WorkflowReplayerOptions{Interceptors: interceptors})
		if err != nil {
			t.Fatal(err)
		}
		replayer.RegisterWorkflowWithOptions(workflows.Video, workflow.RegisterOptions{Name: workflows.VideoWorkflow})
		err = replayer.ReplayWorkflowHistoryWithOptions(nil, &historypb.History{Events: events}, sdkworker.ReplayWorkflowHistoryOptions{
			OriginalExecution: workflow.Execution{ID: "video/" + string(id)},
		})
		if err != nil {
			t.Errorf("replay with %d interceptors: %v", len(interceptors), err)
		}
	}
	if all := spans.All(); len(all) > 0 {
		t.Errorf("a replay makes %d spans: %+v", len(all), all)
	}
}

// cost is what a trace adds to a history, in bytes, and what the history has in all.
func cost(events []*historypb.HistoryEvent) (added, all int) {
	for _, e := range events {
		all += proto.Size(e)
		added += proto.Size(e.GetWorkflowExecutionStartedEventAttributes().GetHeader()) +
			proto.Size(e.GetWorkflowExecutionSignaledEventAttributes().GetHeader())
		for _, payload := range e.GetWorkflowExecutionSignaledEventAttributes().GetInput().GetPayloads() {
			if at := bytes.Index(payload.GetData(), []byte(`,"traceparent":"`)); at >= 0 {
				added += len(`,"traceparent":"00-00000000000000000000000000000000-0000000000000000-00"`)
			}
		}
	}
	return added, all
}

// TestTracing_goes_on_after_kills kills the starter between commit and start, and the worker between ask and result: what
// takes over goes on in the same trace. The services promise no headers, and send none here: then the step that applies a
// result refers to the trace of its own in which it was taken.
func TestTracing_goes_on_after_kills(t *testing.T) {
	t.Parallel()
	p, c := newPipeline(t), newCollector(t)
	p.traces(c)
	p.own[starter] = envfile.Vars{{Name: "TEMPORAL_ADDRESS", Value: "127.0.0.1:1"}}
	p.launch(starter)
	p.awaitStatus(starter, "degraded")
	const length = 10 * time.Second
	id := p.create(length)
	awaitSpan := func(name string) {
		p.await("the span "+name+" is sent", func(context.Context) error {
			if n := len(c.holding(name)); n != 1 {
				return fmt.Errorf("%d traces have it", n)
			}
			return nil
		})
	}
	awaitSpan(postVideo)
	p.kill(starter)
	delete(p.own, starter)

	b := soon()
	b.TranscriptionDelay = simulator.Range{Min: simulator.Duration(10 * time.Second), Max: simulator.Duration(10 * time.Second)}
	b.CompressionDelay = b.TranscriptionDelay
	p.simulateTraced(b, serviceTraces(t, c))
	p.start(everyProcess...)
	awaitSpan("RunActivity:Begin")
	p.kill(worker)
	p.start(worker)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p.awaitDone(ctx, b, length, id)

	run := []string{tracedStarter + postVideo, tracedStarter + "relay run", tracedStarter + "StartWorkflow:Video", tracedWorker + runVideo}
	steps := map[string]string{
		p.topics.transcribed: tracedWorker + "RunActivity:StoreTranscript", p.topics.compressed: tracedWorker + "RunActivity:SetVideoURL",
	}
	p.await("the traces are whole", func(context.Context) error {
		all := c.holding(postVideo)
		if len(all) != 1 {
			return fmt.Errorf("%d traces begin with the creation of a video", len(all))
		}
		// What is killed takes the spans with it that had not ended: only the way from the API to the row is looked for.
		_, err := all[0].path(slices.Concat(run, []string{
			tracedWorker + "RunActivity:Begin", tracedWorker + "send " + p.topics.ask, tracedService + "transcribe",
		})...)
		errs := []error{err}
		for topic, step := range steps {
			errs = append(errs, func() error {
				applied, err := all[0].path(slices.Concat(run, []string{step})...)
				if err != nil {
					return err
				}
				taken := c.holding("process " + topic)
				if len(taken) != 1 {
					return fmt.Errorf("%d traces have the result of %s", len(taken), topic)
				}
				from, err := taken[0].path(tracedBridge + "process " + topic)
				if err == nil {
					_, err = taken[0].path(tracedBridge+"process "+topic, tracedWorker+"HandleSignal:"+map[string]string{
						p.topics.transcribed: "update_transcribe", p.topics.compressed: "finish_compress",
					}[topic])
				}
				links := applied.GetLinks()
				if err == nil && (len(links) != 1 || !bytes.Equal(links[0].GetSpanId(), from.GetSpanId()) ||
					!bytes.Equal(links[0].GetTraceId(), from.GetTraceId())) {
					err = fmt.Errorf("%s refers to %v, want the trace of the result", applied.GetName(), links)
				}
				return err
			}())
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("%w in\n%s", err, all[0])
		}
		return nil
	})
	for _, s := range c.holding(postVideo)[0] {
		if s.GetName() == runVideo && s.times != 1 {
			t.Errorf("the span of the run came %d times", s.times)
		}
	}
}

// TestTracing_off finds nothing of traces where no exporter is configured: not in the history, which costs, and nothing in
// records beyond the contract.
func TestTracing_off(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.start(everyProcess...)
	b := soon()
	p.simulate(b)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const length = 10 * time.Second
	id := p.create(length)
	p.awaitDone(ctx, b, length, id)

	events := p.history(ctx, id)
	replays(t, id, events)
	for _, event := range events {
		text, err := protojson.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("_tracer-data")) || bytes.Contains(text, []byte("traceparent")) {
			t.Errorf("an event carries a trace: %s", text)
		}
	}
	ask := contract.Ask{Video: id, N: 1}
	asks := p.awaitAsks(1)
	if len(asks) != 1 || asks[ask.Key()] == nil {
		t.Fatalf("the asks are %v, want %s alone", asks, ask.Key())
	}
	headers := map[string]string{}
	for _, h := range asks[ask.Key()].Headers {
		headers[h.Key] = string(h.Value)
	}
	want := map[string]string{
		contract.HeaderContentType: contract.ContentTypeJSON, contract.HeaderTimestamp: headers[contract.HeaderTimestamp],
		contract.HeaderIdempotencyKey: ask.Key(), contract.HeaderTraceparent: ask.Traceparent(),
	}
	if diff := gocmp.Diff(want, headers); diff != "" {
		t.Errorf("headers of the request (-want +got):\n%s", diff)
	}
}
