package supabase

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/codeendelea/vidflow/internal/contract"
)

// ErrNotFound is what an *Error is (errors.Is) when the object is not there.
var ErrNotFound = errors.New("object not found")

// Codes of storage's errors that are told apart, and our own for what storage has none for.
const (
	codeNoSuchBucket = "NoSuchBucket"
	codeNoSuchKey    = "NoSuchKey"

	codeNotStorage = "NotStorage" // something else answered: a proxy, a wrong address
	codeNotPublic  = "BucketNotPublic"
)

// Error is a failed call. It is exactly one of Temporary, Configuration and Final.
type Error struct {
	// Op is what was attempted, Path the object.
	Op, Path string
	// Status is the real HTTP status, which storage mostly puts into the body of a 400; 0 when there was no answer.
	Status int
	// Code is storage's own, such as NoSuchBucket; may be empty.
	Code string
	// Message is a sentence for people. The service key is never in it.
	Message string

	cause    error // of a call without an answer
	answered bool  // a whole answer was read, or the call was refused before it was sent
	doubt    bool
}

// Error returns a sentence without the service key.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "storage: %s", e.Op)
	if e.Path != "" {
		fmt.Fprintf(&b, " %s", e.Path)
	}
	fmt.Fprintf(&b, ": %s", e.Message)
	switch {
	case e.Status != 0 && e.Code != "":
		fmt.Fprintf(&b, " (%d %s)", e.Status, e.Code)
	case e.Status != 0:
		fmt.Fprintf(&b, " (%d)", e.Status)
	}
	return b.String()
}

// Unwrap returns the cause of a call without an answer, such as context.DeadlineExceeded.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether e is ErrNotFound.
func (e *Error) Is(target error) bool { return target == ErrNotFound && e.Code == codeNoSuchKey }

// Temporary reports whether the same call may succeed soon: no answer, too many requests, a time-out of the database,
// any 5xx.
func (e *Error) Temporary() bool {
	switch e.Status {
	case 0, http.StatusRequestTimeout, http.StatusConflict, http.StatusLocked, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status >= 500 || !e.answered
}

// Configuration reports whether somebody has to mend something outside first: a refused key, a missing bucket, a wrong
// address. Worth retrying slowly.
func (e *Error) Configuration() bool {
	if e.Temporary() {
		return false
	}
	switch e.Code {
	case codeNoSuchBucket, codeNotStorage, codeNotPublic, "InvalidJWT", "TenantNotFound", "InvalidBucketName", "InvalidMimeType":
		return true
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusProxyAuthRequired:
		return true
	case http.StatusNotFound: // a wrong address: buckets and objects have their codes
		return e.Code != codeNoSuchKey
	}
	return e.Status/100 == 3
}

// Final reports whether the same call can never succeed, such as an object that is too large.
func (e *Error) Final() bool { return !e.Temporary() && !e.Configuration() }

// InDoubt reports whether the call may have had its effect, or may still have it later: it was cut, timed out or failed
// inside the server. When false, it was refused for certain or never sent.
func (e *Error) InDoubt() bool { return e.doubt }

// refused is the error of an answer other than success.
func (c *Client) refused(res *http.Response, r *refusal) *Error {
	e := &Error{Status: res.StatusCode, answered: r.err == nil, cause: r.err}
	var body struct {
		StatusCode any    `json:"statusCode"` // a string, or a number from the framework below storage
		Error      string `json:"error"`
		Message    string `json:"message"`
		Code       string `json:"code"`
	}
	switch {
	case r.err != nil:
		e.Message = "the answer was cut: " + r.err.Error()
	case res.StatusCode/100 == 3:
		e.Code = codeNotStorage
		e.Message = "redirected, see SUPABASE_URL"
		if r.location != "" {
			e.Message = fmt.Sprintf("redirected to %q, see SUPABASE_URL", contract.Clip(r.location, 200))
		}
	case json.Unmarshal(r.data, &body) != nil || (body.Message == "" && body.Error == ""):
		e.Message = excerpt(r.data)
		// 413 is that of a proxy with a limit of its own, and means what it says.
		if res.StatusCode/100 == 4 && res.StatusCode != http.StatusRequestEntityTooLarge {
			e.Code = codeNotStorage
		}
	default:
		e.Code, e.Message = body.Code, body.Message
		if e.Message == "" {
			e.Message = body.Error
		}
		if status, err := strconv.Atoi(fmt.Sprint(body.StatusCode)); err == nil && status >= 400 && status < 600 {
			e.Status = status
		}
		if e.Code == "" {
			e.Code = olderCode(e.Status, body.Error)
		}
	}
	e.Message = c.key.scrub(contract.Clip(e.Message, 500))
	// A 408 can be a proxy's, of a request that it has passed on.
	e.doubt = e.Status >= 500 || e.Status == http.StatusRequestTimeout || !e.answered
	return e
}

// olderCode tells what storage meant before its errors had codes.
func olderCode(status int, title string) string {
	if status != http.StatusNotFound {
		return ""
	}
	switch title {
	case "Bucket not found":
		return codeNoSuchBucket
	case "not_found":
		return codeNoSuchKey
	}
	return ""
}

var htmlTitle = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// excerpt says in a line what a body that is not storage's says.
func excerpt(body []byte) string {
	if m := htmlTitle.FindSubmatch(body); m != nil {
		return fmt.Sprintf("a page titled %q", contract.Clip(oneLine(m[1]), 200))
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return "an empty answer"
	}
	return fmt.Sprintf("an answer that is not storage's: %q", contract.Clip(oneLine(body), 200))
}

func oneLine(b []byte) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(b), "")), " ")
}
