package status

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/supabase"
)

const (
	// limit is how long anything may take that is asked.
	limit = 5 * time.Second
	// grace is what a client gets on top, to say why it failed, before it is left behind.
	grace = time.Second
)

// Sources are whom to ask, and what for.
type Sources struct {
	Store    *postgres.Store
	Temporal client.Client
	Storage  *supabase.Client
	// Kafka makes clients of its own for each look: a broker that comes back is found at once.
	Kafka kafka.Config

	TemporalAddress, Namespace             string
	StorageURL                             string
	TranscriptionTopic, TranscriptionGroup string
	CompressionTopic, CompressionGroup     string
	DeadLetterGroup                        string
	Deadlines                              postgres.Deadlines
	MaxAsks                                int

	// API is the address of the API, to ask whether it answers; may be empty.
	API string

	// Redact takes secrets out of what libraries say.
	Redact func(string) string
	Log    *slog.Logger
}

// Gather asks everybody side by side, and judges the answers. It takes six seconds at most.
func Gather(ctx context.Context, s Sources) Report {
	began := time.Now()
	r := Report{At: began.UTC()}
	var wg sync.WaitGroup
	wg.Go(func() { r.Worker = within(ctx, s.worker, func(e string) Worker { return Worker{Error: e} }) })
	wg.Go(func() { r.Temporal = within(ctx, s.temporal, func(e string) Temporal { return Temporal{Error: e} }) })
	wg.Go(func() { r.Starter = within(ctx, s.starter, func(e string) Starter { return Starter{Error: e} }) })
	var apiError string
	wg.Go(func() { apiError = within(ctx, s.api, func(e string) string { return e }) })
	wg.Go(func() { r.Postgres = within(ctx, s.postgres, func(e string) Postgres { return Postgres{Error: e} }) })
	wg.Go(func() { r.Storage = within(ctx, s.storage, func(e string) Storage { return Storage{Error: e} }) })
	wg.Go(func() { r.Kafka = within(ctx, s.kafka, func(e string) Kafka { return Kafka{Error: e} }) })
	var o overview
	wg.Go(func() { o = within(ctx, s.overview, func(e string) overview { return overview{err: e} }) })
	wg.Wait()
	r.Worker.TaskQueue = taskQueue
	r.Starter.API, r.Starter.APIError = s.API, apiError
	r.Temporal.Address, r.Temporal.Namespace = s.TemporalAddress, s.Namespace
	r.Storage.URL, r.Storage.Bucket = s.StorageURL, supabase.DefaultBucket
	r.Outbox, r.Videos, r.DeadLetters = o.outbox(), o.videos(), o.deadLetters()
	list(&r.Worker.Pollers)
	list(&r.Worker.Versions)
	list(&r.Starter.Sessions)
	list(&r.Kafka.Groups)
	r.Milliseconds = time.Since(began).Milliseconds()
	r.Reasons = judge(r)
	list(&r.Reasons)
	r.Verdict = worst(r.Reasons)
	return r
}

// within asks one source, for no longer than the limit: one that does not obey its context is left behind.
func within[T any](ctx context.Context, ask func(context.Context) T, late func(why string) T) T {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer := make(chan T, 1) // so that one who comes late does not wait for ever
	go func() { answer <- ask(ctx) }()
	timer := time.NewTimer(limit + grace)
	defer timer.Stop()
	select {
	case a := <-answer:
		return a
	case <-timer.C:
		return late(fmt.Sprintf("no answer within %s", limit))
	}
}

// text is an error for the report, without secrets; empty for none.
func (s Sources) text(err error) string {
	if err == nil {
		return ""
	}
	return contract.Clip(s.Redact(err.Error()), maxErrorBytes)
}

// list is empty rather than nil: it is so in JSON too.
func list[T any](l *[]T) {
	if *l == nil {
		*l = []T{}
	}
}

// maxErrorBytes is how much of an error is kept.
const maxErrorBytes = 600

// api asks for the API's own sign of life, if its address is known; the answer is what is wrong.
func (s Sources) api(ctx context.Context) string {
	if s.API == "" {
		return ""
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.API, "/")+"/api/health", nil)
	if err != nil {
		return s.text(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s.text(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "it answers " + resp.Status
	}
	return ""
}

func (s Sources) storage(ctx context.Context) Storage {
	return Storage{Error: s.text(s.Storage.Check(ctx))}
}
