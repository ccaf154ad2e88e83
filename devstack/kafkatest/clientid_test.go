package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/codeendelea/vidflow/devstack/apache"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// TestClientID: the broker knows each client by KAFKA_CLIENT_ID: in the list of a group's members, and in its own log of
// requests.
func TestClientID(t *testing.T) {
	t.Parallel()
	c := newCrossing(t, nil)
	c.cfg.Kafka.ClientID = "bridge-of-" + c.names.Transcribed
	c.start()
	c.await("the bridge is a member of its group", func(ctx context.Context) error {
		groups, err := c.admin.DescribeGroups(ctx, c.names.TranscriptionGroup)
		if err != nil {
			return err
		}
		members := groups[c.names.TranscriptionGroup].Members
		if len(members) != 1 || members[0].ClientID != c.cfg.Kafka.ClientID {
			return fmt.Errorf("members are %+v", members)
		}
		return nil
	})

	const requests = "kafka.request.logger"
	c.setLogger(requests, "DEBUG")
	defer c.setLogger(requests, "WARN")
	cfg := c.config(apache.VidflowStart, kafka.MechanismScramSHA256)
	cfg.ClientID = "producer-of-" + c.names.Transcribed
	producer := newProducer(t, cfg, quiet())
	if _, _, err := producer.Publish(within(t, seconds), c.names.Transcribed, nil, []byte("v")); err != nil {
		t.Fatal(err)
	}
	c.await("the broker's log names the client", func(context.Context) error {
		log, err := os.ReadFile(need(t, "VIDFLOW_TEST_KAFKA_LOG"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, `"clientId":"`+cfg.ClientID+`"`) && strings.Contains(line, `"requestApiKeyName":"PRODUCE"`) &&
				strings.Contains(line, `"softwareName":"vidflow"`) {
				return nil
			}
		}
		return errors.New("it does not")
	})
}

// setLogger changes the level of one of the broker's loggers while it runs.
func (s *site) setLogger(name, level string) {
	s.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBrokerLogger, "1"
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = name, &level
	resource.Configs = append(resource.Configs, config)
	req.Resources = append(req.Resources, resource)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			s.t.Fatalf("set the level of %s: %v %v", name, err, r.ErrorMessage)
		}
	}
}
