package oncall

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Where the files are, from the root of the repository.
const (
	RulesFile   = "deploy/prometheus/vidflow.rules.yml"
	ConfigFile  = "deploy/prometheus/prometheus.yml"
	RunbookFile = "docs/runbook.md"
)

// Rules is a file of rules.
type Rules struct {
	Groups []Group `yaml:"groups"`
}

// Group is evaluated together, its rules one after the other.
type Group struct {
	Name  string `yaml:"name"`
	Rules []Rule `yaml:"rules"`
}

// Rule records a series or raises an alert.
type Rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         model.Duration    `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// LoadRules reads the alert rules of the repository that is at root.
func LoadRules(root string) (Rules, error) {
	file, err := os.Open(filepath.Join(root, RulesFile))
	if err != nil {
		return Rules{}, err
	}
	defer func() { _ = file.Close() }()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	var rules Rules
	if err := decoder.Decode(&rules); err != nil {
		return Rules{}, fmt.Errorf("%s: %w", RulesFile, err)
	}
	return rules, nil
}

// All rules, in their order.
func (r Rules) All() []Rule {
	var all []Rule
	for _, group := range r.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// Alerts are the rules that raise one, in their order.
func (r Rules) Alerts() []Rule {
	var alerts []Rule
	for _, rule := range r.All() {
		if rule.Alert != "" {
			alerts = append(alerts, rule)
		}
	}
	return alerts
}

// Quicker is the same rules with each window, offset and "for" divided by windows, and each limit on the seconds of a
// gauge by limits: what takes an hour then takes a minute. Nothing else is changed, so the counts that an alert wants of
// a window have to come in the shorter one.
func (r Rules) Quicker(windows, limits int) (Rules, error) {
	quick := Rules{Groups: make([]Group, len(r.Groups))}
	for i, group := range r.Groups {
		quick.Groups[i] = Group{Name: group.Name, Rules: make([]Rule, len(group.Rules))}
		for k, rule := range group.Rules {
			expr, err := quicker(rule.Expr, windows, limits)
			if err != nil {
				return Rules{}, fmt.Errorf("%s%s: %w", rule.Alert, rule.Record, err)
			}
			rule.Expr = expr
			rule.For = model.Duration(shorter(time.Duration(rule.For), windows))
			quick.Groups[i].Rules[k] = rule
		}
	}
	return quick, nil
}

// Write writes the rules to a file.
func (r Rules) Write(path string) error {
	text, err := yaml.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
