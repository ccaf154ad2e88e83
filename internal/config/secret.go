package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
)

// redacted is what a Secret shows as.
const redacted = "[redacted]"

// Secret holds a value that must not be shown. It prints as "[redacted]" with every verb of package fmt, in JSON, in text
// and in slog, also as an unexported field of a struct, where fmt cannot call its methods: the value sits behind a
// pointer. The zero Secret is empty and prints as "".
type Secret struct{ value *string }

// NewSecret hides value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value, for the one client that needs it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no value.
func (s Secret) Empty() bool { return s.value == nil }

// Equal reports whether both hide the same value.
func (s Secret) Equal(t Secret) bool { return s.Reveal() == t.Reveal() }

// String hides the value.
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return redacted
}

// Format hides the value, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the value, in JSON too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// shortestRedacted is the length in bytes below which a secret is not looked for in other texts: the password "app" of a
// laptop would take words out of every line.
const shortestRedacted = 8

// Redactor takes secrets out of texts that others wrote: errors of libraries, above all, that quote what they were given.
type Redactor struct{ replacer *strings.Replacer }

// newRedactor looks for each secret as it is and as it stands in a URL.
func newRedactor(secrets []string) Redactor {
	var forms []string
	for _, s := range secrets {
		forms = append(forms, s, url.QueryEscape(s), url.PathEscape(s))
	}
	forms = slices.DeleteFunc(forms, func(s string) bool { return len(s) < shortestRedacted })
	// The longest first: a secret that contains another goes as a whole.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range slices.Compact(forms) {
		pairs = append(pairs, s, redacted)
	}
	return Redactor{strings.NewReplacer(pairs...)}
}

// Redact returns text without the secrets of the configuration.
func (r Redactor) Redact(text string) string {
	if r.replacer == nil {
		return text
	}
	return r.replacer.Replace(text)
}
