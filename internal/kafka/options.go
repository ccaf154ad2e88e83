package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const (
	// maxRetryTime bounds the pause between two tries of a request.
	maxRetryTime = 5 * time.Second
	// sessionTimeout is the time after which the brokers take a silent member out of its group; the requests that a
	// group lives by are retried for as long.
	sessionTimeout = 45 * time.Second
	// clientMaxBytes is the largest record, uncompressed, that the client lets through to the broker, which has the
	// say: its own limit is usually smaller.
	clientMaxBytes = 16 << 20
)

// Options returns what every client of vidflow has in common: addresses, TLS, login, time-outs and retries of the
// configuration, and hooks that log connects, disconnects and refusals. The role ("bridge/transcription", "producer")
// tells clients apart in the log. A file that cannot be read or a mechanism that does not exist is a SetupError.
func Options(cfg Config, log *slog.Logger, role string) ([]kgo.Opt, error) {
	cfg = cfg.withDefaults()
	if len(cfg.Brokers) == 0 {
		return nil, setupError("no Kafka broker is configured: set KAFKA_BROKERS to host:port", nil)
	}
	log = log.With("client", role)
	alive, giveUp := context.WithCancel(context.Background())
	connections := newConnections(log, giveUp)
	opts := []kgo.Opt{
		kgo.WithContext(alive),
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(cfg.ClientID),
		kgo.SoftwareNameAndVersion("vidflow", "v1"),
		kgo.DialTimeout(cfg.ConnectionTimeout),
		kgo.RequestTimeoutOverhead(max(cfg.RequestTimeout, 100*time.Millisecond)),
		kgo.RequestRetries(max(cfg.Retries, 0)),
		kgo.RetryTimeoutFn(retryTimeout(cfg.RequestTimeout)),
		kgo.RetryBackoffFn(backoff(cfg.InitialRetryTime)),
		kgo.WithLogger(newClientLog(log, connections)),
		kgo.WithHooks(connections),
		// Metrics of the client are no business of the broker's.
		kgo.DisableClientMetrics(),
	}
	if cfg.TLS {
		conf, err := tlsConfig(cfg)
		if err != nil {
			return nil, err
		}
		if cfg.AcceptAnyCertificate {
			log.Warn("Kafka certificates are not checked: whoever sits in between can read and change everything, "+
				"passwords too; set KAFKA_SSL_CA_FILE and remove KAFKA_SSL_REJECT_UNAUTHORIZED=false", "brokers", cfg.Brokers)
		}
		opts = append(opts, kgo.DialTLSConfig(conf))
	}
	if cfg.Username != "" {
		mechanism, err := mechanism(cfg)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// NewClient is a client with Options, metrics and more; it does not connect yet. Of the clients that are open at one time
// and have the same Config.Metrics, each needs a role of its own.
func NewClient(cfg Config, log *slog.Logger, role string, more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := Options(cfg, log, role)
	if err != nil {
		return nil, err
	}
	var metrics *clientMetrics
	if cfg.Metrics != nil {
		metrics = newClientMetrics(cfg.Metrics, role)
		opts = append(opts, kgo.WithHooks(metrics))
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, setupError("the Kafka client refuses its configuration", err)
	}
	if metrics != nil {
		if err := metrics.register(role); err != nil {
			cl.Close()
			return nil, err
		}
	}
	return cl, nil
}

// Leave leaves the consumer group of a client that NewClient made, within a time, and closes the client. The error says
// that the group was not left. A client that is just joining waits, for as long as the group waits for a member that is
// gone; then it is given up.
func Leave(cl *kgo.Client, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := cl.LeaveGroupContext(ctx)
	if c := connectionsOf(cl); err != nil && c != nil {
		c.giveUp()
	}
	cl.Close()
	return err
}

func tlsConfig(cfg Config) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.AcceptAnyCertificate {
		conf.InsecureSkipVerify = true // asked for by KAFKA_SSL_REJECT_UNAUTHORIZED=false, and said loudly
	}
	if cfg.CAFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return nil, setupError("the file of KAFKA_SSL_CA_FILE cannot be read", err)
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, setupError(fmt.Sprintf("the file of KAFKA_SSL_CA_FILE, %s, holds no PEM certificate", cfg.CAFile), nil)
	}
	return conf, nil
}

func mechanism(cfg Config) (sasl.Mechanism, error) {
	if cfg.Password == "" {
		return nil, setupError("KAFKA_USERNAME is set and KAFKA_PASSWORD is not", nil)
	}
	switch cfg.Mechanism {
	case MechanismPlain:
		return plain.Auth{User: cfg.Username, Pass: cfg.Password}.AsMechanism(), nil
	case MechanismScramSHA256:
		return scram.Auth{User: cfg.Username, Pass: cfg.Password}.AsSha256Mechanism(), nil
	case MechanismScramSHA512:
		return scram.Auth{User: cfg.Username, Pass: cfg.Password}.AsSha512Mechanism(), nil
	default:
		return nil, setupError(fmt.Sprintf("KAFKA_SASL_MECHANISM is %q", cfg.Mechanism),
			errors.New("there are plain, scram-sha-256 and scram-sha-512"))
	}
}

// retryTimeout bounds a request together with its retries.
func retryTimeout(request time.Duration) func(int16) time.Duration {
	return func(key int16) time.Duration {
		switch kmsg.Key(key) {
		case kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat:
			return sessionTimeout
		default:
			return 2 * request
		}
	}
}

// backoff doubles from the initial pause, with a fifth of jitter either way so that instances do not march in step.
func backoff(initial time.Duration) func(int) time.Duration {
	return func(failures int) time.Duration {
		pause := min(initial<<min(max(failures-1, 0), 16), maxRetryTime)
		return time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))
	}
}
