package main

import (
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/codeendelea/vidflow/internal/config"
)

// scripts have the shells ask the program itself what could follow, so that they know its commands as they are.
//
//go:embed completion
var scripts embed.FS

func printCompletion(stdout io.Writer, shell string) error {
	script, err := scripts.ReadFile("completion/" + shell)
	if err != nil {
		return err
	}
	_, err = stdout.Write(script)
	return err
}

// completeCommand is what the scripts call, with the words of the line up to the cursor. People have no use for it.
const completeCommand = "__complete"

// complete prints what the last of the words may become, one to a line, each with a tab and what it means.
func complete(words []string, stdout io.Writer) error {
	parser, _, _, err := newParser()
	if err != nil {
		return err
	}
	if len(words) == 0 {
		words = []string{""}
	}
	typed := words[len(words)-1]
	c := completion{node: parser.Model.Node}
	for _, word := range words[:len(words)-1] {
		c.take(word)
	}
	for _, candidate := range c.candidates(typed) {
		if !strings.HasPrefix(candidate.word, typed) && typed != "=" {
			continue
		}
		if _, err := fmt.Fprintf(stdout, "%s\t%s\n", candidate.word, candidate.meaning); err != nil {
			return err
		}
	}
	return nil
}

// completion is what a line is so far.
type completion struct {
	node  *kong.Node
	named []string   // the command, and what else runs with it
	flag  *kong.Flag // whose value comes next
}

// take takes a word that is there in full.
func (c *completion) take(word string) {
	switch {
	case c.flag != nil && word == "=": // bash makes three words of --flag=value
	case c.flag != nil:
		c.flag = nil
	case strings.HasPrefix(word, "-"):
		if flag := c.find(word); flag != nil && !flag.IsBool() {
			c.flag = flag
		}
	default:
		for _, child := range c.node.Children {
			if child.Name == word {
				c.node = child
			}
		}
		c.named = append(c.named, word)
	}
}

// flags are those that make sense here.
func (c *completion) flags() []*kong.Flag {
	commands := inOrderOfCommands(c.named)
	if len(c.named) > 0 && slices.Contains(config.Tools, config.Command(c.named[0])) {
		commands = []config.Command{config.Command(c.named[0])}
	}
	var flags []*kong.Flag
	for _, group := range c.node.AllFlags(true) {
		flags = append(flags, group...)
	}
	hideNeedless(flags, commands)
	return slices.DeleteFunc(flags, func(f *kong.Flag) bool { return f.Hidden })
}

// find returns the flag that a word is; none when the word has its value, too.
func (c *completion) find(word string) *kong.Flag {
	for _, flag := range c.flags() {
		if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
			return flag
		}
	}
	return nil
}

type candidate struct{ word, meaning string }

func (c *completion) candidates(typed string) []candidate {
	if c.flag != nil {
		return values(c.flag, "")
	}
	if name, _, ok := strings.Cut(typed, "="); ok {
		if flag := c.find(name); flag != nil {
			return values(flag, name+"=")
		}
	}
	var all []candidate
	if strings.HasPrefix(typed, "-") {
		for _, flag := range c.flags() {
			all = append(all, candidate{"--" + flag.Name, sentence(flag.Help)})
		}
		return all
	}
	for _, child := range c.node.Children {
		all = append(all, candidate{child.Name, sentence(child.Help)})
	}
	for _, positional := range c.node.Positional { // there is one at most, or words are given for the first alone
		for _, word := range enum(positional) {
			if !slices.Contains(c.named, word) {
				all = append(all, candidate{word, ""})
			}
		}
	}
	return all
}

// values are those that a flag may have, if there are only a few.
func values(flag *kong.Flag, prefix string) []candidate {
	words := enum(flag.Value)
	for _, v := range config.Variables() {
		if v.Flag() == flag.Name {
			words = v.Words()
		}
	}
	var all []candidate
	for _, word := range words {
		all = append(all, candidate{prefix + word, ""})
	}
	return all
}

func enum(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

// sentence is the first one of a text.
func sentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	first, _, _ = strings.Cut(first, "; ")
	return strings.TrimSuffix(first, ".")
}
