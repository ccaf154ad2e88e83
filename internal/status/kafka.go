package status

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

const (
	// retries and dial are less patient than those of a process: whoever looks wants to know how it is now.
	retries = 2
	dial    = 3 * time.Second
	// coordinatorPause is how long to wait for the coordinator of a group that was just made.
	coordinatorPause = 300 * time.Millisecond
)

// impatient is how Kafka is asked here.
func impatient(cfg kafka.Config) kafka.Config {
	if cfg.Retries == 0 || cfg.Retries > retries {
		cfg.Retries = retries
	}
	if cfg.ConnectionTimeout == 0 || cfg.ConnectionTimeout > dial {
		cfg.ConnectionTimeout = dial
	}
	return cfg
}

func (s Sources) kafka(ctx context.Context) Kafka {
	cl, err := kafka.NewClient(impatient(s.Kafka), s.Log, "status")
	if err == nil {
		defer cl.Close()
		err = kafka.Ping(ctx, cl)
	}
	if err != nil {
		return Kafka{Error: s.text(err)}
	}
	groups := []Group{
		{Name: s.TranscriptionGroup, Topics: []string{s.TranscriptionTopic}},
		{Name: s.CompressionGroup, Topics: []string{s.CompressionTopic}},
		{Name: s.DeadLetterGroup, Topics: []string{
			s.TranscriptionTopic + contract.DeadLetterSuffix, s.CompressionTopic + contract.DeadLetterSuffix,
		}},
	}
	adm := kadm.NewClient(cl)
	var wg sync.WaitGroup
	for i := range groups {
		wg.Go(func() { s.group(ctx, adm, &groups[i]) })
	}
	wg.Wait()
	return Kafka{Groups: groups}
}

// group looks at one group by itself: one that is forbidden would spoil the answer about others.
func (s Sources) group(ctx context.Context, adm *kadm.Client, g *Group) {
	g.Members = []Member{}
	described, err := describe(ctx, adm, g.Name)
	if err != nil {
		g.Error = s.text(groupError(err, g.Name))
		return
	}
	g.State, g.Protocol = described.State, described.Protocol
	for _, m := range described.Members {
		member := Member{ClientID: m.ClientID, Host: strings.TrimPrefix(m.ClientHost, "/")}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				member.Partitions += len(t.Partitions)
			}
		}
		g.Members = append(g.Members, member)
	}
	slices.SortFunc(g.Members, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.ClientID, b.ClientID), cmp.Compare(a.Partitions, b.Partitions))
	})
	unread, err := unread(ctx, adm, g)
	if err != nil {
		g.Error = s.text(groupError(err, g.Name))
		return
	}
	for _, span := range unread {
		g.Lag += span.End - span.Begin
	}
	if g.Lag == 0 {
		return
	}
	oldest, err := s.oldest(ctx, unread)
	switch {
	case err != nil:
		g.OldestError = s.text(err)
	case !oldest.IsZero():
		age := seconds(time.Now(), oldest)
		g.Oldest, g.LagSeconds = &oldest, &age
	}
}

func groupError(err error, name string) error {
	if errors.Is(err, kerr.GroupAuthorizationFailed) {
		return errors.New("the Kafka login may not look at consumer group " + name + " (allow it Describe)")
	}
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return errors.New("the Kafka login may not look at the topics of consumer group " + name + " (allow it Describe)")
	}
	return err
}

// describe says who is in a group; nobody is in one that does not exist.
func describe(ctx context.Context, adm *kadm.Client, name string) (kadm.DescribedGroup, error) {
	for {
		groups, err := adm.DescribeGroups(ctx, name)
		g := groups[name]
		err = errors.Join(err, g.Err)
		switch {
		case errors.Is(err, kerr.GroupIDNotFound):
			return kadm.DescribedGroup{Group: name, State: "Dead"}, nil
		case errors.Is(err, kerr.CoordinatorNotAvailable), errors.Is(err, kerr.CoordinatorLoadInProgress):
			select {
			case <-time.After(coordinatorPause):
				continue
			case <-ctx.Done():
			}
		}
		return g, err
	}
}

// unread is what the group has not acknowledged; of a partition of which it has acknowledged nothing, all.
func unread(ctx context.Context, adm *kadm.Client, g *Group) ([]kafka.Span, error) {
	committed, err := adm.FetchOffsets(ctx, g.Name)
	if err == nil {
		err = committed.Error()
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, err
	}
	starts, err := adm.ListStartOffsets(ctx, g.Topics...)
	if err = cmp.Or(err, starts.Error()); err != nil {
		return nil, err
	}
	ends, err := adm.ListEndOffsets(ctx, g.Topics...)
	if err = cmp.Or(err, ends.Error()); err != nil {
		return nil, err
	}
	var spans []kafka.Span
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		begin := start.Offset
		if at, ok := committed.Lookup(end.Topic, end.Partition); ok {
			begin = max(begin, at.At)
		}
		if begin < end.Offset {
			spans = append(spans, kafka.Span{Topic: end.Topic, Partition: end.Partition, Begin: begin, End: end.Offset})
		}
	})
	return spans, nil
}

// errSeen ends a scan that has seen enough.
var errSeen = errors.New("enough")

// oldest is the time of the oldest record of the spans; zero when none of them is there any more.
func (s Sources) oldest(ctx context.Context, spans []kafka.Span) (time.Time, error) {
	scanner, err := kafka.NewScanner(impatient(s.Kafka), s.Log, "status/oldest")
	if err != nil {
		return time.Time{}, err
	}
	defer scanner.Close()
	type partition struct {
		topic string
		n     int32
	}
	seen := make(map[partition]bool)
	var oldest time.Time
	err = scanner.Scan(ctx, spans, false, func(rec *kgo.Record) error {
		if p := (partition{rec.Topic, rec.Partition}); !seen[p] {
			seen[p] = true
			if oldest.IsZero() || rec.Timestamp.Before(oldest) {
				oldest = rec.Timestamp.UTC()
			}
		}
		if len(seen) == len(spans) {
			return errSeen
		}
		return nil
	})
	if errors.Is(err, errSeen) {
		err = nil
	}
	return oldest, err
}
