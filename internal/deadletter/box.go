package deadletter

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
)

// Box is some dead-letter topics. Close it. It is for one goroutine.
type Box struct {
	topics  []string
	scanner *kafka.Scanner
}

// Open makes a Box of the dead-letter topics of the given ones, and does not connect yet.
func Open(cfg kafka.Config, log *slog.Logger, topics ...string) (*Box, error) {
	scanner, err := kafka.NewScanner(cfg, log, "dead letters")
	if err != nil {
		return nil, err
	}
	b := &Box{scanner: scanner}
	for _, t := range topics {
		b.topics = append(b.topics, t+contract.DeadLetterSuffix)
	}
	return b, nil
}

// Close ends the client.
func (b *Box) Close() { b.scanner.Close() }

// Filter selects letters; zero selects all. What is set must all fit.
type Filter struct {
	// Classes, one of which must be the letter's.
	Classes []string
	// Reason is a part of the reason, in any case of letters.
	Reason string
	// Since and Until are of the time when the letter was written; Until is not included.
	Since, Until time.Time
	// Video is whom it must be about.
	Video contract.VideoID
	// Places, one of which must be the letter's, or that of an older letter of the same origin.
	Places []Place
	// Redriven selects those that were sent back, too.
	Redriven bool
}

// Zero reports whether the filter selects everything that was not sent back yet.
func (f Filter) Zero() bool {
	return len(f.Classes) == 0 && f.Reason == "" && f.Since.IsZero() && f.Until.IsZero() && f.Video == "" && len(f.Places) == 0
}

func (f Filter) fits(e *Entry) bool {
	return (len(f.Classes) == 0 || slices.Contains(f.Classes, e.Class)) &&
		strings.Contains(strings.ToLower(e.Reason), strings.ToLower(f.Reason)) &&
		(f.Since.IsZero() || !e.DiedAt.Before(f.Since)) &&
		(f.Until.IsZero() || e.DiedAt.Before(f.Until)) &&
		(f.Video == "" || e.VideoID == f.Video) &&
		(f.Redriven || !e.Redriven()) &&
		(len(f.Places) == 0 || slices.ContainsFunc(f.Places, func(p Place) bool {
			return p.Topic == e.Topic && slices.Contains(e.letters, letterKey(p))
		}))
}

// Entry is the latest letter of one origin, without key, value and headers, and what became of it.
type Entry struct {
	Letter
	// Letters is how many there are of this origin: a record that is sent back may die again, and a bridge that is killed
	// writes one twice.
	Letters int
	// RedrivenAt is when the last of its letters was sent back; zero when it was not. RedrivenTo is the place it got in the
	// origin's topic, partition@offset.
	RedrivenAt time.Time
	RedrivenTo string

	letters []string
}

// Redriven reports whether all letters of the origin were sent back.
func (e *Entry) Redriven() bool { return !e.RedrivenAt.IsZero() }

// originKey is a Position as far as it says which record it is.
type originKey struct {
	topicID   uuid.UUID
	partition int32
	offset    int64
}

func keyOf(p contract.Position) originKey { return originKey{p.TopicID, p.Partition, p.Offset} }

// List returns an entry for each origin that the filter selects, the oldest first. It reads the topics up to their ends as
// they are now, and keeps no values in memory.
func (b *Box) List(ctx context.Context, f Filter) ([]Entry, error) {
	spans, err := b.scanner.Spans(ctx, kafka.Start(), b.topics...)
	if err != nil {
		return nil, err
	}
	entries := make(map[originKey]*Entry)
	receipts := make(map[originKey][]*receipt)
	err = b.scanner.Scan(ctx, spans, false, func(rec *kgo.Record) error {
		l, r := parse(rec)
		switch {
		case l != nil:
			l.Key, l.Value, l.Headers = nil, nil, nil
			key := keyOf(l.Origin)
			e := entries[key]
			if e == nil {
				e = &Entry{Letter: *l}
				entries[key] = e
			}
			e.Letters++
			e.letters = append(e.letters, letterKey(l.Place))
			if order(l, &e.Letter) > 0 {
				l.VideoID = cmp.Or(l.VideoID, e.VideoID)
				e.Letter = *l
			}
		case r != nil:
			receipts[keyOf(r.origin)] = append(receipts[keyOf(r.origin)], r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", err)
	}
	var list []Entry
	for key, e := range entries {
		e.settle(receipts[key])
		if f.fits(e) {
			list = append(list, *e)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return order(&a.Letter, &b.Letter) })
	return list, nil
}

// order is by time; letters of one time are in the order of their places.
func order(a, b *Letter) int {
	return cmp.Or(a.DiedAt.Compare(b.DiedAt), strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition),
		cmp.Compare(a.Offset, b.Offset))
}

// settle marks an entry all letters of which have a receipt. Receipts name letters and not times, since clocks differ.
func (e *Entry) settle(receipts []*receipt) {
	for _, letter := range e.letters {
		i := slices.IndexFunc(receipts, func(r *receipt) bool { return slices.Contains(r.letters, letter) })
		if i < 0 {
			return
		}
	}
	for _, r := range receipts {
		if !r.at.Before(e.RedrivenAt) {
			e.RedrivenAt, e.RedrivenTo = r.at, r.to
		}
	}
}

// Find returns the letter at a place, whole.
func (b *Box) Find(ctx context.Context, p Place) (Letter, error) {
	spans, err := b.scanner.Spans(ctx, kafka.Start(), p.Topic)
	if err != nil {
		return Letter{}, err
	}
	var found *Letter
	for _, span := range spans {
		if span.Partition != p.Partition || p.Offset < span.Begin || p.Offset >= span.End {
			continue
		}
		span.Begin, span.End = p.Offset, p.Offset+1
		err := b.scanner.Scan(ctx, []kafka.Span{span}, false, func(rec *kgo.Record) error {
			if found, _ = parse(rec); found != nil {
				found.keep()
			}
			return nil
		})
		if err != nil {
			return Letter{}, fmt.Errorf("read dead letter %s: %w", p, err)
		}
	}
	if found == nil {
		return Letter{}, fmt.Errorf("there is no dead letter at %s", p)
	}
	return *found, nil
}

// keep gives a letter memory of its own.
func (l *Letter) keep() {
	l.Value = bytes.Clone(l.Value)
	for i, h := range l.Headers {
		l.Headers[i].Value = bytes.Clone(h.Value)
	}
	if !l.WithoutValue {
		sum := sha256.Sum256(l.Value)
		l.SHA256 = hex.EncodeToString(sum[:])
	}
}
