package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pingTimeout bounds one look at whether a broker answers.
const pingTimeout = 5 * time.Second

// Ping asks any one broker for a sign of life, logging in first where needed. Its error is a SetupError when no retry
// can help, also when only one of several brokers refuses and the others are away.
func Ping(ctx context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	err := classify(ping(ctx, cl))
	if err == nil || IsSetup(err) {
		return err
	}
	if failure := connectionsOf(cl).failure(); IsSetup(failure) || errors.Is(err, io.EOF) && failure != nil {
		err = failure
	} else {
		err = hungUp(err)
	}
	return fmt.Errorf("reach a Kafka broker: %w", err)
}

// ping returns when ctx ends, which the client does not where a broker takes a connection and then says nothing.
func ping(ctx context.Context, cl *kgo.Client) error {
	answer := make(chan error, 1)
	go func() { answer <- cl.Ping(ctx) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CheckTopics asks whether the topics exist and may be looked at. Its error is a SetupError that names every topic that
// is missing or forbidden, or says why no broker lets the client in; any other error means Kafka is away. No topic is
// created by asking.
func CheckTopics(ctx context.Context, cl *kgo.Client, topics ...string) error {
	if err := Ping(ctx, cl); err != nil {
		return err
	}
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("ask Kafka for the topics: %w", classify(err))
	}
	var missing, forbidden []string
	var away error
	for _, t := range resp.Topics {
		name := ""
		if t.Topic != nil {
			name = *t.Topic
		}
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case err == nil:
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException):
			missing = append(missing, name)
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			forbidden = append(forbidden, name)
		default:
			away = fmt.Errorf("topic %s: %w", name, err)
		}
	}
	var reasons []string
	if len(missing) > 0 {
		reasons = append(reasons, fmt.Sprintf("missing: %s (topics are never created by vidflow; create them with "+
			"kafka-topics.sh --create --topic NAME)", sorted(missing)))
	}
	if len(forbidden) > 0 {
		reasons = append(reasons,
			fmt.Sprintf("no permission for: %s (allow the login Describe, and Read or Write)", sorted(forbidden)))
	}
	if len(reasons) > 0 {
		return setupError("Kafka topics "+strings.Join(reasons, "; "), nil)
	}
	return away
}

func sorted(names []string) string {
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// CheckGroup asks whether the login may be a member of the consumer group, without joining it. Its error is a SetupError
// when it may not; any other error means Kafka is away.
func CheckGroup(ctx context.Context, cl *kgo.Client, group string) error {
	if err := Ping(ctx, cl); err != nil {
		return err
	}
	// A heartbeat of nobody: brokers look at the permission first, and then find that the group has no such member.
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group = group
	req.Generation = -1
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	switch {
	case err == nil, errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration),
		errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.GroupIDNotFound):
		return nil
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return setupError(fmt.Sprintf("the Kafka login has no permission for consumer group %s (allow it Read)", group), err)
	default:
		return fmt.Errorf("ask Kafka for consumer group %s: %w", group, classify(err))
	}
}

// How long a probe's answer stands before a broker is asked again.
const (
	probeGoodFor = 5 * time.Second
	probeBadFor  = time.Second
)

// NewProbe returns a readiness probe of one client: whether a broker answered it within the last few seconds. It costs
// at most one small request a second, however often it is called, and is safe for concurrent use.
func NewProbe(cl *kgo.Client) func(context.Context) error {
	return newProbe(func(ctx context.Context) error { return Ping(ctx, cl) }, time.Now)
}

func newProbe(ping func(context.Context) error, now func() time.Time) func(context.Context) error {
	var (
		mu    sync.Mutex
		until time.Time
		last  error
	)
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if now().Before(until) {
			return last
		}
		err := ping(ctx)
		if ctx.Err() != nil {
			return err // says something of the caller's patience alone
		}
		last = err
		until = now().Add(probeGoodFor)
		if err != nil {
			until = now().Add(probeBadFor)
		}
		return err
	}
}
