package starter

import (
	"log/slog"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
)

var discard = slog.New(slog.DiscardHandler)

// reply sends a problem document from a huma middleware.
func (s *Starter) reply(ctx huma.Context, p *Problem) {
	r, w := humachi.Unwrap(ctx)
	p.write(w, r)
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
