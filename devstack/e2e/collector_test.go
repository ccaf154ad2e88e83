package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector takes spans as OpenTelemetry's own would, over HTTP and over gRPC.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer
	http *httptest.Server
	grpc string // its URL

	mu    sync.Mutex
	spans map[string]span // by trace and span id: a repeat replaces
	raw   [][]byte
	keys  []string // the header that the processes were told to send
}

type span struct {
	*tracepb.Span
	service string
	// times is how often it came.
	times int
}

// attribute is a text that the span has; empty when it has none.
func (s span) attribute(name string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == name {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

const collectorKey = "the-key-of-the-collector"

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{spans: map[string]span{}}
	c.http = httptest.NewServer(http.HandlerFunc(c.serveHTTP))
	t.Cleanup(c.http.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, c)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	c.grpc = "http://" + listener.Addr().String()
	return c
}

func (c *collector) serveHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	request := new(collectorpb.ExportTraceServiceRequest)
	if err = errors.Join(err, proto.Unmarshal(body, request)); err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL, err), http.StatusBadRequest)
		return
	}
	c.take(request)
	c.mu.Lock()
	c.keys = append(c.keys, r.Header.Get("X-Key"))
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *collector) Export(
	_ context.Context, request *collectorpb.ExportTraceServiceRequest,
) (*collectorpb.ExportTraceServiceResponse, error) {
	c.take(request)
	return new(collectorpb.ExportTraceServiceResponse), nil
}

func (c *collector) take(request *collectorpb.ExportTraceServiceRequest) {
	raw, _ := proto.Marshal(request)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, raw)
	for _, of := range request.GetResourceSpans() {
		service := ""
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, in := range of.GetScopeSpans() {
			for _, s := range in.GetSpans() {
				key := string(s.GetTraceId()) + string(s.GetSpanId())
				c.spans[key] = span{Span: s, service: service, times: c.spans[key].times + 1}
			}
		}
	}
}

// tree is the spans of one trace.
type tree []span

// trees are those of all traces.
func (c *collector) trees() []tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	byTrace := map[string]tree{}
	for _, s := range c.spans {
		byTrace[string(s.GetTraceId())] = append(byTrace[string(s.GetTraceId())], s)
	}
	var all []tree
	for _, t := range byTrace {
		slices.SortFunc(t, func(a, b span) int {
			return cmp.Or(cmp.Compare(a.GetStartTimeUnixNano(), b.GetStartTimeUnixNano()), bytes.Compare(a.GetSpanId(), b.GetSpanId()))
		})
		all = append(all, t)
	}
	return all
}

// holding are the traces that have a span of the name.
func (c *collector) holding(name string) []tree {
	return slices.DeleteFunc(c.trees(), func(t tree) bool {
		return !slices.ContainsFunc(t, func(s span) bool { return s.GetName() == name })
	})
}

// contains reports whether anything that came has the text in it.
func (c *collector) contains(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.raw, func(raw []byte) bool { return bytes.Contains(raw, []byte(text)) })
}

// bytes is what all spans of the trace have on their way.
func (t tree) bytes() (n int) {
	for _, s := range t {
		n += proto.Size(s.Span)
	}
	return n
}

// path follows names, "service name" each, from a root down, and returns a last span; steps between may be left out.
func (t tree) path(names ...string) (span, error) {
	var from tree
	for _, s := range t {
		if len(s.GetParentSpanId()) == 0 {
			from = append(from, s)
		}
	}
	for i, name := range names {
		from = slices.DeleteFunc(t.below(from, i == 0), func(s span) bool { return s.service+" "+s.GetName() != name })
		if len(from) == 0 {
			return span{}, fmt.Errorf("no %q below %s", name, strings.Join(names[:i], " > "))
		}
	}
	return from[0], nil
}

// below are all descendants, and the spans themselves if they count.
func (t tree) below(from tree, themselves bool) tree {
	var all tree
	if themselves {
		all = append(all, from...)
	}
	for _, s := range t {
		if slices.ContainsFunc(from, func(p span) bool { return bytes.Equal(p.GetSpanId(), s.GetParentSpanId()) }) {
			all = append(all, s)
			all = append(all, t.below(tree{s}, false)...)
		}
	}
	return all
}

// whole says what does not hang together: spans whose parent is not there, and more than one root.
func (t tree) whole() error {
	ids := map[string]bool{}
	for _, s := range t {
		ids[string(s.GetSpanId())] = true
	}
	roots := 0
	var errs []error
	for _, s := range t {
		switch parent := s.GetParentSpanId(); {
		case len(parent) == 0:
			roots++
		case !ids[string(parent)]:
			errs = append(errs, fmt.Errorf("%s %s: its parent %x is not there", s.service, s.GetName(), parent))
		}
	}
	if roots != 1 {
		errs = append(errs, fmt.Errorf("%d roots", roots))
	}
	return errors.Join(errs...)
}

// String draws the trace as docs/tracing.md shows it.
func (t tree) String() string {
	var b strings.Builder
	var draw func(s span, depth int)
	draw = func(s span, depth int) {
		name := strings.Repeat("  ", depth) + s.GetName()
		fmt.Fprintf(&b, "%-58s %-20s %9.1f ms", name, s.service, float64(s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano())/1e6)
		for _, l := range s.GetLinks() {
			fmt.Fprintf(&b, "  → %s", hex.EncodeToString(l.GetSpanId()))
		}
		if strings.HasPrefix(s.GetName(), "process ") {
			fmt.Fprintf(&b, "  (%x)", s.GetSpanId())
		}
		b.WriteByte('\n')
		for _, child := range t {
			if bytes.Equal(child.GetParentSpanId(), s.GetSpanId()) {
				draw(child, depth+1)
			}
		}
	}
	for _, s := range t {
		if len(s.GetParentSpanId()) == 0 {
			draw(s, 0)
		}
	}
	return b.String()
}
