// Package plots draws what a benchmark measured: a picture for each plot that its series name, as SVG. The same report
// gives the same pictures, to the byte.
package plots

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/codeendelea/vidflow/devstack/bench/report"
)

// titles of the pictures; one that has none here is called by its name.
var titles = map[string]string{
	"throughput": "Throughput against concurrency",
	"latency":    "Latency of a result: from its record to its column",
	"memory":     "Memory of the worker against waiting videos",
	"backlog":    "A backlog that is worked off",
}

const (
	width, height = 18 * vg.Centimeter, 10 * vg.Centimeter
	// markedUpTo is how many points of a curve are shown as such.
	markedUpTo = 40
)

// Draw returns the pictures by the names of their plots.
func Draw(r *report.Report) (map[string][]byte, error) {
	curves := map[string][]report.Series{}
	for _, s := range r.Series {
		curves[s.Plot] = append(curves[s.Plot], s)
	}
	pictures := map[string][]byte{}
	for name, series := range curves {
		picture, err := draw1(name, series)
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", name, err)
		}
		pictures[name] = picture
	}
	return pictures, nil
}

func draw1(name string, series []report.Series) ([]byte, error) {
	p := plot.New()
	p.Title.Text = titles[name]
	if p.Title.Text == "" {
		p.Title.Text = strings.ReplaceAll(name, "-", " ")
	}
	p.X.Label.Text, p.Y.Label.Text = series[0].X, series[0].Y
	p.X.Tick.Marker, p.Y.Tick.Marker = grouped{}, grouped{}
	for _, style := range []*font.Font{
		&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font,
	} {
		style.Variant = "Sans"
	}
	p.Title.TextStyle.Font.Size, p.Title.Padding = vg.Points(14), vg.Points(8)
	p.Legend.Padding, p.Legend.ThumbnailWidth = vg.Points(2), vg.Points(24)
	p.Legend.Top, p.Legend.Left = true, rising(series)
	p.Add(plotter.NewGrid())
	for i, s := range series {
		if s.X != series[0].X || s.Y != series[0].Y {
			return nil, fmt.Errorf("%q and %q have different axes", series[0].Name, s.Name)
		}
		points := make(plotter.XYs, len(s.Points))
		for j, xy := range s.Points {
			points[j] = plotter.XY{X: xy[0], Y: xy[1]}
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s.Name, err)
		}
		line.Color, line.Dashes, line.Width = plotutil.Color(i), plotutil.Dashes(i), vg.Points(1.5)
		p.Add(line)
		thumbnails := []plot.Thumbnailer{line}
		if len(points) <= markedUpTo {
			marks, err := plotter.NewScatter(points)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", s.Name, err)
			}
			marks.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: vg.Points(2.5), Shape: draw.CircleGlyph{}}
			p.Add(marks)
			thumbnails = append(thumbnails, marks)
		}
		label := s.Name
		if s.Store != "" {
			label += ", Temporal on " + stores[s.Store]
		}
		p.Legend.Add(label, thumbnails...)
	}
	p.X.Min, p.Y.Min = min(p.X.Min, 0), min(p.Y.Min, 0)
	// Room for the legend above the curves.
	p.Y.Max += (p.Y.Max - p.Y.Min) * (0.05 + 0.06*float64(len(series)))

	canvas := vgsvg.New(width, height)
	p.Draw(draw.New(canvas))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, err
	}
	// Who does not have the font that the text was measured with has one of the same widths.
	return bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

var stores = map[string]string{"sqlite": "SQLite", "postgres": "Postgres"}

// rising says that the curves end higher than they begin: the legend is where they are not.
func rising(series []report.Series) bool {
	change := 0.0
	for _, s := range series {
		change += s.Points[len(s.Points)-1][1] - s.Points[0][1]
	}
	return change >= 0
}

// grouped are the usual ticks, with commas in large numbers.
type grouped struct{}

// Ticks is plot.Ticker's.
func (grouped) Ticks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i := range ticks {
		if ticks[i].Label != "" && math.Abs(ticks[i].Value) >= 1000 {
			ticks[i].Label = report.Number(ticks[i].Value)
		}
	}
	return ticks
}
