package kafka_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/kafka"
)

func TestCheckTopics(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t, kfake.SeedTopics(1, "results.dlq"))
	cl := newClient(t, configFor(cluster), quiet())

	t.Run("is content with what is there", func(t *testing.T) {
		if err := kafka.CheckTopics(t.Context(), cl, "results", "results.dlq"); err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("names every missing topic and creates none", func(t *testing.T) {
		for range 2 {
			err := kafka.CheckTopics(t.Context(), cl, "results", "other.dlq", "another")
			if !kafka.IsSetup(err) || !strings.Contains(err.Error(), "missing: another, other.dlq") {
				t.Errorf("got %v, want a SetupError that names both", err)
			}
		}
	})
	t.Run("names forbidden topics", func(t *testing.T) {
		fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "results", Err: kerr.TopicAuthorizationFailed, Count: -1})
		defer fault.Remove()
		err := kafka.CheckTopics(t.Context(), cl, "results")
		if !kafka.IsSetup(err) || !strings.Contains(err.Error(), "no permission for: results") {
			t.Errorf("got %v, want a SetupError", err)
		}
	})
	t.Run("takes a topic without a leader for away", func(t *testing.T) {
		fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "results", Err: kerr.LeaderNotAvailable, Count: -1})
		defer fault.Remove()
		if err := kafka.CheckTopics(t.Context(), cl, "results"); err == nil || kafka.IsSetup(err) {
			t.Errorf("got %v, want an error that is no SetupError", err)
		}
	})
}

func TestCheckTopics_takes_a_broker_that_is_not_there_for_away(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	cl := newClient(t, kafka.Config{Brokers: []string{addr}}, log.logger())
	if err := checkTopics(t, cl); err == nil || kafka.IsSetup(err) {
		t.Errorf("got %v, want an error that is no SetupError", err)
	}
	if got := log.String(); !strings.Contains(got, "Kafka broker is away") {
		t.Errorf("the log does not say that the broker is away: %s", got)
	}
}

func TestCheckTopics_names_a_wrong_password(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{kafka.MechanismPlain, kafka.MechanismScramSHA256, kafka.MechanismScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			cluster := newCluster(t, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "vidflow", "right"))
			cfg := configFor(cluster)
			cfg.Username, cfg.Mechanism = "vidflow", mechanism

			cfg.Password = "right"
			if err := checkTopics(t, newClient(t, cfg, quiet())); err != nil {
				t.Errorf("with the right password: %v", err)
			}

			var log logBuffer
			cfg.Password = "wrong"
			err := checkTopics(t, newClient(t, cfg, quiet()))
			if err == nil || !strings.Contains(err.Error(), "KAFKA_PASSWORD") {
				t.Errorf("from a broker that hangs up: got %v, want an error about the login", err)
			}

			refuse(cluster)
			err = checkTopics(t, newClient(t, cfg, log.logger()))
			if !kafka.IsSetup(err) || !strings.Contains(err.Error(), "login was refused") {
				t.Errorf("got %v, want a SetupError about the login", err)
			}
			if got := log.String(); !strings.Contains(got, `level=ERROR msg="Kafka login refused"`) || strings.Contains(got, "wrong") {
				t.Errorf("the log does not say that the login was refused, or shows the password: %s", got)
			}
		})
	}
}

// checkTopics asks again, as a process does, when a busy machine gave no answer in time.
func checkTopics(t *testing.T, cl *kgo.Client) error {
	t.Helper()
	for ctx := patiently(t); ; {
		err := kafka.CheckTopics(ctx, cl, "results")
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// refuse has the cluster say that it refuses a login, as Apache Kafka does; kfake hangs up.
func refuse(cluster *kfake.Cluster) {
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
}

func TestCheckTopics_over_TLS(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	cluster := newCluster(t, kfake.TLS(ca.conf))
	plaintext := plaintextServer(t)
	for name, tc := range map[string]struct {
		cluster *kfake.Cluster
		change  func(*kafka.Config)
		want    string // of the SetupError; empty: success
	}{
		"trusts the given CA":              {cluster, func(c *kafka.Config) { c.CAFile = ca.file }, ""},
		"trusts anybody when told":         {cluster, func(c *kafka.Config) { c.AcceptAnyCertificate = true }, ""},
		"does not trust an unknown CA":     {cluster, func(*kafka.Config) {}, "not trusted"},
		"does not trust another CA":        {cluster, func(c *kafka.Config) { c.CAFile = other.file }, "not trusted"},
		"says that the broker has no TLS":  {cluster, func(c *kafka.Config) { c.Brokers = []string{plaintext} }, "does not speak TLS"},
		"says that the name is another":    {cluster, func(c *kafka.Config) { c.CAFile = ca.file; c.Brokers = localhost(c.Brokers) }, "another name"},
		"is not content without TLS at it": {cluster, func(c *kafka.Config) { c.TLS = false }, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := configFor(tc.cluster)
			cfg.TLS = true
			tc.change(&cfg)
			err := checkTopics(t, newClient(t, cfg, quiet()))
			switch {
			case tc.want == "":
				if err != nil {
					t.Errorf("got %v", err)
				}
			case tc.want == "-":
				if err == nil {
					t.Error("succeeded")
				}
			case !kafka.IsSetup(err) || !strings.Contains(err.Error(), tc.want):
				t.Errorf("got %v, want a SetupError with %q", err, tc.want)
			}
		})
	}
}

// plaintextServer answers whatever it is sent in plain text.
func plaintextServer(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("no TLS here"))
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// localhost is another name for the same brokers.
func localhost(brokers []string) []string {
	var out []string
	for _, b := range brokers {
		out = append(out, strings.Replace(b, "127.0.0.1", "localhost", 1))
	}
	return out
}

func TestCheckGroup(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	cl := newClient(t, configFor(cluster), quiet())
	if err := kafka.CheckGroup(patiently(t), cl, "group"); err != nil {
		t.Errorf("got %v", err)
	}
	fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	err := kafka.CheckGroup(patiently(t), newClient(t, configFor(cluster), quiet()), "group")
	if !kafka.IsSetup(err) || !strings.Contains(err.Error(), "consumer group group") {
		t.Errorf("its coordinator may not be asked for: got %v, want a SetupError that names the group", err)
	}
	fault.Remove()

	var code int16
	cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = code
		return resp, nil, true
	})
	for _, tc := range []struct {
		answer *kerr.Error
		works  bool
		setup  bool
	}{
		{kerr.UnknownMemberID, true, false},
		{kerr.GroupAuthorizationFailed, false, true},
		{kerr.CoordinatorNotAvailable, false, false},
	} {
		code = tc.answer.Code
		err := kafka.CheckGroup(patiently(t), cl, "group")
		if (err == nil) != tc.works || kafka.IsSetup(err) != tc.setup {
			t.Errorf("broker answers %v: got %v", tc.answer, err)
		}
	}
}

func TestClient_logs_connects_and_disconnects(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	var log logBuffer
	cl, err := kafka.NewClient(configFor(cluster), log.logger(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := kafka.Ping(t.Context(), cl); err != nil {
		t.Fatal(err)
	}
	cl.Close()
	for _, want := range []string{`msg="Kafka broker connected" client=test`, `msg="Kafka broker disconnected" client=test`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s: %s", want, log.String())
		}
	}
}
