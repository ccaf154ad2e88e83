package config_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/config"
)

// complete is an environment with which every command starts.
func complete() map[string]string {
	return map[string]string{
		"KAFKA_BROKERS":        "kafka-1:9092,kafka-2:9092",
		"SUPABASE_URL":         "https://project.supabase.co/",
		"SUPABASE_SERVICE_KEY": "sb_secret_0123456789",
		"DATABASE_URL":         "postgres://vidflow:pass%40word99@db:5432/postgres",
		"JWT_SECRET":           "a-secret-of-the-api-server",
		"TEMPORAL_CONFIG_FILE": os.DevNull, // not the developer's own
	}
}

func with(changes map[string]string) map[string]string {
	env := complete()
	maps.Copy(env, changes)
	return env
}

func TestLoad_defaults(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Commands, nil, complete())
	if err != nil {
		t.Fatal(err)
	}
	want := config.Kafka{
		Brokers:            []string{"kafka-1:9092", "kafka-2:9092"},
		ClientID:           "codeendelea-api-server",
		SASLMechanism:      "scram-sha-256",
		SSL:                true,
		RejectUnauthorized: true,
		ProduceTopic:       "Transcribe",
		ConsumeTopic:       "update_transcribe",
		CompressionTopic:   "finish_compress",
		TranscriptionGroup: "codeendelea-transcription-consumer",
		CompressionGroup:   "codeendelea-compression-consumer",
		DeadLetterGroup:    "vidflow-dead-letters",
		StartOffset:        "earliest",
		ConnectionTimeout:  10 * time.Second,
		RequestTimeout:     30 * time.Second,
		Retries:            8,
		InitialRetryTime:   100 * time.Millisecond,
	}
	if diff := cmp.Diff(want, c.Kafka); diff != "" {
		t.Errorf("Kafka (-want +got):\n%s", diff)
	}
	wantPipeline := config.Pipeline{
		AskAgainAfter: 6 * time.Hour, MaxAsks: 3,
		CompressionOverdueAfter: 24 * time.Hour, CompressionGiveUpAfter: 24 * time.Hour,
		UnknownGrace: 10 * time.Minute,
	}
	if diff := cmp.Diff(wantPipeline, c.Pipeline); diff != "" {
		t.Errorf("Pipeline (-want +got):\n%s", diff)
	}
	wantProcess := config.Process{
		OpsAddr: "127.0.0.1:9102", ShutdownTimeout: 25 * time.Second, LogLevel: slog.LevelInfo, LogFormat: "auto",
	}
	if diff := cmp.Diff(wantProcess, c.Process); diff != "" {
		t.Errorf("Process (-want +got):\n%s", diff)
	}
	if got, want := c.Supabase.URL, "https://project.supabase.co"; got != want {
		t.Errorf("Supabase.URL: got %q, want %q", got, want)
	}
	if got, want := c.API.Host+":"+fmt.Sprint(c.API.Port), "0.0.0.0:8000"; got != want {
		t.Errorf("API: got %s, want %s", got, want)
	}
	if c.Temporal.Address != "localhost:7233" || c.Temporal.Namespace != "default" || c.Temporal.Configured {
		t.Errorf("Temporal: got %+v, want the SDK's defaults and not configured", c.Temporal)
	}
}

func TestLoad_requires(t *testing.T) {
	t.Parallel()
	kafka, storage := "KAFKA_BROKERS", []string{"SUPABASE_URL", "SUPABASE_SERVICE_KEY"}
	for name, row := range map[string]struct {
		commands []config.Command
		want     []string
	}{
		"worker":      {[]config.Command{config.Worker}, append([]string{kafka, "DATABASE_URL"}, storage...)},
		"starter":     {[]config.Command{config.Starter}, append([]string{kafka, "DATABASE_URL", "JWT_SECRET or JWKS_URL"}, storage...)},
		"kafkabridge": {[]config.Command{config.KafkaBridge}, []string{kafka}},
		"migrate":     {[]config.Command{config.Migrate}, []string{"DATABASE_URL"}},
		"kafkabridge and migrate": {
			[]config.Command{config.KafkaBridge, config.Migrate},
			[]string{kafka, "DATABASE_URL"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			empty := make(map[string]string)
			for variable := range complete() {
				empty[variable] = "" // counts as unset
			}
			empty["TEMPORAL_CONFIG_FILE"] = os.DevNull
			for _, env := range []map[string]string{{"TEMPORAL_CONFIG_FILE": os.DevNull}, empty} {
				_, err := config.Load(row.commands, nil, env)
				slices.Sort(row.want)
				if diff := cmp.Diff(row.want, problemNames(t, err)); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestLoad_refuses(t *testing.T) {
	t.Parallel()
	anon := "h." + base64.RawURLEncoding.EncodeToString([]byte(`{"role":"anon"}`)) + ".s"
	notPEM := filepath.Join(t.TempDir(), "not.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ variable, text, want string }{
		{"KAFKA_BROKERS", "kafka", "host:port"},
		{"KAFKA_BROKERS", ":9092", "host:port"},
		{"KAFKA_BROKERS", "kafka:99999", "host:port"},
		{"KAFKA_BROKERS", ",", "localhost:9092"},
		{"KAFKA_BROKERS", "kafka://app:hunter2@kafka", `"kafka://[redacted]@kafka"`},
		{"KAFKA_SASL_MECHANISM", "gssapi", "plain, scram-sha-256 or scram-sha-512"},
		{"KAFKA_SSL", "yes", "true or false"},
		{"KAFKA_SSL_CA_FILE", "/no/such/file", "no such file or directory"},
		{"KAFKA_SSL_CA_FILE", notPEM, "no PEM block"},
		{"KAFKA_PRODUCE_TOPIC", "a topic", "letters, digits"},
		{"KAFKA_START_OFFSET", "beginning", "earliest or latest"},
		{"KAFKA_CONNECTION_TIMEOUT", "10 s", "milliseconds such as 10000"},
		{"KAFKA_CONNECTION_TIMEOUT", "-1", "above 0"},
		{"KAFKA_REQUEST_TIMEOUT", "0", "above 0"},
		{"KAFKA_RETRIES", "-1", "from 0"},
		{"KAFKA_INITIAL_RETRY_TIME", "soon", "a duration such as 10s"},
		{"SUPABASE_URL", "project.supabase.co", "https://project.supabase.co"},
		{"SUPABASE_SERVICE_KEY", "sb_publishable_abc", "this is the publishable key"},
		{"SUPABASE_SERVICE_KEY", anon, `the key of role "anon"`},
		{"SUPABASE_SERVICE_KEY", "sb_secret_two words", "blanks or line breaks"},
		{"SUPABASE_URL", "https://user:hunter2@project.supabase.co", "a user, a query or a fragment"},
		{"DATABASE_URL", "postgres://u:hunter2hunter2@db/x?sslmode=maybe", "parameters after the question mark"},
		{"STORAGE_TIMEOUT", "20", "a duration such as 30s"},
		{"DATABASE_URL", "mysql://u:hunter2hunter2@db/x", "postgres://user:password@host:5432/database"},
		{"DATABASE_URL", "postgres://u:hunter2hunter2%zz@db/x", "percent-encoded"},
		{"TEMPORAL_TLS", "maybe", "true or false"},
		{"TEMPORAL_TLS_CLIENT_CERT_PATH", "/no/such/file", "no such file or directory"},
		{"TEMPORAL_DEPLOYMENT_NAME", "vidflow.worker", "without . and :"},
		{"TEMPORAL_DEPLOYMENT_NAME", "__vidflow", "Temporal's own"},
		{"TEMPORAL_WORKER_BUILD_ID", strings.Repeat("x", 256), "at most 255 bytes"},
		{"JWKS_URL", "ftp://x/y", "http or https URL"},
		{"JWKS_URL", "https://project.supabase.co/auth/v1/keys", "no /.well-known/ in it"},
		{"PORT", "0", "from 1 to 65535"},
		{"ALLOWED_ORIGINS", "https://app.example.com/path", "https://app.example.com"},
		{"TRUSTED_PROXIES", "10.0.0.1", "10.0.0.0/8"},
		{"TRANSCRIPTION_MAX_ASKS", "0", "from 1"},
		{"TRANSCRIPTION_ASK_AGAIN_AFTER", "6", "a duration such as"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "http://localhost:4318"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@collector", "a user, a query or a fragment"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "http/protobuf or grpc"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http", "http/protobuf or grpc"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a key=hunter2", "name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "key=hunter2%0d%0a", "name=value"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", notPEM, "no PEM block"},
		{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/no/such/file", "no such file or directory"},
		{"OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"},
		{"OTEL_SDK_DISABLED", "maybe", "true or false"},
		{"OTEL_TRACES_SAMPLER", "sometimes", "parentbased_traceidratio"},
		{"OTEL_TRACES_SAMPLER_ARG", "10%", "from 0 to 1"},
		{"OTEL_TRACES_SAMPLER_ARG", "NaN", "from 0 to 1"},
		{"OTEL_RESOURCE_ATTRIBUTES", "production", "name=value"},
		{"OPS_ADDR", "9101", "127.0.0.1:9101"},
		{"PPROF", "on", "true or false"},
		{"LOG_LEVEL", "verbose", "debug, info, warn or error"},
		{"LOG_FORMAT", "xml", "auto, text or json"},
	} {
		t.Run(row.variable+"="+row.text, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(config.Commands, nil, with(map[string]string{row.variable: row.text}))
			names := problemNames(t, err)
			if !slices.Contains(names, row.variable) {
				t.Fatalf("problems: got %q, want %s among them", names, row.variable)
			}
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %q, want it to say %q", err, row.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), anon) {
				t.Errorf("the message shows a secret: %s", err)
			}
		})
	}
}

func TestLoad_names_all_problems_at_once(t *testing.T) {
	t.Parallel()
	_, err := config.Load([]config.Command{config.Worker, config.Starter}, map[string]string{"PORT": "http"}, map[string]string{
		"KAFKA_USERNAME":                "app",
		"KAFKA_RETRIES":                 "many",
		"DATABASE_URL":                  "postgres://db/x",
		"TEMPORAL_CONFIG_FILE":          os.DevNull,
		"TEMPORAL_TLS_CLIENT_CERT_DATA": "half of a pair",
		"TEMPORAL_WORKER_BUILD_ID":      "build-without-deployment",
		"COMPRESSION_OVERDUE_AFTER":     "tomorrow",
	})
	want := []string{
		"COMPRESSION_OVERDUE_AFTER", "JWT_SECRET or JWKS_URL", "KAFKA_BROKERS", "KAFKA_PASSWORD", "KAFKA_RETRIES", "PORT",
		"SUPABASE_SERVICE_KEY", "SUPABASE_URL", "TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_TLS_*",
	}
	if diff := cmp.Diff(want, problemNames(t, err)); diff != "" {
		t.Errorf("problems (-want +got):\n%s\n%v", diff, err)
	}
	if !strings.Contains(err.Error(), "10 variables are missing or wrong") ||
		!strings.Contains(err.Error(), "vidflow worker starter --help") {
		t.Errorf("got %q, want the number of problems and what to do next", err)
	}
}

func TestLoad_reads(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		env, flags map[string]string
		got        func(*config.Config) any
		want       any
	}{
		"milliseconds": {
			env:  map[string]string{"KAFKA_REQUEST_TIMEOUT": "1500"},
			got:  func(c *config.Config) any { return c.Kafka.RequestTimeout },
			want: 1500 * time.Millisecond,
		},
		"a duration": {
			env:  map[string]string{"KAFKA_REQUEST_TIMEOUT": "1m30s"},
			got:  func(c *config.Config) any { return c.Kafka.RequestTimeout },
			want: 90 * time.Second,
		},
		"a value with a line break at its end": {
			env:  map[string]string{"PORT": " 8001\n", "DATABASE_URL": "postgres://u:p@db/x\n"},
			got:  func(c *config.Config) any { return fmt.Sprint(c.API.Port, " ", c.Database.URL.Reveal()) },
			want: "8001 postgres://u:p@db/x",
		},
		"blanks as nothing": {
			env:  map[string]string{"PORT": "  "},
			got:  func(c *config.Config) any { return c.API.Port },
			want: 8000,
		},
		"a flag before the environment": {
			env:   map[string]string{"PORT": "8001"},
			flags: map[string]string{"PORT": "8002"},
			got:   func(c *config.Config) any { return c.API.Port },
			want:  8002,
		},
		"a flag of Temporal before the environment": {
			env:   map[string]string{"TEMPORAL_ADDRESS": "one:7233"},
			flags: map[string]string{"TEMPORAL_ADDRESS": "two:7233"},
			got:   func(c *config.Config) any { return c.Temporal.Options().HostPort + " " + c.Temporal.Address },
			want:  "two:7233 two:7233",
		},
		"an empty variable of Temporal as unset": {
			env: map[string]string{"TEMPORAL_NAMESPACE": "", "TEMPORAL_TLS_SERVER_NAME": ""},
			got: func(c *config.Config) any {
				return c.Temporal.Namespace + fmt.Sprint(c.Temporal.Options().ConnectionOptions.TLS)
			},
			want: "default<nil>",
		},
		"an API key, which switches TLS on": {
			env: map[string]string{"TEMPORAL_API_KEY": "key-of-temporal-cloud"},
			got: func(c *config.Config) any {
				return c.Temporal.Configured && c.Temporal.Options().Credentials != nil && c.Temporal.Options().ConnectionOptions.TLS != nil
			},
			want: true,
		},
		"origins": {
			env:  map[string]string{"ALLOWED_ORIGINS": "https://a.example, http://localhost:3000/"},
			got:  func(c *config.Config) any { return c.API.AllowedOrigins },
			want: []string{"https://a.example", "http://localhost:3000"},
		},
		"a level": {
			env:  map[string]string{"LOG_LEVEL": "WARN"},
			got:  func(c *config.Config) any { return c.Process.LogLevel },
			want: slog.LevelWarn,
		},
		"no traces": {
			got:  func(c *config.Config) any { return c.Traces.On() },
			want: false,
		},
		"traces to an endpoint": {
			env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"},
			got: func(c *config.Config) any {
				return fmt.Sprint(c.Traces.On(), " ", c.Traces.Endpoint, " ", c.Traces.Protocol, " ", c.Traces.SamplerArg)
			},
			want: "true http://collector:4318 http/protobuf 1",
		},
		"traces to an endpoint of their own": {
			env:  map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"},
			got:  func(c *config.Config) any { return c.Traces.On() },
			want: true,
		},
		"traces to this machine": {
			env:  map[string]string{"OTEL_TRACES_EXPORTER": "otlp"},
			got:  func(c *config.Config) any { return c.Traces.On() },
			want: true,
		},
		"traces that go nowhere": {
			env:  map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
			got:  func(c *config.Config) any { return c.Traces.On() },
			want: false,
		},
		"traces that are disabled": {
			env:  map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
			got:  func(c *config.Config) any { return c.Traces.On() },
			want: false,
		},
		"headers of the collector, which nobody is shown": {
			env: map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "x-key=hunter2hunter2, x-other=Basic%20YQ=="},
			got: func(c *config.Config) any {
				h := c.Traces.Headers
				return strings.Join([]string{fmt.Sprint(h), h["x-key"].Reveal(), h["x-other"].Reveal(), c.Redactor().Redact("say hunter2hunter2")}, " ")
			},
			want: "map[x-key:[redacted] x-other:[redacted]] hunter2hunter2 Basic YQ== say [redacted]",
		},
		"OPS_ADDR": {
			env:  map[string]string{"OPS_ADDR": ":7000"},
			got:  func(c *config.Config) any { return c.Process.OpsAddr },
			want: ":7000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Load(config.Commands, row.flags, with(row.env))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, row.got(c)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoad_leaves_alone_what_no_command_needs(t *testing.T) {
	t.Parallel()
	env := with(map[string]string{"PORT": "nonsense", "DATABASE_URL": "nonsense"})
	if _, err := config.Load([]config.Command{config.KafkaBridge}, nil, env); err != nil {
		t.Errorf("got %v, want variables of other commands ignored", err)
	}
	_, err := config.Load([]config.Command{config.KafkaBridge}, map[string]string{"PORT": "8000"}, env)
	if diff := cmp.Diff([]string{"PORT"}, problemNames(t, err)); diff != "" {
		t.Errorf("a flag of another command: problems (-want +got):\n%s", diff)
	}
}

func TestLoad_gives_each_process_its_own_ops_address(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		commands []config.Command
		want     string
	}{
		{[]config.Command{config.Worker}, "127.0.0.1:9101"},
		{[]config.Command{config.Starter}, "127.0.0.1:9102"},
		{[]config.Command{config.KafkaBridge}, "127.0.0.1:9103"},
		{[]config.Command{config.Worker, config.KafkaBridge}, "127.0.0.1:9101"},
		{[]config.Command{config.Worker, config.Starter, config.KafkaBridge}, "127.0.0.1:9102"},
	} {
		c, err := config.Load(row.commands, nil, complete())
		if err != nil {
			t.Fatal(err)
		}
		if c.Process.OpsAddr != row.want {
			t.Errorf("%v: got %s, want %s", row.commands, c.Process.OpsAddr, row.want)
		}
	}
}

func problemNames(t *testing.T, err error) []string {
	t.Helper()
	var problems *config.ProblemsError
	if !errors.As(err, &problems) {
		t.Fatalf("got %v, want problems", err)
	}
	var names []string
	for _, p := range problems.Problems {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}
