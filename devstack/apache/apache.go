package apache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/process"
)

// Ports of the listeners, all on 127.0.0.1.
type Ports struct {
	// SASLSSL wants a login over TLS, SASLPlaintext the same without TLS. Plaintext wants none and allows everything; it
	// is for the set-up and for tests that look from outside.
	SASLSSL, SASLPlaintext, Plaintext int
	Controller                        int
}

// Config says where the broker listens and what it holds.
type Config struct {
	// Dir keeps topics, records, committed offsets, certificates and permissions across restarts.
	Dir   string
	Ports Ports
	// Topics are made where they do not exist, each with Partitions partitions. Nothing else is ever created by itself.
	Topics     []string
	Partitions int32
	// Grants are permissions that are given at each start.
	Grants []Grant
	// MaxMessageBytes is the largest batch of records the broker takes.
	MaxMessageBytes int
	// LogFile takes what the broker says.
	LogFile string
	// Note tells the user what takes long; may be nil.
	Note func(string)
}

// Bounds on the way up and down.
const (
	startTimeout = 90 * time.Second
	stopTimeout  = 10 * time.Second
)

// clusterID is that of every cluster of the stack.
const clusterID = "dmlkZmxvdy1kZXZzdGFjaw"

// Server is the broker. Its methods are safe for concurrent use.
type Server struct {
	cfg Config

	mu        sync.Mutex
	java      string
	classpath string
	running   *process.Process // nil while stopped
}

// New returns a broker that is not started.
func New(cfg Config) *Server {
	if cfg.Note == nil {
		cfg.Note = func(string) {}
	}
	return &Server{cfg: cfg}
}

// Start brings the broker up, with what it held when it was stopped or killed, and returns once it serves every topic.
// It does nothing when it runs.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		select {
		case <-s.running.Done(): // it died by itself
			s.running = nil
		default:
			return nil
		}
	}
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("start Apache Kafka: %w", err)
	}
	return nil
}

func (s *Server) start(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	log, err := os.OpenFile(s.cfg.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	if err := s.format(ctx, log); err != nil {
		return err
	}
	running, err := process.Start(s.command(log, "kafka.Kafka", s.path("server.properties")), process.Options{})
	if err != nil {
		return err
	}
	if err := s.await(ctx, running); err != nil {
		running.Stop(ctx)
		return fmt.Errorf("%w\n%s", err, tail(s.cfg.LogFile))
	}
	s.running = running
	return nil
}

// prepare finds the programs, once, and writes what the broker reads.
func (s *Server) prepare(ctx context.Context) error {
	if s.java == "" {
		found, err := java(ctx)
		if err != nil {
			return err
		}
		dir, err := jars(ctx, s.cfg.Note)
		if err != nil {
			return err
		}
		s.java, s.classpath = found, filepath.Join(dir, "*")
	}
	if err := os.MkdirAll(s.cfg.Dir, 0o755); err != nil {
		return err
	}
	if err := certify(s.path("tls")); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	if err := s.writeTools(); err != nil {
		return err
	}
	return s.configure()
}

// tools are those of Kafka's own that the documents name, with their classes.
var tools = map[string]string{
	"kafka-acls.sh":            "org.apache.kafka.tools.AclCommand",
	"kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-topics.sh":          "org.apache.kafka.tools.TopicCommand",
}

// writeTools puts them into Tools, under the names that Kafka's distribution gives them.
func (s *Server) writeTools() error {
	if err := os.MkdirAll(s.Tools(), 0o755); err != nil {
		return err
	}
	for name, class := range tools {
		var line strings.Builder
		for _, word := range append(s.javaLine(), class) {
			line.WriteString(envfile.Quote(word) + " ")
		}
		script := "#!/bin/sh\nexec " + line.String() + "\"$@\"\n"
		if err := os.WriteFile(filepath.Join(s.Tools(), name), []byte(script), 0o755); err != nil { //nolint:gosec // a program
			return err
		}
	}
	return nil
}

// Tools is a folder with Kafka's own tools, once the broker has been started.
func (s *Server) Tools() string { return s.path("bin") }

// format makes the cluster where there is none, with the users' passwords for SCRAM.
func (s *Server) format(ctx context.Context, log *os.File) error {
	_, err := os.Stat(s.path("data", "meta.properties"))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	args := []string{"format", "-t", clusterID, "-c", s.path("server.properties"), "--standalone"}
	for _, u := range users() {
		for _, mechanism := range mechanisms {
			if mechanism != "PLAIN" {
				args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, u, u.Password()))
			}
		}
	}
	child, err := process.Start(s.command(log, "kafka.tools.StorageTool", args...), process.Options{})
	if err != nil {
		return err
	}
	select {
	case <-child.Done():
	case <-ctx.Done():
		child.Stop(ctx)
		return ctx.Err()
	}
	if err := child.Wait(); err != nil {
		return fmt.Errorf("format the storage: %w\n%s", err, tail(s.cfg.LogFile))
	}
	return nil
}

// command runs a class of Kafka's with little memory: everything shares one small machine.
func (s *Server) command(log *os.File, class string, args ...string) *exec.Cmd {
	line := append(append(s.javaLine(), class), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.cfg.Dir, log, log
	return cmd
}

func (s *Server) javaLine() []string {
	return []string{
		s.java, "-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + s.path("log4j2.properties"), "-cp", s.classpath,
	}
}

// await waits until the broker serves every partition of every topic, and makes what is configured.
func (s *Server) await(ctx context.Context, running *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr(s.cfg.Ports.Plaintext)), kgo.RetryTimeout(time.Second),
		kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	made := false
	for {
		if !made {
			if err = s.make(ctx, admin); err == nil {
				made = true
			}
		}
		if made {
			if err = serves(ctx, admin); err == nil {
				return nil
			}
		}
		select {
		case <-running.Done():
			return fmt.Errorf("it ended: %w", running.Wait())
		case <-ctx.Done():
			return fmt.Errorf("it does not serve: %w", err)
		case <-ticker.C:
		}
	}
}

// make makes topics and permissions where they are missing.
func (s *Server) make(ctx context.Context, admin *kadm.Client) error {
	if len(s.cfg.Topics) > 0 {
		made, err := admin.CreateTopics(ctx, s.cfg.Partitions, 1, nil, s.cfg.Topics...)
		if err != nil {
			return err
		}
		for _, topic := range made.Sorted() {
			if topic.Err != nil && !errors.Is(topic.Err, kerr.TopicAlreadyExists) {
				return fmt.Errorf("make topic %s: %w", topic.Topic, topic.Err)
			}
		}
	}
	return Give(ctx, admin, s.cfg.Grants...)
}

func serves(ctx context.Context, admin *kadm.Client) error {
	metadata, err := admin.Metadata(ctx)
	if err != nil {
		return err
	}
	for _, topic := range metadata.Topics {
		if topic.Err != nil {
			return fmt.Errorf("topic %s: %w", topic.Topic, topic.Err)
		}
		for _, p := range topic.Partitions {
			if p.Err != nil {
				return fmt.Errorf("topic %s, partition %d: %w", topic.Topic, p.Partition, p.Err)
			}
		}
	}
	return nil
}

// Stop shuts the broker down in good order and waits for its end.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.Stop(ctx, process.Step{Signal: syscall.SIGTERM, Wait: stopTimeout})
		s.running = nil
	}
	return nil
}

// Kill ends the broker as a power cut would.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.Stop(context.Background())
		s.running = nil
	}
	return nil
}

// CAFile holds the certificate of the authority that signed the broker's.
func (s *Server) CAFile() string { return s.path("tls", caFile) }

// AnotherCAFile holds the certificate of an authority that signed nothing.
func (s *Server) AnotherCAFile() string { return s.path("tls", strangeFile) }

// Java is a command line that runs a class of Kafka's when the class and its arguments follow: its own tools. It is
// known once the broker has been started.
func (s *Server) Java() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.javaLine()
}

// tail is the end of a log file, for an error.
func tail(path string) string {
	const most = 3000
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(content[max(0, len(content)-most):]))
}
