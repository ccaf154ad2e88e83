package kafka_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/internal/kafka"
)

func TestConfig_never_shows_the_password(t *testing.T) {
	t.Parallel()
	const password = "hunter2-secret"
	cfg := kafka.Config{Brokers: []string{"broker:9092"}, Username: "vidflow", Password: password}
	nested := struct{ Kafka kafka.Config }{cfg}
	var log logBuffer
	log.logger().Info("configuration", "kafka", cfg, "nested", nested)
	encoded, err := json.Marshal(nested)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"%v":        fmt.Sprintf("%v", cfg),
		"%+v":       fmt.Sprintf("%+v", cfg),
		"%#v":       fmt.Sprintf("%#v", cfg),
		"%s":        fmt.Sprintf("config: %s", cfg),
		"pointer":   fmt.Sprintf("%+v", &cfg),
		"nested":    fmt.Sprintf("%+v", nested),
		"nested %#": fmt.Sprintf("%#v", nested),
		"json":      string(encoded),
		"log":       log.String(),
	} {
		if strings.Contains(text, password) {
			t.Errorf("%s shows the password: %s", name, text)
		}
		if !strings.Contains(text, "broker:9092") {
			t.Errorf("%s does not name the broker: %s", name, text)
		}
	}
}

func TestOptions_refuses_what_can_never_work(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cfg  kafka.Config
		want string
	}{
		"no broker":           {kafka.Config{}, "KAFKA_BROKERS"},
		"no password":         {kafka.Config{Brokers: []string{"b:1"}, Username: "u"}, "KAFKA_PASSWORD"},
		"unknown mechanism":   {kafka.Config{Brokers: []string{"b:1"}, Username: "u", Password: "p", Mechanism: "gssapi"}, "KAFKA_SASL_MECHANISM"},
		"no file of CAs":      {kafka.Config{Brokers: []string{"b:1"}, TLS: true, CAFile: empty + ".gone"}, "KAFKA_SSL_CA_FILE"},
		"no CA in the file":   {kafka.Config{Brokers: []string{"b:1"}, TLS: true, CAFile: empty}, "holds no PEM certificate"},
		"address with spaces": {kafka.Config{Brokers: []string{"[::1"}}, "configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, err := kafka.NewClient(tc.cfg, quiet(), "test")
			if err == nil {
				cl.Close()
				t.Fatal("NewClient succeeded")
			}
			if !kafka.IsSetup(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v (setup: %t), want a SetupError with %q", err, kafka.IsSetup(err), tc.want)
			}
		})
	}
}

func TestOptions_is_loud_about_unchecked_certificates(t *testing.T) {
	t.Parallel()
	var log logBuffer
	if _, err := kafka.Options(kafka.Config{Brokers: []string{"b:1"}, TLS: true, AcceptAnyCertificate: true}, log.logger(), "test"); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "Kafka certificates are not checked") {
		t.Errorf("got log %q, want a warning", got)
	}
}
