package main

import (
	"crypto/rand"
	"maps"
	random "math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/replay"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/worker"
)

// servers is the environment that `go run ./devstack exec` gives to a command: every server is there.
func servers(t *testing.T, changes map[string]string) map[string]string {
	t.Helper()
	env := map[string]string{
		"OPS_ADDR":             "127.0.0.1:0",
		"HOST":                 "127.0.0.1",
		"PORT":                 freePort(t),
		"TEMPORAL_CONFIG_FILE": os.DevNull,
	}
	for _, name := range []string{
		"DATABASE_URL", "JWT_SECRET", "KAFKA_BROKERS", "KAFKA_SSL", "SUPABASE_SERVICE_KEY", "SUPABASE_URL", "TEMPORAL_ADDRESS",
		"TEMPORAL_NAMESPACE",
	} {
		env[name] = os.Getenv(name)
		if env[name] == "" {
			t.Fatalf("%s is not set: this test needs servers; run it with `make test`, or with "+
				"`go run ./devstack exec -- go test ./cmd/vidflow`", name)
		}
	}
	maps.Copy(env, changes)
	return env
}

// freePort is one outside of the range from which the system takes ports for connections: until the program has it, nobody
// else does by chance.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10_000 + random.IntN(2_000))
		if listener, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("found no free port")
	return ""
}

func TestServers_starter_is_ready_with_the_database_alone(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	env := environment(map[string]string{"DATABASE_URL": db.URL, "HOST": "127.0.0.1", "PORT": freePort(t)})
	r := start(t, env, "starter")
	r.until(`"msg":"process runs"`)
	readiness := r.untilStatus(process.StatusDegraded)
	for _, check := range readiness.Checks {
		if up := check.State == process.StateUp; up != (check.Name == "Postgres") {
			t.Errorf("%s: got %+v, want Postgres alone up", check.Name, check)
		}
	}
	r.until(`"msg":"API listens"`)
	resp, err := http.Get("http://127.0.0.1:" + env["PORT"] + "/api/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/api/health: got %s, want 200", resp.Status)
	}
	r.stop()
	if code := r.code(); code != exitOK {
		t.Errorf("exit code: got %d, want %d\n%s", code, exitOK, r.log)
	}
}

func TestServers_migrate(t *testing.T) {
	t.Parallel()
	db := postgrestest.NewEmpty(t)
	env := servers(t, map[string]string{"DATABASE_URL": db.AdminURL})

	for _, args := range [][]string{{"migrate"}, {"migrate"}, {"migrate", "--skip-temporal"}} {
		if got := invoke(t, env, args...); got.code != exitOK {
			t.Fatalf("%q: exit code %d\n%s", args, got.code, got.stderr)
		}
	}
	temporal, err := client.Dial(client.Options{HostPort: env["TEMPORAL_ADDRESS"], Namespace: env["TEMPORAL_NAMESPACE"]})
	if err != nil {
		t.Fatal(err)
	}
	defer temporal.Close()
	if known, err := worker.KnowsSearchAttributes(t.Context(), temporal, env["TEMPORAL_NAMESPACE"]); !known {
		t.Errorf("search attributes: %v", err)
	}

	all := start(t, env, "starter", "migrate", "worker", "kafkabridge")
	all.until(`"msg":"Database schema is up to date"`)
	for _, name := range []string{"worker", "starter", "kafkabridge"} {
		all.until(`"msg":"process runs","process":"` + name + `"`)
	}
	all.untilStatus(process.StatusReady) // the bridge runs before its groups have told it what it reads
	// Three processes on one page, each with its own clients.
	all.untilMetrics(

		`temporal_request_total{.*process="worker"`, `temporal_request_total{.*process="starter"`,
		`temporal_request_total{.*process="kafkabridge"`, `temporal_request_latency_seconds_bucket{.*le="0.005"`,
		`pgxpool_max_connections{process="worker"}`, `pgxpool_max_connections{process="starter"}`,
		`kafka_connects_total{client="worker/producer"`, `kafka_connects_total{client="worker/reader"`,
		`kafka_connects_total{client="starter/producer"`, `kafka_connects_total{client="starter/dead_letters"`,
		`kafka_connects_total{client="bridge/update_transcribe"`, `kafka_connects_total{client="bridge/dead_letters"`,
		`vidflow_worker_results_total{`, `vidflow_pipeline_waiting_videos{`, `vidflow_bridge_partitions{`,
	)
	all.stop()
	if code := all.code(); code != exitOK {
		t.Errorf("exit code: got %d, want %d\n%s", code, exitOK, all.log)
	}
}

// TestServers_worker_says_how_a_namespace_is_made, and has what it needs when that was done.
func TestServers_worker_says_how_a_namespace_is_made(t *testing.T) {
	t.Parallel()
	namespace := "made-by-hand-" + strings.ToLower(rand.Text()[:10])
	env := servers(t, map[string]string{"DATABASE_URL": postgrestest.New(t).URL, "TEMPORAL_NAMESPACE": namespace})
	got := invoke(t, env, "worker")
	if got.code != exitFailed || !strings.Contains(got.stderr, "Temporal cannot be used") {
		t.Errorf("exit code: got %d, want %d\n%s", got.code, exitFailed, got.stderr)
	}
	temporaltest.Paste(t, quoted(t, got.stderr, "temporal operator namespace create"))
	r := start(t, env, "worker")
	r.until(`"msg":"worker started"`)
	r.stop()
	if code := r.code(); code != exitOK {
		t.Errorf("exit code: got %d, want %d\n%s", code, exitOK, r.log)
	}
}

// TestServers_lookAt_shows_any_run: anybody may have started one, under any id.
func TestServers_lookAt_shows_any_run(t *testing.T) {
	t.Parallel()
	ns := temporaltest.New(t)
	cfg := config.Temporal{Address: os.Getenv(temporaltest.Variable), Namespace: ns.Name}
	for _, id := range []string{"video/0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01", `it's "odd"; $HOME >x`, "--id"} {
		run, err := ns.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "nobody-polls-it"}, "Any")
		if err != nil {
			t.Fatal(err)
		}
		command := lookAt(cfg, replay.Result{WorkflowID: run.GetID(), RunID: run.GetRunID()})
		if shown := temporaltest.Paste(t, command); !strings.Contains(shown, "WorkflowExecutionStarted") {
			t.Errorf("%s shows\n%s", command, shown)
		}
	}
}

// quoted is the command that a message has between backquotes.
func quoted(t *testing.T, message, command string) string {
	t.Helper()
	found := regexp.MustCompile("`(" + command + " [^`]+)`").FindStringSubmatch(message)
	if found == nil {
		t.Fatalf("there is no `%s …` in\n%s", command, message)
	}
	return found[1]
}

func TestServers_refuse_by_name(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(t *testing.T, db *postgrestest.DB, env map[string]string)
		args   []string
		want   []string
	}{
		"a namespace that does not exist, to migrate": {
			change: func(_ *testing.T, db *postgrestest.DB, env map[string]string) {
				env["TEMPORAL_NAMESPACE"], env["DATABASE_URL"] = "no-such-namespace", db.AdminURL
			},
			args: []string{"migrate"},
			want: []string{"Temporal cannot be used", "no-such-namespace"},
		},
		"a refused login": {
			change: func(t *testing.T, db *postgrestest.DB, env map[string]string) {
				env["DATABASE_URL"] = db.As(t, db.Role, "wrong-password")
			},
			args: []string{"starter"},
			want: []string{"Postgres cannot be used", "refuses the login", "DATABASE_URL"},
		},
		"a database that was not migrated": {
			change: func(t *testing.T, _ *postgrestest.DB, env map[string]string) {
				env["DATABASE_URL"] = postgrestest.NewEmpty(t).AdminURL
			},
			args: []string{"worker"},
			want: []string{"Postgres cannot be used", "vidflow migrate"},
		},
		"a login that row-level security filters": {
			change: func(t *testing.T, db *postgrestest.DB, _ map[string]string) {
				db.Exec(t, `drop policy "`+db.Role+` manages videos" on public.videos`)
			},
			args: []string{"starter"},
			want: []string{"Postgres cannot be used", "row-level security", "CREATE POLICY"},
		},
		"a key that storage refuses": {
			change: func(_ *testing.T, _ *postgrestest.DB, env map[string]string) {
				env["SUPABASE_SERVICE_KEY"] = "sb_secret_of_somebody_else"
			},
			args: []string{"worker"},
			want: []string{"Storage cannot be used"},
		},
		"a topic that is missing": {
			change: func(_ *testing.T, _ *postgrestest.DB, env map[string]string) {
				env["KAFKA_PRODUCE_TOPIC"] = "no-such-topic"
			},
			args: []string{"worker"},
			want: []string{"Kafka producer cannot be used", "no-such-topic"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := postgrestest.New(t)
			env := servers(t, map[string]string{"DATABASE_URL": db.URL})
			row.change(t, db, env)
			got := invoke(t, env, row.args...)
			if got.code != exitFailed {
				t.Errorf("exit code: got %d, want %d", got.code, exitFailed)
			}
			for _, want := range row.want {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("got no %q in:\n%s", want, got.stderr)
				}
			}
			got.shows(t, "wrong-password")
			got.shows(t, env["SUPABASE_SERVICE_KEY"])
		})
	}
}
