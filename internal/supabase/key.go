package supabase

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// key is a service key. Client and Config hide it from logs.
type key struct {
	value string
	// opaque is a key of the newer kind, which is no JWT.
	opaque bool
}

// parseKey refuses what can never be a service key.
func parseKey(s string) (key, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return key{}, errors.New("SUPABASE_SERVICE_KEY is missing: a service_role JWT, or a key that begins with sb_secret_")
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return key{}, errors.New("SUPABASE_SERVICE_KEY has characters that no key has (spaces, line breaks)")
	case strings.HasPrefix(s, "sb_publishable_"), role(s) == "anon":
		return key{}, errors.New("SUPABASE_SERVICE_KEY is a public key, which may not store: " +
			"a service_role JWT or a key that begins with sb_secret_ is needed")
	}
	return key{value: s, opaque: strings.HasPrefix(s, "sb_")}, nil
}

// authorize sets the headers that Supabase wants: a JWT is a bearer token, and the key of the project's gateway too; a
// newer key is that of the gateway alone, for as a bearer token it would be refused as no JWT.
func (k key) authorize(h http.Header) {
	h.Set("Apikey", k.value)
	if k.opaque {
		h.Del("Authorization")
	} else {
		h.Set("Authorization", "Bearer "+k.value)
	}
}

// scrub takes the key out of a message that came from elsewhere.
func (k key) scrub(s string) string { return strings.ReplaceAll(s, k.value, "[key]") }

// role is the claim of a JWT, unverified; empty when there is none.
func role(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return ""
	}
	var claims struct{ Role string }
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Role
}
