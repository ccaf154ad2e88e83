package starter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/postgres"
)

// Issuer and audience of the old server's tokens, and the cookie in which browsers carry them.
const (
	tokenIssuer   = "codeendelea-lms"
	tokenAudience = "codeendelea-lms-api"
	tokenCookie   = "access_token"
)

// Role is what a user may do.
type Role string

// The roles of the platform. A student may nothing here.
const (
	Student  Role = "student"
	Lecturer Role = "lecturer"
	Admin    Role = "admin"
)

// Caller is who sent a request, known from a token that was checked in full.
type Caller struct {
	// UserID is a UUID in lower case.
	UserID string
	// Role is empty when the token does not carry one: then it is in the table of users.
	Role Role
	// Expires is when the token does.
	Expires time.Time
}

// authenticator says whose token it is.
type authenticator struct {
	secret  []byte
	parser  *jwt.Parser
	keySet  *keySet
	origins origins
}

func newAuthenticator(ctx context.Context, cfg Config, keySetFailed func(error)) (*authenticator, error) {
	a := &authenticator{origins: newOrigins(cfg.AllowedOrigins)}
	if cfg.JWTSecret == "" && cfg.JWKSURL == "" {
		return nil, errors.New("neither JWT_SECRET nor JWKS_URL is set: one of them is needed to check tokens")
	}
	if cfg.JWTSecret != "" {
		a.secret = []byte(cfg.JWTSecret)
		a.parser = jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired(),
			jwt.WithIssuer(tokenIssuer), jwt.WithAudience(tokenAudience))
	}
	if cfg.JWKSURL != "" {
		keys, err := newKeySet(ctx, cfg.JWKSURL, keySetFailed)
		if err != nil {
			return nil, err
		}
		a.keySet = keys
	}
	return a, nil
}

// claims are the members of the old server's tokens.
type claims struct {
	jwt.RegisteredClaims
	Role      Role   `json:"role"`
	TokenType string `json:"token_type"`
}

// identify finds the request's token and checks it. What is wrong with it is told to the caller only as far as it
// helps an honest one.
func (a *authenticator) identify(r *http.Request) (Caller, *Problem) {
	token, fromCookie, p := a.token(r)
	if p != nil {
		return Caller{}, p
	}
	if fromCookie {
		if p := a.origins.check(r); p != nil {
			return Caller{}, p
		}
	}
	caller, err := a.verify(r.Context(), token)
	switch {
	case errors.Is(err, errKeySetAway):
		return Caller{}, unavailable("The service that signs tokens", err)
	case errors.Is(err, jwt.ErrTokenExpired):
		return Caller{}, unauthorized("invalid_token", "The token has expired.").because(err)
	case err != nil:
		return Caller{}, unauthorized("invalid_token", "The token is not valid.").because(err)
	}
	return caller, nil
}

// token is taken from the header when there is one, even a wrong one, and else from the cookie.
func (a *authenticator) token(r *http.Request) (token string, fromCookie bool, p *Problem) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		token = strings.TrimSpace(token)
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return "", false, unauthorized("invalid_token", "The Authorization header must be a bearer token.")
		}
		return token, false, nil
	}
	if cookie, err := r.Cookie(tokenCookie); err == nil && cookie.Value != "" {
		return cookie.Value, true, nil
	}
	return "", false, unauthorized("", "A token is needed: in the header Authorization, or in the cookie "+tokenCookie+".")
}

// verify checks signature, algorithm, expiry, issuer, audience and kind. Which keys may check a token is decided by its
// algorithm, so that a public key can never be taken for a secret.
func (a *authenticator) verify(ctx context.Context, token string) (Caller, error) {
	if a.keySet != nil {
		unverified, _, err := jwt.NewParser().ParseUnverified(token, &claims{})
		if err != nil {
			return Caller{}, err
		}
		if a.parser == nil || unverified.Method.Alg() != jwt.SigningMethodHS256.Alg() {
			return a.keySet.verify(ctx, token)
		}
	}
	var c claims
	if _, err := a.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return a.secret, nil }); err != nil {
		return Caller{}, err
	}
	if c.TokenType == "refresh" {
		return Caller{}, errors.New("it is a refresh token")
	}
	if c.Role != Student && c.Role != Lecturer && c.Role != Admin {
		return Caller{}, errors.New("its role is none of this platform's")
	}
	id, err := userID(c.Subject)
	return Caller{UserID: id, Role: c.Role, Expires: c.ExpiresAt.Time}, err
}

func userID(subject string) (string, error) {
	id, err := uuid.Parse(subject)
	if err != nil {
		return "", fmt.Errorf("its subject is not a user's id: %w", err)
	}
	return id.String(), nil
}

// unauthorized is a 401; code is empty when the request carried no token at all (RFC 6750, section 3.1).
func unauthorized(code, detail string) *Problem {
	challenge := `Bearer realm="vidflow"`
	if code != "" {
		challenge += fmt.Sprintf(`, error=%q, error_description=%q`, code, detail)
	} else {
		code = "token_required"
	}
	p := problem(http.StatusUnauthorized, code, detail)
	p.header.Set("WWW-Authenticate", challenge)
	return p
}

func forbidden(code, detail string) *Problem { return problem(http.StatusForbidden, code, detail) }

type identityKey struct{}

// identity is the outcome of looking at a request's token; one of the two is set.
type identity struct {
	caller  *Caller
	problem *Problem
}

// identified looks at every request's token once, before the rate limit, which counts by user. It refuses nobody: that
// is authorised's part, and not every route asks for a token.
func (a *authenticator) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, p := a.identify(r)
		id := identity{caller: &caller}
		if p != nil {
			id = identity{problem: p}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
	})
}

func identityOf(ctx context.Context) identity {
	id, _ := ctx.Value(identityKey{}).(identity)
	return id
}

type callerKey struct{}

// callerOf returns who called an operation that asks for a token.
func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// authorised is the huma middleware of operations that ask for a token: it lets through lecturers and admins. Whose
// course it is, the operation checks.
func (s *Starter) authorised(ctx huma.Context, next func(huma.Context)) {
	caller, p := s.authorise(ctx.Context())
	if p != nil {
		s.reply(ctx, p)
		return
	}
	next(huma.WithValue(ctx, callerKey{}, caller))
}

func (s *Starter) authorise(ctx context.Context) (Caller, *Problem) {
	id := identityOf(ctx)
	if id.problem != nil {
		return Caller{}, id.problem
	}
	caller := *id.caller
	if caller.Role == "" {
		role, err := s.store.UserRole(ctx, caller.UserID)
		if err != nil && !errors.Is(err, postgres.ErrNoUser) {
			return Caller{}, storeProblem(err)
		}
		caller.Role = Role(role)
	}
	if caller.Role != Lecturer && caller.Role != Admin {
		return Caller{}, forbidden("role", "Only lecturers and admins may use this.")
	}
	return caller, nil
}
