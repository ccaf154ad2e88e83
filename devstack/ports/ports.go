// Package ports gives every listener of the development stack its number: a block of consecutive ports, so that one
// variable, PORT_BASE, moves them all.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// Variable is the environment variable that moves the whole block.
const Variable = "PORT_BASE"

// DefaultBase is the first port of the block unless Variable says otherwise; the API listens on it.
const DefaultBase = 8000

// A Service is one listener; its value is the offset from the base.
type Service int

// The listeners, in the order of their ports. The order is part of what people remember: add at the end.
const (
	API Service = iota
	StarterOps
	WorkerOps
	BridgeOps
	TemporalUI
	TemporalGRPC
	TemporalHTTP
	TemporalHistory
	TemporalMatching
	TemporalWorker
	Kafka
	Postgres
	Storage
	Control
	StorageControl
	count
)

var names = [count]string{
	API:              "the API (vidflow starter)",
	StarterOps:       "probes of vidflow starter",
	WorkerOps:        "probes of vidflow worker",
	BridgeOps:        "probes of vidflow kafkabridge",
	TemporalUI:       "the Temporal UI",
	TemporalGRPC:     "the Temporal server (gRPC)",
	TemporalHTTP:     "the Temporal server (HTTP)",
	TemporalHistory:  "the Temporal server (history)",
	TemporalMatching: "the Temporal server (matching)",
	TemporalWorker:   "the Temporal server (internal worker)",
	Kafka:            "Kafka",
	Postgres:         "Postgres",
	Storage:          "the storage stand-in",
	Control:          "the control of the stack",
	StorageControl:   "the control of the storage stand-in",
}

// String says who listens there, for people.
func (s Service) String() string { return names[s] }

// Block is the range of ports that starts at Base.
type Block struct{ Base int }

// Port is the number of a service's port.
func (b Block) Port(s Service) int { return b.Base + int(s) }

// Addr is host:port of a service; everything listens on the loopback interface alone.
func (b Block) Addr(s Service) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.Port(s))) }

// URL is the http address of a service, without a trailing slash.
func (b Block) URL(s Service) string { return "http://" + b.Addr(s) }

// Validate refuses a base that does not leave room for the block.
func (b Block) Validate() error {
	if highest := 65535 - int(count) + 1; b.Base < 1 || b.Base > highest {
		return fmt.Errorf("%s=%d is out of range: it must be between 1 and %d", Variable, b.Base, highest)
	}
	return nil
}

// Check names every port of the block that is taken, with what wanted it and how to move the block. Services in
// except are not looked at: somebody else serves them.
func (b Block) Check(except ...Service) error {
	if err := b.Validate(); err != nil {
		return err
	}
	skip := make(map[Service]bool, len(except))
	for _, s := range except {
		skip[s] = true
	}
	var taken []string
	for s := range count {
		if skip[s] {
			continue
		}
		if err := probe(b.Addr(s)); err != nil {
			taken = append(taken, fmt.Sprintf("port %d, wanted by %s, %s", b.Port(s), s, why(err)))
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return fmt.Errorf("%s\n(stop what holds it, or move all ports: %s=%d)", strings.Join(taken, "\n"), Variable, b.suggestion())
}

func why(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "is taken"
	case errors.Is(err, syscall.EACCES):
		return "needs privileges"
	default:
		return "cannot be used: " + err.Error()
	}
}

// suggestion is a base whose block is free right now; at worst, the next round number.
func (b Block) suggestion() int {
	for base := b.Base + 100; base < b.Base+5000; base += 100 {
		next := Block{Base: base}
		if next.Validate() == nil && next.free() {
			return base
		}
	}
	return DefaultBase + 1000
}

func (b Block) free() bool {
	for s := range count {
		if probe(b.Addr(s)) != nil {
			return false
		}
	}
	return true
}

func probe(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// Unused finds n consecutive ports that are free, outside of what Free hands out and of the range from which the system
// takes ports for outgoing connections. They are for servers that are not part of every stack.
func Unused(n int) (first int, err error) {
	const lowest, highest, attempts = 12000, 18000, 200
	for range attempts {
		first := lowest + rand.IntN((highest-lowest)/n)*n
		free := true
		for port := first; port < first+n && free; port++ {
			free = probe(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) == nil
		}
		if free {
			return first, nil
		}
	}
	return 0, fmt.Errorf("found no %d consecutive free ports between %d and %d", n, lowest, highest)
}

// Free finds a block that is free, below the range from which the system hands out ports for outgoing connections. The
// port of Control is returned open, which keeps another caller of Free away from the block for as long as it is.
func Free() (Block, net.Listener, error) {
	const lowest, highest, attempts = 18000, 32000, 200
	for range attempts {
		b := Block{Base: lowest + rand.IntN((highest-lowest)/int(count))*int(count)}
		anchor, err := net.Listen("tcp", b.Addr(Control))
		if err != nil {
			continue
		}
		if b.Check(Control) == nil {
			return b, anchor, nil
		}
		_ = anchor.Close()
	}
	return Block{}, nil, fmt.Errorf("found no %d consecutive free ports between %d and %d", count, lowest, highest)
}
