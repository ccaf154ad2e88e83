package starter

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// supabaseAudience is the audience of the tokens that Supabase Auth gives to signed-in users.
const supabaseAudience = "authenticated"

var errKeySetAway = errors.New("the key set could not be fetched yet")

// keySet checks tokens of Supabase Auth by its public keys. It fetches them when the first token comes, again every ten
// minutes, and, at most every five seconds, when a token names a key it does not know.
type keySet struct {
	parser *jwt.Parser
	keys   func() (keyfunc.Keyfunc, error)
}

// newKeySet does not connect. The refreshing ends with ctx.
func newKeySet(ctx context.Context, address string, failed func(error)) (*keySet, error) {
	issuer, err := issuerOf(address)
	if err != nil {
		return nil, err
	}
	return &keySet{
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg(), jwt.SigningMethodRS256.Alg()}),
			jwt.WithExpirationRequired(), jwt.WithIssuer(issuer), jwt.WithAudience(supabaseAudience)),
		keys: sync.OnceValues(func() (keyfunc.Keyfunc, error) {
			return keyfunc.NewDefaultOverrideCtx(ctx, []string{address}, keyfunc.Override{
				HTTPTimeout:       5 * time.Second,
				RefreshInterval:   10 * time.Minute,
				RefreshUnknownKID: rate.NewLimiter(rate.Every(5*time.Second), 1),
				// Who names an unknown key between two refreshes is refused at once instead of being kept waiting.
				RateLimitWaitMax: time.Millisecond,
				RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
					return func(_ context.Context, err error) { failed(err) }
				},
			})
		}),
	}, nil
}

// issuerOf derives the issuer from the address of its key set, as OpenID Connect Discovery lays them out.
func issuerOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return "", errors.New("JWKS_URL is not an http(s) URL")
	}
	issuer, _, ok := strings.Cut(address, "/.well-known/")
	if !ok {
		return "", errors.New("JWKS_URL has no /.well-known/ in its path, so the tokens' issuer cannot be derived from it")
	}
	return issuer, nil
}

func (k *keySet) verify(ctx context.Context, token string) (Caller, error) {
	keys, err := k.keys()
	if err != nil {
		return Caller{}, fmt.Errorf("%w: %w", errKeySetAway, err)
	}
	var c jwt.RegisteredClaims
	if _, err := k.parser.ParseWithClaims(token, &c, keys.KeyfuncCtx(ctx)); err != nil {
		if errors.Is(err, jwt.ErrTokenUnverifiable) {
			if known, readErr := keys.Storage().KeyReadAll(ctx); readErr != nil || len(known) == 0 {
				return Caller{}, fmt.Errorf("%w: %w", errKeySetAway, err)
			}
		}
		return Caller{}, err
	}
	id, err := userID(c.Subject)
	return Caller{UserID: id, Expires: c.ExpiresAt.Time}, err // the role such a token carries is Postgres's, not the platform's
}
