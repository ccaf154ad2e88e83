package config

import (
	"fmt"
	"strings"
)

// Problem is one variable that is missing or wrong.
type Problem struct {
	// Name of the variable; of two, or of a family, where no single one is to blame.
	Name string
	// Text continues the name to a sentence that says what would be right.
	Text string
}

// ProblemsError names every variable that is missing or wrong. It never quotes a secret.
type ProblemsError struct {
	Commands []Command
	Problems []Problem
}

// Error is for people, on several lines.
func (e *ProblemsError) Error() string {
	var b strings.Builder
	how := "1 variable is missing or wrong"
	if n := len(e.Problems); n > 1 {
		how = fmt.Sprintf("%d variables are missing or wrong", n)
	}
	fmt.Fprintf(&b, "vidflow %s cannot start: %s\n\n", join(e.Commands), how)
	width := 0
	for _, p := range e.Problems {
		width = max(width, len(p.Name))
	}
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, p.Name, p.Text)
	}
	fmt.Fprintf(&b, "\nSet them in the environment, or as flags (KAFKA_BROKERS is --kafka-brokers).\n")
	fmt.Fprintf(&b, "`vidflow %s --help` explains each; .env.example has them all.", join(e.Commands))
	return b.String()
}
