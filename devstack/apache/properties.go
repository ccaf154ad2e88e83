package apache

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// User logs in to the SASL listeners; its password protects nothing.
type User string

// The users. Each password is the name and "-secret".
const (
	// Admin may do everything.
	Admin User = "admin"
	// Vidflow may do what the three processes and the tools of vidflow do together; the others what one process does.
	Vidflow       User = "vidflow"
	VidflowWorker User = "vidflow-worker"
	VidflowStart  User = "vidflow-starter"
	VidflowBridge User = "vidflow-kafkabridge"
	// OldServer may do what the API server does by itself that vidflow takes over from.
	OldServer User = "api-server"
	// Guest may do nothing until somebody allows it something.
	Guest User = "guest"
)

func users() []User {
	return []User{Admin, Vidflow, VidflowWorker, VidflowStart, VidflowBridge, OldServer, Guest}
}

// Password of the user.
func (u User) Password() string { return string(u) + "-secret" }

// Names of SASL mechanisms, as the broker has them.
var mechanisms = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}

// properties are the broker's settings.
func (s *Server) properties() map[string]string {
	p := map[string]string{
		"process.roles":                       "broker,controller",
		"node.id":                             "1",
		"controller.quorum.bootstrap.servers": addr(s.cfg.Ports.Controller),
		"controller.listener.names":           "CONTROLLER",
		"inter.broker.listener.name":          "PLAINTEXT",
		"listener.security.protocol.map": "SASL_SSL:SASL_SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,PLAINTEXT:PLAINTEXT," +
			"CONTROLLER:PLAINTEXT",
		"advertised.listeners":                             s.listeners(),
		"listeners":                                        s.listeners() + ",CONTROLLER://" + addr(s.cfg.Ports.Controller),
		"sasl.enabled.mechanisms":                          strings.Join(mechanisms, ","),
		"ssl.keystore.type":                                "PEM",
		"ssl.keystore.location":                            s.path("tls", brokerFile),
		"ssl.truststore.type":                              "PEM",
		"ssl.truststore.location":                          s.path("tls", caFile),
		"authorizer.class.name":                            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                      "User:" + string(Admin) + ";User:ANONYMOUS",
		"allow.everyone.if.no.acl.found":                   "false",
		"auto.create.topics.enable":                        "false",
		"log.dirs":                                         s.path("data"),
		"message.max.bytes":                                strconv.Itoa(s.cfg.MaxMessageBytes),
		"num.partitions":                                   strconv.Itoa(int(s.cfg.Partitions)),
		"offsets.topic.num.partitions":                     "4",
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.num.partitions":             "4",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
		"group.initial.rebalance.delay.ms":                 "0",
		// After a kill the controller believes in the broker that was until its session has run out.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",
		// A topic that is deleted leaves the disk soon.
		"file.delete.delay.ms": "1000",
	}
	for _, listener := range []string{"sasl_ssl", "sasl_plaintext"} {
		for _, mechanism := range mechanisms {
			p["listener.name."+listener+"."+strings.ToLower(mechanism)+".sasl.jaas.config"] = loginModule(mechanism)
		}
	}
	return p
}

func (s *Server) listeners() string {
	return fmt.Sprintf("SASL_SSL://%s,SASL_PLAINTEXT://%s,PLAINTEXT://%s",
		addr(s.cfg.Ports.SASLSSL), addr(s.cfg.Ports.SASLPlaintext), addr(s.cfg.Ports.Plaintext))
}

// loginModule tells the broker where passwords are: those of PLAIN here, those of SCRAM in its own metadata.
func loginModule(mechanism string) string {
	if mechanism != "PLAIN" {
		return "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	}
	var b strings.Builder
	b.WriteString("org.apache.kafka.common.security.plain.PlainLoginModule required")
	for _, u := range users() {
		fmt.Fprintf(&b, ` "user_%s"=%q`, u, u.Password())
	}
	return b.String() + ";"
}

// configure writes the files that the broker reads.
func (s *Server) configure() error {
	var b strings.Builder
	properties := s.properties()
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&b, "%s=%s\n", name, properties[name])
	}
	if err := os.WriteFile(s.path("server.properties"), []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.WriteFile(s.path("log4j2.properties"), []byte(logging), 0o644)
}

// logging goes to the log file of the stack. The level of single loggers can be changed while the broker runs, with the
// configuration of its loggers.
const logging = `rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
appender.out.name = out
appender.out.type = Console
appender.out.target = SYSTEM_ERR
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c: %m%n
`

func (s *Server) path(elements ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, elements...)...)
}

func addr(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
