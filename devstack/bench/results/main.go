// Command results does what comes after a benchmark: it compares its report with the committed baseline, makes it the new
// one, and draws its plots. It links no server.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/codeendelea/vidflow/devstack/bench/plots"
	"github.com/codeendelea/vidflow/devstack/bench/report"
)

type cli struct {
	Report   string `help:"The report of devstack bench." default:"out/bench.json" type:"path"`
	Baseline string `help:"The committed baseline." default:"devstack/bench/baseline.json" type:"path"`

	Check   checkCmd   `cmd:"" help:"Compare the report with the baseline; what has become worse is an error."`
	Accept  acceptCmd  `cmd:"" help:"Make the report the baseline, and show it in the documents and their plots. A report of exact rows alone replaces those."`
	Plots   plotsCmd   `cmd:"" help:"Draw the plots of the report."`
	Explain explainCmd `cmd:"" help:"Print the report once more."`
}

func main() {
	var app cli
	parsed := kong.Parse(&app, kong.Name("results"), kong.Description("What comes after a benchmark."), kong.UsageOnError())
	if err := parsed.Run(&app); err != nil {
		fmt.Fprintln(os.Stderr, "results:", err)
		os.Exit(1)
	}
}

func (c *cli) read() (*report.Report, error) {
	r, err := report.Read(c.Report)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no report, run `make bench`: %w", err)
	}
	return r, err
}

type checkCmd struct{}

// Run compares.
func (checkCmd) Run(c *cli) error {
	now, err := c.read()
	if err != nil {
		return err
	}
	baseline, err := report.Read(c.Baseline)
	if err != nil {
		return err
	}
	passed, err := report.PrintFindings(os.Stdout, report.Compare(baseline, now))
	if err != nil {
		return err
	}
	if !passed {
		return errors.New("worse than the baseline: mend it, or, if it is the price of something better, run `make bench-baseline` and say why in the commit")
	}
	return nil
}

type acceptCmd struct {
	Docs string `help:"The folder of the documents that show the baseline." default:"docs" type:"path"`
}

// Run writes the baseline and the documents.
func (a acceptCmd) Run(c *cli) error {
	now, err := c.read()
	if err != nil {
		return err
	}
	if baseline, err := report.Read(c.Baseline); err == nil {
		if now, err = baseline.Accept(now); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for name, text := range report.Documents() {
		file := filepath.Join(a.Docs, name)
		document, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if document, err = report.IntoDocument(document, text(now)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(file, document, 0o644); err != nil {
			return err
		}
	}
	return errors.Join(now.Write(c.Baseline), draw(now, filepath.Join(a.Docs, "images")))
}

type plotsCmd struct {
	Dir string `help:"Where the pictures go." default:"docs/images" type:"path"`
}

// Run draws.
func (p plotsCmd) Run(c *cli) error {
	r, err := c.read()
	if err != nil {
		return err
	}
	if len(r.Series) == 0 {
		return fmt.Errorf("%s has no series to draw", c.Report)
	}
	return draw(r, p.Dir)
}

func draw(r *report.Report, dir string) error {
	pictures, err := plots.Draw(r)
	for name, picture := range pictures {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, plots.File(name)), picture, 0o644))
	}
	return err
}

type explainCmd struct{}

// Run prints.
func (explainCmd) Run(c *cli) error {
	r, err := c.read()
	if err != nil {
		return err
	}
	fmt.Println(strings.TrimSpace(r.Version), r.Began)
	return r.Print(os.Stdout)
}
