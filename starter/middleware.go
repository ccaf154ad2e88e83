package starter

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"
	"github.com/google/uuid"
)

// Headers of requests and answers that no standard names.
const (
	headerRequestID      = "X-Request-Id"
	headerIdempotencyKey = "Idempotency-Key"
	// headerReplayed marks the answer to a request that had been carried out before, with the same Idempotency-Key.
	headerReplayed = "Idempotency-Replayed"
)

type requestIDKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// withRequestID keeps the id that a gateway gave the request, if it is one that can safely stand in a log and a header,
// and makes one up else.
func withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(headerRequestID)
		if !saneRequestID(id) {
			id = uuid.NewString()
		}
		w.Header().Set(headerRequestID, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
	})
}

// saneRequestID reports whether id is 1 to 64 characters of those that ids are usually made of.
func saneRequestID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return true
}

// withSecurityHeaders sets what a JSON API needs; the documentation page replaces the policy by its own.
func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// logged writes one event a request: reads that succeed and probes at debug, all else at info.
func logged(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			next.ServeHTTP(ww, r)

			status := ww.Status()
			if status == 0 {
				status = http.StatusOK
			}
			level := slog.LevelInfo
			if safe(r.Method) && status < http.StatusBadRequest {
				level = slog.LevelDebug
			}
			attrs := []slog.Attr{
				slog.String("request_id", requestID(r.Context())), slog.String("method", r.Method),
				slog.String("path", r.URL.Path), slog.Int("status", status), slog.Int("bytes", ww.BytesWritten()),
				slog.Duration("duration", time.Since(start)), slog.String("client_ip", middleware.GetClientIP(r.Context())),
			}
			if id := chi.URLParam(r, "videoId"); id != "" {
				attrs = append(attrs, slog.String("video_id", id))
			}
			log.LogAttrs(r.Context(), level, "request", attrs...)
		})
	}
}

// recovered turns a panic into a plain 500 for the caller and an event with the stack for us.
func recovered(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if v == http.ErrAbortHandler { //nolint:errorlint // the server compares it like this too
					panic(v)
				}
				log.LogAttrs(r.Context(), slog.LevelError, "request panicked",
					slog.String("request_id", requestID(r.Context())), slog.String("method", r.Method),
					slog.String("path", r.URL.Path), slog.String("error", fmt.Sprint(v)),
					slog.String("stack", string(debug.Stack())))
				if ww.Status() == 0 {
					internalError(nil).write(w, r)
				}
			}()
			next.ServeHTTP(ww, r)
		})
	}
}

// withTimeout ends the context of a request that takes too long; whoever serves it turns that into an answer. Streams
// of events take as long as they please.
func withTimeout(d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, eventsPath) {
				next.ServeHTTP(w, r)
				return
			}
			ctx, cancel := context.WithTimeout(r.Context(), d)
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// clientIP is the address that connected, or what trusted proxies say it was.
func clientIP(trusted []string) func(http.Handler) http.Handler {
	if len(trusted) == 0 {
		return middleware.ClientIPFromRemoteAddr
	}
	return middleware.ClientIPFromXFF(trusted...)
}

// limited bounds the requests of one user, or of one address without a valid token. Captions have a count of their own,
// always by address: whoever watches has no token, and shares an address with a lecture hall.
func limited(cfg Config) func(http.Handler) http.Handler {
	if cfg.RateLimit <= 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	byAddress := func(r *http.Request) (string, error) {
		return "ip/" + httprate.CanonicalizeIP(middleware.GetClientIP(r.Context())), nil
	}
	limit := limitBy(cfg.RateLimit, cfg.RateWindow, func(r *http.Request) (string, error) {
		if id := identityOf(r.Context()); id.caller != nil {
			return "user/" + id.caller.UserID, nil
		}
		return byAddress(r)
	})
	limitCaptions := limitBy(captionsAddressFactor*cfg.RateLimit, cfg.RateWindow, byAddress)
	return func(next http.Handler) http.Handler {
		counted, captions := limit(next), limitCaptions(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == healthPath:
				next.ServeHTTP(w, r)
			case isCaptions(r):
				captions.ServeHTTP(w, r)
			default:
				counted.ServeHTTP(w, r)
			}
		})
	}
}

func limitBy(requests int, window time.Duration, key httprate.KeyFunc) func(http.Handler) http.Handler {
	return httprate.LimitBy(requests, window, key,
		httprate.WithLimitHandler(func(w http.ResponseWriter, r *http.Request) {
			problem(http.StatusTooManyRequests, "too_many_requests",
				fmt.Sprintf("More than %d requests in %s. Please wait a little.", requests, window)).
				retryAfter(window).write(w, r)
		}))
}
