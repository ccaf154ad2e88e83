package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/golden"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/supabase"
)

// secrets are one for each variable that is secret, well formed, so that they are read.
var secrets = map[string]string{
	"KAFKA_PASSWORD":               "password-of-kafka",
	"SUPABASE_SERVICE_KEY":         "sb_secret_key-of-supabase",
	"DATABASE_URL":                 "postgres://vidflow:password-of-postgres@127.0.0.1:1/postgres",
	"TEMPORAL_API_KEY":             "key-of-temporal",
	"TEMPORAL_TLS_CLIENT_KEY_DATA": "",
	"JWT_SECRET":                   "secret-of-the-tokens",
	"OTEL_EXPORTER_OTLP_HEADERS":   "x-key=key-of-the-collector",
}

// environment is complete, with nothing behind any of its addresses.
func environment(changes map[string]string) map[string]string {
	env := map[string]string{
		"KAFKA_BROKERS":            "127.0.0.1:1",
		"KAFKA_SSL":                "false",
		"KAFKA_USERNAME":           "app",
		"KAFKA_CONNECTION_TIMEOUT": "200ms",
		"KAFKA_RETRIES":            "0",
		"SUPABASE_URL":             "http://127.0.0.1:1",
		"TEMPORAL_ADDRESS":         "127.0.0.1:1",
		"TEMPORAL_TLS":             "false",
		"TEMPORAL_CONFIG_FILE":     os.DevNull,
		"OPS_ADDR":                 "127.0.0.1:0",
		"LOG_LEVEL":                "debug",
	}
	maps.Copy(env, secrets)
	maps.Copy(env, changes)
	return env
}

type outcome struct {
	code           int
	stdout, stderr string
}

func invoke(t *testing.T, env map[string]string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, env, strings.NewReader(""), &stdout, &stderr)
	if ctx.Err() != nil {
		t.Errorf("%v did not end by itself:\n%s", args, stderr.String())
	}
	return outcome{code, stdout.String(), stderr.String()}
}

func (o outcome) shows(t *testing.T, secret string) {
	t.Helper()
	if secret != "" && strings.Contains(o.stdout+o.stderr, secret) {
		t.Errorf("%q is shown in:\n%s%s", secret, o.stdout, o.stderr)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"vidflow":        {"--help"},
		"worker":         {"worker", "--help"},
		"starter":        {"starter", "--help"},
		"kafkabridge":    {"kafkabridge", "--help"},
		"migrate":        {"migrate", "--help"},
		"version":        {"version", "--help"},
		"probe":          {"probe", "--help"},
		"completion":     {"completion", "--help"},
		"worker-starter": {"worker", "starter", "--help"},
		"dlq":            {"dlq", "--help"},
		"dlq-list":       {"dlq", "list", "--help"},
		"dlq-show":       {"dlq", "show", "--help"},
		"dlq-redrive":    {"dlq", "redrive", "--help"},
		"kafka":          {"kafka", "--help"},
		"kafka-check":    {"kafka", "check", "--help"},
		"kafka-video":    {"kafka", "send-test-video", "--help"},
		"kafka-tail":     {"kafka", "tail", "--help"},
		"kafka-produce":  {"kafka", "produce", "--help"},
		"status":         {"status", "--help"},
		"adopt":          {"adopt", "--help"},
		"replay":         {"replay", "--help"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := invoke(t, environment(nil), args...)
			if got.code != exitOK || got.stderr != "" {
				t.Errorf("exit code %d, errors %q; want 0 and none", got.code, got.stderr)
			}
			golden.Equal(t, "testdata/help-"+name+".txt", []byte(got.stdout))
			for _, secret := range secrets {
				got.shows(t, secret)
			}
		})
	}
}

func TestHelp_is_shown_for_no_command(t *testing.T) {
	t.Parallel()
	got := invoke(t, nil)
	want := invoke(t, nil, "--help")
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Errorf("(-help +got):\n%s", diff)
	}
}

func TestUsage_errors(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		args []string
		want string
	}{
		"an unknown command": {
			[]string{"strater"},
			"vidflow: unexpected argument strater, did you mean \"starter\"?\nRun \"vidflow --help\" for what there is\n",
		},
		"an unknown flag": {
			[]string{"worker", "--kafka-broker=x"},
			"vidflow: unknown flag --kafka-broker, did you mean \"--kafka-brokers\"?\nRun \"vidflow worker --help\" for what there is\n",
		},
		"version is not run together with others": {
			[]string{"worker", "version"},
			"vidflow: [<command> ...] must be one of \"worker\",\"starter\",\"kafkabridge\",\"migrate\" but got \"version\"\n" +
				"Run \"vidflow worker --help\" for what there is\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := outcome{code: exitUsage, stderr: row.want}
			if diff := cmp.Diff(want, invoke(t, nil, row.args...), cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfiguration_problems_are_named_at_once(t *testing.T) {
	t.Parallel()
	env := environment(map[string]string{
		"KAFKA_BROKERS":  "",
		"SUPABASE_URL":   "no url",
		"KAFKA_SSL":      "maybe",
		"DATABASE_URL":   "mysql://vidflow:password-of-postgres@db/x",
		"TEMPORAL_TLS":   "perhaps",
		"PORT":           "http",
		"JWT_SECRET":     "",
		"KAFKA_PASSWORD": "password-of-kafka",
	})
	got := invoke(t, env, "starter", "--rate-limit=lots", "worker")
	if got.code != exitUsage || got.stdout != "" {
		t.Errorf("exit code %d, output %q; want %d and none", got.code, got.stdout, exitUsage)
	}
	golden.Equal(t, "testdata/problems.txt", []byte(got.stderr))
	for _, secret := range []string{"password-of-postgres", "password-of-kafka", "sb_secret_key-of-supabase", "key-of-temporal"} {
		got.shows(t, secret)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got := invoke(t, nil, "version")
	if got.code != exitOK || !strings.HasPrefix(got.stdout, "vidflow ") || !strings.Contains(got.stdout, "\ngo1.") ||
		!strings.Contains(got.stdout, "\nrevision ") {
		t.Errorf("got %+v, want the version, the revision and Go's version", got)
	}
}

func TestPrintRoleSQL_needs_no_configuration(t *testing.T) {
	t.Parallel()
	got := invoke(t, nil, "migrate", "--print-role-sql")
	if got.code != exitOK || !strings.Contains(got.stdout, `create role "vidflow"`) {
		t.Errorf("got %+v, want the SQL of the role", got)
	}
}

func TestCommands_are_the_same_in_any_order(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"worker", "starter", "kafkabridge", "migrate"},
		{"migrate", "kafkabridge", "starter", "worker"},
		{"starter", "migrate", "worker", "worker", "kafkabridge", "--port=1"},
	} {
		line, err := parse(args, new(bytes.Buffer), new(bytes.Buffer))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(config.Commands, line.commands); diff != "" {
			t.Errorf("%q (-want +got):\n%s", args, diff)
		}
	}
}

// TestDefaults holds the defaults that the documents show against those of the packages.
func TestDefaults(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(config.Commands, nil, environment(map[string]string{
		"KAFKA_SSL": "", "KAFKA_CONNECTION_TIMEOUT": "", "KAFKA_RETRIES": "",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := kafka.Config{
		Brokers:           []string{"127.0.0.1:1"},
		ClientID:          kafka.DefaultClientID,
		TLS:               true,
		Username:          "app",
		Password:          secrets["KAFKA_PASSWORD"],
		Mechanism:         kafka.DefaultMechanism,
		ConnectionTimeout: kafka.DefaultConnectionTimeout,
		RequestTimeout:    kafka.DefaultRequestTimeout,
		Retries:           kafka.DefaultRetries,
		InitialRetryTime:  kafka.DefaultInitialRetryTime,
	}
	if diff := cmp.Diff(want, kafkaConfig(cfg.Kafka)); diff != "" {
		t.Errorf("Kafka (-want +got):\n%s", diff)
	}
	if got, want := cfg.Supabase.Timeout, supabase.DefaultTimeout; got != want {
		t.Errorf("STORAGE_TIMEOUT: got %s, want %s", got, want)
	}
}

func TestTraceOptions(t *testing.T) {
	t.Parallel()
	worker, both := []config.Command{config.Worker}, []config.Command{config.Worker, config.Starter}
	for name, row := range map[string]struct {
		processes []config.Command
		env       map[string]string
		want      string
	}{
		"a base": {worker, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/base/"}, "http/protobuf http://c:1/base/v1/traces vidflow-worker map[]"},
		"a path of its own": {both, map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d:2/own",
		}, "http/protobuf http://d:2/own vidflow map[]"},
		"gRPC": {worker, map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_SERVICE_NAME": "other",
		}, "grpc http://c:1 other map[]"},
		"this machine": {worker, map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "http/protobuf http://localhost:4318/v1/traces vidflow-worker map[]"},
		"this machine over gRPC": {worker, map[string]string{
			"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
		}, "grpc http://localhost:4317 vidflow-worker map[]"},
		"headers for traces alone": {worker, map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", "OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=2", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=3",
		}, "http/protobuf http://c:1/v1/traces vidflow-worker map[a:1 b:3]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := environment(row.env)
			env["OTEL_EXPORTER_OTLP_HEADERS"] = row.env["OTEL_EXPORTER_OTLP_HEADERS"]
			cfg, err := config.Load(row.processes, nil, env)
			if err != nil {
				t.Fatal(err)
			}
			o := traceOptions(row.processes, cfg, nil)
			if got := fmt.Sprint(o.Protocol, " ", o.Endpoint, " ", o.Service, " ", o.Headers); got != row.want || !cfg.Traces.On() {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
