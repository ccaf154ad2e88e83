package kafkabridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/codeendelea/vidflow/internal/kafka"
)

// watchStrangers names the members of another kind that keep the client out of its group, each time it is refused, until
// ctx is cancelled. The client tries to join again by itself, every 5 s at the latest.
func (s *session) watchStrangers(ctx context.Context) {
	admin := kadm.NewClient(s.client)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.refused:
		}
		members, err := s.strangers(ctx, admin)
		if ctx.Err() != nil {
			return
		}
		attrs := []any{"topic", s.topic, "group", s.group}
		switch {
		case err != nil: // such as a login that may not look at the group
			members = "nobody can be named: " + err.Error()
			attrs = append(attrs, "error", err)
		case members == "": // they have just left
			continue
		default:
			attrs = append(attrs, "members", members)
		}
		s.mu.Lock()
		waits := !s.member
		if waits {
			s.heldBy = members
		}
		s.mu.Unlock()
		if waits {
			s.loud.say(slog.LevelWarn, "Kafka group is held by consumers of another kind; it is joined when they have left", attrs...)
		}
	}
}

func (s *session) strangers(ctx context.Context, admin *kadm.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	groups, err := admin.DescribeGroups(ctx, s.group)
	group := groups[s.group]
	if err = errors.Join(err, group.Err); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return "", err
	}
	return kafka.Members(group.Members), nil
}

// joined reports whether the client is a member of its group, and who keeps it out.
func (s *session) joined() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.member:
		return nil
	case s.heldBy != "":
		return fmt.Errorf("waits to join consumer group %s, which consumers of another kind hold; stop them: %s", s.group, s.heldBy)
	}
	return fmt.Errorf("not yet a member of consumer group %s", s.group)
}
