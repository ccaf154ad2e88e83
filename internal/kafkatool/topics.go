package kafkatool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/contract"
)

// What the settings of topics are held against.
const (
	// leastRetention outlasts a run's waits, 48 h when nothing comes, by a day. A result that is gone before its step
	// succeeds has to be asked for again.
	leastRetention = 72 * time.Hour
	// leastLetterRetention is what people take to see to dead letters.
	leastLetterRetention = 14 * 24 * time.Hour
	// longTranscript is three hours of speech, in bytes.
	longTranscript = 1_300_000
)

// topicState is what is known of a topic.
type topicState struct {
	there bool
	// forbidden says that the login may not so much as look at it.
	forbidden bool
	// allowed is a bit for each operation that the login may do; nil when the broker does not tell.
	allowed  *int32
	settings map[string]string // nil when they may not be looked at
}

// names of the topics, in the order of the table.
func (c *check) topicNames() []string {
	var names []string
	add := func(more ...string) {
		for _, name := range more {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	transcripts, compressions := c.cfg.TranscriptionTopic, c.cfg.CompressionTopic
	if c.wants(Worker) {
		add(c.cfg.RequestTopic, transcripts)
	}
	if c.wants(Starter) {
		add(transcripts)
	}
	if c.wants(KafkaBridge) || c.wants(DeadLetters) {
		add(transcripts, compressions)
	}
	if c.wants(Starter) || c.wants(KafkaBridge) || c.wants(DeadLetters) {
		add(transcripts+contract.DeadLetterSuffix, compressions+contract.DeadLetterSuffix)
	}
	return names
}

// topics asks for all topics at once, and for their settings.
func (c *check) topics(ctx context.Context) map[string]*topicState {
	states := make(map[string]*topicState)
	names := c.topicNames()
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		c.report.add(Finding{Status: Failed, What: "topic", Name: "all", Detail: err.Error()})
		return states
	}
	settings := c.settings(ctx, names)
	for _, name := range names {
		i := slices.IndexFunc(resp.Topics, func(t kmsg.MetadataResponseTopic) bool { return t.Topic != nil && *t.Topic == name })
		if i < 0 {
			c.report.add(Finding{Status: Unknown, What: "topic", Name: name, Detail: "the broker says nothing about it"})
			continue
		}
		state := &topicState{settings: settings[name]}
		states[name] = state
		c.topic(name, &resp.Topics[i], state, len(resp.Brokers))
	}
	return states
}

func (c *check) topic(name string, t *kmsg.MetadataResponseTopic, state *topicState, brokers int) {
	f := Finding{Status: OK, What: "topic", Name: name}
	defer func() { c.report.add(f) }()
	switch err := kerr.ErrorForCode(t.ErrorCode); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		f.Status, f.Detail, f.Mend = Failed, "missing", c.createTopic(name)
		return
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		state.forbidden = true
		f.Status, f.Detail = Failed, "the login may not look at it, and so not use it; it may be missing, too"
		f.Mend = c.acl("Describe", "--topic "+name)
		return
	case err != nil:
		f.Status, f.Detail = Failed, err.Error()
		return
	}
	state.there = true
	if t.AuthorizedOperations != math.MinInt32 {
		state.allowed = &t.AuthorizedOperations
	}
	replicas := math.MaxInt
	var leaderless []string
	for _, p := range t.Partitions {
		replicas = min(replicas, len(p.Replicas))
		if p.Leader < 0 || errors.Is(kerr.ErrorForCode(p.ErrorCode), kerr.LeaderNotAvailable) {
			leaderless = append(leaderless, strconv.Itoa(int(p.Partition)))
		}
	}
	f.Detail = fmt.Sprintf("%s, %s", plural(len(t.Partitions), "partition"), plural(replicas, "replica"))
	if len(leaderless) > 0 {
		f.Status, f.Detail = Failed, f.Detail+"; no leader for partition "+strings.Join(leaderless, ", ")
		f.Mend = "bring back the brokers that hold it"
		return
	}
	c.judge(&f, name, state.settings, replicas, brokers)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// judge holds the settings of a topic against what vidflow needs. The first thing that is wrong is what is mended first.
func (c *check) judge(f *Finding, name string, settings map[string]string, replicas, brokers int) {
	if settings == nil {
		f.Detail += "; its settings may not be looked at"
		if f.Status == OK {
			f.Mend = c.acl("DescribeConfigs", "--topic "+name) + " (only for this check)"
		}
		return
	}
	letters := strings.HasSuffix(name, contract.DeadLetterSuffix)
	retention, least := number(settings["retention.ms"]), leastRetention
	if letters {
		least = leastLetterRetention
	}
	f.Detail += ", kept " + keptFor(retention)
	worse := func(status Status, detail, mend string) {
		f.Detail += "; " + detail
		if f.Status == OK || f.Status == Warning && status == Failed {
			f.Status, f.Mend = status, mend
		}
	}
	switch {
	case strings.Contains(settings["cleanup.policy"], "compact"):
		worse(Failed, "compaction loses all but the last record of a video", c.alterTopic(name, "cleanup.policy=delete"))
	case retention >= 0 && time.Duration(retention)*time.Millisecond < least:
		worse(Warning, fmt.Sprintf("less than %s", days(least)), c.alterTopic(name, fmt.Sprintf("retention.ms=%d", least.Milliseconds())))
	}
	if n := number(settings["retention.bytes"]); n >= 0 {
		worse(Warning, fmt.Sprintf("older records go when a partition has %d bytes, whatever their age", n),
			c.alterTopic(name, "retention.bytes=-1"))
	}
	if limit := number(settings["max.message.bytes"]); strings.HasPrefix(name, c.cfg.TranscriptionTopic) && limit >= 0 && limit < longTranscript {
		worse(Warning, fmt.Sprintf("a record may have %d bytes, and three hours of speech take 1.2 MB", limit),
			c.alterTopic(name, "max.message.bytes=10485760"))
	}
	if n := number(settings["min.insync.replicas"]); n > int64(replicas) {
		worse(Failed, fmt.Sprintf("nothing can be written: %d replicas have to be in sync", n), c.alterTopic(name, "min.insync.replicas=1"))
	}
	if replicas == 1 && brokers > 1 {
		worse(Warning, "lost with its broker, of which there are "+strconv.Itoa(brokers),
			"add replicas with kafka-reassign-partitions.sh")
	}
}

// number is -1 for what is no number.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func keptFor(ms int64) string {
	if ms < 0 {
		return "for ever"
	}
	return days(time.Duration(ms) * time.Millisecond)
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return plural(int(d/(24*time.Hour)), "day")
	}
	return d.String()
}

// settings of the topics, as far as they may be looked at.
func (c *check) settings(ctx context.Context, names []string) map[string]map[string]string {
	all := make(map[string]map[string]string)
	configs, err := c.adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return all
	}
	for _, config := range configs {
		if config.Err != nil {
			continue
		}
		all[config.Name] = make(map[string]string)
		for _, setting := range config.Configs {
			all[config.Name][setting.Key] = setting.MaybeValue()
		}
	}
	return all
}

func (c *check) server() string {
	return "--bootstrap-server " + strings.Join(c.cfg.Kafka.Brokers, ",")
}

func (c *check) createTopic(name string) string {
	more := " --partitions 3"
	if strings.HasSuffix(name, contract.DeadLetterSuffix) {
		more = " --partitions 1 --config retention.ms=-1"
	}
	if strings.HasPrefix(name, c.cfg.TranscriptionTopic) {
		more += " --config max.message.bytes=10485760"
	}
	return fmt.Sprintf("kafka-topics.sh %s --create --topic %s%s", c.server(), name, more)
}

func (c *check) alterTopic(name, setting string) string {
	return fmt.Sprintf("kafka-configs.sh %s --alter --entity-type topics --entity-name %s --add-config %s", c.server(), name, setting)
}

// acl is the command that allows an operation to whoever logs in here.
func (c *check) acl(operation, resource string) string {
	user := c.cfg.Kafka.Username
	if user == "" {
		user = "ANONYMOUS"
	}
	return fmt.Sprintf("kafka-acls.sh %s --add --allow-principal User:%s --operation %s %s", c.server(), user, operation, resource)
}
