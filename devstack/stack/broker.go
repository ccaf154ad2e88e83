package stack

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/kafka"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/internal/contract"
)

// broker is a server that says how it is reached.
type broker interface {
	Server
	// environment is what the processes of vidflow need.
	environment() envfile.Vars
	// testEnvironment is what tests get beside it.
	testEnvironment() envfile.Vars
}

func newBroker(cfg Config, logFile string) (broker, error) {
	if !cfg.ApacheKafka && !cfg.Old {
		return &embeddedKafka{
			Server: kafka.New(kafka.Config{
				Dir:             filepath.Join(cfg.Dir, "kafka"),
				Port:            cfg.Ports.Port(ports.Kafka),
				Topics:          topics(),
				Partitions:      Partitions,
				MaxMessageBytes: maxMessageBytes,
				Advertised:      cfg.AdvertisedKafka,
				Sync:            cfg.SyncKafka,
				Log:             cfg.Log,
			}),
			addr: cfg.Ports.Addr(ports.Kafka),
		}, nil
	}
	first, err := ports.Unused(3)
	if err != nil {
		return nil, err
	}
	names := apache.Names{
		Ask: topicAsk, Transcribed: topicTranscribed, Compressed: topicCompressed,
		TranscriptionGroup: groupTranscription, CompressionGroup: groupCompression,
		DeadLetterGroup:  groupDeadLetters,
		DeadLetterSuffix: contract.DeadLetterSuffix,
	}
	config := apache.Config{
		Dir: filepath.Join(cfg.Dir, "kafka"),
		Ports: apache.Ports{
			SASLSSL:       cfg.Ports.Port(ports.Kafka),
			SASLPlaintext: first,
			Plaintext:     first + 1,
			Controller:    first + 2,
		},
		Topics:          topics(),
		Partitions:      Partitions,
		Grants:          names.LeastPrivileges(),
		MaxMessageBytes: maxMessageBytes,
		LogFile:         logFile,
		Note:            cfg.Note,
	}
	if cfg.Old {
		config.Topics, config.Grants = oldTopics(), names.Old()
	}
	return &apacheKafka{Server: apache.New(config), cfg: config}, nil
}

type embeddedKafka struct {
	*kafka.Server
	addr string
}

func (k *embeddedKafka) environment() envfile.Vars {
	return envfile.Vars{
		{Name: "KAFKA_BROKERS", Value: k.addr, Note: "Kafka"},
		{Name: "KAFKA_SSL", Value: "false"},
	}
}

func (k *embeddedKafka) testEnvironment() envfile.Vars {
	return envfile.Vars{
		{Name: "VIDFLOW_TEST_KAFKA", Value: "embedded"},
		{Name: "VIDFLOW_TEST_KAFKA_BROKERS", Value: k.addr, Note: "Kafka for the tests' own clients, which need no login"},
	}
}

type apacheKafka struct {
	*apache.Server
	cfg apache.Config
}

func (k *apacheKafka) environment() envfile.Vars {
	return envfile.Vars{
		{Name: "KAFKA_BROKERS", Value: local(k.cfg.Ports.SASLSSL), Note: "Kafka"},
		{Name: "KAFKA_SSL", Value: "true"},
		{Name: "KAFKA_SSL_CA_FILE", Value: k.CAFile()},
		{Name: "KAFKA_USERNAME", Value: string(apache.Vidflow)},
		{Name: "KAFKA_PASSWORD", Value: apache.Vidflow.Password()},
		{Name: "KAFKA_SASL_MECHANISM", Value: "scram-sha-256"},
	}
}

// oldEnvironment is what the API server before vidflow is told; it accepts any certificate.
func (k *apacheKafka) oldEnvironment() envfile.Vars {
	return envfile.Vars{
		{Name: "KAFKA_BROKERS", Value: local(k.cfg.Ports.SASLSSL), Note: "What the API server is told: Kafka, where it accepts any certificate"},
		{Name: "KAFKA_SSL_REJECT_UNAUTHORIZED", Value: "false"},
		{Name: "KAFKA_USERNAME", Value: string(apache.OldServer)},
		{Name: "KAFKA_PASSWORD", Value: apache.OldServer.Password()},
	}
}

func (k *apacheKafka) testEnvironment() envfile.Vars {
	return envfile.Vars{
		{Name: "VIDFLOW_TEST_KAFKA", Value: "apache"},
		{
			Name: "VIDFLOW_TEST_KAFKA_BROKERS", Value: local(k.cfg.Ports.Plaintext),
			Note: "Kafka for the tests' own clients, which need no login",
		},
		{Name: "VIDFLOW_TEST_KAFKA_SASL_PLAINTEXT", Value: local(k.cfg.Ports.SASLPlaintext)},
		{Name: "VIDFLOW_TEST_KAFKA_ANOTHER_CA_FILE", Value: k.AnotherCAFile(), Note: "Of an authority that signed nothing"},
		{Name: "VIDFLOW_TEST_KAFKA_JAVA", Value: strings.Join(k.Java(), "\n"), Note: "Runs Kafka's own tools, with their class and arguments after it; a line a word"},
		{Name: "VIDFLOW_TEST_KAFKA_LOG", Value: k.cfg.LogFile},
	}
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
