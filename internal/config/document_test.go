package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/golden"
)

const (
	begin = "<!-- begin config: written by make generate -->\n"
	end   = "<!-- end config -->\n"
)

func TestREADME_has_the_table_of_variables(t *testing.T) {
	t.Parallel()
	const path = "../../README.md"
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("README.md has no table between %q and %q", begin, end)
	}
	golden.Equal(t, path, []byte(before+begin+config.Markdown()+end+after))
}

func TestExample_is_complete(t *testing.T) {
	t.Parallel()
	golden.Equal(t, "../../.env.example", []byte(config.DotEnv()))
}

func TestVariables(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	name := regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
	secret := regexp.MustCompile(`PASSWORD|SECRET|API_KEY|SERVICE_KEY|CLIENT_KEY_DATA|DATABASE_(LISTEN_)?URL|OTLP_.*HEADERS`)
	for _, v := range config.Variables() {
		if !name.MatchString(v.Name) || seen[v.Name] {
			t.Errorf("%s: not a name, or there twice", v.Name)
		}
		seen[v.Name] = true
		if v.Group == "" || v.Meaning == "" || len(v.Commands) == 0 {
			t.Errorf("%s: no group, meaning or commands", v.Name)
		}
		if strings.HasSuffix(v.Meaning, ".") {
			t.Errorf("%s: the meaning ends with a full stop", v.Name)
		}
		if v.Required && v.Default != "" {
			t.Errorf("%s: required, but has a default", v.Name)
		}
		if got := secret.MatchString(v.Name); got != v.Secret {
			t.Errorf("%s: Secret is %t, and the name says %t", v.Name, v.Secret, got)
		}
	}
	// Every default is right, or this panics.
	_, _ = config.Load(config.Commands, nil, nil)
}
