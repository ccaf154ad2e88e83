package contract

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// maxNesting is how deep the value of a member that vidflow does not know may be nested. What is stored is indented by
// two spaces a level, so depth without a bound would make a small record a huge object.
const maxNesting = 16

// scanner reads JSON token by token, without building values of it. It refuses bad UTF-8 and a name that occurs twice in
// one object. The bytes it returns alias the input.
type scanner struct {
	jsontext.Decoder
	input bytes.Buffer // read where it lies, never written to
	short bool
}

// scanners of short inputs are used again: making one costs as much as reading some 500 bytes of a transcript. One that has
// read a long input may keep all the names in it.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

// maxShortBytes is the longest input whose scanner is used again.
const maxShortBytes = 64 << 10

// newScanner is of a value that must not change. It is to be released once nothing more is read.
func newScanner(value []byte) *scanner {
	var s *scanner
	if len(value) <= maxShortBytes {
		s = scanners.Get().(*scanner)
		s.short = true
	} else {
		s = new(scanner)
	}
	s.input = *bytes.NewBuffer(value)
	s.Reset(&s.input)
	return s
}

func (s *scanner) release() {
	if !s.short {
		return
	}
	s.input = bytes.Buffer{}
	s.Reset(&s.input) // lets go of the value
	scanners.Put(s)
}

// object reads the object that comes next. It calls each with every name, unquoted, and the offset at which the quoted
// name begins; each must read the value, whole.
func (s *scanner) object(what string, each func(name []byte, at int) error) error {
	if err := s.enter('{', what); err != nil {
		return err
	}
	for s.PeekKind() != '}' {
		quoted, err := s.ReadValue()
		if err != nil {
			return err
		}
		if err := each(unquote(quoted), s.offset()-len(quoted)); err != nil {
			return err
		}
	}
	_, err := s.ReadToken()
	return err
}

// enter reads the token that opens an object or an array.
func (s *scanner) enter(kind jsontext.Kind, what string) error {
	if err := s.expect(kind, what); err != nil {
		return err
	}
	_, err := s.ReadToken()
	return err
}

// string reads a string and returns it unquoted.
func (s *scanner) string(what string) ([]byte, error) {
	if err := s.expect('"', what); err != nil {
		return nil, err
	}
	quoted, err := s.ReadValue()
	if err != nil {
		return nil, err
	}
	return unquote(quoted), nil
}

// seconds reads a number that is finite and not negative.
func (s *scanner) seconds(what string) (float64, error) {
	if err := s.expect('0', what); err != nil {
		return 0, err
	}
	literal, err := s.ReadValue()
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseFloat(string(literal), 64)
	if err != nil { // the literal is well formed, so it is beyond a float64
		return 0, poison(ClassNumbers, "%s is no finite number: %s", what, Clip(string(literal), 32))
	}
	if number < 0 {
		return 0, poison(ClassNumbers, "%s is negative: %s", what, Clip(string(literal), 32))
	}
	return number, nil
}

// expect reads nothing: it fails when what comes next is of another kind, or is not JSON.
func (s *scanner) expect(kind jsontext.Kind, what string) error {
	next := s.PeekKind()
	if next == kind {
		return nil
	}
	if name := kindName(next); name != "" {
		return poison(ClassSchema, "%s is %s and not %s", what, name, kindName(kind))
	}
	if _, err := s.ReadToken(); err != nil {
		return err
	}
	return poison(ClassJSON, "%s is missing", what)
}

// skip reads the value that comes next.
func (s *scanner) skip() error {
	depth := s.StackDepth()
	for {
		if _, err := s.ReadToken(); err != nil {
			return err
		}
		switch open := s.StackDepth() - depth; {
		case open > maxNesting:
			return poison(ClassBounds, "a value is nested more than %d levels deep", maxNesting)
		case open <= 0:
			return nil
		}
	}
}

// finish reads what is left of a member's value in the object that is the depth-th of those that are open.
func (s *scanner) finish(depth int) error {
	for {
		_, read := s.StackIndex(depth) // names and values
		switch open := s.StackDepth() - depth; {
		case open > maxNesting:
			return poison(ClassBounds, "a value is nested more than %d levels deep", maxNesting)
		case open <= 0 && read%2 == 0:
			return nil
		}
		if _, err := s.ReadToken(); err != nil {
			return err
		}
	}
}

// end fails when anything follows the value that was read.
func (s *scanner) end() error {
	switch _, err := s.ReadToken(); {
	case err == nil:
		return poison(ClassJSON, "not JSON: something follows the value")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// offset is where the value or token that was read last ends, in bytes from the start.
func (s *scanner) offset() int { return int(s.InputOffset()) }

// unquote returns what a quoted string, as the scanner returns it, stands for.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	plain, _ := jsontext.AppendUnquote(nil, quoted) // the scanner has found it to be well formed
	return plain
}

// asPoison turns an error met while scanning into the poison it means.
func asPoison(err error) error {
	var p *PoisonError
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return poison(ClassJSON, "not JSON: it ends too early")
	}
	return poison(ClassJSON, "not JSON: %s", strings.TrimPrefix(err.Error(), "jsontext: "))
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "an array"
	}
	return ""
}
