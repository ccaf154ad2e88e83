package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// repeatAfter is how often the same failure to connect to one broker is logged again.
const repeatAfter = 30 * time.Second

// connections logs connects and disconnects of one client, and remembers why the last attempts failed: franz-go itself
// tries a refused login again and again in silence.
type connections struct {
	log *slog.Logger

	mu       sync.Mutex
	failures map[string]failure // by address of the broker
}

type failure struct {
	err    error
	logged time.Time
}

func newConnections(log *slog.Logger) *connections {
	return &connections{log: log, failures: make(map[string]failure)}
}

var (
	_ kgo.HookBrokerConnect    = (*connections)(nil)
	_ kgo.HookBrokerDisconnect = (*connections)(nil)
)

// OnBrokerConnect implements kgo.HookBrokerConnect; it is called once the login is through as well.
func (c *connections) OnBrokerConnect(meta kgo.BrokerMetadata, took time.Duration, _ net.Conn, err error) {
	addr := net.JoinHostPort(meta.Host, strconv.Itoa(int(meta.Port)))
	if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	if err == nil {
		c.mu.Lock()
		delete(c.failures, addr)
		c.mu.Unlock()
		c.log.Info("Kafka broker connected", "broker", addr, "took", took)
		return
	}
	err = classify(err)
	now := time.Now()
	c.mu.Lock()
	last, again := c.failures[addr]
	quiet := again && last.err.Error() == err.Error() && now.Sub(last.logged) < repeatAfter
	if quiet {
		now = last.logged
	}
	c.failures[addr] = failure{err: err, logged: now}
	c.mu.Unlock()
	switch {
	case quiet:
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		c.log.Error("Kafka login refused", "broker", addr, "error", err)
	case IsSetup(err):
		c.log.Error("Kafka broker cannot be connected to", "broker", addr, "error", err)
	default:
		c.log.Warn("Kafka broker is away", "broker", addr, "error", err)
	}
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (c *connections) OnBrokerDisconnect(meta kgo.BrokerMetadata, _ net.Conn) {
	c.log.Info("Kafka broker disconnected", "broker", net.JoinHostPort(meta.Host, strconv.Itoa(int(meta.Port))))
}

// setup returns a failure that a person must mend, if the last attempt at any broker ended in one.
func (c *connections) setup() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.failures {
		if IsSetup(f.err) {
			return f.err
		}
	}
	return nil
}

// connectionsOf finds the hook that Options gave to a client; nil for a client made otherwise.
func connectionsOf(cl *kgo.Client) *connections {
	log, _ := cl.OptValue(kgo.WithLogger).(clientLog)
	return log.connections
}
