package oncall

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// root of the repository.
const root = "../.."

const runbookURL = "https://github.com/codeendelea/vidflow/blob/main/" + RunbookFile + "#"

var paging = []string{"VidflowCreationsNotStarted", "VidflowResultsNotApplied"}

func rules(t *testing.T) Rules {
	t.Helper()
	r, err := LoadRules(root)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAlerts_say_what_to_do: each has a summary, a description, a severity, and the address of its own paragraph.
func TestAlerts_say_what_to_do(t *testing.T) {
	t.Parallel()
	var pages []string
	for _, alert := range rules(t).Alerts() {
		for _, annotation := range []string{"summary", "description"} {
			if alert.Annotations[annotation] == "" {
				t.Errorf("%s has no %s", alert.Alert, annotation)
			}
		}
		if got, want := alert.Annotations["runbook_url"], runbookURL+strings.ToLower(alert.Alert); got != want {
			t.Errorf("%s: runbook_url is %s, want %s", alert.Alert, got, want)
		}
		switch alert.Labels["severity"] {
		case "page":
			pages = append(pages, alert.Alert)
		case "ticket":
		default:
			t.Errorf("%s: severity is %q, want page or ticket", alert.Alert, alert.Labels["severity"])
		}
	}
	slices.Sort(pages)
	if diff := cmp.Diff(paging, slices.Compact(pages)); diff != "" {
		t.Errorf("alerts that wake somebody up (-want +got):\n%s", diff)
	}
}

// TestRunbook_has_a_paragraph_for_each_alert, and no other, in the order of the rules.
func TestRunbook_has_a_paragraph_for_each_alert(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, RunbookFile))
	if err != nil {
		t.Fatal(err)
	}
	var paragraphs, alerts []string
	for _, heading := range regexp.MustCompile(`(?m)^## (Vidflow\S+)$`).FindAllStringSubmatch(string(text), -1) {
		paragraphs = append(paragraphs, heading[1])
	}
	for _, alert := range rules(t).Alerts() {
		alerts = append(alerts, alert.Alert)
	}
	if diff := cmp.Diff(slices.Compact(alerts), paragraphs); diff != "" {
		t.Errorf("paragraphs of the runbook (-want +got):\n%s", diff)
	}
	for _, link := range regexp.MustCompile(`\]\(#(vidflow\w+)\)`).FindAllStringSubmatch(string(text), -1) {
		if !slices.ContainsFunc(paragraphs, func(p string) bool { return strings.ToLower(p) == link[1] }) {
			t.Errorf("a link leads to #%s, which is no paragraph", link[1])
		}
	}
}

// TestPromtool has Prometheus' own tool check the files, and run the unit tests of the rules.
func TestPromtool(t *testing.T) {
	t.Parallel()
	NeedPrometheus(t)
	quick, err := rules(t).Quicker(60, 12)
	if err != nil {
		t.Fatal(err)
	}
	scaled := filepath.Join(t.TempDir(), "quick.rules.yml")
	if err := quick.Write(scaled); err != nil {
		t.Fatal(err)
	}
	deploy := filepath.Join(root, "deploy/prometheus")
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", filepath.Join(root, RulesFile)},
		{"check", "rules", "--lint=all", "--lint-fatal", scaled},
		{"check", "config", "--lint=all", "--lint-fatal", filepath.Join(root, ConfigFile)},
		{"test", "rules", filepath.Join(deploy, "vidflow.rules.test.yml")},
	} {
		out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestEveryAlertHasAUnitTest: promtool runs those that are there, and does not miss the others.
func TestEveryAlertHasAUnitTest(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/vidflow.rules.test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range rules(t).Alerts() {
		if !strings.Contains(string(text), `alertname="`+alert.Alert+`"`) && !strings.Contains(string(text), "alertname: "+alert.Alert+"\n") {
			t.Errorf("%s is in none of the unit tests", alert.Alert)
		}
	}
}
