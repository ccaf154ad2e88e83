package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNoVideo says that there is no such video, and none was known before.
	ErrNoVideo = errors.New("there is no such video")
	// ErrNoCourse says that there is no such course.
	ErrNoCourse = errors.New("there is no such course")
	// ErrNoUser says that there is no such user.
	ErrNoUser = errors.New("there is no such user")
	// ErrStale refuses to prepare an ask that is not the next one: it is recorded already, the video no longer waits
	// for a transcript, or it is gone. Load the pipeline again to learn which.
	ErrStale = errors.New("this ask is not the next one")
	// ErrKeyReused says that an idempotency key was used before, with another body.
	ErrKeyReused = errors.New("the idempotency key was used before with another body")
	// ErrText refuses text that Postgres cannot hold: a NUL character or bytes that are not UTF-8.
	ErrText = errors.New("the text holds a NUL character or is not UTF-8")
)

// SetupError is a fault that no retry mends: somebody has to change the database, the login or the configuration.
// Everything that is not a SetupError and none of the errors above may pass by itself.
type SetupError struct {
	// Problem names what is wrong, in a sentence without a full stop.
	Problem string
	// Mend says what to do; it may be SQL of several lines. May be empty.
	Mend string
	// Err is what the database said; may be nil.
	Err error
}

func (e *SetupError) Error() string {
	s := e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Mend != "" {
		s += ". To mend it: " + e.Mend
	}
	return s
}

func (e *SetupError) Unwrap() error { return e.Err }

// SQLSTATEs, https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	codeInvalidPassword      = "28P01"
	codeInvalidAuthorization = "28000"
	codeNoSuchDatabase       = "3D000"
	codePooler               = "08P01"
	codeNoPrivilege          = "42501"
	codeNoSuchTable          = "42P01"
	codeNoSuchColumn         = "42703"
	codeNoSuchFunction       = "42883"
	codeNoSuchObject         = "42704"
	codeNoSuchSchema         = "3F000"
	codeForeignKey           = "23503"
	codeInvalidEncoding      = "22021"
	codeUntranslatable       = "22P05"
	codeLockNotAvailable     = "55P03"
)

// wrap says what was attempted and classifies what the database answered.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, classify(err))...)
}

// classify turns what no retry mends into a SetupError; every other error stays as it is.
func classify(err error) error {
	var setup *SetupError
	var pg *pgconn.PgError
	if errors.As(err, &setup) || !errors.As(err, &pg) {
		return err
	}
	switch pg.Code {
	case codeInvalidPassword, codeInvalidAuthorization:
		return &SetupError{Problem: "the database refuses the login", Mend: "correct the user and password of DATABASE_URL", Err: pg}
	case codePooler:
		// PgBouncer has one code for all that it says itself, most of which passes; the words tell.
		if slices.Contains(poolerRefusals, pg.Message) {
			return &SetupError{Problem: "the pooler refuses the login", Mend: "correct the user and password of DATABASE_URL", Err: pg}
		}
	case codeNoSuchDatabase:
		return &SetupError{Problem: "the database does not exist", Mend: "correct the name at the end of DATABASE_URL", Err: pg}
	case codeNoPrivilege:
		return &SetupError{Problem: "the login lacks a privilege", Mend: mendRole, Err: pg}
	case codeNoSuchTable, codeNoSuchSchema, codeNoSuchColumn, codeNoSuchFunction, codeNoSuchObject:
		return &SetupError{Problem: "the database lacks something that vidflow needs", Mend: mendSchema, Err: pg}
	case codeInvalidEncoding, codeUntranslatable:
		return fmt.Errorf("%w (%w)", ErrText, pg)
	}
	return err
}

// poolerRefusals are what PgBouncer says, word for word, when it knows the password or the user to be wrong.
var poolerRefusals = []string{"SASL authentication failed", "password authentication failed", "no such user"}

const (
	mendRole   = "run the SQL that `vidflow migrate --print-role-sql` prints, as the owner of the tables"
	mendSchema = "run `vidflow migrate`"
)

// classIntegrity is that of all SQLSTATEs of constraints that were violated.
const classIntegrity = "23"

// hasClass reports whether the database answered with a SQLSTATE of the class.
func hasClass(err error, class string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, class)
}

// hasCode reports whether the database answered with one of the SQLSTATEs.
func hasCode(err error, codes ...string) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	for _, c := range codes {
		if pg.Code == c {
			return true
		}
	}
	return false
}
