package starter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// What a zero Config stands for, and what is not configurable.
const (
	defaultAddr            = "0.0.0.0:8000"
	defaultMaxBody         = 64 << 10
	defaultMaxTranscript   = 16 << 20
	defaultBodies          = 32 << 20
	defaultBodyPatience    = 15 * time.Second
	defaultRateWindow      = time.Minute
	defaultShutdownTimeout = 25 * time.Second
	defaultRelayInterval   = 5 * time.Second
	defaultRelayWorkers    = 16
	defaultTerminateAfter  = time.Minute
	defaultHouseInterval   = time.Minute
	defaultLookInterval    = 30 * time.Second
	defaultRetryTimeout    = 5 * time.Second
	defaultPublishTimeout  = 10 * time.Second

	// requestTimeout bounds what a request may take once its headers are read; operations that wait for Kafka or
	// Temporal have bounds of their own within it.
	requestTimeout = 60 * time.Second
	// retryAfterOutage is what a caller is told to wait when a backing service is away.
	retryAfterOutage = 5 * time.Second
)

// Config is what an operator can set. What is zero has its default; ResultTopic and JWTSecret, JWKSURL or both are
// required.
type Config struct {
	// Addr is where the API listens, host:port. Default 0.0.0.0:8000.
	Addr string

	// ResultTopic is the topic of transcription results, to which a transcript that is put in goes. Required.
	ResultTopic string

	// JWTSecret checks the old server's HS256 tokens.
	JWTSecret string
	// JWKSURL is the key set of Supabase Auth, https://….supabase.co/auth/v1/.well-known/jwks.json. The issuer that
	// its tokens must name is the part of the URL before /.well-known/.
	JWKSURL string

	// AllowedOrigins are the origins (https://app.example.com) whose pages may call the API, with the cookie too. The
	// API's own origin always may. "*" lets every page call, but without the cookie.
	AllowedOrigins []string
	// TrustedProxies are the prefixes (10.0.0.0/8) of proxies whose X-Forwarded-For is believed when a caller without
	// a valid token is counted. Empty: the address that the connection comes from counts.
	TrustedProxies []string

	// RateLimit is how many requests a user, or an address without a valid token, may make in RateWindow, counted by
	// each instance for itself. 0: no limit.
	RateLimit int
	// RateWindow defaults to a minute.
	RateWindow time.Duration

	// MaxBodyBytes bounds the body of a request, but for a transcript's. Default 64 KiB.
	MaxBodyBytes int64
	// MaxTranscriptBytes bounds a transcript that is put in. Default 16 MiB; Kafka's own limit may be lower, and then
	// the answer is 413 as well.
	MaxTranscriptBytes int64

	// BodiesBytes bounds the transcripts that are in memory at one time, by their size; one that is larger is there alone.
	// Default 32 MiB.
	BodiesBytes int64
	// BodyPatience is how long a transcript waits for room among them, before its caller is told to come again. Default 15 s.
	BodyPatience time.Duration

	// HideTitles keeps the titles of videos from Temporal.
	HideTitles bool

	// PublishTimeout bounds the wait for Kafka to have a transcript on all replicas. Default 10 s.
	PublishTimeout time.Duration
	// RetryTimeout bounds the wait for the workflow to accept a retry. Default 5 s.
	RetryTimeout time.Duration

	// RelayInterval is how often an idle relay looks for intents of other instances, with some jitter. Default 5 s.
	RelayInterval time.Duration
	// RelayWorkers is how many intents the relay carries out at once. Default 16.
	RelayWorkers int
	// HouseInterval is how often vanished rows are looked for, and what has expired is swept. Default one minute.
	HouseInterval time.Duration
	// TerminateAfter is how long the run of a deleted video has to end by itself. Default one minute.
	TerminateAfter time.Duration

	// LookInterval is how often it is made sure, while somebody listens to events, that they still may, and that nothing
	// was missed: what the API server changes by itself, nobody announces. Default 30 s.
	LookInterval time.Duration

	// ShutdownTimeout bounds how long requests in hand may take to end. Default 25 s.
	ShutdownTimeout time.Duration

	// Metrics is where the starter registers what it counts; nil means nowhere.
	Metrics prometheus.Registerer
	// Traces makes spans of requests and of the relay's work; nil makes none.
	Traces trace.TracerProvider
}

func (c Config) withDefaults() Config {
	setDefault(&c.Addr, defaultAddr)
	setDefault(&c.RateWindow, defaultRateWindow)
	setDefault(&c.MaxBodyBytes, defaultMaxBody)
	setDefault(&c.MaxTranscriptBytes, defaultMaxTranscript)
	setDefault(&c.BodiesBytes, defaultBodies)
	setDefault(&c.BodyPatience, defaultBodyPatience)
	setDefault(&c.PublishTimeout, defaultPublishTimeout)
	setDefault(&c.RetryTimeout, defaultRetryTimeout)
	setDefault(&c.RelayInterval, defaultRelayInterval)
	setDefault(&c.RelayWorkers, defaultRelayWorkers)
	setDefault(&c.HouseInterval, defaultHouseInterval)
	setDefault(&c.LookInterval, defaultLookInterval)
	setDefault(&c.TerminateAfter, defaultTerminateAfter)
	setDefault(&c.ShutdownTimeout, defaultShutdownTimeout)
	return c
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
