// Package kafka runs the Kafka broker of the development stack: kfake, in the process, kept on disk.
package kafka

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/contract"
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
func (s *Server) Start(ctx context.Context) error {
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
	if err := s.configure(ctx); err != nil {
		cluster.Close()
		return fmt.Errorf("start Kafka: %w", err)
	}
	s.cluster = cluster
	return nil
}

// deadLetterRetention is what docs/set-up.md asks for in production.
const deadLetterRetention = 14 * 24 * time.Hour

// configure gives the topics the settings that they should have in production, so that `vidflow kafka check` finds them.
func (s *Server) configure(ctx context.Context) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, topic := range s.cfg.Topics {
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
		set := func(name, value string) {
			config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			config.Name, config.Op, config.Value = name, kmsg.IncrementalAlterConfigOpSet, &value
			resource.Configs = append(resource.Configs, config)
		}
		if s.cfg.MaxMessageBytes > 0 {
			set("max.message.bytes", strconv.Itoa(s.cfg.MaxMessageBytes))
		}
		if strings.HasSuffix(topic, contract.DeadLetterSuffix) {
			set("retention.ms", strconv.FormatInt(deadLetterRetention.Milliseconds(), 10))
		}
		if len(resource.Configs) > 0 {
			req.Resources = append(req.Resources, resource)
		}
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(net.JoinHostPort("127.0.0.1", strconv.Itoa(s.cfg.Port))))
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.SeedBrokers()[0].Request(ctx, req) // the advertised address may be a proxy's that is not up yet
	if err != nil {
		return fmt.Errorf("configure topics: %w", err)
	}
	for _, r := range resp.(*kmsg.IncrementalAlterConfigsResponse).Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("configure topic %s: %w", r.ResourceName, err)
		}
	}
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
