package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// atOnce bounds the letters that are being sent back at one time, and with them the memory.
const atOnce = 16

// Publisher writes records.
type Publisher interface {
	Publish(
		ctx context.Context, topic string, key, value []byte, headers ...kafka.Header,
	) (partition int32, offset int64, err error)
}

// Redriven is what became of one entry.
type Redriven struct {
	Entry Entry
	// To is the place that the record got, partition@offset; empty when it was not sent back.
	To string
	// Err says why it was not: ErrWithoutValue, ErrForeign, ErrVanished, or kafka.ErrTooLarge. Such a letter is passed over.
	Err error
	// ReceiptErr says why a letter that was sent back has no receipt: it will be listed still, and to send it again does no
	// harm.
	ReceiptErr error
}

// Reasons why a letter cannot be sent back.
var (
	ErrWithoutValue = errors.New("it went without its value, which was too large for the dead-letter topic")
	ErrForeign      = errors.New("the topic that it says it came from is not the one whose dead letters these are")
	ErrVanished     = errors.New("it is no longer in the dead-letter topic")
)

// Redrive sends the records of the entries back to their topics: key, value and headers as they were, and the headers of
// the origin, by which the bridge gives them the position they had. After each it writes a receipt. Each entry is reported,
// in no certain order and one at a time. It ends with the first error that is not of a single letter; what was reported
// until then is done, and a repeat goes on with the rest.
func (b *Box) Redrive(ctx context.Context, to Publisher, entries []Entry, report func(Redriven)) error {
	r := redrive{to: to, report: report}
	wanted := make(map[Place]Entry, len(entries))
	var spans []kafka.Span
	for _, e := range entries {
		switch {
		case e.WithoutValue:
			r.tell(Redriven{Entry: e, Err: ErrWithoutValue})
		case e.OriginTopic+contract.DeadLetterSuffix != e.Topic:
			r.tell(Redriven{Entry: e, Err: ErrForeign})
		default:
			wanted[e.Place] = e
			spans = widen(spans, e.Place)
		}
	}
	group, sending := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	err := b.scanner.Scan(sending, spans, false, func(rec *kgo.Record) error {
		place := Place{rec.Topic, rec.Partition, rec.Offset}
		e, ok := wanted[place]
		if !ok {
			return nil
		}
		l, _ := parse(rec)
		if l == nil {
			return nil
		}
		delete(wanted, place)
		l.keep()
		group.Go(func() error { return r.send(sending, e, *l) })
		return nil
	})
	failed := group.Wait()
	if failed == nil {
		failed = err // else the scan's is but the end of its context
	}
	if failed != nil {
		return fmt.Errorf("send dead letters back: %w", failed)
	}
	for _, e := range wanted {
		r.tell(Redriven{Entry: e, Err: ErrVanished})
	}
	return nil
}

// widen adds a place to the span of its partition.
func widen(spans []kafka.Span, p Place) []kafka.Span {
	for i, s := range spans {
		if s.Topic == p.Topic && s.Partition == p.Partition {
			spans[i].Begin, spans[i].End = min(s.Begin, p.Offset), max(s.End, p.Offset+1)
			return spans
		}
	}
	return append(spans, kafka.Span{Topic: p.Topic, Partition: p.Partition, Begin: p.Offset, End: p.Offset + 1})
}

type redrive struct {
	to Publisher

	mu     sync.Mutex // for report
	report func(Redriven)
}

func (r *redrive) tell(done Redriven) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report(done)
}

func (r *redrive) send(ctx context.Context, e Entry, l Letter) error {
	origin := originHeaders(l.OriginTopic, l.Origin)
	headers := append(l.Headers[:len(l.Headers):len(l.Headers)], origin...)
	partition, offset, err := r.to.Publish(ctx, l.OriginTopic, l.Key, l.Value, headers...)
	switch {
	case errors.Is(err, kafka.ErrTooLarge):
		r.tell(Redriven{Entry: e, Err: err})
		return nil
	case err != nil:
		return err
	}
	to := fmt.Sprintf("%d@%d", partition, offset)
	receipt := append(origin,
		kafka.Header{Key: contract.HeaderRedriven, Value: []byte(strings.Join(e.letters, " "))},
		kafka.Header{Key: contract.HeaderRedrivenTo, Value: []byte(to)})
	_, _, failed := r.to.Publish(ctx, l.Topic, l.Key, nil, receipt...)
	r.tell(Redriven{Entry: e, To: to, ReceiptErr: failed})
	return nil
}
