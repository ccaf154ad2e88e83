package stack

import (
	"path/filepath"
	"strconv"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// What the processes of vidflow are told, beside addresses. None of the secrets protects anything.
const (
	Namespace = "default"
	Database  = "vidflow"

	// Role is the least-privilege login of the processes.
	Role         = "vidflow"
	RolePassword = "vidflow"

	JWTSecret = "a secret of the development stack, and of nothing else"

	// StorageSecretKey is a key of the newer kind that the storage accepts beside the legacy one of the environment.
	StorageSecretKey = "sb_secret_of_the_development_stack"
	storageSecret    = "the secret that signs keys of the development storage"
	bucket           = "captions"

	topicAsk         = "Transcribe"
	topicTranscribed = "update_transcribe"
	topicCompressed  = "finish_compress"
	maxMessageBytes  = 10 << 20

	groupTranscription = "codeendelea-transcription-consumer"
	groupCompression   = "codeendelea-compression-consumer"
	groupDeadLetters   = "vidflow-dead-letters"
)

func topics() []string {
	return []string{
		topicAsk,
		topicTranscribed,
		topicCompressed,
		topicTranscribed + contract.DeadLetterSuffix,
		topicCompressed + contract.DeadLetterSuffix,
	}
}

func oldTopics() []string { return []string{topicAsk, topicTranscribed, topicCompressed} }

// searchAttributes of the workflow exist from the first start of the server on.
func searchAttributes() map[string]enumspb.IndexedValueType {
	attributes := map[string]enumspb.IndexedValueType{}
	for _, key := range workflows.SearchAttributes() {
		attributes[key.GetName()] = key.GetValueType()
	}
	return attributes
}

func (s *Stack) temporalConfig() string { return filepath.Join(s.cfg.Dir, "temporal.toml") }

// Environment is what the processes of vidflow need to use the stack: the variables of the contract, as in production.
func (s *Stack) Environment() envfile.Vars {
	p := s.cfg.Ports
	return append(s.kafka.environment(), envfile.Vars{
		{Name: "TEMPORAL_ADDRESS", Value: p.Addr(ports.TemporalGRPC), Note: "Temporal"},
		{Name: "TEMPORAL_NAMESPACE", Value: Namespace},
		{Name: "TEMPORAL_CONFIG_FILE", Value: s.temporalConfig(), Note: "Empty, so that a profile of your own changes nothing here"},
		{
			Name:  "DATABASE_URL",
			Value: postgres.URL(s.databasePort(), Role, RolePassword, Database),
			Note:  "Postgres, as the least-privilege role that vidflow logs in as",
		},
		{
			Name:  "DATABASE_LISTEN_URL",
			Value: postgres.URL(p.Port(ports.Postgres), Role, RolePassword, Database),
			Note:  "Without the pooler, if there is one",
		},
		{Name: "SUPABASE_URL", Value: p.URL(ports.Storage), Note: "Storage"},
		{Name: "SUPABASE_SERVICE_KEY", Value: s.storageKey},
		{Name: "JWT_SECRET", Value: JWTSecret, Note: "The API"},
	}...)
}

// OldEnvironment is what the API server before vidflow is told, and what somebody who takes over from it needs beside that.
func (s *Stack) OldEnvironment() envfile.Vars {
	p, k := s.cfg.Ports, s.kafka.(*apacheKafka)
	return append(k.oldEnvironment(), envfile.Vars{
		{Name: "SUPABASE_URL", Value: p.URL(ports.Storage), Note: "Storage"},
		{Name: "SUPABASE_SERVICE_KEY", Value: s.storageKey},
		{Name: "JWT_SECRET", Value: JWTSecret},
		{Name: "PGHOST", Value: "127.0.0.1", Note: "The database, as the owner of its tables: for the API server and for psql"},
		{Name: "PGPORT", Value: strconv.Itoa(p.Port(ports.Postgres))},
		{Name: "PGUSER", Value: postgres.Superuser},
		{Name: "PGPASSWORD", Value: postgres.Password},
		{Name: "PGDATABASE", Value: Database},
		{Name: "PGSSLMODE", Value: "disable"},
		{Name: "KAFKA_TOOLS", Value: k.Tools(), Note: "Kafka's own tools, a listener that lets them do everything, and the authority that signed the broker's certificate"},
		{Name: "KAFKA_ADMIN", Value: k.Plaintext()},
		{Name: "KAFKA_CA", Value: k.CAFile()},
		{Name: "TEMPORAL", Value: p.Addr(ports.TemporalGRPC), Note: "A Temporal server, and its UI"},
		{Name: "TEMPORAL_UI", Value: p.URL(ports.TemporalUI)},
		{Name: "TEMPORAL_CONFIG_FILE", Value: s.temporalConfig(), Note: "Empty, so that a profile of your own changes nothing here"},
		{Name: "HOST", Value: "127.0.0.1", Note: "Free ports for vidflow"},
		{Name: "PORT", Value: strconv.Itoa(p.Port(ports.API))},
		{Name: "STARTER_OPS", Value: p.Addr(ports.StarterOps)},
		{Name: "WORKER_OPS", Value: p.Addr(ports.WorkerOps)},
		{Name: "BRIDGE_OPS", Value: p.Addr(ports.BridgeOps)},
		{Name: "STACK_CONTROL", Value: p.URL(ports.Control), Note: "To see an outage: curl -X POST \"$STACK_CONTROL/stop?server=storage\", and /start"},
	}...)
}

// Plaintext is a listener of the old stack that lets everybody do everything.
func (k *apacheKafka) Plaintext() string { return local(k.cfg.Ports.Plaintext) }

// OldBrokers are for clients of an old stack that need no login, such as the external services.
func (s *Stack) OldBrokers() []string { return []string{s.kafka.(*apacheKafka).Plaintext()} }

// TestEnvironment is what tests get beside Environment.
func (s *Stack) TestEnvironment() envfile.Vars {
	p := s.cfg.Ports
	vars := envfile.Vars{
		{Name: "VIDFLOW_TEST_POSTGRES_URL", Value: s.postgres.URL("postgres"), Note: "Postgres, as superuser"},
		{Name: "VIDFLOW_TEST_STORAGE_CONTROL", Value: p.URL(ports.StorageControl), Note: "Orders faults of the storage"},
		{Name: "VIDFLOW_TEST_STORAGE_SECRET_KEY", Value: StorageSecretKey},
		{Name: "VIDFLOW_TEST_CONTROL", Value: p.URL(ports.Control), Note: "Stops and starts servers"},
		{Name: "VIDFLOW_TEST_TEMPORAL_UI", Value: p.URL(ports.TemporalUI)},
	}
	if s.pooler != nil {
		vars = append(vars, envfile.Var{
			Name: "VIDFLOW_TEST_POOLER", Value: s.pooler.Addr(), Note: "Logins other than the superuser's go through it",
		})
	}
	return append(vars, s.kafka.testEnvironment()...)
}
