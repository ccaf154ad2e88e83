package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
)

// Config is what the environment and the flags say, read and checked. What the commands asked for do not need is left at
// its default, unread.
type Config struct {
	Kafka    Kafka
	Supabase Supabase
	Database Database
	Temporal Temporal
	API      API
	Pipeline Pipeline
	Traces   Traces
	Process  Process

	redactor Redactor
}

// Kafka says how brokers are reached, and which topics and groups are used.
type Kafka struct {
	Brokers  []string // host:port
	ClientID string

	Username      string // SASL is on when there is one
	Password      Secret
	SASLMechanism string // plain, scram-sha-256 or scram-sha-512

	SSL                bool
	SSLCAFile          string // PEM bundle; empty: the system's
	RejectUnauthorized bool   // check the brokers' certificates

	ProduceTopic     string
	ConsumeTopic     string
	CompressionTopic string

	TranscriptionGroup string
	CompressionGroup   string
	DeadLetterGroup    string
	StartOffset        string // earliest or latest, for a group without a committed offset

	ConnectionTimeout time.Duration
	RequestTimeout    time.Duration
	Retries           int
	InitialRetryTime  time.Duration
}

// Supabase says where transcripts are stored.
type Supabase struct {
	URL        string // without a slash at its end
	ServiceKey Secret
	Timeout    time.Duration // of one request
}

// Database says where Postgres is.
type Database struct {
	URL Secret
	// ListenURL leads to the same database without a transaction pooler; empty where there is no such way.
	ListenURL Secret
}

// Temporal is what the SDK's own environment configuration made of TEMPORAL_*.
type Temporal struct {
	// Configured reports whether any of the variables is set.
	Configured bool
	// Address and Namespace are those of Options, with the SDK's defaults filled in: for messages.
	Address   string
	Namespace string
	// DeploymentName and BuildID are the worker's version; without a name it has none. BuildID may be empty with a name.
	DeploymentName, BuildID string
	// Titles says that Temporal may learn the titles of videos.
	Titles bool

	options client.Options
}

// Options are for the client, ready but for a logger.
func (t Temporal) Options() client.Options { return t.options }

// API is the HTTP API's part.
type API struct {
	Host string
	Port int

	JWTSecret Secret
	JWKSURL   string

	AllowedOrigins []string
	TrustedProxies []string

	RateLimit          int // requests a minute; 0: no limit
	MaxBodyBytes       int
	MaxTranscriptBytes int
}

// Pipeline holds the times and limits of the workflow.
type Pipeline struct {
	AskAgainAfter           time.Duration
	MaxAsks                 int
	CompressionOverdueAfter time.Duration
	CompressionGiveUpAfter  time.Duration // after it became overdue
	UnknownGrace            time.Duration
}

// Traces is what OpenTelemetry's standard variables say of traces. A variable for traces alone wins over the general one.
type Traces struct {
	Disabled bool
	Exporter string // otlp, none, or empty

	Endpoint, TracesEndpoint string // URLs
	Protocol, TracesProtocol string // grpc or http/protobuf
	Headers, TracesHeaders   map[string]Secret
	CAFile                   string // PEM bundle; empty: the system's
	CertificateFile, KeyFile string // of the client; empty: none

	ServiceName string // empty: made of the processes' names
	Attributes  map[string]string
	Sampler     string
	SamplerArg  float64
}

// On reports whether traces are asked for.
func (t Traces) On() bool {
	return !t.Disabled && t.Exporter != "none" && (t.Exporter != "" || t.Endpoint != "" || t.TracesEndpoint != "")
}

// Process is what every command has.
type Process struct {
	OpsAddr         string // host:port
	PPROF           bool
	ShutdownTimeout time.Duration

	LogLevel  slog.Level
	LogFormat string // auto, text or json
	LogDir    string // empty: no files
}

// Load reads the variables that the commands need: a flag first, then the environment, then the default. Both maps go by
// the name of the variable, and an empty text counts as none. The error is a *ProblemsError and names every variable
// that is missing or wrong.
//
// The Config is returned with the error too, as far as it could be read: its Redactor cleans what is said about it.
func Load(commands []Command, flags, env map[string]string) (*Config, error) {
	c := new(Config)
	s := source{flags: flags, env: env}
	var problems []Problem
	var secrets []string

	for _, v := range c.variables() {
		raw, set := s.lookup(v.Name)
		if v.Secret {
			if set {
				secrets = append(secrets, strings.TrimSpace(raw))
			}
		} else {
			raw = strings.TrimSpace(raw) // files that variables come from end with a line break
		}
		if !v.NeededBy(commands) {
			if flags[v.Name] != "" {
				problems = append(problems, Problem{v.Name, "is given as a flag, but " + join(commands) + " has no use for it"})
			}
			raw, set = "", false
		}
		switch {
		case set:
			if err := v.value.set(raw); err != nil {
				problems = append(problems, wrong(v, raw, err))
			}
		case v.Default != "":
			if err := v.value.set(v.Default); err != nil {
				panic(fmt.Sprintf("default of %s: %v", v.Name, err)) // TestVariables sees every default
			}
		case v.Required && v.NeededBy(commands):
			problems = append(problems, Problem{v.Name, "is not set; want " + v.want()})
		}
	}
	for _, headers := range []map[string]Secret{c.Traces.Headers, c.Traces.TracesHeaders} {
		for _, header := range headers {
			secrets = append(secrets, header.Reveal())
		}
	}
	if password := passwordOf(c.Database.URL); password != "" {
		secrets = append(secrets, password)
	}
	problems = append(problems, c.together(commands)...)
	if slices.ContainsFunc(commands, func(command Command) bool { return slices.Contains(temporalClients, command) }) {
		temporalSecrets, temporalProblems := c.loadTemporal(s)
		secrets = append(secrets, temporalSecrets...)
		problems = append(problems, temporalProblems...)
	}

	c.Process.OpsAddr = cmp.Or(c.Process.OpsAddr, opsAddr(commands))
	c.redactor = newRedactor(secrets)
	if len(problems) > 0 {
		for i := range problems {
			problems[i].Text = c.redactor.Redact(problems[i].Text)
		}
		return c, &ProblemsError{Commands: commands, Problems: problems}
	}
	return c, nil
}

// Redactor takes this configuration's secrets out of texts.
func (c *Config) Redactor() Redactor { return c.redactor }

// together checks what no variable can be checked for alone.
func (c *Config) together(commands []Command) []Problem {
	var problems []Problem
	if c.Kafka.Username != "" && c.Kafka.Password.Empty() {
		problems = append(problems, Problem{"KAFKA_PASSWORD", "is not set, but KAFKA_USERNAME is; want its password"})
	}
	if c.Kafka.Username == "" && !c.Kafka.Password.Empty() {
		problems = append(problems, Problem{"KAFKA_USERNAME", "is not set, but KAFKA_PASSWORD is; want its user"})
	}
	if c.Temporal.DeploymentName == "" && c.Temporal.BuildID != "" {
		problems = append(problems, Problem{
			"TEMPORAL_DEPLOYMENT_NAME", "is not set, but TEMPORAL_WORKER_BUILD_ID is; want the deployment that the build belongs to, or neither",
		})
	}
	if (c.Traces.CertificateFile == "") != (c.Traces.KeyFile == "") {
		problems = append(problems, Problem{
			"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY", "are not both set; want both or none",
		})
	}
	if slices.Contains(commands, Starter) && c.API.JWTSecret.Empty() && c.API.JWKSURL == "" {
		problems = append(problems, Problem{
			"JWT_SECRET or JWKS_URL",
			"is not set; want the secret that signs the API server's tokens, or the key set of Supabase Auth, or both",
		})
	}
	return problems
}

// wrong says what is wrong with a variable's value, and quotes it only where it is no secret.
func wrong(v Variable, raw string, err error) Problem {
	is := "is wrong"
	if !v.Secret {
		is = fmt.Sprintf("is %q", clip(maskLogin(raw)))
	}
	if !errors.Is(err, errUnspecific) {
		is += " (" + err.Error() + ")"
	}
	return Problem{v.Name, is + "; want " + v.want()}
}

// maskLogin hides what stands before an @: people write logins where none belongs.
func maskLogin(s string) string {
	at := strings.LastIndex(s, "@")
	if at < 0 {
		return s
	}
	from := 0
	if slashes := strings.Index(s[:at], "//"); slashes >= 0 {
		from = slashes + len("//")
	}
	return s[:from] + redacted + s[at:]
}

func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// passwordOf finds the password in a connection URL: it must not be shown alone either.
func passwordOf(connection Secret) string {
	u, err := url.Parse(connection.Reveal())
	if err != nil || u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// source is where the texts come from.
type source struct{ flags, env map[string]string }

// lookup returns the text of a variable that is set and not empty; blanks alone are empty.
func (s source) lookup(name string) (string, bool) {
	for _, text := range []string{s.flags[name], s.env[name]} {
		if strings.TrimSpace(text) != "" {
			return text, true
		}
	}
	return "", false
}

// Environment is the environment of this process, by name.
func Environment() map[string]string {
	env := make(map[string]string)
	for _, entry := range os.Environ() {
		if name, text, ok := strings.Cut(entry, "="); ok {
			env[name] = text
		}
	}
	return env
}

func join(commands []Command) string {
	words := make([]string, len(commands))
	for i, c := range commands {
		words[i] = string(c)
	}
	return strings.Join(words, " ")
}
