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

	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/telemetry"
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
	p.awaitFor(20*time.Second, "the trace is whole", func(context.Context) error {
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
	t.Logf("the trace of a video:\n%s", got)
	t.Logf("its history has %d bytes", p.historyBytes(ctx, created.ID))
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

func (p *pipeline) historyBytes(ctx context.Context, id contract.VideoID) int64 {
	p.t.Helper()
	d, err := p.namespace.Client.DescribeWorkflowExecution(ctx, "video/"+string(id), "")
	if err != nil {
		p.t.Fatal(err)
	}
	return d.GetWorkflowExecutionInfo().GetHistorySizeBytes()
}
