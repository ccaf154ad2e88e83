package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/internal/contract"
)

// onApacheKafka says which broker the tests run against: the real one, where every process has TLS and a login of its own
// that may do what it needs and nothing else, or the embedded one, which knows no login.
func onApacheKafka(t *testing.T) bool {
	t.Helper()
	return need(t, "VIDFLOW_TEST_KAFKA") == "apache"
}

// testBrokers are for the tests' own clients, which need no login.
func testBrokers(t *testing.T) []string {
	t.Helper()
	return strings.Split(need(t, "VIDFLOW_TEST_KAFKA_BROKERS"), ",")
}

// brokerEnvironment is how the processes reach the broker, except for the login.
func brokerEnvironment(t *testing.T) envfile.Vars {
	t.Helper()
	var vars envfile.Vars
	for _, name := range []string{"KAFKA_BROKERS", "KAFKA_SSL", "KAFKA_SSL_CA_FILE", "KAFKA_SASL_MECHANISM"} {
		if value := os.Getenv(name); value != "" {
			vars = append(vars, envfile.Var{Name: name, Value: value})
		}
	}
	return vars
}

// logins are those of the processes on Apache Kafka.
var logins = map[string]apache.User{worker: apache.VidflowWorker, starter: apache.VidflowStart, bridge: apache.VidflowBridge}

func login(t *testing.T, process string) envfile.Vars {
	t.Helper()
	if !onApacheKafka(t) {
		return nil
	}
	user := logins[process]
	return envfile.Vars{{Name: "KAFKA_USERNAME", Value: string(user)}, {Name: "KAFKA_PASSWORD", Value: user.Password()}}
}

// allow gives each process what it needs for the topics of this test.
func (p *pipeline) allow() {
	p.t.Helper()
	if !onApacheKafka(p.t) {
		return
	}
	names := apache.Names{
		Ask: p.topics.ask, Transcribed: p.topics.transcribed, Compressed: p.topics.compressed,
		TranscriptionGroup: p.env.Value("KAFKA_TRANSCRIPTION_GROUP"), CompressionGroup: p.env.Value("KAFKA_COMPRESSION_GROUP"),
		DeadLetterGroup:  p.env.Value("KAFKA_DEAD_LETTER_GROUP"),
		DeadLetterSuffix: contract.DeadLetterSuffix,
	}
	if err := apache.Give(p.t.Context(), kadm.NewClient(p.kafka), names.LeastPrivileges()...); err != nil {
		p.t.Fatal(err)
	}
}
