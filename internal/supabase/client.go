package supabase

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	storage "github.com/supabase-community/storage-go"
	"go.opentelemetry.io/otel/trace"
)

// Defaults of Config, and the most that Get reads.
const (
	DefaultBucket  = "captions"
	DefaultTimeout = 20 * time.Second

	maxObjectBytes = 64 << 20
	maxAnswerBytes = 64 << 10
	contentType    = "application/json"
)

// Config says where to store and as whom.
type Config struct {
	// URL of the Supabase project, without the /storage/v1 of its storage.
	URL string
	// ServiceKey is a legacy service_role JWT or a key that begins with sb_secret_. It is never logged and never part
	// of an error.
	ServiceKey string
	// Bucket defaults to DefaultBucket. It must be public: transcripts are opened by their public URL.
	Bucket string
	// Timeout of one call, from its start to the last byte of the answer; DefaultTimeout when zero. An upload that the
	// client has given up may still land later: see Error.InDoubt.
	Timeout time.Duration
	// MaxConns is how many connections may be open at once; 32 when zero. Further calls wait for one.
	MaxConns int
	// Traces makes a span of each request, and sends its trace context along; nil makes none.
	Traces trace.TracerProvider
}

// String leaves the key out, as do GoString and LogValue.
func (c Config) String() string { return fmt.Sprintf("storage %s, bucket %s", c.URL, c.Bucket) }

// GoString is for %#v.
func (c Config) GoString() string { return c.String() }

// LogValue is for slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Client stores objects of one bucket. It is safe for concurrent use and retries nothing.
type Client struct {
	api       *storage.Client
	transport *http.Transport
	send      http.RoundTripper // transport, traced or not
	base      *url.URL          // …/storage/v1
	bucket    string
	key       key
	timeout   time.Duration
}

// New checks the configuration and connects to nothing.
func New(cfg Config) (*Client, error) {
	base, err := parseBase(cfg.URL)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(cfg.ServiceKey)
	if err != nil {
		return nil, err
	}
	if cfg.Bucket == "" {
		cfg.Bucket = DefaultBucket
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 32
	}
	if err := registerSchemes(); err != nil {
		return nil, err
	}
	transport := newTransport(cfg.MaxConns)
	return &Client{
		api:       storage.NewClient(base.String(), key.value, nil),
		transport: transport,
		send:      traced(transport, cfg.Traces),
		base:      base,
		bucket:    cfg.Bucket,
		key:       key,
		timeout:   cfg.Timeout,
	}, nil
}

// Close closes the idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// String leaves the key out, as do GoString and LogValue.
func (c *Client) String() string { return fmt.Sprintf("storage %s, bucket %s", c.base, c.bucket) }

// GoString is for %#v.
func (c *Client) GoString() string { return c.String() }

// LogValue is for slog.
func (c *Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Put stores body, a JSON document, at path, whether or not there is an object already. It is idempotent. When its
// error is in doubt (Error.InDoubt) the upload may land at any later time.
func (c *Client) Put(ctx context.Context, path string, body []byte) error {
	call := c.call("upload", http.MethodPost, path)
	call.body = body
	call.upsert = true
	answer, err := c.do(ctx, call)
	if err != nil {
		return err
	}
	var stored struct{ Key string }
	if err := json.Unmarshal(answer, &stored); err != nil || stored.Key == "" {
		return call.failed(&Error{
			Message: "the answer does not say that the object is stored: " + excerpt(answer), answered: true, doubt: true,
		})
	}
	return nil
}

// Delete removes the object at path; one that is not there is removed already. When its error is in doubt the removal
// may still happen.
func (c *Client) Delete(ctx context.Context, path string) error {
	body, err := json.Marshal(map[string][]string{"prefixes": {path}})
	if err != nil {
		return fmt.Errorf("delete %s: %w", path, err)
	}
	call := c.call("delete", http.MethodDelete, path)
	// The form for many objects, because it succeeds when the object is not there.
	call.url = c.base.JoinPath("object", c.bucket)
	call.body = body
	answer, err := c.do(ctx, call)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	}
	var removed []json.RawMessage
	if err := json.Unmarshal(answer, &removed); err != nil {
		return call.failed(&Error{
			Message: "the answer does not say that the object is removed: " + excerpt(answer), answered: true, doubt: true,
		})
	}
	return nil
}

// Get reads the object at path, past any cache in front of the public URL. ErrNotFound when it is not there.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	object, err := c.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer object.Close()
	return io.ReadAll(object)
}

// Open is Get for who does not need all of the object at a time. The time-out is for reading it too. Errors of reading are
// of type *Error as well.
func (c *Client) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	call := c.call("read", http.MethodGet, path)
	call.url = c.base.JoinPath("object", "authenticated", c.bucket, path)
	call.limit = maxObjectBytes
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	object, err := c.exchange(ctx, call)
	if err != nil {
		cancel()
		return nil, err
	}
	object.cancel = cancel
	return object, nil
}

// PublicURL is where anybody can read the object at path.
func (c *Client) PublicURL(path string) string {
	return c.base.JoinPath("object", "public", c.bucket, path).String()
}

// Check finds out whether storage answers, accepts the key and has the bucket. What only a person can mend is an *Error
// with Configuration true and a Message that names it.
func (c *Client) Check(ctx context.Context) error {
	call := c.call("check", http.MethodGet, "")
	call.url = c.base.JoinPath("bucket", c.bucket)
	answer, err := c.do(ctx, call)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return err
		}
		switch {
		case e.Code == codeNoSuchBucket:
			e.Message = fmt.Sprintf("the bucket %q does not exist, or the service key may not see it: "+
				"create it as a public bucket, and see that SUPABASE_SERVICE_KEY is a service_role or sb_secret_ key", c.bucket)
		case e.Configuration() && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden):
			e.Message = "the service key is refused, see SUPABASE_SERVICE_KEY: " + e.Message
		}
		return err
	}
	var bucket struct {
		Name   string
		Public bool
	}
	if err := json.Unmarshal(answer, &bucket); err != nil {
		return call.failed(&Error{
			Status: http.StatusNotFound, Code: codeNotStorage, answered: true,
			Message: "what answers is not Supabase Storage, see SUPABASE_URL: " + excerpt(answer),
		})
	}
	if !bucket.Public {
		return call.failed(&Error{
			Status: http.StatusForbidden, Code: codeNotPublic, answered: true,
			Message: fmt.Sprintf("the bucket %q is private, so that nobody could open a transcript: make it public", c.bucket),
		})
	}
	return nil
}

// call is one request to come.
type call struct {
	op     string // for the error
	path   string
	method string
	url    *url.URL
	body   []byte
	upsert bool
	limit  int64 // of the answer, in bytes
}

func (c *Client) call(op, method, path string) call {
	return call{op: op, path: path, method: method, url: c.base.JoinPath("object", c.bucket, path), limit: maxAnswerBytes}
}

// failed completes an error with what was attempted.
func (cl call) failed(e *Error) *Error {
	e.Op, e.Path = cl.op, cl.path
	return e
}

// do sends the call and returns the answer's body, or an *Error.
func (c *Client) do(ctx context.Context, cl call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body, err := c.exchange(ctx, cl)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// exchange sends the call through storage-go and returns a successful answer, or an *Error. The answer is to be read in the
// time of ctx.
func (c *Client) exchange(ctx context.Context, cl call) (*answer, error) {
	if cl.path != "" && !validPath(cl.path) {
		return nil, cl.failed(&Error{Status: http.StatusBadRequest, Code: "InvalidKey", Message: "the path is not one of this bucket", answered: true})
	}
	var sent atomic.Bool
	req, err := c.request(ctx, cl, &sent)
	if err != nil {
		return nil, cl.failed(&Error{Message: err.Error(), answered: true})
	}

	res, err := c.api.Do(req, nil) //nolint:bodyclose // the answer's Close closes it; a refusal is closed already
	if res == nil {
		return nil, cl.failed(c.lost(ctx, err, sent.Load()))
	}
	if refusal, ok := res.Body.(*refusal); ok {
		return nil, cl.failed(c.refused(res, refusal))
	}
	return &answer{client: c, call: cl, ctx: ctx, body: res.Body, cancel: func() {}}, nil
}

// answer is the body of a successful answer, up to the call's limit.
type answer struct {
	client *Client
	call   call
	ctx    context.Context    // of the call
	cancel context.CancelFunc // called when it is closed
	body   io.ReadCloser
	read   int64
}

// Read implements io.Reader.
func (a *answer) Read(p []byte) (n int, err error) {
	n, err = a.body.Read(p)
	a.read += int64(n)
	switch {
	case a.read > a.call.limit:
		err = a.call.failed(&Error{
			Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the answer is longer than %d bytes", a.call.limit),
			answered: true, doubt: a.call.method != http.MethodGet,
		})
	case err != nil && !errors.Is(err, io.EOF):
		err = a.call.failed(a.client.lost(a.ctx, fmt.Errorf("the answer was cut: %w", err), true))
	}
	return n, err
}

// Close implements io.Closer.
func (a *answer) Close() error {
	err := a.body.Close()
	a.cancel()
	return err
}

// request makes the request. Its scheme is one of ours, by which it reaches roundTrip below storage-go.
func (c *Client) request(ctx context.Context, cl call, sent *atomic.Bool) (*http.Request, error) {
	u := *cl.url
	u.Scheme = schemePrefix + u.Scheme
	var body io.Reader
	if cl.body != nil {
		body = bytes.NewReader(cl.body)
	}
	req, err := http.NewRequestWithContext(c.intercept(ctx, sent), cl.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if cl.body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if cl.upsert {
		req.Header.Set("X-Upsert", "true")
	}
	return req, nil
}

// lost is the error of a call without an answer.
func (c *Client) lost(ctx context.Context, err error, sent bool) *Error {
	var wrapped *url.Error // its text repeats the address, with a scheme that is ours alone
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	e := &Error{cause: err, doubt: sent, Message: c.key.scrub(err.Error())}
	var netErr net.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		e.Message = "no answer in time: " + e.Message
	}
	return e
}

var pathChars = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]*$`)

// validPath reports whether p is a path inside the bucket that needs neither cleaning nor escaping.
func validPath(p string) bool { return pathChars.MatchString(p) && p == path.Clean(p) }

func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("SUPABASE_URL must be the http(s) URL of the project, such as https://abcd.supabase.co")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("SUPABASE_URL must have no user, query or fragment")
	}
	return u.JoinPath("storage", "v1"), nil
}
