package storage

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// apiError is an error as storage tells it: the real status is a string in the body, and the answer's own is 400 for all
// but those that AsIs names and 500.
type apiError struct {
	Status  int
	Title   string
	Message string
	Code    string
	// AsIs is for an error whose status is the answer's too.
	AsIs bool
	// Hint makes it an error of the gateway in front of storage, which has no more than this and a message.
	Hint string
}

// Error returns the message.
func (e *apiError) Error() string { return e.Message }

// Is compares codes.
func (e *apiError) Is(target error) bool {
	t, ok := target.(*apiError)
	return ok && t.Code == e.Code
}

func (e *apiError) write(w http.ResponseWriter) {
	status := http.StatusBadRequest
	if e.AsIs || e.Status == http.StatusInternalServerError {
		status = e.Status
	}
	if e.Hint != "" {
		writeJSON(w, e.Status, map[string]string{"message": e.Message, "hint": e.Hint})
		return
	}
	body := map[string]string{"statusCode": strconv.Itoa(e.Status), "error": e.Title, "message": e.Message}
	if e.Code != "" {
		body["code"] = e.Code
	}
	writeJSON(w, status, body)
}

func errNoSuchBucket() *apiError {
	return &apiError{Status: 404, Title: "Bucket not found", Message: "Bucket not found", Code: "NoSuchBucket"}
}

func errNoSuchKey() *apiError {
	return &apiError{Status: 404, Title: "not_found", Message: "Object not found", Code: "NoSuchKey"}
}

func errKeyExists() *apiError {
	return &apiError{Status: 409, Title: "Duplicate", Message: "The resource already exists", Code: "KeyAlreadyExists"}
}

// errDuplicate is a bucket that exists.
var errDuplicate = &apiError{Status: 409, Title: "Duplicate", Message: "The resource already exists", Code: "BucketAlreadyExists"}

func errBucketNotEmpty() *apiError {
	return &apiError{
		Status: 409, Title: "InvalidRequest", Message: "The bucket you tried to delete is not empty", Code: "InvalidRequest",
	}
}

func errAccessDenied(why string) *apiError {
	return &apiError{Status: 403, Title: "Unauthorized", Message: why, Code: "AccessDenied"}
}

// errAPIKey is the gateway's.
func errAPIKey() *apiError {
	return &apiError{Status: 401, Message: "Invalid API key", Hint: "Double check the API key."}
}

func errRowSecurity() *apiError { return errAccessDenied("new row violates row-level security policy") }

func errInvalidKey(key string) *apiError {
	return &apiError{Status: 400, Title: "InvalidKey", Message: "Invalid key: " + key, Code: "InvalidKey"}
}

func errBucketName() *apiError {
	return &apiError{Status: 400, Title: "Invalid Input", Message: "Bucket name invalid", Code: "InvalidBucketName"}
}

func errTooLarge() *apiError {
	return &apiError{
		Status: 413, Title: "Payload too large", Message: "The object exceeded the maximum allowed size", Code: "EntityTooLarge",
	}
}

func errMimeType(kind string) *apiError {
	return &apiError{
		Status: 415, Title: "invalid_mime_type", Message: "mime type " + kind + " is not supported", Code: "InvalidMimeType",
	}
}

// errSchema is a request that does not fit the route's schema; these carry no code.
func errSchema(why string) *apiError { return &apiError{Status: 400, Title: "Error", Message: why} }

func errSlowDown() *apiError {
	return &apiError{
		Status: 429, Title: "too_many_connections", Message: "Too many connections issued to the database", Code: "SlowDown", AsIs: true,
	}
}

func errDatabaseTimeout() *apiError {
	return &apiError{
		Status: 544, Title: "DatabaseTimeout", Message: "The connection to the database timed out", Code: "DatabaseTimeout", AsIs: true,
	}
}

func errInternal() *apiError {
	return &apiError{Status: 500, Title: "Internal", Message: "Internal Server Error", Code: "InternalError"}
}

func errAborted() *apiError {
	return &apiError{Status: 500, Title: "Aborted", Message: "The request was aborted", Code: "Aborted"}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // of a type of this package
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data) // a client that is gone is no error of ours
}

// readJSON reads a request's body of at most 1 MiB.
func readJSON(r *http.Request, v any) error {
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20)).Decode(v); err != nil {
		return errSchema("body is not valid JSON")
	}
	return nil
}
