package starter

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
)

const problemContentType = "application/problem+json"

// Problem is the body of every answer that is not a success: a problem document (RFC 9457) which also carries the two
// members that the old server's front end reads, success and error.
type Problem struct {
	Title  string `json:"title" example:"Unprocessable Entity" doc:"The status in words."`
	Status int    `json:"status" example:"422" doc:"The HTTP status."`
	Detail string `json:"detail" example:"title must have at least 3 characters" doc:"What is wrong, as a sentence for people."`
	Code   string `json:"code" example:"validation_failed" doc:"What is wrong, for programs. A code never changes its meaning."`
	// RequestID finds the request in the log.
	RequestID string         `json:"request_id,omitempty" doc:"The answer's X-Request-Id."`
	Errors    []FieldProblem `json:"errors,omitempty" doc:"Every wrong field."`

	Success bool   `json:"success" enum:"false" doc:"Always false."`
	Message string `json:"error" doc:"The same as detail."`

	// header is sent with the document: Retry-After, WWW-Authenticate.
	header http.Header
	// cause is for the log and never sent.
	cause error
}

// FieldProblem names one wrong field of a request.
type FieldProblem struct {
	Location string `json:"location" example:"body.title" doc:"Where: body.…, path.…, query.… or header.…"`
	Message  string `json:"message" example:"expected length >= 3" doc:"What is wrong with it."`
}

var (
	_ huma.StatusError       = (*Problem)(nil)
	_ huma.HeadersError      = (*Problem)(nil)
	_ huma.ContentTypeFilter = (*Problem)(nil)
)

// Error includes the cause: it is for the log. Callers are sent Detail.
func (p *Problem) Error() string {
	if p.cause != nil {
		return p.Detail + ": " + p.cause.Error()
	}
	return p.Detail
}

// Unwrap returns what caused the problem.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemContentType }

// problem makes a problem document; detail is read by people outside and must name nothing internal.
func problem(status int, code, detail string) *Problem {
	return &Problem{
		Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Message: detail,
		header: http.Header{},
	}
}

// because records the cause for the log.
func (p *Problem) because(err error) *Problem { p.cause = err; return p }

// retryAfter tells the caller when to come back, in whole seconds and at least one.
func (p *Problem) retryAfter(d time.Duration) *Problem {
	seconds := max(1, int64((d+time.Second-1)/time.Second))
	p.header.Set("Retry-After", strconv.FormatInt(seconds, 10))
	return p
}

// field adds a wrong field. The first one's message is in the sentence too, for clients that show nothing else.
func (p *Problem) field(location, message string) *Problem {
	p.Errors = append(p.Errors, FieldProblem{Location: location, Message: message})
	return p
}

// invalid is the problem of a request whose fields are wrong; its sentence names them all.
func invalid(fields ...FieldProblem) *Problem {
	p := problem(http.StatusUnprocessableEntity, "validation_failed", sentence(fields))
	p.Errors = fields
	return p
}

// sentence says which fields are wrong, for clients that read nothing but the sentence.
func sentence(fields []FieldProblem) string {
	parts := make([]string, 0, len(fields))
	for _, f := range fields {
		where := strings.TrimPrefix(f.Location, "body.")
		parts = append(parts, where+": "+f.Message)
	}
	if len(parts) == 0 {
		return "The request is not valid."
	}
	return "The request is not valid: " + strings.Join(parts, "; ") + "."
}

// unavailable is the problem of an outage: nothing was done, and the same request may succeed later.
func unavailable(what string, err error) *Problem {
	return problem(http.StatusServiceUnavailable, "unavailable",
		what+" cannot be reached at the moment. Please try again shortly.").retryAfter(retryAfterOutage).because(err)
}

// internalError says nothing about what went wrong; the log does, under the request's id.
func internalError(err error) *Problem {
	return problem(http.StatusInternalServerError, "internal_error",
		"Something went wrong on our side. Please try again, and name the request id if it happens again.").because(err)
}

// write sends the document where huma is not at work: middleware and unknown routes.
func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	sent := *p
	sent.RequestID = requestID(r.Context())
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemContentType)
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(sent) // the client is gone; there is nobody to tell
}

// report logs what is our fault, and, for debugging, what is behind a refusal.
func (p *Problem) report(ctx context.Context, log *slog.Logger, operation string) {
	level, message := slog.LevelDebug, "request refused"
	switch {
	case p.Status == http.StatusServiceUnavailable:
		level, message = slog.LevelWarn, "request failed for now"
	case p.Status >= http.StatusInternalServerError:
		level, message = slog.LevelError, "request failed"
	}
	attrs := []slog.Attr{
		slog.String("request_id", requestID(ctx)), slog.String("operation", operation),
		slog.Int("status", p.Status), slog.String("code", p.Code),
	}
	if p.cause != nil {
		attrs = append(attrs, slog.Any("error", p.cause))
	}
	log.LogAttrs(ctx, level, message, attrs...) //nolint:sloglint // one of the three constants above
}

// reply sends a problem document from a huma middleware.
func (s *Starter) reply(ctx huma.Context, p *Problem) {
	p.report(ctx.Context(), s.log, ctx.Operation().OperationID)
	r, w := humachi.Unwrap(ctx)
	p.write(w, r)
}

// problems is a huma transformer: it turns huma's own error documents into ours, completes ours with the request's id,
// and logs what is our fault. It is set per API so that no package variable of huma's has to be changed.
func problems(log *slog.Logger) huma.Transformer {
	return func(ctx huma.Context, _ string, v any) (any, error) {
		var p *Problem
		switch v := v.(type) {
		case *Problem:
			sent := *v
			p = &sent
		case *huma.ErrorModel:
			p = fromHuma(v)
		default:
			return v, nil
		}
		if s, ok := ctx.Context().Value(statusKey{}).(*statusContext); ok {
			s.status = p.Status
		}
		p.RequestID = requestID(ctx.Context())
		p.report(ctx.Context(), log, ctx.Operation().OperationID)
		return p, nil
	}
}

type statusKey struct{}

// humaContext is embedded under another name, since the interface has a method Context.
type humaContext = huma.Context

// statusContext lets problems correct the status that huma chose: it takes a body that broke off for our fault.
type statusContext struct {
	humaContext
	status int // of the problem document, 0 when the answer is none
}

// withStatus is a huma middleware.
func withStatus(ctx huma.Context, next func(huma.Context)) {
	s := &statusContext{humaContext: ctx}
	next(huma.WithValue(s, statusKey{}, s))
}

// SetStatus implements huma.Context.
func (s *statusContext) SetStatus(code int) {
	if s.status != 0 {
		code = s.status
	}
	s.humaContext.SetStatus(code)
}

// Unwrap lets humachi.Unwrap find what it knows.
func (s *statusContext) Unwrap() huma.Context { return s.humaContext }

// fromHuma words huma's errors for callers. Messages that come from the JSON decoder can name Go types, so only the
// decoder's complaints about syntax are kept.
func fromHuma(e *huma.ErrorModel) *Problem {
	switch e.Status {
	case http.StatusRequestEntityTooLarge:
		return problem(e.Status, "body_too_large", "The body is too large.")
	case http.StatusRequestTimeout:
		return problem(e.Status, "body_timeout", "The body did not arrive in time.")
	case http.StatusUnsupportedMediaType:
		return problem(e.Status, "unsupported_media_type", "The body must be application/json.")
	case http.StatusBadRequest:
		p := problem(e.Status, "malformed_body", "The body is not valid JSON.")
		if len(e.Errors) == 0 {
			p = problem(e.Status, "body_required", "A body is required.")
		}
		return p.field("body", bodyMessage(e.Errors))
	}
	if e.Detail == "cannot read request body" {
		return bodyCutOff()
	}
	if e.Status >= http.StatusInternalServerError {
		causes := make([]error, 0, len(e.Errors))
		for _, d := range e.Errors {
			causes = append(causes, d)
		}
		return internalError(errors.Join(causes...))
	}
	p := invalid(fieldProblems(e.Errors)...)
	p.Status, p.Title = e.Status, http.StatusText(e.Status)
	return p
}

func bodyCutOff() *Problem {
	return problem(http.StatusBadRequest, "body_cut_off", "The body broke off.").field("body", "broke off")
}

// fieldProblems names every wrong field once, by what was found first.
func fieldProblems(details []*huma.ErrorDetail) []FieldProblem {
	var fields []FieldProblem
	named := map[string]bool{}
	for _, d := range details {
		f := plainly(d)
		if named[f.Location] || (named["body"] && strings.HasPrefix(f.Location, "body.")) {
			continue
		}
		named[f.Location] = true
		fields = append(fields, f)
	}
	return fields
}

// plainly rewords huma's findings, and points at the member that is missing instead of where it is missing from.
func plainly(d *huma.ErrorDetail) FieldProblem {
	for _, w := range wordings {
		if m := w.theirs.FindStringSubmatch(d.Message); m != nil {
			return FieldProblem{
				Location: d.Location + w.theirs.ReplaceAllString(m[0], w.member),
				Message:  w.theirs.ReplaceAllString(m[0], w.ours),
			}
		}
	}
	return FieldProblem{Location: d.Location, Message: d.Message}
}

var wordings = []struct {
	theirs       *regexp.Regexp
	member, ours string
}{
	{regexp.MustCompile(`^expected required property (\S+) to be present$`), ".$1", "is required"},
	{regexp.MustCompile(`^required \w+ parameter is missing$`), "", "is required"},
	{regexp.MustCompile(`^expected length >= (\d+)$`), "", "must have at least $1 characters"},
	{regexp.MustCompile(`^expected length <= (\d+)$`), "", "must have at most $1 characters"},
	{regexp.MustCompile(`^expected number >= (\S+)$`), "", "must be at least $1"},
	{regexp.MustCompile(`^expected number <= (\S+)$`), "", "must be at most $1"},
	{regexp.MustCompile(`^expected value to be one of "(.*)"$`), "", "must be one of: $1"},
	{regexp.MustCompile(`^expected string to be RFC 3986 uri.*$`), "", "is not an http(s) URL"},
	{regexp.MustCompile(`^expected (string|number|boolean|integer|object|array)$`), "", "must be of type $1"},
	{regexp.MustCompile(`^invalid (integer|boolean|number|float)$`), "", "must be of type $1"},
	{regexp.MustCompile(`^invalid value: (.*)$`), "", "$1"},
	{regexp.MustCompile(`^json: .*$`), "", "is not of the expected form"},
}

func bodyMessage(details []*huma.ErrorDetail) string {
	for _, d := range details {
		if d.Location == "body" && !strings.HasPrefix(d.Message, "json: ") {
			return d.Message
		}
	}
	if len(details) == 0 {
		return "is required"
	}
	return "is not valid JSON"
}
