package oncall

import (
	"os"
	"path/filepath"
	"regexp"
)

// Commands are a block of a paragraph of the runbook.
type Commands struct {
	Paragraph string
	Lines     string
	// Changes says that they are there to change something; the others are marked "look".
	Changes bool
}

var (
	heading = regexp.MustCompile(`(?m)^## (.+)$`)
	block   = regexp.MustCompile("(?ms)^```sh( look)?\n(.*?)^```$")
)

// RunbookCommands are all blocks of commands, in their order.
func RunbookCommands(root string) ([]Commands, error) {
	text, err := os.ReadFile(filepath.Join(root, RunbookFile))
	if err != nil {
		return nil, err
	}
	var all []Commands
	headings := heading.FindAllSubmatchIndex(text, -1)
	for i, h := range headings {
		end := len(text)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		for _, found := range block.FindAllSubmatch(text[h[1]:end], -1) {
			all = append(all, Commands{Paragraph: string(text[h[2]:h[3]]), Lines: string(found[2]), Changes: len(found[1]) == 0})
		}
	}
	return all, nil
}
