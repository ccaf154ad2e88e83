package starter

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/cors"
)

// origins are the pages that may call the API from a browser.
type origins struct {
	allowed []string
	any     bool
}

func newOrigins(allowed []string) origins {
	var o origins
	for _, origin := range allowed {
		switch origin = strings.ToLower(strings.TrimRight(strings.TrimSpace(origin), "/")); origin {
		case "":
		case "*":
			o.any = true
		default:
			o.allowed = append(o.allowed, origin)
		}
	}
	return o
}

// check guards requests that a browser may have sent on behalf of a page its user never meant to trust: those with the
// cookie. A foreign origin is always refused; none at all is let through only where nothing is changed.
func (o origins) check(r *http.Request) *Problem {
	switch origin := r.Header.Get("Origin"); {
	case origin == "" && safe(r.Method):
		return nil
	case origin == "":
		return forbidden("origin", "A request with the cookie must say its Origin.")
	case slices.Contains(o.allowed, strings.ToLower(origin)), ownOrigin(r, origin):
		return nil
	}
	return forbidden("origin", "Pages of this origin may not use the cookie here.")
}

// allows reports whether pages of an origin may call the API.
func (o origins) allows(origin string) bool {
	return o.any || slices.Contains(o.allowed, strings.ToLower(origin))
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// ownOrigin compares hosts alone: behind a proxy that ends TLS, the API cannot know its own scheme.
func ownOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// cors answers preflights and marks answers as readable: captions for every page, all else for those of the allowed
// origins.
func (o origins) cors() func(http.Handler) http.Handler {
	allowed, everybody := o.corsOfAllowed(), cors.Handler(cors.Options{
		AllowedOrigins: []string{"*"},
		AllowedMethods: []string{http.MethodGet, http.MethodHead},
		AllowedHeaders: []string{"If-None-Match", headerRequestID},
		ExposedHeaders: []string{"ETag", "Retry-After", headerRequestID},
		MaxAge:         600,
	})
	return func(next http.Handler) http.Handler {
		listed, open := allowed(next), everybody(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isCaptions(r) && !o.allows(r.Header.Get("Origin")) {
				open.ServeHTTP(w, r)
				return
			}
			listed.ServeHTTP(w, r)
		})
	}
}

// corsOfAllowed does nothing at all without allowed origins, which is not what the library makes of an empty list.
func (o origins) corsOfAllowed() func(http.Handler) http.Handler {
	if len(o.allowed) == 0 && !o.any {
		return func(next http.Handler) http.Handler { return next }
	}
	options := cors.Options{
		AllowedOrigins:   o.allowed,
		AllowedMethods:   []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders:   []string{"Authorization", "Content-Type", "If-None-Match", "Last-Event-ID", headerIdempotencyKey, headerRequestID},
		ExposedHeaders:   []string{"ETag", "Location", "Retry-After", headerRequestID, headerReplayed},
		AllowCredentials: !o.any,
		MaxAge:           600,
	}
	if o.any {
		options.AllowedOrigins = []string{"*"}
	}
	return cors.Handler(options)
}
