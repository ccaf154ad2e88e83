package kafkatool_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/golden"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/kafkatool"
)

// patience is how long anything may take on a busy machine: only a failure meets it.
const patience = 2 * time.Minute

var names = []string{"Transcribe", "update_transcribe", "finish_compress", "update_transcribe.dlq", "finish_compress.dlq"}

func newCluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func configFor(cluster *kfake.Cluster) kafkatool.CheckConfig {
	return kafkatool.CheckConfig{
		Kafka: kafka.Config{
			Brokers: cluster.ListenAddrs(), ConnectionTimeout: patience, RequestTimeout: patience, Retries: 2,
			InitialRetryTime: 10 * time.Millisecond,
		},
		RequestTopic: names[0], TranscriptionTopic: names[1], CompressionTopic: names[2],
		TranscriptionGroup: "codeendelea-transcription-consumer", CompressionGroup: "codeendelea-compression-consumer",
		DeadLetterGroup: "vidflow-dead-letters", RoundTrip: names[3],
	}
}

// create makes topics with the settings that vidflow asks for.
func create(t *testing.T, cluster *kfake.Cluster, changes map[string]map[string]string, topics ...string) {
	t.Helper()
	for _, topic := range topics {
		settings := map[string]string{"max.message.bytes": "10485760"}
		if strings.HasSuffix(topic, ".dlq") {
			settings["retention.ms"] = "-1"
		}
		for k, v := range changes[topic] {
			settings[k] = v
		}
		if err := cluster.CreateTopic(topic, 2, settings); err != nil {
			t.Fatal(err)
		}
	}
}

func check(t *testing.T, cfg kafkatool.CheckConfig) kafkatool.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	report, err := kafkatool.Check(ctx, cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestCheck_finds_nothing_wrong(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	create(t, cluster, nil, names...)
	report := check(t, configFor(cluster))
	equal(t, "check-ok.txt", report)
	if n := report.Count(kafkatool.OK); n != len(report.Findings) {
		t.Errorf("%d of %d findings are ok", n, len(report.Findings))
	}
}

func TestCheck_names_what_is_wrong_with_topics(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	create(t, cluster, map[string]map[string]string{
		"update_transcribe":     {"cleanup.policy": "compact,delete", "retention.ms": "3600000", "max.message.bytes": "1048588"},
		"finish_compress":       {"retention.ms": "86400000", "retention.bytes": "1000000"},
		"update_transcribe.dlq": {"retention.ms": "604800000", "min.insync.replicas": "5"},
	}, "Transcribe", "update_transcribe", "finish_compress", "update_transcribe.dlq")
	cfg := configFor(cluster)
	cfg.RoundTrip = "finish_compress.dlq"
	equal(t, "check-topics.txt", check(t, cfg))
}

func TestCheck_looks_only_at_what_a_process_needs(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	create(t, cluster, nil, "Transcribe", "update_transcribe")
	cfg := configFor(cluster)
	cfg.Processes, cfg.RoundTrip = []string{kafkatool.Worker}, ""
	report := check(t, cfg)
	equal(t, "check-worker.txt", report)
	if report.Count(kafkatool.Failed) > 0 {
		t.Error("want nothing of what others need")
	}
}

// TestCheck_permissions has a login that lacks one permission of each kind.
func TestCheck_permissions(t *testing.T) {
	t.Parallel()
	allow := func(resource kmsg.ACLResourceType, name string, operations ...kmsg.ACLOperation) (acls []kfake.ACL) {
		for _, operation := range operations {
			acls = append(acls, kfake.ACL{
				Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true,
			})
		}
		return acls
	}
	const read, write, describe = kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe
	var acls []kfake.ACL
	acls = append(acls, allow(kmsg.ACLResourceTypeTopic, "Transcribe", describe)...)
	acls = append(acls, allow(kmsg.ACLResourceTypeTopic, "update_transcribe", read, write, kmsg.ACLOperationDescribeConfigs)...)
	acls = append(acls, allow(kmsg.ACLResourceTypeTopic, "update_transcribe.dlq", write)...)
	acls = append(acls, allow(kmsg.ACLResourceTypeTopic, "finish_compress.dlq", read, write)...)
	acls = append(acls, allow(kmsg.ACLResourceTypeGroup, "codeendelea-transcription-consumer", read)...)
	cluster := newCluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("SCRAM-SHA-256", "admin", "admin"),
		kfake.User("SCRAM-SHA-256", "vidflow", "right", acls...))
	create(t, cluster, nil, names...)
	cfg := configFor(cluster)
	cfg.Kafka.Username, cfg.Kafka.Password, cfg.Kafka.Mechanism = "vidflow", "right", kafka.MechanismScramSHA256
	equal(t, "check-permissions.txt", check(t, cfg))
}

func TestCheck_names_a_wrong_password(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "vidflow", "right"))
	create(t, cluster, nil, names...)
	cfg := configFor(cluster)
	cfg.Kafka.Username, cfg.Kafka.Password, cfg.Kafka.Mechanism = "vidflow", "wrong", kafka.MechanismScramSHA512
	report := check(t, cfg)
	equal(t, "check-password.txt", report)
}

func TestCheck_certificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, 24*time.Hour)
	cluster := newCluster(t, kfake.TLS(ca.conf))
	create(t, cluster, nil, "Transcribe", "update_transcribe")
	cfg := configFor(cluster)
	cfg.Kafka.TLS, cfg.Processes, cfg.RoundTrip = true, []string{kafkatool.Worker}, ""
	for name, row := range map[string]struct {
		change func(*kafka.Config)
		status kafkatool.Status
		detail string
		mend   string
	}{
		"one that is not trusted":   {func(*kafka.Config) {}, kafkatool.Failed, "certificate is not trusted", "openssl s_client"},
		"one that soon ends":        {func(c *kafka.Config) { c.CAFile = ca.file }, kafkatool.Warning, "certificate until 20", "renew"},
		"one that is not looked at": {func(c *kafka.Config) { c.AcceptAnyCertificate = true }, kafkatool.Warning, "not checked", "KAFKA_SSL_CA_FILE"},
		"no TLS":                    {func(c *kafka.Config) { c.TLS = false }, kafkatool.Failed, "reach a Kafka broker", "KAFKA_SSL=true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := cfg
			row.change(&cfg.Kafka)
			f := check(t, cfg).Findings[0]
			if f.Status != row.status || !strings.Contains(f.Detail, row.detail) || !strings.Contains(f.Mend, row.mend) {
				t.Errorf("got %+v, want %s, %q and %q", f, row.status, row.detail, row.mend)
			}
		})
	}
}

func TestCheck_brokers_that_do_not_answer(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	create(t, cluster, nil, names...)
	cfg := configFor(cluster)
	cfg.Kafka.Brokers = append([]string{"127.0.0.1:1"}, cfg.Kafka.Brokers...)
	report := check(t, cfg)
	if got := report.Findings[0]; got.Status != kafkatool.Failed || !strings.Contains(got.Detail, "connection refused") {
		t.Errorf("got %+v, want the address that nobody listens at", got)
	}
	if n := report.Count(kafkatool.Failed); n != 1 {
		t.Errorf("%d failed, want the rest to be looked at all the same", n)
	}
	cfg.Kafka.Brokers = cfg.Kafka.Brokers[:1]
	if report := check(t, cfg); len(report.Findings) != 1 {
		t.Errorf("got %+v, want nothing that cannot be found out", report.Findings)
	}
}

func TestCheck_groups(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	create(t, cluster, nil, names...)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumerGroup("codeendelea-transcription-consumer"),
		kgo.ConsumeTopics("update_transcribe"), kgo.Balancers(kgo.RoundRobinBalancer()), kgo.DisableAutoCommit(),
		kgo.ClientID("the-old-one"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 3 {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "update_transcribe", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	cl.PollFetches(ctx)
	member, _ := cl.GroupMetadata()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "finish_compress", Partition: 0, At: 0})
	if err := kadm.NewClient(cl).CommitAllOffsets(ctx, "codeendelea-compression-consumer", offsets); err != nil {
		t.Fatal(err)
	}
	cfg := configFor(cluster)
	cfg.Processes, cfg.RoundTrip = []string{kafkatool.KafkaBridge}, ""
	got := make(map[string]kafkatool.Finding)
	for _, f := range check(t, cfg).Findings {
		if f.What == "group" {
			got[f.Name] = f
		}
	}
	want := map[string]kafkatool.Finding{
		"codeendelea-transcription-consumer": {
			Status: kafkatool.Warning, What: "group", Name: "codeendelea-transcription-consumer",
			Detail: `1 member, 3 records behind; its members share partitions by "roundrobin": they are other consumers, and ` +
				"vidflow waits while they run: the-old-one at 127.0.0.1 (" + member + ")",
			Mend: "when vidflow is to take over: stop them; it goes on at their committed offsets, within seconds",
		},
		"codeendelea-compression-consumer": {
			Status: kafkatool.OK, What: "group", Name: "codeendelea-compression-consumer", Detail: "0 members, 0 records behind",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A group that is just being shared out names no protocol: nothing can be said of its members then.
func TestCheck_group_that_rebalances(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	create(t, cluster, nil, names...)
	member := func() *kgo.Client {
		cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumerGroup("codeendelea-transcription-consumer"),
			kgo.ConsumeTopics("update_transcribe"), kgo.Balancers(kgo.RoundRobinBalancer()), kgo.DisableAutoCommit(),
			kgo.BlockRebalanceOnPoll(), kgo.RebalanceTimeout(patience))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.CloseAllowingRebalance)
		return cl
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first := member()
	if err := first.ProduceSync(ctx, &kgo.Record{Topic: "update_transcribe", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := first.PollFetches(ctx).Err(); err != nil { // and holds the rebalance up from here on
		t.Fatal(err)
	}
	defer first.AllowRebalance() // or the other could not be closed
	member()
	admin := kadm.NewClient(first)
	for {
		groups, err := admin.DescribeGroups(ctx, "codeendelea-transcription-consumer")
		if err != nil {
			t.Fatal(err)
		}
		if groups["codeendelea-transcription-consumer"].State == "PreparingRebalance" {
			break
		}
	}
	cfg := configFor(cluster)
	cfg.Processes, cfg.RoundTrip = []string{kafkatool.KafkaBridge}, ""
	for _, f := range check(t, cfg).Findings {
		if f.What == "group" && f.Name == "codeendelea-transcription-consumer" &&
			(f.Status != kafkatool.Unknown || !strings.Contains(f.Detail, "shared out anew")) {
			t.Errorf("got %+v, want that its members cannot be told", f)
		}
	}
}

func TestCheck_says_what_could_not_be_written(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	create(t, cluster, nil, names...)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.PolicyViolation, Count: -1})
	report := check(t, configFor(cluster))
	last := report.Findings[len(report.Findings)-1]
	if last.What != "round trip" || last.Status != kafkatool.Failed || !strings.HasPrefix(last.Detail, "write: ") {
		t.Errorf("got %+v, want a round trip that failed", last)
	}
}

// normal replaces what is different each time.
var normal = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+ *`), "127.0.0.1:PORT "},
	{regexp.MustCompile(`(less than )?\d+ ms`), "N ms"},
	{regexp.MustCompile(`(login|broker|topic|group|worker|starter|kafkabridge|dlq|round trip|address)  +`), "$1  "},
	{regexp.MustCompile(`  +(\S)`), "  $1"},
	{regexp.MustCompile(`Kafka [v0-9.]+`), "Kafka VERSION"},
	{regexp.MustCompile(`partition \d+, offset`), "partition N, offset"},
}

func equal(t *testing.T, name string, report kafkatool.Report) {
	t.Helper()
	var b bytes.Buffer
	if err := report.Print(&b); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, n := range normal {
		got = n.pattern.ReplaceAllString(got, n.with)
	}
	golden.Equal(t, filepath.Join("testdata", name), []byte(got))
}

// authority signs a certificate for 127.0.0.1.
type authority struct {
	file string // PEM
	conf *tls.Config
}

func newAuthority(t *testing.T, validFor time.Duration) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validFor),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return authority{file: file, conf: &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12,
	}}
}
