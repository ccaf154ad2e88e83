package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
)

// TestAskedAgainWithTheSameKey: a worker that dies after it has published an ask and before it has recorded it sends the
// same request again: the same key, and the same bytes.
func TestAskedAgainWithTheSameKey(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	// While it is switched on, no ask can be recorded.
	p.db.Exec(t, `create table public.trap (armed boolean not null)`)
	p.db.Exec(t, `insert into public.trap values (true)`)
	p.db.Exec(t, `create function public.trap() returns trigger language plpgsql security definer as $$
		begin
			if new.asks > old.asks and (select armed from public.trap) then
				raise exception 'the trap is armed';
			end if;
			return new;
		end $$`)
	p.db.Exec(t, `create trigger trap before update on pipeline.videos for each row execute function public.trap()`)
	p.start(everyProcess...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()

	id := p.create(time.Minute)
	p.awaitRequests(1)
	p.kill(worker)
	v, err := p.places.API.Pipeline(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Pipeline.Transcription.Asks; got != 0 {
		t.Fatalf("%d asks are recorded before the worker died, want none", got)
	}
	before := len(p.awaitRequests(1))
	p.db.Exec(t, `update public.trap set armed = false`)
	p.start(worker)
	if _, err := p.places.API.Await(ctx, id, asked); err != nil {
		t.Fatal(err)
	}

	requests := p.awaitRequests(before + 1)
	first := requests[0]
	for _, r := range requests {
		if diff := cmp.Diff(identity(first), identity(r)); diff != "" {
			t.Errorf("a repeat of the ask differs (-first +repeat):\n%s", diff)
		}
	}
	if want := (contract.Ask{Video: id, N: 1}).Key(); identity(first)[contract.HeaderIdempotencyKey] != want {
		t.Errorf("idempotency key %q, want %q", identity(first)[contract.HeaderIdempotencyKey], want)
	}
}

// identity is what must be the same of each repeat: all but the time.
func identity(r *kgo.Record) map[string]string {
	same := map[string]string{"key": string(r.Key), "value": string(r.Value)}
	for _, h := range r.Headers {
		if h.Key != contract.HeaderTimestamp {
			same[h.Key] = string(h.Value)
		}
	}
	return same
}

// awaitAsks waits until at least so many asks have gone out, and answers a request of each by its idempotency key. A step that
// a busy machine does not let end in time is tried again, and then sends the same once more.
func (p *pipeline) awaitAsks(atLeast int) map[string]*kgo.Record {
	p.t.Helper()
	var asks map[string]*kgo.Record
	p.await(fmt.Sprintf("%d asks have gone out", atLeast), func(ctx context.Context) error {
		records, err := p.requests(ctx)
		asks = map[string]*kgo.Record{}
		for _, r := range records {
			key := identity(r)[contract.HeaderIdempotencyKey]
			if !strings.HasPrefix(key, string(r.Key)) {
				p.t.Fatalf("a request has the key %s and the idempotency key %s", r.Key, key)
			}
			if asks[key] == nil {
				asks[key] = r
			} else if diff := cmp.Diff(identity(asks[key]), identity(r)); diff != "" {
				p.t.Fatalf("a repeat of the ask %s differs (-first +repeat):\n%s", key, diff)
			}
		}
		if err == nil && len(asks) < atLeast {
			err = fmt.Errorf("there are %d", len(asks))
		}
		return err
	})
	return asks
}

// awaitRequests waits until at least so many requests were published and answers all.
func (p *pipeline) awaitRequests(atLeast int) []*kgo.Record {
	p.t.Helper()
	var records []*kgo.Record
	p.await(fmt.Sprintf("%d requests are published", atLeast), func(ctx context.Context) (err error) {
		if records, err = p.requests(ctx); err != nil {
			return err
		}
		if len(records) < atLeast {
			return fmt.Errorf("there are %d", len(records))
		}
		return nil
	})
	return records
}
