package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// repeatAfter is how often the same failure to connect to one broker is logged again.
const repeatAfter = 30 * time.Second

// connections logs connects and disconnects of one client, and remembers why the last attempts failed: franz-go itself
// tries a refused login again and again in silence.
type connections struct {
	log *slog.Logger
	// giveUp ends all requests of the client.
	giveUp context.CancelFunc

	mu       sync.Mutex
	failures map[string]failure // by address of the broker
	cutLogin map[string]bool    // by address: the broker cut the connection in the middle of the login
}

type failure struct {
	err    error
	logged time.Time
}

func newConnections(log *slog.Logger, giveUp context.CancelFunc) *connections {
	return &connections{log: log, giveUp: giveUp, failures: make(map[string]failure), cutLogin: make(map[string]bool)}
}

var (
	_ kgo.HookBrokerConnect    = (*connections)(nil)
	_ kgo.HookBrokerDisconnect = (*connections)(nil)
	_ kgo.HookBrokerRead       = (*connections)(nil)
)

// OnBrokerRead implements kgo.HookBrokerRead.
func (c *connections) OnBrokerRead(meta kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if kmsg.Key(key) == kmsg.SASLAuthenticate && errors.Is(err, io.EOF) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cutLogin[address(meta)] = true
	}
}

func address(meta kgo.BrokerMetadata) string {
	return net.JoinHostPort(meta.Host, strconv.Itoa(int(meta.Port)))
}

// OnBrokerConnect implements kgo.HookBrokerConnect; it is called once the login is through as well.
func (c *connections) OnBrokerConnect(meta kgo.BrokerMetadata, took time.Duration, _ net.Conn, err error) {
	addr := address(meta)
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
	if c.cutLogin[addr] {
		// Kafka itself says that it refuses a login; some that speak its protocol just hang up, as does one that is
		// stopped at that moment, so this is not taken for certain.
		delete(c.cutLogin, addr)
		err = fmt.Errorf("the broker hung up in the middle of the login, as some do that refuse it "+
			"(KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_SASL_MECHANISM): %w", err)
	} else {
		err = hungUp(err)
	}
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
	c.log.Info("Kafka broker disconnected", "broker", address(meta))
}

// failure returns why the last attempt at any broker ended without a connection: preferably what a person must mend.
func (c *connections) failure() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var last error
	for _, f := range c.failures {
		last = f.err
		if IsSetup(f.err) {
			return f.err
		}
	}
	return last
}

// connectionsOf finds the hook that Options gave to a client; nil for a client made otherwise.
func connectionsOf(cl *kgo.Client) *connections {
	if log, ok := cl.OptValue(kgo.WithLogger).(*clientLog); ok {
		return log.connections
	}
	return nil
}
