package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/internal/kafka"
)

var mechanisms = []string{kafka.MechanismPlain, kafka.MechanismScramSHA256, kafka.MechanismScramSHA512}

// within is a context for what a person waits for.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// check asks again, as a process does, when a busy machine gave no answer in time.
func check(t *testing.T, ask func(context.Context) error) error {
	t.Helper()
	for ctx := within(t, patience); ; {
		if err := ask(ctx); ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// seconds is how long a person may have to wait for the name of a mistake.
const seconds = time.Minute // on a busy machine

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	topic := s.topic(1, nil)
	s.allowAll(apache.Guest, topic)
	for _, tls := range []bool{true, false} {
		for _, mechanism := range mechanisms {
			t.Run(fmt.Sprintf("%s/TLS_%t", mechanism, tls), func(t *testing.T) {
				t.Parallel()
				cfg := s.config(apache.Guest, mechanism)
				if !tls {
					cfg.TLS, cfg.CAFile, cfg.Brokers = false, "", []string{need(t, "VIDFLOW_TEST_KAFKA_SASL_PLAINTEXT")}
				}
				producer := newProducer(t, cfg, quiet())
				if err := check(t, func(ctx context.Context) error { return producer.CheckTopics(ctx, topic) }); err != nil {
					t.Error(err)
				}
				if _, _, err := producer.Publish(within(t, seconds), topic, []byte("k"), []byte("v")); err != nil {
					t.Error(err)
				}

				for what, mistake := range map[string]func(*kafka.Config){
					"a wrong password": func(cfg *kafka.Config) { cfg.Password = "wr0ng" },
					"an unknown user":  func(cfg *kafka.Config) { cfg.Username = "nobody" },
				} {
					wrong := cfg
					mistake(&wrong)
					var log process.Output
					client := newClient(t, wrong, logTo(&log))
					wantSetup(t, check(t, func(ctx context.Context) error { return kafka.CheckTopics(ctx, client, topic) }), "the Kafka login was refused")
					if said := log.String(); !strings.Contains(said, `level=ERROR msg="Kafka login refused"`) || strings.Contains(said, "wr0ng") {
						t.Errorf("%s: the log does not say that the login was refused, or says the password:\n%s", what, said)
					}
				}
			})
		}
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	topic := s.topic(1, nil)
	s.allowAll(apache.Guest, topic)
	for name, row := range map[string]struct {
		change func(*kafka.Config)
		says   string // of a SetupError; empty when all is well
		logs   string
	}{
		"the right CA": {change: func(*kafka.Config) {}},
		"no CA": {
			change: func(cfg *kafka.Config) { cfg.CAFile = "" },
			says:   "certificate is not trusted; set KAFKA_SSL_CA_FILE", logs: "level=ERROR",
		},
		"another CA": {
			change: func(cfg *kafka.Config) { cfg.CAFile = need(t, "VIDFLOW_TEST_KAFKA_ANOTHER_CA_FILE") },
			says:   "certificate is not trusted; set KAFKA_SSL_CA_FILE", logs: "level=ERROR",
		},
		"KAFKA_SSL_REJECT_UNAUTHORIZED=false without a CA": {
			change: func(cfg *kafka.Config) { cfg.CAFile, cfg.AcceptAnyCertificate = "", true },
			logs:   "Kafka certificates are not checked",
		},
		"KAFKA_SSL_REJECT_UNAUTHORIZED=false with another CA": {
			change: func(cfg *kafka.Config) {
				cfg.CAFile, cfg.AcceptAnyCertificate = need(t, "VIDFLOW_TEST_KAFKA_ANOTHER_CA_FILE"), true
			},
			logs: "Kafka certificates are not checked",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := s.config(apache.Guest, kafka.MechanismScramSHA256)
			row.change(&cfg)
			var log process.Output
			client := newClient(t, cfg, logTo(&log))
			err := check(t, func(ctx context.Context) error { return kafka.CheckTopics(ctx, client, topic) })
			if row.says != "" {
				wantSetup(t, err, row.says)
			} else if err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), row.logs) {
				t.Errorf("the log does not say %q:\n%s", row.logs, log.String())
			}
		})
	}

	// Kafka hangs up on these, as it does when it is being stopped, so that they are not taken for certain; but they are named.
	for name, row := range map[string]struct {
		change func(*kafka.Config)
		says   string
	}{
		"TLS to a listener without": {
			func(cfg *kafka.Config) { cfg.Brokers = []string{need(t, "VIDFLOW_TEST_KAFKA_SASL_PLAINTEXT")} },
			"KAFKA_SSL is true where it speaks no TLS",
		},
		"no TLS to a listener with":             {func(cfg *kafka.Config) { cfg.TLS = false }, "speaking to a tls endpoint"},
		"no login to a listener that wants one": {func(cfg *kafka.Config) { cfg.Username = "" }, "KAFKA_USERNAME is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := s.config(apache.Guest, kafka.MechanismScramSHA256)
			row.change(&cfg)
			client := newClient(t, cfg, quiet())
			err := check(t, func(ctx context.Context) error { return kafka.CheckTopics(ctx, client, topic) })
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want an error that says %q", err, row.says)
			}
		})
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	// Described may be looked at, and nothing else.
	closed, described := s.topic(1, nil), s.topic(1, nil)
	s.allow(apache.Grant{User: apache.Guest, Topics: []string{described}, Operations: []kadm.ACLOperation{kadm.OpDescribe}})
	cfg := s.config(apache.Guest, kafka.MechanismScramSHA512)
	producer := newProducer(t, cfg, quiet())

	wantSetup(t, check(t, func(ctx context.Context) error { return producer.CheckTopics(ctx, closed, described) }), "no permission for: "+closed)
	if err := check(t, func(ctx context.Context) error { return producer.CheckTopics(ctx, described) }); err != nil {
		t.Error(err)
	}
	wantSetup(t, check(t, func(ctx context.Context) error { return producer.CheckGroup(ctx, closed) }), "no permission for consumer group "+closed)
	for _, topic := range []string{closed, described} {
		_, _, err := producer.Publish(within(t, seconds), topic, nil, []byte("v"))
		wantSetup(t, err, "no permission")
	}

	record := transcript(100)
	s.put(described, record)
	topics, err := s.admin.ListTopics(within(t, seconds), described)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newReader(t, cfg).Read(within(t, seconds), reference(topics[described], record))
	wantSetup(t, err, "no permission for the topic")

	t.Run("a missing topic", func(t *testing.T) {
		t.Parallel()
		missing := described + "-missing"
		admin := newProducer(t, s.config(apache.Admin, kafka.MechanismPlain), quiet())
		wantSetup(t, check(t, func(ctx context.Context) error { return admin.CheckTopics(ctx, described, missing) }), "missing: "+missing)
		_, _, err := admin.Publish(within(t, seconds), missing, nil, []byte("v"))
		wantSetup(t, err, missing+" is missing")
		topics, err := s.admin.ListTopics(within(t, seconds))
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(topics.Names(), missing) {
			t.Error("the topic was created by asking for it")
		}
	})
}

// TestLeastPrivileges: what each process is allowed is enough, as the end-to-end tests show, and is no more.
func TestLeastPrivileges(t *testing.T) {
	t.Parallel()
	c := newCrossing(t, nil)
	for user, forbidden := range map[apache.User][]string{
		apache.VidflowWorker: {c.names.Transcribed, c.names.Compressed},
		apache.VidflowStart:  {c.names.Ask, c.names.Compressed},
		apache.VidflowBridge: {c.names.Ask, c.names.Transcribed, c.names.Compressed},
	} {
		producer := newProducer(t, c.config(user, kafka.MechanismPlain), quiet())
		for _, topic := range forbidden {
			_, _, err := producer.Publish(within(t, seconds), topic, nil, []byte("v"))
			wantSetup(t, err, "no permission")
		}
	}
	worker := newProducer(t, c.config(apache.VidflowWorker, kafka.MechanismPlain), quiet())
	wantSetup(t, check(t, func(ctx context.Context) error { return worker.CheckGroup(ctx, c.names.TranscriptionGroup) }),
		"no permission for consumer group")
}
