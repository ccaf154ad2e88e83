package kafkabridge

// outcome of a record that was in flight.
type outcome int

const (
	// accepted by Temporal or by the dead-letter topic: its offset may be committed.
	accepted outcome = iota
	// abandoned at the end of the process: its offset must not be committed.
	abandoned
)

// holder is the partition that a record in flight belongs to.
type holder interface {
	// settle ends the flight of a record. A holder that has lost its partition ignores it.
	settle(offset int64, weight int, how outcome)
	// lost reports whether the partition went to another instance, so that there is no use in going on.
	lost() bool
}

// receipt is owed for a record in flight.
type receipt struct {
	holder holder
	offset int64
	weight int // bytes that count against the window
}

func settle(receipts []receipt, how outcome) {
	for _, r := range receipts {
		r.holder.settle(r.offset, r.weight, how)
	}
}

// allLost reports whether nobody here waits for any of the receipts any more.
func allLost(receipts []receipt) bool {
	for _, r := range receipts {
		if !r.holder.lost() {
			return false
		}
	}
	return true
}
