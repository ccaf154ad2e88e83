package storage

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ServiceRoleKey makes a key of the older kind: a JWT with the role service_role, valid for ten years.
func ServiceRoleKey(secret string, now time.Time) (string, error) {
	return legacyKey(secret, "service_role", now)
}

// AnonKey makes the older kind of public key, which may read public objects alone.
func AnonKey(secret string, now time.Time) (string, error) { return legacyKey(secret, "anon", now) }

func legacyKey(secret, role string, now time.Time) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "supabase", "role": role, "iat": now.Unix(), "exp": now.AddDate(10, 0, 0).Unix(),
	}).SignedString([]byte(secret))
}

// authenticator knows the keys.
type authenticator struct {
	secret []byte
	keys   []string
}

const roleService = "service_role"

// service lets the service role through; another role gets denied, as row-level security would have it.
func (a authenticator) service(r *http.Request, denied *apiError) error {
	role, err := a.role(r)
	switch {
	case err != nil:
		return err
	case role != roleService && denied != nil:
		return denied
	case role != roleService:
		return errRowSecurity()
	}
	return nil
}

// authenticate lets any valid key through.
func (a authenticator) authenticate(r *http.Request) error {
	_, err := a.role(r)
	return err
}

var bearer = regexp.MustCompile(`(?i)^Bearer\s+`)

// role is who makes the request. The gateway in front of storage puts a JWT of its own in the place of a newer key that it
// finds in the header apikey; storage itself reads a JWT from Authorization and nothing else.
func (a authenticator) role(r *http.Request) (string, error) {
	authorization, apikey := r.Header.Get("Authorization"), r.Header.Get("Apikey")
	token := bearer.ReplaceAllString(authorization, "")
	if a.secretKey(apikey) && (authorization == "" || token == apikey) {
		return roleService, nil
	}
	if strings.HasPrefix(apikey, "sb_") && !a.secretKey(apikey) {
		return "", errAPIKey()
	}
	if authorization == "" {
		return "", errSchema("headers must have required property 'authorization'")
	}
	if len(a.secret) == 0 {
		return "", errAccessDenied("Invalid Compact JWS")
	}
	var claims struct {
		jwt.RegisteredClaims
		Role string `json:"role"`
	}
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return a.secret, nil },
		jwt.WithValidMethods([]string{"HS256"}))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return "", errAccessDenied(`"exp" claim timestamp check failed`)
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return "", errAccessDenied("signature verification failed")
	case err != nil:
		return "", errAccessDenied("Invalid Compact JWS")
	}
	return claims.Role, nil
}

func (a authenticator) secretKey(s string) bool {
	for _, k := range a.keys {
		if subtle.ConstantTimeCompare([]byte(k), []byte(s)) == 1 && s != "" {
			return true
		}
	}
	return false
}
