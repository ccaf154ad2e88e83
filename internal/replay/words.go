package replay

import (
	"regexp"
	"strings"

	"github.com/codeendelea/vidflow/internal/contract"
)

// mismatch is the clearest thing that the SDK says: it names both.
var mismatch = regexp.MustCompile(`(?s)history event is (\w+: \(.*\)), replay command is (\w+: \(.*\))$`)

// What the SDK says of a difference, and how people say it. What is found in parentheses is described first: the SDK
// shows events whole, titles of videos included.
var sayings = []struct {
	pattern *regexp.Regexp
	words   string
}{
	{mismatch, "the history has $1, this code has $2"},
	{regexp.MustCompile(`(?s)missing replay command for (\w+: \(.*\))$`), "the history has $1, this code does not"},
	{regexp.MustCompile(`(?s)extra replay command for (\w+: \(.*\))$`), "this code has $1, the history does not"},
	{regexp.MustCompile(`(?s)code executed local activity (\w+), but history event found (\w+),.*`), "the history has the step $2, this code has the step $1"},
	{regexp.MustCompile(`(?s)a matching Timer command was expected in history event position (\d+).*`), "the history has a timer at event $1, this code has none there"},
	{regexp.MustCompile(`(?s)a matching (\w+) command was expected in history event position (\d+).*`), "the history has $1 at event $2, this code does not"},
	{regexp.MustCompile(`(?s)doesn't return the same result as the last event.*`), "the run has ended, this code does not end"},
}

// inWords says what the SDK says, for people.
func inWords(message string) string {
	for _, s := range sayings {
		if found := s.pattern.FindStringSubmatchIndex(message); found != nil {
			groups := s.pattern.FindStringSubmatch(message)
			words := s.words
			for i, group := range groups[1:] {
				words = strings.ReplaceAll(words, "$"+string(rune('1'+i)), describe(group))
			}
			return words
		}
	}
	const maxBytes = 300
	_, message, _ = strings.Cut("]"+message, "]") // whatever it is, on a line
	return contract.Clip(strings.Join(strings.Fields(message), " "), maxBytes)
}

var (
	stepName     = regexp.MustCompile(`ActivityType\\?":\\?"(\w+)`)
	activityName = regexp.MustCompile(`ActivityType:\(Name:(\w+)`)
	changeID     = regexp.MustCompile(`change-id:.*?data:"\\?"([^"\\]*)`)
)

// describe says which event or command it is that the SDK shows in full.
func describe(shown string) string {
	kind, rest, found := strings.Cut(shown, ": (")
	if !found {
		return shown
	}
	first := func(pattern *regexp.Regexp) string {
		if m := pattern.FindStringSubmatch(rest); m != nil {
			return " " + m[1]
		}
		return ""
	}
	switch {
	case strings.Contains(rest, "MarkerName:LocalActivity"):
		return "the step" + first(stepName)
	case strings.Contains(rest, "MarkerName:Version"):
		return "the version marker" + first(changeID)
	case strings.Contains(kind, "ActivityTask") && !strings.Contains(kind, "Cancel"):
		return "the activity" + first(activityName)
	case kind == "TimerStarted", kind == "StartTimer":
		return "a timer"
	default:
		return strings.ToLower(shown)
	}
}
