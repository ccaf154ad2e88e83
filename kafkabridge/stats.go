package kafkabridge

import "sync/atomic"

// Stats counts what a Bridge did since it was made. It is a snapshot.
type Stats struct {
	Received    int64 // records taken from Kafka
	Signals     int64 // signals that Temporal accepted
	Accepted    int64 // records acknowledged by a signal: more than Signals where records were merged
	Retries     int64 // attempts to signal that failed and are tried again
	DeadLetters int64 // records that went to a dead-letter topic
	Unburied    int64 // attempts to write dead letters that failed and are tried again
	Revoked     int64 // records in flight whose partition went to another instance, or was lost
	Remade      int64 // topics that were made anew while they were consumed
	Commits     int64 // commits that the broker took
	CommitFails int64 // commits that it did not, or not in whole
}

type counters struct {
	received, signals, accepted, retries, deadLetters, unburied, revoked, remade, commits, commitFails atomic.Int64
}

func (c *counters) snapshot() Stats {
	return Stats{
		Received:    c.received.Load(),
		Signals:     c.signals.Load(),
		Accepted:    c.accepted.Load(),
		Retries:     c.retries.Load(),
		DeadLetters: c.deadLetters.Load(),
		Unburied:    c.unburied.Load(),
		Revoked:     c.revoked.Load(),
		Remade:      c.remade.Load(),
		Commits:     c.commits.Load(),
		CommitFails: c.commitFails.Load(),
	}
}
