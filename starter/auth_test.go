package starter_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/starter"
)

// TestTokens is every way of a token being wrong, beside the right ones.
func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hs256 := func(c jwt.MapClaims) string { return sign(t, jwt.SigningMethodHS256, []byte(secret), c) }
	good := func() jwt.MapClaims { return claims(w.lecturer, starter.Lecturer) }
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(hs256(good()), ".")
	forged := with(good(), "role", "admin")
	payload, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		authorization string
		status        int
		code          string
	}{
		"good":                    {"Bearer " + hs256(good()), 200, ""},
		"scheme in small letters": {"bearer " + hs256(good()), 200, ""},
		"one audience of several": {"Bearer " + hs256(with(good(), "aud", []string{"x", "codeendelea-lms-api"})), 200, ""},
		"access token said so":    {"Bearer " + hs256(with(good(), "token_type", "access")), 200, ""},

		"none":                     {"", 401, "token_required"},
		"another scheme":           {"Basic dXNlcjpwdw==", 401, "invalid_token"},
		"scheme alone":             {"Bearer", 401, "invalid_token"},
		"no token":                 {"Bearer abc", 401, "invalid_token"},
		"three dots":               {"Bearer ...", 401, "invalid_token"},
		"cut off":                  {"Bearer " + parts[0] + "." + parts[1] + ".", 401, "invalid_token"},
		"claims altered":           {"Bearer " + parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2], 401, "invalid_token"},
		"another key":              {"Bearer " + sign(t, jwt.SigningMethodHS256, []byte("another"), good()), 401, "invalid_token"},
		"empty key":                {"Bearer " + sign(t, jwt.SigningMethodHS256, []byte{}, good()), 401, "invalid_token"},
		"algorithm none":           {"Bearer " + sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good()), 401, "invalid_token"},
		"algorithm None":           {"Bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None","typ":"JWT"}`)) + "." + parts[1] + ".", 401, "invalid_token"},
		"same secret, HS384":       {"Bearer " + sign(t, jwt.SigningMethodHS384, []byte(secret), good()), 401, "invalid_token"},
		"same secret, HS512":       {"Bearer " + sign(t, jwt.SigningMethodHS512, []byte(secret), good()), 401, "invalid_token"},
		"RS256":                    {"Bearer " + sign(t, jwt.SigningMethodRS256, rsaKey, good()), 401, "invalid_token"},
		"expired":                  {"Bearer " + hs256(with(good(), "exp", time.Now().Add(-time.Second).Unix())), 401, "invalid_token"},
		"without expiry":           {"Bearer " + hs256(without(good(), "exp")), 401, "invalid_token"},
		"not yet valid":            {"Bearer " + hs256(with(good(), "nbf", time.Now().Add(time.Hour).Unix())), 401, "invalid_token"},
		"another issuer":           {"Bearer " + hs256(with(good(), "iss", "codeendelea")), 401, "invalid_token"},
		"without issuer":           {"Bearer " + hs256(without(good(), "iss")), 401, "invalid_token"},
		"another audience":         {"Bearer " + hs256(with(good(), "aud", "codeendelea-lms-web")), 401, "invalid_token"},
		"without audience":         {"Bearer " + hs256(without(good(), "aud")), 401, "invalid_token"},
		"refresh token":            {"Bearer " + hs256(with(good(), "token_type", "refresh")), 401, "invalid_token"},
		"without subject":          {"Bearer " + hs256(without(good(), "sub")), 401, "invalid_token"},
		"subject that is no UUID":  {"Bearer " + hs256(with(good(), "sub", "' or 1=1 --")), 401, "invalid_token"},
		"without role":             {"Bearer " + hs256(without(good(), "role")), 401, "invalid_token"},
		"unknown role":             {"Bearer " + hs256(with(good(), "role", "root")), 401, "invalid_token"},
		"role in capitals":         {"Bearer " + hs256(with(good(), "role", "ADMIN")), 401, "invalid_token"},
		"role of the wrong type":   {"Bearer " + hs256(with(good(), "role", []string{"admin"})), 401, "invalid_token"},
		"a student":                {"Bearer " + hs256(with(good(), "role", "student")), 403, "role"},
		"another lecturer's token": {"Bearer " + hs256(with(good(), "sub", uuid.NewString())), 403, "not_your_course"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			headers := []string{}
			if c.authorization != "" {
				headers = append(headers, "Authorization", c.authorization)
			}
			a := w.call(http.MethodGet, "/api/courses/"+w.course+"/pipeline", "", nil, headers...).expect(t, c.status)
			if c.code != "" {
				a.code(t, c.code)
			}
			challenge := a.header.Get("WWW-Authenticate")
			if (c.status == 401) != strings.HasPrefix(challenge, "Bearer ") {
				t.Errorf("status %d with WWW-Authenticate %q", c.status, challenge)
			}
			if c.code == "invalid_token" && !strings.Contains(challenge, `error="invalid_token"`) {
				t.Errorf("WWW-Authenticate %q does not say that the token is invalid", challenge)
			}
		})
	}
}

// TestCookie takes the token from the cookie, and then looks at where the request comes from.
func TestCookie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) {
		cfg.AllowedOrigins = []string{"https://app.example.org", "https://Admin.example.org/"}
	})
	cookie := "other=1; access_token=" + w.owner()
	list := "/api/courses/" + w.course + "/pipeline"
	for name, c := range map[string]struct {
		method, path string
		headers      []string
		status       int
	}{
		"read without an origin":              {"GET", list, nil, 200},
		"read from an allowed origin":         {"GET", list, []string{"Origin", "https://app.example.org"}, 200},
		"read from another origin":            {"GET", list, []string{"Origin", "https://evil.example.org"}, 403},
		"write from an allowed origin":        {"POST", w.videosPath(), []string{"Origin", "https://app.example.org"}, 201},
		"write from one written otherwise":    {"POST", w.videosPath(), []string{"Origin", "https://admin.example.org"}, 201},
		"write from the API's own origin":     {"POST", w.videosPath(), []string{"Origin", "https://api.example.org", "Host", "api.example.org"}, 201},
		"write from another origin":           {"POST", w.videosPath(), []string{"Origin", "https://evil.example.org"}, 403},
		"write from another port":             {"POST", w.videosPath(), []string{"Origin", "https://app.example.org:8443"}, 403},
		"write from a longer name":            {"POST", w.videosPath(), []string{"Origin", "https://app.example.org.evil.example"}, 403},
		"write from a sandbox":                {"POST", w.videosPath(), []string{"Origin", "null"}, 403},
		"write without an origin":             {"POST", w.videosPath(), nil, 403},
		"a token beside it needs no origin":   {"POST", w.videosPath(), []string{"Origin", "https://evil.example.org", "Authorization", "Bearer " + w.owner()}, 201},
		"a wrong token beside it is not made": {"POST", w.videosPath(), []string{"Origin", "https://app.example.org", "Authorization", "Bearer x"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent any
			if c.method == "POST" {
				sent = body()
			}
			a := w.call(c.method, c.path, "", sent, append(c.headers, "Cookie", cookie)...).expect(t, c.status)
			if c.status == 403 {
				a.code(t, "origin")
			}
		})
	}
}

// TestAnyOriginIsNoOriginForTheCookie: "*" opens the API to all pages, and the cookie to none.
func TestAnyOriginIsNoOriginForTheCookie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.AllowedOrigins = []string{"*"} })
	w.call("POST", w.videosPath(), "", body(), "Cookie", "access_token="+w.owner(), "Origin", "https://any.example.org").
		expect(t, 403).code(t, "origin")
	a := w.call("POST", w.videosPath(), w.owner(), body(), "Origin", "https://any.example.org").expect(t, 201)
	equal(t, "Access-Control-Allow-Origin", a.header.Get("Access-Control-Allow-Origin"), "*")
	equal(t, "Access-Control-Allow-Credentials", a.header.Get("Access-Control-Allow-Credentials"), "")
}

// keySetServer is a Supabase Auth that publishes keys, unless it is away.
type keySetServer struct {
	*httptest.Server
	keys jwkset.Storage
	away atomic.Bool
}

func newKeySetServer(t *testing.T) *keySetServer {
	t.Helper()
	s := &keySetServer{keys: jwkset.NewMemoryStorage()}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.away.Load() || r.URL.Path != "/auth/v1/.well-known/jwks.json" {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		keys, err := s.keys.JSONPublic(r.Context())
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(keys)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keySetServer) url() string    { return s.URL + "/auth/v1/.well-known/jwks.json" }
func (s *keySetServer) issuer() string { return s.URL + "/auth/v1" }

func (s *keySetServer) publish(t *testing.T, id string, alg jwkset.ALG, key any) {
	t.Helper()
	jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: id, ALG: alg, USE: jwkset.UseSig}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.keys.KeyWrite(t.Context(), jwk); err != nil {
		t.Fatal(err)
	}
}

func signAs(t *testing.T, method jwt.SigningMethod, id string, key any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = id
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestSupabaseTokens takes the role from the database, since such tokens do not carry it.
func TestSupabaseTokens(t *testing.T) {
	t.Parallel()
	keys := newKeySetServer(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strange, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys.publish(t, "ec", jwkset.AlgES256, ec)
	keys.publish(t, "rsa", jwkset.AlgRS256, rsaKey)
	public, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})

	for _, setting := range []struct{ name, secret string }{{"alone", ""}, {"beside the secret", secret}} {
		t.Run(setting.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.JWTSecret, cfg.JWKSURL = setting.secret, keys.url() })
			student, admin := w.db.User(t, "student"), w.db.User(t, "admin")
			supabase := func(user string) jwt.MapClaims {
				return jwt.MapClaims{
					"iss": keys.issuer(), "aud": "authenticated", "sub": user, "role": "authenticated",
					"exp": time.Now().Add(time.Hour).Unix(), "app_metadata": map[string]any{"provider": "email"},
				}
			}
			oldToken := 401
			if setting.secret != "" {
				oldToken = 200
			}
			for name, c := range map[string]struct {
				token  string
				status int
			}{
				"lecturer, ES256":               {signAs(t, jwt.SigningMethodES256, "ec", ec, supabase(w.lecturer)), 200},
				"lecturer, RS256":               {signAs(t, jwt.SigningMethodRS256, "rsa", rsaKey, supabase(w.lecturer)), 200},
				"lecturer in capitals":          {signAs(t, jwt.SigningMethodES256, "ec", ec, supabase(strings.ToUpper(w.lecturer))), 200},
				"admin":                         {signAs(t, jwt.SigningMethodES256, "ec", ec, supabase(admin)), 200},
				"student":                       {signAs(t, jwt.SigningMethodES256, "ec", ec, supabase(student)), 403},
				"nobody we know":                {signAs(t, jwt.SigningMethodES256, "ec", ec, supabase(uuid.NewString())), 403},
				"role that it gives itself":     {signAs(t, jwt.SigningMethodES256, "ec", ec, with(supabase(student), "role", "admin")), 403},
				"old server's token":            {w.token(w.lecturer, starter.Lecturer), oldToken},
				"another issuer":                {signAs(t, jwt.SigningMethodES256, "ec", ec, with(supabase(admin), "iss", "https://evil.example.org/auth/v1")), 401},
				"old server's issuer":           {signAs(t, jwt.SigningMethodES256, "ec", ec, claims(admin, starter.Admin)), 401},
				"another audience":              {signAs(t, jwt.SigningMethodES256, "ec", ec, with(supabase(admin), "aud", "anon")), 401},
				"expired":                       {signAs(t, jwt.SigningMethodES256, "ec", ec, with(supabase(admin), "exp", time.Now().Add(-time.Minute).Unix())), 401},
				"without expiry":                {signAs(t, jwt.SigningMethodES256, "ec", ec, without(supabase(admin), "exp")), 401},
				"strange key, known name":       {signAs(t, jwt.SigningMethodES256, "ec", strange, supabase(admin)), 401},
				"strange key, unknown name":     {signAs(t, jwt.SigningMethodES256, "new", strange, supabase(admin)), 401},
				"strange key, no name":          {sign(t, jwt.SigningMethodES256, strange, supabase(admin)), 401},
				"known key, no name":            {sign(t, jwt.SigningMethodES256, ec, supabase(admin)), 200},
				"known key, another algorithm":  {signAs(t, jwt.SigningMethodRS512, "rsa", rsaKey, supabase(admin)), 401},
				"public key taken for a secret": {signAs(t, jwt.SigningMethodHS256, "rsa", publicPEM, supabase(admin)), 401},
				"algorithm none":                {signAs(t, jwt.SigningMethodNone, "ec", jwt.UnsafeAllowNoneSignatureType, supabase(admin)), 401},
			} {
				t.Run(name, func(t *testing.T) {
					w.call(http.MethodGet, "/api/courses/"+w.course+"/pipeline", c.token, nil).expect(t, c.status)
				})
			}
		})
	}
}

// TestKeySetAway answers that it cannot tell, and recovers when the keys are there.
func TestKeySetAway(t *testing.T) {
	t.Parallel()
	keys := newKeySetServer(t)
	keys.away.Store(true)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(_ *starter.Deps, cfg *starter.Config) { cfg.JWTSecret, cfg.JWKSURL = "", keys.url() })
	token := signAs(t, jwt.SigningMethodES256, "ec", ec, jwt.MapClaims{
		"iss": keys.issuer(), "aud": "authenticated", "sub": w.lecturer, "exp": time.Now().Add(time.Hour).Unix(),
	})
	a := w.call(http.MethodGet, "/api/courses/"+w.course+"/pipeline", token, nil).expect(t, http.StatusServiceUnavailable)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if strings.Contains(string(a.body), keys.URL) {
		t.Errorf("the answer names the key set's address: %s", a.body)
	}
	keys.publish(t, "ec", jwkset.AlgES256, ec)
	keys.away.Store(false)
	eventually(t, "the keys are fetched", func() bool {
		return w.call(http.MethodGet, "/api/courses/"+w.course+"/pipeline", token, nil).status == http.StatusOK
	})
}

// TestNewRefuses what cannot work.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]starter.Config{
		"no key":                    {},
		"key set that is no URL":    {JWKSURL: "auth.example.org"},
		"key set without an issuer": {JWKSURL: "https://auth.example.org/keys"},
		"proxy that is no prefix":   {JWTSecret: secret, TrustedProxies: []string{"10.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := starter.New(starter.Deps{}, cfg, nil); err == nil {
				t.Error("no error")
			}
		})
	}
}
