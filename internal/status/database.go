package status

import (
	"context"
	"strings"
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

func (s Sources) postgres(ctx context.Context) Postgres {
	var p Postgres
	err := s.Store.Check(ctx)
	if have, want, versionErr := s.Store.Schema(ctx); versionErr == nil {
		p.Schema, p.SchemaWanted = have, want
	}
	p.Error = s.text(err)
	return p
}

// starterName is how the starter's connections are named, see postgres.WithApplicationName.
const starterName = "vidflow starter"

func (s Sources) starter(ctx context.Context) Starter {
	c, err := s.Store.Clients(ctx)
	if err != nil {
		return Starter{Error: s.text(err)}
	}
	st := Starter{Pooled: c.Pooled}
	for _, a := range c.Sessions {
		if a.Application != starterName {
			continue
		}
		session := Session{Address: a.Address, Connections: a.Connections}
		if a.LastActive != nil {
			age := seconds(c.Now, *a.LastActive)
			session.AgeSeconds = &age
		}
		st.Sessions = append(st.Sessions, session)
	}
	return st
}

// seconds from one time to another that is not before it.
func seconds(now, since time.Time) float64 { return max(0, now.Sub(since).Seconds()) }

// overview is what the database says of all videos, or why it does not.
type overview struct {
	postgres.Overview
	err string
}

func (s Sources) overview(ctx context.Context) overview {
	o, err := s.Store.Overview(ctx, s.Deadlines)
	return overview{o, s.text(err)}
}

func (o overview) outbox() Outbox {
	out := Outbox{Error: o.err, Intents: []Intent{}}
	for _, q := range o.Intents {
		i := Intent{Kind: q.Kind, Count: q.Count, Oldest: q.Oldest, LastError: q.LastError, Attempts: q.Attempts}
		if q.Oldest != nil {
			i.AgeSeconds = seconds(o.Now, *q.Oldest)
		}
		out.Intents = append(out.Intents, i)
	}
	return out
}

func (o overview) videos() Videos {
	v := Videos{
		Error: o.err, Unfinished: o.Unfinished,
		Transcription: o.queue(o.Transcriptions), Compression: o.queue(o.Compressions), Overdue: o.queue(o.Overdue),
		Unattended: o.queue(o.Unattended), Troubled: o.queue(o.Troubled), TroubledError: o.TroubledError, Failed: o.Failed, FailedLately: o.FailedLately, Newest: []GivenUp{},
	}
	for _, g := range o.NewestFailed {
		f := GivenUp{VideoID: g.VideoID, Track: g.Track, At: g.At, Reason: g.Reason}
		if g.At != nil {
			f.AgeSeconds = seconds(o.Now, *g.At)
		}
		v.Newest = append(v.Newest, f)
	}
	return v
}

func (o overview) queue(q postgres.Queue) Queue {
	if q.Oldest == nil {
		return Queue{Count: q.Count}
	}
	w := q.Oldest
	return Queue{q.Count, &Waiting{VideoID: w.VideoID, Since: w.Since, AgeSeconds: seconds(o.Now, w.Since), Asks: w.Asks}}
}

func (o overview) deadLetters() DeadLetters {
	d := DeadLetters{Error: o.err, Kinds: []LetterCount{}, Newest: []Letter{}}
	for _, c := range o.OpenLetters {
		d.Open += c.Count
		d.Kinds = append(d.Kinds, LetterCount{c.Topic, c.Class, c.Count, c.Newest, seconds(o.Now, c.Newest)})
	}
	for _, l := range o.NewestLetters {
		d.Newest = append(d.Newest, Letter{
			Letter: letterName(l.Topic, l.Letter), VideoID: l.VideoID, Class: l.Class, Reason: l.Reason, DiedAt: l.DiedAt,
			AgeSeconds: seconds(o.Now, l.DiedAt),
		})
	}
	return d
}

// letterName is how the tools name a letter of which the database keeps partition/offset.
func letterName(topic, letter string) string {
	return topic + contract.DeadLetterSuffix + "/" + strings.Replace(letter, "/", "@", 1)
}
