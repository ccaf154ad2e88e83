package starter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"golang.org/x/sync/semaphore"
)

// bodyReadTimeout is how long a transcript may take to arrive, once there is room for it. With Config.BodyPatience it is
// less than requestTimeout.
const bodyReadTimeout = 40 * time.Second

// bodies bounds the transcripts that are in memory on their way to Kafka, by their size. Without a bound a lecture hall full
// of people who put one in would be too much for a container.
type bodies struct {
	limit int64 // bytes of all; a larger one is there alone
	most  int64 // bytes of one
	room  *semaphore.Weighted
}

func newBodies(cfg Config) *bodies {
	return &bodies{limit: cfg.BodiesBytes, most: cfg.MaxTranscriptBytes, room: semaphore.NewWeighted(cfg.BodiesBytes)}
}

type bodyKey struct{}

// bodyOf is what withBody has read.
func bodyOf(ctx context.Context) []byte {
	body, _ := ctx.Value(bodyKey{}).([]byte)
	return body
}

// withBody is the huma middleware of operations with a large body: it waits until there is room for it, and reads it into as
// much memory as it needs. Huma's own way takes three times that.
func (s *Starter) withBody(ctx huma.Context, next func(huma.Context)) {
	r, _ := humachi.Unwrap(ctx)
	size := r.ContentLength
	if size < 0 { // not told
		size = s.bodies.most
	}
	if size > s.bodies.most {
		s.refuseBody(ctx, fromHuma(&huma.ErrorModel{Status: http.StatusRequestEntityTooLarge}))
		return
	}
	held := min(size, s.bodies.limit)
	wait, cancel := context.WithTimeout(ctx.Context(), s.cfg.BodyPatience)
	defer cancel()
	if err := s.bodies.room.Acquire(wait, held); err != nil {
		s.refuseBody(ctx, problem(http.StatusServiceUnavailable, "busy",
			"Too many transcripts are being put in at the moment. Please try again shortly.").
			retryAfter(retryAfterOutage).because(fmt.Errorf("wait for room: %w", err)))
		return
	}
	defer s.bodies.room.Release(held)
	_ = ctx.SetReadDeadline(time.Now().Add(bodyReadTimeout)) // huma's own does not look either
	body, err := s.bodies.read(r)
	if err != nil {
		s.reply(ctx, bodyProblem(err))
		return
	}
	next(huma.WithValue(ctx, bodyKey{}, body))
}

// refuseBody answers without keeping the body: what is sent is read all the same, since a client that is cut off while it
// sends may not see the answer.
func (s *Starter) refuseBody(ctx huma.Context, p *Problem) {
	_ = ctx.SetReadDeadline(time.Now().Add(bodyReadTimeout))
	r, _ := humachi.Unwrap(ctx)
	_, _ = io.CopyN(io.Discard, r.Body, s.bodies.most+1)
	s.reply(ctx, p)
}

var (
	errNoBody       = errors.New("there is no body")
	errBodyTooLarge = errors.New("the body is too large")
)

func (b *bodies) read(r *http.Request) (body []byte, err error) {
	if r.ContentLength < 0 {
		body, err = io.ReadAll(io.LimitReader(r.Body, b.most+1))
	} else {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	}
	switch {
	case err != nil:
		return nil, err
	case int64(len(body)) > b.most:
		return nil, errBodyTooLarge
	case len(body) == 0:
		return nil, errNoBody
	}
	return body, nil
}

// bodyProblem says it as it is said of every other body.
func bodyProblem(err error) *Problem {
	var late net.Error
	switch {
	case errors.Is(err, errNoBody):
		return fromHuma(&huma.ErrorModel{Status: http.StatusBadRequest})
	case errors.Is(err, errBodyTooLarge):
		return fromHuma(&huma.ErrorModel{Status: http.StatusRequestEntityTooLarge})
	case errors.As(err, &late) && late.Timeout():
		return fromHuma(&huma.ErrorModel{Status: http.StatusRequestTimeout})
	}
	return bodyCutOff().because(err)
}
