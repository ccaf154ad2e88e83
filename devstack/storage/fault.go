package storage

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Op is a kind of call that a fault is ordered for.
type Op string

// The kinds of call. OpUpload is what a Fault means when it names none.
const (
	OpUpload Op = "upload"
	OpDelete Op = "delete"
	OpRead   Op = "read"
	OpBucket Op = "bucket"
	OpOther  Op = "other"
)

// Kind is what goes wrong.
type Kind string

// The kinds of fault.
const (
	// SlowDown answers 429, DatabaseTimeout 544, both as storage does.
	SlowDown        Kind = "slow_down"
	DatabaseTimeout Kind = "database_timeout"
	// InternalError answers 500 as storage does, BadGateway 502 with a page of HTML as a proxy does.
	InternalError Kind = "internal_error"
	BadGateway    Kind = "bad_gateway"
	// Drop cuts the connection without an answer.
	Drop Kind = "drop"
	// Half does what was asked and cuts the connection in the middle of the answer.
	Half Kind = "half"
	// Hold keeps an upload back until Control is told to release it; then it lands, whether or not its client is there.
	Hold Kind = "hold"
	// Slow waits for Delay; then an upload lands, whether or not its client is there, and other calls do what was asked.
	Slow Kind = "slow"
)

var kinds = []Kind{SlowDown, DatabaseTimeout, InternalError, BadGateway, Drop, Half, Hold, Slow}

// Fault makes the next calls that fit it fail.
type Fault struct {
	Kind Kind `json:"kind"`
	// Op defaults to OpUpload.
	Op Op `json:"op,omitempty"`
	// Path is a part of the object's path; any object when empty.
	Path string `json:"path,omitempty"`
	// Count is how many calls fail, 1 when zero.
	Count int `json:"count,omitempty"`
	// Lands has an upload land although its answer is an error or none.
	Lands bool `json:"lands,omitempty"`
	// Delay of Slow.
	Delay Duration `json:"delay,omitempty"`
}

// Duration is written as "1.5s" in JSON.
type Duration time.Duration

// MarshalText writes it as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

func (f *Fault) check() error {
	if f.Op == "" {
		f.Op = OpUpload
	}
	if f.Count == 0 {
		f.Count = 1
	}
	switch {
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("kind must be one of %v", kinds)
	case !slices.Contains([]Op{OpUpload, OpDelete, OpRead, OpBucket, OpOther}, f.Op):
		return fmt.Errorf("op %q is unknown", f.Op)
	case f.Kind == Hold && f.Op != OpUpload:
		return fmt.Errorf("only uploads can be held")
	case f.Count < 0 || f.Delay < 0:
		return fmt.Errorf("count and delay must not be negative")
	}
	return nil
}

// faults are those that are ordered and not yet used up, the oldest first.
type faults struct {
	mu      sync.Mutex
	ordered []Fault
}

func newFaults() *faults { return &faults{} }

// take returns the fault for a call, or nil.
func (fs *faults) take(op Op, path string) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i := range fs.ordered {
		f := fs.ordered[i]
		if f.Op != op || !strings.Contains(path, f.Path) {
			continue
		}
		if fs.ordered[i].Count--; fs.ordered[i].Count == 0 {
			fs.ordered = slices.Delete(fs.ordered, i, i+1)
		}
		return &f
	}
	return nil
}

func (fs *faults) order(f Fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.ordered = append(fs.ordered, f)
}

func (fs *faults) list() []Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return append([]Fault{}, fs.ordered...)
}

func (fs *faults) clear() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.ordered = nil
}

// failUpload does a fault to an upload whose body is read.
func (s *Server) failUpload(w http.ResponseWriter, f Fault, u pending) error {
	s.uploads.faulted(u.entry, f.Kind)
	switch f.Kind {
	case Hold:
		if !s.uploads.hold(s.closed, u.entry) {
			s.uploads.failed(u.entry)
			panic(http.ErrAbortHandler)
		}
		return s.land(w, u)
	case Slow:
		if !s.wait(time.Duration(f.Delay)) {
			s.uploads.failed(u.entry)
			panic(http.ErrAbortHandler)
		}
		return s.land(w, u)
	case Half:
		return s.land(halfWriter{w}, u)
	default:
		if f.Lands {
			if err := s.land(nil, u); err != nil {
				return err
			}
		} else {
			s.uploads.failed(u.entry)
		}
		s.answerFault(w, f)
		return nil
	}
}

// answerFault answers with an error, or not at all.
func (s *Server) answerFault(w http.ResponseWriter, f Fault) {
	switch f.Kind {
	case SlowDown:
		errSlowDown().write(w)
	case DatabaseTimeout:
		errDatabaseTimeout().write(w)
	case InternalError:
		errInternal().write(w)
	case BadGateway:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, badGatewayPage)
	default:
		panic(http.ErrAbortHandler)
	}
}

// badGatewayPage is what a proxy says whose server is away.
const badGatewayPage = `<html>
<head><title>502 Bad Gateway</title></head>
<body>
<center><h1>502 Bad Gateway</h1></center>
<hr><center>cloudflare</center>
</body>
</html>
`

// wait waits for d; false when the server was closed meanwhile.
func (s *Server) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closed.Done():
		return false
	}
}

// halfWriter announces all of an answer, sends the first half of it and cuts the connection.
type halfWriter struct{ http.ResponseWriter }

// Write sends half of data, which is all of the answer here.
func (h halfWriter) Write(data []byte) (int, error) {
	_, _ = h.ResponseWriter.Write(data[:len(data)/2])
	_ = http.NewResponseController(h.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// Unwrap is for http.ResponseController.
func (h halfWriter) Unwrap() http.ResponseWriter { return h.ResponseWriter }
