package kafkabridge

import "github.com/google/uuid"

// partition is one stay of a partition with this instance: from the first record after it was assigned until it is revoked,
// lost, rewound or its topic made anew. The session's mutex guards it. What settles after the stay has ended changes
// nothing: it would put back an offset, or commit one that is another instance's by now.
type partition struct {
	session *session
	number  int32
	topicID uuid.UUID

	over      bool
	tracker   tracker
	committed mark // what the broker took last
	records   int  // in flight
	bytes     int  // of them
	paused    bool
}

var _ holder = (*partition)(nil)

func (p *partition) settle(offset int64, weight int, how outcome) {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.over {
		return
	}
	if how == accepted {
		p.tracker.done(offset)
	}
	p.records--
	p.bytes -= weight
	s.records--
	s.bytes -= weight
	if p.paused && p.records <= s.cfg.MaxPartitionRecords/2 && p.bytes <= s.cfg.MaxPartitionBytes/2 {
		p.paused = false
		s.client.ResumeFetchPartitions(map[string][]int32{s.topic: {p.number}})
	}
	s.signal()
}

func (p *partition) lost() bool {
	p.session.mu.Lock()
	defer p.session.mu.Unlock()
	return p.over
}

// full reports whether the partition has as much in flight as it may.
func (p *partition) full() bool {
	return p.records >= p.session.cfg.MaxPartitionRecords || p.bytes >= p.session.cfg.MaxPartitionBytes
}

// end ends the stay.
func (p *partition) end() {
	s := p.session
	if p.over {
		return
	}
	p.over = true
	s.records -= p.records
	s.bytes -= p.bytes
	s.metrics.records.WithLabelValues(s.topic, recordReturned).Add(float64(p.records))
	delete(s.partitions, p.number)
	s.signal()
}
