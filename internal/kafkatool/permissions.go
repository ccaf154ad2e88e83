package kafkatool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// assignor is how the bridge's instances share partitions; all members of a group have to know it.
const assignor = "cooperative-sticky"

// groups says what state the groups are in. That they may be joined is a matter of permissions.
func (c *check) groups(ctx context.Context) {
	var names []string
	if c.wants(KafkaBridge) {
		names = append(names, c.cfg.TranscriptionGroup, c.cfg.CompressionGroup)
	}
	if c.wants(Starter) {
		names = append(names, c.cfg.DeadLetterGroup)
	}
	if len(names) == 0 {
		return
	}
	for _, name := range names {
		f := Finding{Status: OK, What: "group", Name: name}
		lag, err := c.lag(ctx, name)
		switch failed := errors.Join(err, lag.DescribeErr, lag.FetchErr); {
		case errors.Is(failed, kerr.GroupAuthorizationFailed):
			f.Status, f.Detail, f.Mend = Unknown, "the login may not look at it", c.acl("Describe", "--group "+name)
		case failed != nil && !errors.Is(failed, kerr.GroupIDNotFound):
			f.Status, f.Detail = Unknown, failed.Error()
		case len(lag.Members) == 0 && !committed(lag.Lag):
			f.Detail = "new: nobody is in it, and nothing is committed"
		default:
			f.Detail = fmt.Sprintf("%s, %s behind", plural(len(lag.Members), "member"), plural(int(max(lag.Lag.Total(), 0)), "record"))
			if rebalancing(lag) {
				f.Status = Unknown
				f.Detail += "; it is being shared out anew, so that who is in it cannot be told: look again in a moment"
			}
			if len(lag.Members) > 0 && lag.Protocol != "" && lag.Protocol != assignor {
				f.Status = Warning
				f.Detail += fmt.Sprintf("; its members share partitions by %q: they are other consumers, and vidflow waits while they "+
					"run: %s", lag.Protocol, kafka.Members(lag.Members))
				f.Mend = "when vidflow is to take over: stop them; it goes on at their committed offsets, within seconds"
			}
		}
		c.report.add(f)
	}
}

// need is a permission that a process cannot do without.
type need struct {
	process string
	topic   string // or
	group   string
	allow   kmsg.ACLOperation
	why     string
	// optional says that the process runs without it.
	optional bool
}

func (c *check) needs() []need {
	const read, write = kmsg.ACLOperationRead, kmsg.ACLOperationWrite
	transcripts, compressions := c.cfg.TranscriptionTopic, c.cfg.CompressionTopic
	transcriptLetters, compressionLetters := transcripts+contract.DeadLetterSuffix, compressions+contract.DeadLetterSuffix
	return []need{
		{process: Worker, topic: c.cfg.RequestTopic, allow: write, why: "asks for transcriptions"},
		{process: Worker, topic: transcripts, allow: read, why: "reads results, without a group"},
		{process: Starter, topic: transcripts, allow: write, why: "puts in transcripts of the API"},
		{process: Starter, topic: transcriptLetters, allow: read, why: "says that a video has dead letters", optional: true},
		{process: Starter, topic: compressionLetters, allow: read, why: "says that a video has dead letters", optional: true},
		{process: Starter, group: c.cfg.DeadLetterGroup, allow: read, why: "says that a video has dead letters", optional: true},
		{process: KafkaBridge, topic: transcripts, allow: read, why: "takes results"},
		{process: KafkaBridge, topic: compressions, allow: read, why: "takes results"},
		{process: KafkaBridge, group: c.cfg.TranscriptionGroup, allow: read, why: "takes results"},
		{process: KafkaBridge, group: c.cfg.CompressionGroup, allow: read, why: "takes results"},
		{process: KafkaBridge, topic: transcriptLetters, allow: write, why: "buries what cannot be understood"},
		{process: KafkaBridge, topic: compressionLetters, allow: write, why: "buries what cannot be understood"},
		{process: DeadLetters, topic: transcriptLetters, allow: read, why: "lists dead letters", optional: true},
		{process: DeadLetters, topic: compressionLetters, allow: read, why: "lists dead letters", optional: true},
		{process: DeadLetters, topic: transcriptLetters, allow: write, why: "writes receipts", optional: true},
		{process: DeadLetters, topic: compressionLetters, allow: write, why: "writes receipts", optional: true},
		{process: DeadLetters, topic: transcripts, allow: write, why: "sends dead letters back", optional: true},
		{process: DeadLetters, topic: compressions, allow: write, why: "sends dead letters back", optional: true},
	}
}

// permissions finds out, without doing any of it, what the login may do: brokers say so of topics with their metadata, and
// a heartbeat of nobody is refused for want of the permission before it is for being nobody's.
func (c *check) permissions(ctx context.Context, topics map[string]*topicState) {
	groups := make(map[string]error)
	for _, n := range c.needs() {
		if !c.wants(n.process) {
			continue
		}
		operation := "Read"
		if n.allow == kmsg.ACLOperationWrite {
			operation = "Write"
		}
		f := Finding{Status: OK, What: n.process, Detail: n.why}
		allowed, known := false, false
		if n.group != "" {
			f.Name = operation + " group " + n.group
			err, asked := groups[n.group]
			if !asked {
				err = kafka.CheckGroup(ctx, c.cl, n.group)
				groups[n.group] = err
			}
			allowed, known = err == nil, err == nil || kafka.IsSetup(err)
		} else {
			f.Name = operation + " topic " + n.topic
			switch state := topics[n.topic]; {
			case state == nil:
			case state.forbidden:
				known = true // both reading and writing include looking at it
			case state.allowed != nil:
				allowed, known = *state.allowed&(1<<n.allow) != 0, true
			}
		}
		switch {
		case !known:
			f.Status, f.Detail = Unknown, n.why+"; could not be found out"
		case !allowed:
			f.Status, f.Detail = Failed, "not allowed: "+n.why
			if n.optional {
				f.Status = Warning
			}
			resource := "--topic " + n.topic
			if n.group != "" {
				resource = "--group " + n.group
			}
			f.Mend = c.acl(operation, resource)
		}
		c.report.add(f)
	}
}

// Of a cluster that has no group yet the coordinators come to be when they are first asked for, and a group that is just
// being shared out names no protocol.
const (
	coordinatorTries = 10
	coordinatorPause = 300 * time.Millisecond
)

// lag asks for one group by itself: one that is forbidden would spoil the answer about others.
func (c *check) lag(ctx context.Context, group string) (kadm.DescribedGroupLag, error) {
	for try := 1; ; try++ {
		lags, err := c.adm.Lag(ctx, group)
		soon := errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress) || rebalancing(lags[group])
		if try == coordinatorTries || !soon {
			return lags[group], err
		}
		select {
		case <-time.After(coordinatorPause):
		case <-ctx.Done():
			return lags[group], ctx.Err()
		}
	}
}

func rebalancing(lag kadm.DescribedGroupLag) bool {
	return lag.State == "PreparingRebalance" || lag.State == "CompletingRebalance"
}

func committed(lag kadm.GroupLag) bool {
	for _, partitions := range lag {
		for _, p := range partitions {
			if p.Commit.At >= 0 {
				return true
			}
		}
	}
	return false
}
