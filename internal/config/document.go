package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Markdown is the table of all variables for README.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| variable | default | read by | meaning |\n|---|---|---|---|\n")
	for _, v := range Variables() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", v.Name, defaultCell(v), readBy(v), escapeCell(v.Sentence()))
	}
	return b.String()
}

// DotEnv is .env.example: every variable, what is not required commented out with its default.
func DotEnv() string {
	var b strings.Builder
	b.WriteString(`# Every variable that vidflow reads. Copy this file to .env and fill in what has no "#" before it: that much is
# required, the rest has the default that is shown, or none. An empty variable counts as unset.
# For development you need none of this: "make dev" sets everything itself.
`)
	group := ""
	for _, v := range Variables() {
		if v.Group != group {
			group = v.Group
			fmt.Fprintf(&b, "\n# ---- %s ----\n", group)
		}
		fmt.Fprintf(&b, "\n%s", comment(v.Sentence()+". Read by "+readBy(v)+"."))
		hash := "# "
		if v.Required || v.Name == "JWT_SECRET" {
			hash = ""
		}
		fmt.Fprintf(&b, "%s%s=%s\n", hash, v.Name, cmp.Or(v.Default, v.Example))
	}
	return b.String()
}

// Sentence is Meaning with a capital letter at its start.
func (v Variable) Sentence() string {
	return strings.ToUpper(v.Meaning[:1]) + v.Meaning[1:]
}

func defaultCell(v Variable) string {
	switch {
	case v.Required:
		return "required"
	case v.Default != "":
		return "`" + v.Default + "`"
	default:
		return "–"
	}
}

func readBy(v Variable) string {
	switch {
	case slices.Equal(v.Commands, everyone):
		return "all"
	case slices.Equal(v.Commands, Commands):
		return "all but the tools"
	}
	words := join(v.Commands)
	for _, set := range []struct {
		members []Command
		name    string
	}{{Processes, "the-three-processes"}, {Tools, "the-tools"}} {
		words = strings.Replace(words, join(set.members), set.name, 1)
	}
	return strings.NewReplacer(" ", ", ", "-", " ").Replace(words)
}

func escapeCell(s string) string { return strings.NewReplacer("|", `\|`, "*", `\*`).Replace(s) }

// comment breaks a text into comment lines of at most 120 characters.
func comment(text string) string {
	const width = 118
	var b strings.Builder
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}
