package starter

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
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
		p.RequestID = requestID(ctx.Context())
		if p.Status >= http.StatusInternalServerError {
			level := slog.LevelError
			if p.Status == http.StatusServiceUnavailable {
				level = slog.LevelWarn
			}
			log.LogAttrs(ctx.Context(), level, "request failed",
				slog.String("request_id", p.RequestID), slog.String("operation", ctx.Operation().OperationID),
				slog.Int("status", p.Status), slog.Any("error", errors.Join(p.cause)))
		}
		return p, nil
	}
}

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
	if e.Status >= http.StatusInternalServerError {
		// Among these is a body that broke off: the connection is gone, and the caller will not read this.
		causes := make([]error, 0, len(e.Errors))
		for _, d := range e.Errors {
			causes = append(causes, d)
		}
		return internalError(errors.Join(causes...))
	}
	fields := make([]FieldProblem, 0, len(e.Errors))
	for _, d := range e.Errors {
		message := d.Message
		if strings.HasPrefix(message, "json: ") {
			message = "is not of the expected form"
		}
		fields = append(fields, FieldProblem{Location: d.Location, Message: message})
	}
	p := invalid(fields...)
	p.Status, p.Title = e.Status, http.StatusText(e.Status)
	return p
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
