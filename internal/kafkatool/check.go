package kafkatool

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// Processes that are checked, as CheckConfig names them.
const (
	Worker      = "worker"
	Starter     = "starter"
	KafkaBridge = "kafkabridge"
	DeadLetters = "dlq" // the tool
)

// CheckConfig says what to check.
type CheckConfig struct {
	Kafka kafka.Config

	RequestTopic       string
	TranscriptionTopic string
	CompressionTopic   string
	TranscriptionGroup string
	CompressionGroup   string
	DeadLetterGroup    string

	// Processes whose needs are checked; all when empty.
	Processes []string
	// RoundTrip is the topic that a record is written to and read back from; empty for none.
	RoundTrip string
}

const (
	// answerTimeout bounds the wait for one broker.
	answerTimeout = 5 * time.Second
	// certificateWarning is how long before its end a certificate is worth a word.
	certificateWarning = 30 * 24 * time.Hour
	// fetchByTopicID is the version of fetch requests that the worker needs; brokers have it since 3.1.
	fetchByTopicID = 13
)

// check is one run.
type check struct {
	cfg    CheckConfig
	log    *slog.Logger
	cl     *kgo.Client
	adm    *kadm.Client
	report Report
}

// Check looks at each broker, the login, the topics, the groups and the permissions, and sends a record round. What cannot
// be found out because of something before it is left out. The error is only of a configuration that makes no client.
func Check(ctx context.Context, cfg CheckConfig, log *slog.Logger) (Report, error) {
	cl, err := kafka.NewClient(cfg.Kafka, log, "check")
	if err != nil {
		return Report{}, err
	}
	defer cl.Close()
	c := &check{cfg: cfg, log: log, cl: cl, adm: kadm.NewClient(cl)}
	if !c.addresses(ctx) {
		return c.report, nil
	}
	c.brokers(ctx)
	topics := c.topics(ctx)
	c.groups(ctx)
	c.permissions(ctx, topics)
	c.roundTrip(ctx, topics)
	return c.report, nil
}

func (c *check) wants(process string) bool {
	return len(c.cfg.Processes) == 0 || slices.Contains(c.cfg.Processes, process)
}

// addresses tries each configured address by itself, and reports whether any lets us in.
func (c *check) addresses(ctx context.Context) bool {
	findings := make([]Finding, len(c.cfg.Kafka.Brokers))
	var wg sync.WaitGroup
	for i, addr := range c.cfg.Kafka.Brokers {
		wg.Go(func() { findings[i] = c.address(ctx, addr) })
	}
	wg.Wait()
	in := false
	for _, f := range findings {
		c.report.add(f)
		in = in || f.Status != Failed
	}
	if in {
		login := Finding{Status: OK, What: "login", Name: "none", Detail: "the brokers want none, or take the connection for it"}
		if user := c.cfg.Kafka.Username; user != "" {
			login.Name, login.Detail = user, "accepted, by "+c.cfg.Kafka.Mechanism
		}
		c.report.add(login)
	}
	return in
}

func (c *check) address(ctx context.Context, addr string) Finding {
	f := Finding{What: "address", Name: addr}
	cfg := c.cfg.Kafka
	cfg.Brokers = []string{addr}
	seen := &handshakes{}
	cl, err := kafka.NewClient(cfg, c.log, "check/"+addr, kgo.WithHooks(seen))
	if err == nil {
		defer cl.Close()
		began := time.Now()
		err = kafka.Ping(ctx, cl)
		f.Detail = "answers in " + milliseconds(time.Since(began))
	}
	if err != nil {
		f.Status, f.Detail, f.Mend = Failed, err.Error(), mendConnection(err, cfg)
		return f
	}
	f.Status = OK
	state := seen.state()
	switch {
	case state == nil && cfg.Username != "":
		f.Status = Warning
		f.Detail += ", without TLS: the login can be read on the way"
		f.Mend = "set KAFKA_SSL=true and take the TLS port of the broker"
	case state == nil:
		f.Detail += ", without TLS"
	default:
		until := state.PeerCertificates[0].NotAfter
		f.Detail += fmt.Sprintf(", %s, certificate until %s", tls.VersionName(state.Version), until.UTC().Format(time.DateOnly))
		switch {
		case cfg.AcceptAnyCertificate:
			f.Status = Warning
			f.Detail += ", not checked"
			f.Mend = "set KAFKA_SSL_CA_FILE and remove KAFKA_SSL_REJECT_UNAUTHORIZED=false"
		case time.Until(until) < certificateWarning:
			f.Status, f.Mend = Warning, "renew the broker's certificate"
		}
	}
	return f
}

// mendConnection is what to do about an address that lets nobody in.
func mendConnection(err error, cfg kafka.Config) string {
	switch {
	case !kafka.IsSetup(err) && cfg.Username != "" && errors.Is(err, io.EOF):
		return "correct KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_SASL_MECHANISM"
	case !kafka.IsSetup(err) && cfg.TLS:
		return "look whether the broker runs and the address is right; if its port is one without TLS: KAFKA_SSL=false"
	case !kafka.IsSetup(err):
		return "look whether the broker runs and the address is right; if its port is one with TLS: KAFKA_SSL=true"
	case strings.Contains(err.Error(), "login was refused") && strings.HasPrefix(cfg.Mechanism, "scram"):
		return fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --alter --entity-type users --entity-name %s --add-config "+
			"'%s=[password=…]', or correct KAFKA_PASSWORD", strings.Join(cfg.Brokers, ","), cfg.Username, strings.ToUpper(cfg.Mechanism))
	case strings.Contains(err.Error(), "certificate is not trusted"):
		host, _, _ := net.SplitHostPort(cfg.Brokers[0])
		return fmt.Sprintf("openssl s_client -connect %s -servername %s -showcerts </dev/null shows who signed it",
			cfg.Brokers[0], host)
	default:
		return ""
	}
}

// handshakes keeps the TLS state of the last connection.
type handshakes struct {
	mu   sync.Mutex
	last *tls.ConnectionState
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (h *handshakes) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, conn net.Conn, _ error) {
	if secure, ok := conn.(*tls.Conn); ok {
		h.mu.Lock()
		defer h.mu.Unlock()
		state := secure.ConnectionState()
		if len(state.PeerCertificates) > 0 {
			h.last = &state
		}
	}
}

func (h *handshakes) state() *tls.ConnectionState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// brokers asks every broker of the cluster at the address that it advertises.
func (c *check) brokers(ctx context.Context) {
	details, err := c.adm.ListBrokers(ctx)
	if err != nil {
		c.report.add(Finding{Status: Failed, What: "broker", Name: "all", Detail: err.Error()})
		return
	}
	findings := make([]Finding, len(details))
	var wg sync.WaitGroup
	for i, b := range details {
		wg.Go(func() { findings[i] = c.broker(ctx, b) })
	}
	wg.Wait()
	for _, f := range findings {
		c.report.add(f)
	}
}

func (c *check) broker(ctx context.Context, b kadm.BrokerDetail) Finding {
	f := Finding{Status: OK, What: "broker", Name: fmt.Sprintf("%d at %s:%d", b.NodeID, b.Host, b.Port)}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	began := time.Now()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "vidflow", "v1"
	answer, err := c.cl.Broker(int(b.NodeID)).RetriableRequest(ctx, req)
	resp, _ := answer.(*kmsg.ApiVersionsResponse)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		f.Status, f.Detail = Failed, "does not answer at the address that it advertises: "+err.Error()
		f.Mend = "correct advertised.listeners in its server.properties, or open the way to it"
		return f
	}
	versions := kversion.FromApiVersionsResponse(resp)
	f.Detail = "answers in " + milliseconds(time.Since(began))
	if guess := versions.VersionGuess(); strings.HasPrefix(guess, "v") { // others than Apache's may be like none of its
		f.Detail = "speaks as Kafka " + guess + ", " + f.Detail
	}
	if fetch, _ := versions.LookupMaxKeyVersion(int16(kmsg.Fetch)); fetch < fetchByTopicID {
		f.Status, f.Mend = Failed, "bring the broker to Kafka 3.1 or later"
		f.Detail += ", too old: the worker reads records by topic id"
	}
	return f
}

func milliseconds(d time.Duration) string {
	if d < time.Millisecond {
		return "less than 1 ms"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// roundTrip writes a record and reads it back. Readers of dead letters pass over it, and nobody else reads them.
func (c *check) roundTrip(ctx context.Context, topics map[string]*topicState) {
	topic := c.cfg.RoundTrip
	if topic == "" {
		return
	}
	f := Finding{Status: OK, What: "round trip", Name: topic}
	defer func() { c.report.add(f) }()
	if state, ok := topics[topic]; ok {
		const both = 1<<kmsg.ACLOperationRead | 1<<kmsg.ACLOperationWrite
		switch {
		case state.forbidden, state.allowed != nil && *state.allowed&both != both:
			f.Status, f.Detail = Unknown, "not sent: the login may not both write and read there"
			return
		case !state.there:
			f.Status, f.Detail = Unknown, "not sent: there is no such topic"
			return
		}
	}
	token := rand.Text()
	began := time.Now()
	partition, offset, err := c.send(ctx, topic, token)
	if err != nil {
		f.Status, f.Detail = Failed, "write: "+err.Error()
		return
	}
	written := time.Since(began)
	found, err := c.readBack(ctx, kafka.Span{Topic: topic, Partition: partition, Begin: offset, End: offset + 1}, token)
	switch {
	case err != nil:
		f.Status, f.Detail = Failed, "read back: "+err.Error()
	case !found:
		f.Status, f.Detail = Failed, fmt.Sprintf("partition %d, offset %d does not hold what was written there", partition, offset)
	default:
		f.Detail = fmt.Sprintf("partition %d, offset %d: written in %s, read back in %s", partition, offset,
			milliseconds(written), milliseconds(time.Since(began)-written))
	}
}

func (c *check) send(ctx context.Context, topic, token string) (partition int32, offset int64, err error) {
	producer, err := kafka.NewProducer(c.cfg.Kafka, c.log, "check/producer")
	if err != nil {
		return 0, 0, err
	}
	defer producer.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*answerTimeout)
	defer cancel()
	return producer.Publish(ctx, topic, nil, nil, kafka.Header{Key: contract.HeaderCheck, Value: []byte(token)})
}

func (c *check) readBack(ctx context.Context, span kafka.Span, token string) (found bool, err error) {
	scanner, err := kafka.NewScanner(c.cfg.Kafka, c.log, "check/reader")
	if err != nil {
		return false, err
	}
	defer scanner.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*answerTimeout)
	defer cancel()
	err = scanner.Scan(ctx, []kafka.Span{span}, false, func(rec *kgo.Record) error {
		for _, h := range rec.Headers {
			found = found || h.Key == contract.HeaderCheck && string(h.Value) == token
		}
		return nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("nothing came within %s", 2*answerTimeout)
	}
	return found, err
}
