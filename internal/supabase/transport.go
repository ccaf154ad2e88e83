package supabase

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/tracing"
)

// storage-go sends everything through http.DefaultTransport, which keeps two idle connections a host, has no time-outs
// and is shared with the whole process. http.Transport lets a scheme have a transport of its own, so requests carry a
// scheme that only this package uses: below storage-go they come back to the client that sent them, which gives them
// their real scheme, sets its headers right and sends them through its own pool.
const schemePrefix = "vidflow-storage+"

// registerSchemes does so once a process; http.Transport knows no way to take it back.
var registerSchemes = sync.OnceValue(func() error {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return errors.New("http.DefaultTransport was replaced, storage-go cannot be given a transport of its own")
	}
	for _, scheme := range []string{"http", "https"} {
		transport.RegisterProtocol(schemePrefix+scheme, returnToSender{})
	}
	return nil
})

type sender struct{}

// intercept marks the requests of ctx as this client's, and sets sent once one of them was given a connection: before
// that, nothing can have reached the server.
func (c *Client) intercept(ctx context.Context, sent *atomic.Bool) context.Context {
	ctx = context.WithValue(ctx, sender{}, c)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
}

// returnToSender hands a request to the client it came from.
type returnToSender struct{}

// RoundTrip has the request sent by the client it came from.
func (returnToSender) RoundTrip(req *http.Request) (*http.Response, error) {
	c, ok := req.Context().Value(sender{}).(*Client)
	if !ok {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, errors.New("supabase: a request with this package's scheme that is not its own")
	}
	return c.roundTrip(req)
}

// roundTrip sends a request of this client that has been through storage-go.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme = strings.TrimPrefix(req.URL.Scheme, schemePrefix)
	// storage-go adds its content type to ours.
	if types := req.Header.Values("Content-Type"); len(types) > 1 {
		req.Header.Set("Content-Type", types[0])
	}
	req.Header.Set("User-Agent", "vidflow") // Supabase refuses secret keys from what looks like a browser
	c.key.authorize(req.Header)

	res, err := c.send.RoundTrip(req)
	if err != nil || res.StatusCode/100 == 2 {
		return res, err
	}
	return refuse(res), nil
}

func traced(transport http.RoundTripper, traces trace.TracerProvider) http.RoundTripper {
	if traces == nil {
		return transport
	}
	return otelhttp.NewTransport(transport,
		otelhttp.WithTracerProvider(traces),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(tracing.Propagator{}),
	)
}

// refusal is the body of an answer other than success, read already: storage-go closes none of these and keeps nothing
// of what is not JSON.
type refusal struct {
	io.Reader
	data     []byte
	err      error  // why data is not all of it
	location string // where the answer redirects to
}

// Close does nothing; the body is read and closed already.
func (*refusal) Close() error { return nil }

func refuse(res *http.Response) *http.Response {
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	_ = res.Body.Close()
	res.Body = &refusal{Reader: bytes.NewReader(data), data: data, err: err, location: res.Header.Get("Location")}
	// So that no redirect is followed: storage never redirects, and the key would go with it, wherever it leads.
	res.Header.Del("Location")
	return res
}

// newTransport has HTTP/2 where the server offers it. The time-out of a whole call is its context's.
func newTransport(conns int) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxConnsPerHost:     conns,
		MaxIdleConnsPerHost: conns,
		MaxIdleConns:        conns,
		IdleConnTimeout:     90 * time.Second,
	}
}
