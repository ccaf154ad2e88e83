package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/internal/config"
)

func TestSecret_is_never_shown(t *testing.T) {
	t.Parallel()
	const hidden = "correct-horse-battery"
	s := config.NewSecret(hidden)
	inside := struct {
		Shown  config.Secret
		hidden config.Secret
		list   []config.Secret
	}{s, s, []config.Secret{s}}

	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		for _, value := range []any{s, &s, inside, &inside, []any{s}, map[string]any{"key": s}} {
			fmt.Fprintf(&shown, verb+"\n", value)
		}
	}
	encoded, err := json.Marshal(map[string]any{"secret": s, "inside": inside})
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(encoded)
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&logged, nil), slog.NewTextHandler(&logged, nil)} {
		slog.New(handler).Info("a secret", "secret", s, "inside", inside)
	}
	shown.Write(logged.Bytes())

	if text := shown.String(); strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
		t.Errorf("the secret is shown:\n%s", text)
	}
	if got := s.Reveal(); got != hidden {
		t.Errorf("Reveal: got %q, want %q", got, hidden)
	}
	if got := fmt.Sprint(config.Secret{}); got != "" {
		t.Errorf("an empty secret: got %q, want nothing", got)
	}
}

func TestConfig_shows_no_secret(t *testing.T) {
	t.Parallel()
	env := with(map[string]string{
		"KAFKA_USERNAME":     "app",
		"KAFKA_PASSWORD":     "password-of-kafka",
		"TEMPORAL_API_KEY":   "key-of-temporal-cloud",
		"LOG_LEVEL":          "wrong",
		"TEMPORAL_NAMESPACE": "videos",
	})
	c, err := config.Load(config.Commands, nil, env)
	text := fmt.Sprintf("%v\n%+v\n%#v\n%v", c, *c, c, err)
	encoded, jsonErr := json.Marshal(c)
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	text += string(encoded)
	for _, secret := range []string{
		"password-of-kafka", "key-of-temporal-cloud", "sb_secret_0123456789", "pass%40word99", "pass@word99", "a-secret-of-the-api-server",
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is shown in:\n%s", secret, text)
		}
		if got := c.Redactor().Redact("login with " + secret + " failed"); got != "login with [redacted] failed" {
			t.Errorf("Redact: got %q", got)
		}
	}
}
