package config

import (
	"slices"
	"strings"
)

// Groups of variables, as --help and the documents show them, in this order.
const (
	groupKafka    = "Kafka"
	groupStorage  = "Storage"
	groupDatabase = "Database"
	groupTemporal = "Temporal"
	groupAPI      = "API"
	groupPipeline = "Pipeline"
	groupTraces   = "Traces"
	groupProcess  = "Process"
)

// Variable is one environment variable. There is a flag for each.
type Variable struct {
	Name  string
	Group string
	// Meaning says what it does, in a few words without a full stop at the end. It may be long.
	Meaning string
	// Default is what an unset or empty variable counts as; empty when there is none.
	Default string
	// Example is a value that .env.example has where there is no default.
	Example string
	// Commands are those that read it.
	Commands []Command
	// Required says that those commands do not start without it.
	Required bool
	// Secret says that its value is never shown.
	Secret bool

	value value
}

// Flag is the name of the variable's flag, without the dashes before it.
func (v Variable) Flag() string { return strings.ToLower(strings.ReplaceAll(v.Name, "_", "-")) }

// Words are all values that there are to choose from; none where there are more than a few.
func (v Variable) Words() []string { return v.value.words }

// NeededBy reports whether any of the commands reads the variable.
func (v Variable) NeededBy(commands []Command) bool {
	return slices.ContainsFunc(v.Commands, func(c Command) bool { return slices.Contains(commands, c) })
}

// want says what a right value looks like.
func (v Variable) want() string {
	if v.Example != "" && !v.Secret {
		return v.value.want + ", such as " + v.Example
	}
	return v.value.want
}

// Variables is every variable that vidflow reads, in the order of the documents.
func Variables() []Variable { return new(Config).variables() }

// variables is the declaration: each variable and the field of c that it is read into. A default that the packages have
// too is repeated here, because here people read it; TestDefaults in cmd/vidflow holds the two together.
func (c *Config) variables() []Variable {
	return slices.Concat(
		c.Kafka.variables(),
		c.Supabase.variables(),
		c.Database.variables(),
		c.Temporal.variables(),
		c.API.variables(),
		c.Pipeline.variables(),
		c.Traces.variables(),
		c.Process.variables(),
	)
}

func (k *Kafka) variables() []Variable {
	return inGroup(groupKafka, kafkaClients, []Variable{
		{
			Name: "KAFKA_BROKERS", Required: true, Example: "localhost:9092", value: hostPorts(&k.Brokers),
			Meaning: "brokers to connect to first, host:port, separated by commas",
		},
		{
			Name: "KAFKA_CLIENT_ID", Default: "codeendelea-api-server", value: text(&k.ClientID, "a name"),
			Meaning: "name of this client in the brokers' logs and quotas",
		},
		{
			Name: "KAFKA_USERNAME", value: text(&k.Username, "a user"),
			Meaning: "user; SASL is on when it is set",
		},
		{
			Name: "KAFKA_PASSWORD", Secret: true, value: secret(&k.Password, "the user's password"),
			Meaning: "the user's password",
		},
		{
			Name: "KAFKA_SASL_MECHANISM", Default: "scram-sha-256",
			value:   oneOf(&k.SASLMechanism, "plain", "scram-sha-256", "scram-sha-512"),
			Meaning: "mechanism of the login: plain, scram-sha-256 or scram-sha-512",
		},
		{
			Name: "KAFKA_SSL", Default: "true", value: boolean(&k.SSL),
			Meaning: "TLS to the brokers",
		},
		{
			Name: "KAFKA_SSL_CA_FILE", value: pemFile(&k.SSLCAFile),
			Meaning: "PEM bundle to trust, as managed services hand one out; the system's when unset",
		},
		{
			Name: "KAFKA_SSL_REJECT_UNAUTHORIZED", Default: "true", value: boolean(&k.RejectUnauthorized),
			Meaning: "check the brokers' certificates; false accepts any, and whoever sits in between then reads the password",
		},
		{
			Name: "KAFKA_PRODUCE_TOPIC", Default: "Transcribe", Commands: []Command{Worker, KafkaTools},
			value:   topic(&k.ProduceTopic),
			Meaning: "topic of the transcription requests",
		},
		{
			Name: "KAFKA_CONSUME_TOPIC", Default: "update_transcribe", value: topic(&k.ConsumeTopic),
			Meaning: "topic of the transcription results; the API puts transcripts into it",
		},
		{
			Name: "KAFKA_COMPRESSION_TOPIC", Default: "finish_compress", Commands: []Command{Starter, KafkaBridge, DeadLetters, KafkaTools, Status},
			value:   topic(&k.CompressionTopic),
			Meaning: "topic of the compression results; the API watches its dead letters",
		},
		{
			Name: "KAFKA_TRANSCRIPTION_GROUP", Default: "codeendelea-transcription-consumer",
			Commands: []Command{KafkaBridge, KafkaTools, Status},
			value:    text(&k.TranscriptionGroup, "a consumer group"),
			Meaning:  "consumer group for transcription results; its committed offsets are taken over",
		},
		{
			Name: "KAFKA_COMPRESSION_GROUP", Default: "codeendelea-compression-consumer",
			Commands: []Command{KafkaBridge, KafkaTools, Status},
			value:    text(&k.CompressionGroup, "a consumer group"),
			Meaning:  "consumer group for compression results; its committed offsets are taken over",
		},
		{
			Name: "KAFKA_DEAD_LETTER_GROUP", Default: "vidflow-dead-letters", Commands: []Command{Starter, KafkaTools, Status},
			value:   text(&k.DeadLetterGroup, "a consumer group"),
			Meaning: "consumer group in which the API reads the dead-letter topics, to say that a video has some",
		},
		{
			Name: "KAFKA_START_OFFSET", Default: "earliest", Commands: bridge,
			value:   oneOf(&k.StartOffset, "earliest", "latest"),
			Meaning: "where a group without a committed offset starts: earliest or latest",
		},
		{
			Name: "KAFKA_CONNECTION_TIMEOUT", Default: "10000", value: milliseconds(&k.ConnectionTimeout),
			Meaning: "longest dial, TLS included; milliseconds, or a duration such as 10s",
		},
		{
			Name: "KAFKA_REQUEST_TIMEOUT", Default: "30000", value: milliseconds(&k.RequestTimeout),
			Meaning: "longest wait for a response; milliseconds, or a duration such as 30s",
		},
		{
			Name: "KAFKA_RETRIES", Default: "8", value: integer(&k.Retries, 0, 1000),
			Meaning: "how often a failed request is sent again",
		},
		{
			Name: "KAFKA_INITIAL_RETRY_TIME", Default: "100", value: milliseconds(&k.InitialRetryTime),
			Meaning: "pause before the first retry, doubled for each further one; milliseconds, or a duration",
		},
	})
}

func (s *Supabase) variables() []Variable {
	return inGroup(groupStorage, []Command{Worker, Starter, Status}, []Variable{
		{
			Name: "SUPABASE_URL", Required: true, value: baseURL(&s.URL, "https://project.supabase.co"),
			Meaning: "the Supabase project; transcripts go into its bucket captions",
		},
		{
			Name: "SUPABASE_SERVICE_KEY", Required: true, Secret: true, value: serviceKey(&s.ServiceKey),
			Meaning: "key that may write to the bucket: a legacy service_role JWT or a new sb_secret_… key",
		},
		{
			Name: "STORAGE_TIMEOUT", Default: "20s", value: duration(&s.Timeout),
			Meaning: "longest time for one request to the storage, the body included",
		},
	})
}

func (d *Database) variables() []Variable {
	return inGroup(groupDatabase, []Command{Worker, Starter, Migrate, Status, Adopt}, []Variable{
		{
			Name: "DATABASE_URL", Required: true, Secret: true, value: postgresURL(&d.URL),
			Example: "postgres://vidflow:change-me@localhost:5432/postgres",
			Meaning: "Postgres, directly or behind a transaction pooler; the role of vidflow migrate --print-role-sql, but for " +
				"migrate, which needs the owner of the tables",
		},
		{
			Name: "DATABASE_LISTEN_URL", Secret: true, Commands: starter, value: postgresURL(&d.ListenURL),
			Meaning: "the same database and login without a transaction pooler, to be told of changes by notifications; when " +
				"unset they are polled, each second while a stream of events is open",
		},
	})
}

// variables of Temporal are read by the SDK, see loadTemporal; here they are declared, and checked where the SDK would
// silently pass over a mistake.
func (t *Temporal) variables() []Variable {
	var s string
	var secretText Secret
	var b bool
	return inGroup(groupTemporal, temporalClients, []Variable{
		{
			Name: "TEMPORAL_ADDRESS", Example: "localhost:7233", value: text(&s, "host:port"),
			Meaning: "host:port of the frontend; localhost:7233 when unset",
		},
		{
			Name: "TEMPORAL_NAMESPACE", Example: "default", value: text(&s, "a namespace"),
			Meaning: "namespace, which must exist; default when unset",
		},
		{
			Name: "TEMPORAL_API_KEY", Secret: true, value: secret(&secretText, "an API key"),
			Meaning: "API key, for Temporal Cloud; switches TLS on",
		},
		{
			Name: "TEMPORAL_TLS", value: boolean(&b),
			Meaning: "TLS to the frontend; on when an API key or any of the following is set",
		},
		{
			Name: "TEMPORAL_TLS_CLIENT_CERT_PATH", value: pemFile(&s),
			Meaning: "PEM file of the client's certificate",
		},
		{
			Name: "TEMPORAL_TLS_CLIENT_CERT_DATA", value: text(&s, "a PEM certificate"),
			Meaning: "the client's certificate itself, in PEM",
		},
		{
			Name: "TEMPORAL_TLS_CLIENT_KEY_PATH", value: pemFile(&s),
			Meaning: "PEM file of the client's key",
		},
		{
			Name: "TEMPORAL_TLS_CLIENT_KEY_DATA", Secret: true, value: secret(&secretText, "a PEM key"),
			Meaning: "the client's key itself, in PEM",
		},
		{
			Name: "TEMPORAL_TLS_SERVER_CA_CERT_PATH", value: pemFile(&s),
			Meaning: "PEM file of the authority to trust",
		},
		{
			Name: "TEMPORAL_TLS_SERVER_CA_CERT_DATA", value: text(&s, "a PEM certificate"),
			Meaning: "the authority to trust itself, in PEM",
		},
		{
			Name: "TEMPORAL_TLS_SERVER_NAME", value: text(&s, "a host name"),
			Meaning: "name to expect in the server's certificate",
		},
		{
			Name: "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION", value: boolean(&b),
			Meaning: "true accepts any certificate",
		},
		{
			Name: "TEMPORAL_CLIENT_AUTHORITY", value: text(&s, "a host name"),
			Meaning: "authority to send instead of the address's host",
		},
		{
			Name: "TEMPORAL_CONFIG_FILE", value: text(&s, "the path of a TOML file"),
			Meaning: "TOML file with profiles; the Temporal CLI's own when unset",
		},
		{
			Name: "TEMPORAL_PROFILE", value: text(&s, "a profile of the file"),
			Meaning: "profile of that file; default when unset",
		},
		{
			Name: "TEMPORAL_DEPLOYMENT_NAME", Commands: worker, Example: "vidflow", value: deploymentName(&t.DeploymentName),
			Meaning: "Worker Versioning: name of the deployment that the worker belongs to; Temporal's worker controller sets it; " +
				"the worker is unversioned when unset",
		},
		{
			Name: "TEMPORAL_WORKER_BUILD_ID", Commands: worker, value: buildID(&t.BuildID),
			Meaning: "its version in that deployment, another for each workflow that is rolled out; when unset the binary's own: its " +
				"version, else the first letters of its revision",
		},
		{
			Name: "TITLES_IN_TEMPORAL", Default: "true", Commands: []Command{Worker, Starter, Adopt}, value: boolean(&t.Titles),
			Meaning: "tell Temporal the titles of videos, for its UI; false leaves them out of new runs, and the recordings' addresses with them",
		},
	})
}

func (a *API) variables() []Variable {
	return inGroup(groupAPI, starter, []Variable{
		{
			Name: "JWT_SECRET", Secret: true, value: secret(&a.JWTSecret, "the secret"),
			Meaning: "secret of the API server's HS256 tokens; this or JWKS_URL is required",
		},
		{
			Name: "JWKS_URL", value: keySetURL(&a.JWKSURL),
			Meaning: "key set of Supabase Auth, https://project.supabase.co/auth/v1/.well-known/jwks.json",
		},
		{
			Name: "HOST", Default: "0.0.0.0", value: text(&a.Host, "an address"),
			Meaning: "address that the API listens at",
		},
		{
			Name: "PORT", Default: "8000", value: integer(&a.Port, 1, 65535),
			Meaning: "port of the API",
		},
		{
			Name: "ALLOWED_ORIGINS", value: origins(&a.AllowedOrigins),
			Meaning: "origins whose pages may call the API (CORS), separated by commas; * lets every page call, without the cookie",
		},
		{
			Name: "TRUSTED_PROXIES", value: prefixes(&a.TrustedProxies),
			Meaning: "networks of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8, separated by commas",
		},
		{
			Name: "RATE_LIMIT", Default: "600", value: integer(&a.RateLimit, 0, 1_000_000),
			Meaning: "requests a minute of one user, or of one address without a valid token, for each instance; 0 is no limit",
		},
		{
			Name: "MAX_BODY_BYTES", Default: "65536", value: integer(&a.MaxBodyBytes, 1024, 1<<30),
			Meaning: "largest body of a request, but for a transcript's",
		},
		{
			Name: "MAX_TRANSCRIPT_BYTES", Default: "16777216", value: integer(&a.MaxTranscriptBytes, 1024, 1<<30),
			Meaning: "largest transcript that can be put in; the limit of Kafka's topic may be lower",
		},
	})
}

func (p *Pipeline) variables() []Variable {
	return inGroup(groupPipeline, []Command{Worker, Status}, []Variable{
		{
			Name: "TRANSCRIPTION_ASK_AGAIN_AFTER", Default: "6h", value: duration(&p.AskAgainAfter),
			Meaning: "how long to wait for a transcription before it is asked for again",
		},
		{
			Name: "TRANSCRIPTION_MAX_ASKS", Default: "3", value: integer(&p.MaxAsks, 1, 1000),
			Meaning: "how often it is asked for before it is given up",
		},
		{
			Name: "COMPRESSION_OVERDUE_AFTER", Default: "24h", value: duration(&p.CompressionOverdueAfter),
			Meaning: "how long to wait for a compression before it counts as overdue",
		},
		{
			Name: "COMPRESSION_GIVE_UP_AFTER", Default: "24h", value: duration(&p.CompressionGiveUpAfter),
			Meaning: "how much longer until it is given up",
		},
		{
			Name: "UNKNOWN_VIDEO_GRACE", Default: "10m", Commands: worker, value: duration(&p.UnknownGrace),
			Meaning: "how long the result of a video that is not there waits for its row",
		},
	})
}

// variables of OpenTelemetry are the standard's, with its defaults. What it has beside them, such as OTEL_BSP_*, is read by
// the SDK alone.
func (t *Traces) variables() []Variable {
	return inGroup(groupTraces, Processes, []Variable{
		{
			Name: "OTEL_EXPORTER_OTLP_ENDPOINT", value: baseURL(&t.Endpoint, "http://localhost:4318"), Example: "http://localhost:4318",
			Meaning: "collector of OpenTelemetry to send traces to; there are none when neither this nor OTEL_TRACES_EXPORTER is set",
		},
		{
			Name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value: baseURL(&t.TracesEndpoint, "http://localhost:4318/v1/traces"),
			Meaning: "the same, the whole path included",
		},
		{
			Name: "OTEL_EXPORTER_OTLP_PROTOCOL", Default: "http/protobuf", value: oneOf(&t.Protocol, "http/protobuf", "grpc"),
			Meaning: "how the collector is spoken to: http/protobuf or grpc",
		},
		{
			Name: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", value: oneOf(&t.TracesProtocol, "http/protobuf", "grpc"),
			Meaning: "the same, for traces alone",
		},
		{
			Name: "OTEL_EXPORTER_OTLP_HEADERS", Secret: true, value: secretPairs(&t.Headers),
			Meaning: "headers of each request to the collector, such as a key: name=value, separated by commas",
		},
		{
			Name: "OTEL_EXPORTER_OTLP_TRACES_HEADERS", Secret: true, value: secretPairs(&t.TracesHeaders),
			Meaning: "the same, for traces alone",
		},
		{
			Name: "OTEL_EXPORTER_OTLP_CERTIFICATE", value: pemFile(&t.CAFile),
			Meaning: "PEM bundle to trust the collector by; the system's when unset",
		},
		{
			Name: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", value: pemFile(&t.CertificateFile),
			Meaning: "PEM file of this client's certificate, for a collector that asks for one",
		},
		{
			Name: "OTEL_EXPORTER_OTLP_CLIENT_KEY", value: pemFile(&t.KeyFile),
			Meaning: "PEM file of its key",
		},
		{
			Name: "OTEL_TRACES_EXPORTER", value: oneOf(&t.Exporter, "otlp", "none"),
			Meaning: "where traces go: otlp, also without an endpoint, to this machine then; or none",
		},
		{
			Name: "OTEL_SDK_DISABLED", Default: "false", value: boolean(&t.Disabled),
			Meaning: "send no traces, whatever else is set",
		},
		{
			Name: "OTEL_TRACES_SAMPLER", Default: "parentbased_always_on",
			value: oneOf(&t.Sampler, "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
				"always_on", "always_off", "traceidratio"),
			Meaning: "which traces are kept, decided when they begin; parentbased_traceidratio keeps a part of them",
		},
		{
			Name: "OTEL_TRACES_SAMPLER_ARG", Default: "1", value: ratio(&t.SamplerArg),
			Meaning: "the part that a sampler with traceidratio keeps, from 0 to 1",
		},
		{
			Name: "OTEL_SERVICE_NAME", value: text(&t.ServiceName, "a name"),
			Meaning: "name of the service in its spans; vidflow-worker, vidflow-starter or vidflow-kafkabridge when unset, vidflow for " +
				"several in one process",
		},
		{
			Name: "OTEL_RESOURCE_ATTRIBUTES", value: pairs(&t.Attributes), Example: "deployment.environment.name=production",
			Meaning: "what else is said of the service in its spans: name=value, separated by commas",
		},
	})
}

func (p *Process) variables() []Variable {
	return inGroup(groupProcess, everyone, []Variable{
		{
			Name: "OPS_ADDR", Commands: Processes, Example: "127.0.0.1:9101", value: listenAddr(&p.OpsAddr),
			Meaning: "address of /healthz, /readyz and /metrics; when unset 127.0.0.1 and port 9101 (worker), 9102 (starter) or " +
				"9103 (kafkabridge), of several in one process the starter's, else the first of these",
		},
		{
			Name: "PPROF", Default: "false", Commands: Processes, value: boolean(&p.PPROF),
			Meaning: "serve profiles under /debug/pprof/ of OPS_ADDR",
		},
		{
			Name: "SHUTDOWN_TIMEOUT", Default: "25s", Commands: Processes, value: duration(&p.ShutdownTimeout),
			Meaning: "how long the work in hand may take after SIGINT or SIGTERM",
		},
		{
			Name: "LOG_LEVEL", Default: "info", value: logLevel(&p.LogLevel),
			Meaning: "least that is logged: debug, info, warn or error",
		},
		{
			Name: "LOG_FORMAT", Default: "auto", value: oneOf(&p.LogFormat, "auto", "text", "json"),
			Meaning: "format of the console: auto (text on a terminal, else JSON), text or json",
		},
		{
			Name: "LOG_DIR", Commands: Commands, value: text(&p.LogDir, "a directory"), Example: "logs",
			Meaning: "directory, of this process alone, for combined.log and, errors alone, error.log: JSON, rotated; none when unset",
		},
	})
}

// inGroup fills in the group, and the commands where a variable names none.
func inGroup(group string, commands []Command, list []Variable) []Variable {
	for i := range list {
		list[i].Group = group
		if list[i].Commands == nil {
			list[i].Commands = commands
		}
	}
	return list
}
