package contract

import (
	"errors"
	"fmt"
	"strings"
)

// Classes of poison, by which dead letters are counted and filtered.
const (
	ClassNoValue = "no_value" // the record has no value, or one of nothing but white space
	ClassNoKey   = "no_key"   // a compression result that no key and no member says the video of
	ClassVideoID = "video_id" // no id of a video, one that is no UUID, or two that differ
	ClassJSON    = "json"     // not JSON: bad syntax, bad UTF-8, or a name that occurs twice in one object
	ClassSchema  = "schema"   // JSON, but a member is missing or of the wrong type
	ClassNumbers = "numbers"  // a time that is negative, beyond a float64, or a word that ends before it starts
	ClassBounds  = "bounds"   // a language or URL too long, nested too deep, or too large as it is stored
	ClassURL     = "url"      // not an http(s) URL
)

// maxReasonBytes bounds a reason, which travels in a header and in logs and may quote the record.
const maxReasonBytes = 400

// PoisonError says why a record can never be understood, however often it is tried.
type PoisonError struct {
	// Class is one of the constants Class….
	Class string
	// Reason is a sentence for people, in valid UTF-8 and of bounded length.
	Reason string
}

func (e *PoisonError) Error() string { return e.Reason }

func poison(class, format string, args ...any) *PoisonError {
	reason := strings.ToValidUTF8(fmt.Sprintf(format, args...), "\uFFFD")
	return &PoisonError{Class: class, Reason: Clip(reason, maxReasonBytes)}
}

// within says where in the record a poison was found; other errors pass unchanged.
func within(where string, err error) error {
	if p, ok := errors.AsType[*PoisonError](err); ok {
		return poison(p.Class, "%s: %s", where, p.Reason)
	}
	return err
}
