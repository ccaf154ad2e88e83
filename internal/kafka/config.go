package kafka

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// Names of the SASL mechanisms, as KAFKA_SASL_MECHANISM has them.
const (
	MechanismPlain       = "plain"
	MechanismScramSHA256 = "scram-sha-256"
	MechanismScramSHA512 = "scram-sha-512"
)

// Defaults of the contract. A zero value in Config means them.
const (
	DefaultClientID          = "codeendelea-api-server"
	DefaultMechanism         = MechanismScramSHA256
	DefaultConnectionTimeout = 10 * time.Second
	DefaultRequestTimeout    = 30 * time.Second
	DefaultRetries           = 8
	DefaultInitialRetryTime  = 100 * time.Millisecond
)

// Config says how to reach the brokers. Only Brokers is required; print it freely, the password is not shown.
type Config struct {
	// Brokers are addresses, host:port.
	Brokers  []string
	ClientID string

	// TLS to the brokers.
	TLS bool
	// CAFile is a PEM bundle to trust instead of the system's; empty means the system's.
	CAFile string
	// AcceptAnyCertificate switches off the check of the brokers' certificates
	// (KAFKA_SSL_REJECT_UNAUTHORIZED=false). Whoever sits in between then reads the password.
	AcceptAnyCertificate bool

	// Username switches SASL on.
	Username  string
	Password  string
	Mechanism string

	// ConnectionTimeout is the longest that a dial with its TLS handshake may take.
	ConnectionTimeout time.Duration
	// RequestTimeout is the longest wait for one response; a request with its retries may take twice that. The
	// smallest is 100ms.
	RequestTimeout time.Duration
	// Retries is how often a failed request is sent again; negative means never, zero the default.
	Retries int
	// InitialRetryTime is the pause before the first retry; each further one doubles, up to maxRetryTime.
	InitialRetryTime time.Duration

	// Metrics is where each client registers what it counts, with its role as the label client; nil means nowhere.
	Metrics prometheus.Registerer
	// Traces makes spans of what is published and read, and writes them into the records; nil makes none.
	Traces trace.TracerProvider
}

// withDefaults fills what is not set.
func (c Config) withDefaults() Config {
	setDefault(&c.ClientID, DefaultClientID)
	setDefault(&c.Mechanism, DefaultMechanism)
	setDefault(&c.ConnectionTimeout, DefaultConnectionTimeout)
	setDefault(&c.RequestTimeout, DefaultRequestTimeout)
	setDefault(&c.Retries, DefaultRetries)
	setDefault(&c.InitialRetryTime, DefaultInitialRetryTime)
	c.Mechanism = strings.ToLower(c.Mechanism)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// String leaves the password out.
func (c Config) String() string {
	login := "none"
	if c.Username != "" {
		login = c.Username + " by " + c.withDefaults().Mechanism
	}
	return fmt.Sprintf("brokers %s, client id %s, TLS %t, login %s", strings.Join(c.Brokers, ","), c.ClientID, c.TLS, login)
}

// GoString leaves the password out too.
func (c Config) GoString() string { return "kafka.Config{" + c.String() + "}" }

// LogValue leaves the password out too.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("brokers", strings.Join(c.Brokers, ",")),
		slog.String("client_id", c.ClientID),
		slog.Bool("tls", c.TLS),
		slog.String("ca_file", c.CAFile),
		slog.Bool("accept_any_certificate", c.AcceptAnyCertificate),
		slog.String("username", c.Username),
	)
}

// MarshalText keeps the password out of JSON and other encodings.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
