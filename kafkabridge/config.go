package kafkabridge

import (
	"cmp"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codeendelea/vidflow/internal/kafka"
)

// Source is a topic of results and the consumer group that reads it.
type Source struct {
	Topic string
	Group string
}

// Config of a Bridge. Kafka and the two sources are required; every other zero value means its default.
type Config struct {
	Kafka         kafka.Config
	Transcription Source
	Compression   Source

	// StartLatest makes a group without a committed offset begin at the end of the topic instead of its start.
	StartLatest bool

	// MaxRecords and MaxBytes bound what each of the two sources has in flight: taken from Kafka and accepted neither
	// by Temporal nor by the dead-letter topic. Beyond them nothing more is polled. Defaults: 50,000 and 64 MiB.
	MaxRecords int
	MaxBytes   int
	// MaxPartitionRecords and MaxPartitionBytes bound the same for one partition, which is paused beyond them while the
	// others go on. Defaults: a fifth of the above.
	MaxPartitionRecords int
	MaxPartitionBytes   int
	// FetchBytes is the size of one fetch from a broker, compressed (1 MiB); a single larger batch still comes through.
	FetchBytes int

	// MaxSignals bounds the signals that are on their way to Temporal at one time (64).
	MaxSignals int
	// SignalInterval is the least time between two signals to one video (1s): a run that is sent more while it works on a
	// step fails its task and repeats the step.
	SignalInterval time.Duration
	// SignalTimeout bounds one attempt to signal (10s).
	SignalTimeout time.Duration
	// RetryInitial and RetryMax bound the pause before what Temporal or the dead-letter topic did not accept is tried
	// again; it doubles from one to the other, with jitter (500ms, 15s).
	RetryInitial time.Duration
	RetryMax     time.Duration

	// CommitInterval is the time between two commits of offsets (1s).
	CommitInterval time.Duration
	// TopicCheckInterval is how often it is looked whether a topic was made anew (15s); suspicion looks at once.
	TopicCheckInterval time.Duration
	// LagInterval is how often the broker is asked how far the partitions reach (15s).
	LagInterval time.Duration
	// RebalanceTimeout is how long a group waits for a member that was killed or cut off before its partitions go to the
	// others, who stand still meanwhile (15s). It must leave room for RevokeTimeout and a commit.
	RebalanceTimeout time.Duration
	// RevokeTimeout is how long a partition that goes to another instance is kept for what is in flight (3s).
	RevokeTimeout time.Duration
	// DrainTimeout is how long what is in hand may take at the end of Run (15s). Committing and leaving the groups comes
	// after it and takes at most leaveTimeout more.
	DrainTimeout time.Duration

	// Version and Host are written on dead letters. Host defaults to the name of the machine.
	Version string
	Host    string

	// Metrics is where the bridge registers what it counts; nil means nowhere.
	Metrics prometheus.Registerer

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// leaveTimeout bounds the last commit, and after it the leaving of a group.
const leaveTimeout = 3 * time.Second

func (c Config) withDefaults() Config {
	c.MaxRecords = cmp.Or(c.MaxRecords, 50_000)
	c.MaxBytes = cmp.Or(c.MaxBytes, 64<<20)
	c.MaxPartitionRecords = cmp.Or(c.MaxPartitionRecords, max(c.MaxRecords/5, 1))
	c.MaxPartitionBytes = cmp.Or(c.MaxPartitionBytes, max(c.MaxBytes/5, 1))
	c.FetchBytes = cmp.Or(c.FetchBytes, 1<<20)
	c.MaxSignals = cmp.Or(c.MaxSignals, 64)
	c.SignalInterval = cmp.Or(c.SignalInterval, time.Second)
	c.SignalTimeout = cmp.Or(c.SignalTimeout, 10*time.Second)
	c.RetryInitial = cmp.Or(c.RetryInitial, 500*time.Millisecond)
	c.RetryMax = cmp.Or(c.RetryMax, 15*time.Second)
	c.CommitInterval = cmp.Or(c.CommitInterval, time.Second)
	c.TopicCheckInterval = cmp.Or(c.TopicCheckInterval, 15*time.Second)
	c.LagInterval = cmp.Or(c.LagInterval, 15*time.Second)
	c.RebalanceTimeout = cmp.Or(c.RebalanceTimeout, 15*time.Second)
	c.RevokeTimeout = cmp.Or(c.RevokeTimeout, 3*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 15*time.Second)
	if c.Host == "" {
		c.Host, _ = os.Hostname()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
