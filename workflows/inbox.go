package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/contract"
)

// inbox holds the results of one track that have arrived and are not yet applied: of several, the newest alone, since
// it is what must be there in the end. Repeats and older ones fall away here, without a step.
type inbox struct {
	// applied is the position of the result that was applied last, as far as the run knows.
	applied *contract.Position
	// inHand is being applied now, pending is next.
	inHand, pending *contract.Reference
}

// offer keeps ref if it is newer than all that was offered before. What refers to no record, as a signal typed by hand
// may, is ignored.
func (b *inbox) offer(ref contract.Reference) {
	newer := ref.Topic != "" && ref.Position.Newer(b.applied) &&
		(b.inHand == nil || ref.Position.Newer(&b.inHand.Position)) &&
		(b.pending == nil || ref.Position.Newer(&b.pending.Position))
	if newer {
		b.pending = &ref
	}
}

// wanted reports whether there is something to apply, now or next.
func (b *inbox) wanted() bool { return b.pending != nil || b.inHand != nil }

// next takes the pending result in hand.
func (b *inbox) next() contract.Reference {
	b.inHand, b.pending = b.pending, nil
	return *b.inHand
}

// done lets go of the result in hand; settled says that it or a newer one is applied.
func (b *inbox) done(settled bool) {
	if settled {
		b.applied = &b.inHand.Position
	}
	b.inHand = nil
}

// putBack makes the result in hand the next one again, unless a newer one has come.
func (b *inbox) putBack() {
	if b.pending == nil {
		b.pending = b.inHand
	}
	b.inHand = nil
}

// receive moves signals into the inbox as long as the run lasts.
func receive(ctx workflow.Context, signals workflow.ReceiveChannel, b *inbox) {
	for {
		var ref contract.Reference
		if !signals.Receive(ctx, &ref) {
			return
		}
		b.offer(ref)
	}
}

// drain moves the signals that have already arrived into the inboxes and reports whether there is something to apply.
func (v *video) drain() bool {
	takeArrived(v.transcripts, &v.transcript)
	takeArrived(v.compressions, &v.compression)
	return v.transcript.pending != nil || v.compression.pending != nil
}

func takeArrived(signals workflow.ReceiveChannel, b *inbox) {
	for {
		var ref contract.Reference
		if !signals.ReceiveAsync(&ref) {
			return
		}
		b.offer(ref)
	}
}
