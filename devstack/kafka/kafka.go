// Package kafka runs the Kafka broker of the development stack: kfake, in the process, kept on disk.
package kafka

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Config says where the broker listens and what it holds.
type Config struct {
	// Dir keeps topics, records and committed offsets across restarts.
	Dir string
	// Port is the one on the loopback interface.
	Port int
	// Topics are made where they do not exist, each with Partitions partitions. Nothing else is ever created by itself.
	Topics     []string
	Partitions int32
	// Advertised is the address, host:port, that clients are told to connect to, such as that of a proxy; the broker's
	// own when empty.
	Advertised string
	// Sync has everything on disk before it is acknowledged, so that a broker that is killed loses nothing of it.
	Sync bool
	// MaxMessageBytes is the largest batch of records the broker takes; 0 means Kafka's own default of 1 MiB.
	MaxMessageBytes int
	// Log takes the broker's own messages.
	Log io.Writer
}

// Server is the broker. Its methods are safe for concurrent use.
type Server struct {
	cfg Config

	mu      sync.Mutex
	cluster *kfake.Cluster // nil while stopped
}

// New returns a broker that is not started.
func New(cfg Config) *Server { return &Server{cfg: cfg} }

// Start brings the broker up, with the records it had when it was stopped. It does nothing when it runs.
func (s *Server) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster != nil {
		return nil
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.Ports(s.cfg.Port),
		kfake.ClusterID("vidflow-dev"),
		kfake.DataDir(s.cfg.Dir),
		kfake.SeedTopics(s.cfg.Partitions, s.cfg.Topics...),
		kfake.WithLogger(kfake.BasicLogger(s.cfg.Log, kfake.LogLevelWarn)),
	}
	if s.cfg.MaxMessageBytes > 0 {
		opts = append(opts, kfake.BrokerConfigs(map[string]string{
			"message.max.bytes": fmt.Sprint(s.cfg.MaxMessageBytes),
		}))
	}
	if s.cfg.Advertised != "" {
		opts = append(opts, kfake.ListenFn(advertise(s.cfg.Advertised)))
	}
	if s.cfg.Sync {
		opts = append(opts, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	s.cluster = cluster
	return nil
}

// Stop closes every connection and writes what is left to disk. It does nothing when the broker is stopped.
func (s *Server) Stop(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster != nil {
		s.cluster.Close()
		s.cluster = nil
	}
	return nil
}

// advertise listens like net.Listen, but says of itself that it listens at another address, which is what the broker
// tells its clients.
func advertise(elsewhere string) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		addr, err := net.ResolveTCPAddr(network, elsewhere)
		if err != nil {
			return nil, err
		}
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		return advertised{Listener: l, addr: addr}, nil
	}
}

type advertised struct {
	net.Listener
	addr net.Addr
}

func (a advertised) Addr() net.Addr { return a.addr }
