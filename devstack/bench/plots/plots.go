// Package plots draws what a benchmark measured: a picture for each plot that its series name, as SVG. The same report
// gives the same pictures, to the byte.
package plots

import (
	"bytes"
	"fmt"
	"math"
	"slices"
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
	"signals":    "Signals against calls under way",
	"backlog":    "A backlog that is worked off",
	"house":      "Looking for vanished videos",
}

const (
	width, height = 18 * vg.Centimeter, 9 * vg.Centimeter // without the legend
	// legendLine is the height of one of its lines, aroundTheCurves that of title, axis and margins.
	legendLine, aroundTheCurves = 0.6 * vg.Centimeter, 2.4 * vg.Centimeter
	margin                      = 3 * vg.Millimeter
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
		drawn, err := picture(name, series)
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", name, err)
		}
		pictures[name] = drawn
	}
	return pictures, nil
}

// File is the name of the file of a plot.
func File(plot string) string { return "bench-" + plot + ".svg" }

func picture(name string, series []report.Series) ([]byte, error) {
	p := plot.New()
	p.Title.Text = titles[name]
	if p.Title.Text == "" {
		p.Title.Text = strings.ReplaceAll(name, "-", " ")
	}
	p.X.Label.Text, p.Y.Label.Text = series[0].X, series[0].Y
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(ticks), plot.TickerFunc(ticks)
	p.X.Min, p.Y.Min = 0, 0
	if doubling(series) {
		p.X.Min = series[0].Points[0][0]
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(doublings)
	}
	for _, style := range []*font.Font{
		&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font,
	} {
		style.Variant = "Sans"
	}
	p.Title.TextStyle.Font.Size, p.Title.Padding = vg.Points(14), vg.Points(8)
	p.Legend.Padding, p.Legend.ThumbnailWidth = vg.Points(5), vg.Points(28)
	// At the left: how wide a text becomes is up to who shows it.
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(6), -vg.Points(4)
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
		line.Color, line.Width = plotutil.DarkColors[i%len(plotutil.DarkColors)], vg.Points(1.5)
		if slices.ContainsFunc([]string{"floor", "bare", "own rate"}, func(part string) bool { return strings.Contains(s.Name, part) }) {
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
		}
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
	// Room for the legend above the curves, where there is nothing to be read off.
	top, legend := p.Y.Max, vg.Length(len(series))*legendLine
	height := height + legend
	p.Y.Max /= 1 - float64(legend/(height-aroundTheCurves))
	p.Y.Tick.Marker = plot.TickerFunc(func(least, most float64) []plot.Tick {
		return slices.DeleteFunc(ticks(least, most), func(t plot.Tick) bool { return t.Value > 1.05*top })
	})

	canvas := vgsvg.New(width, height)
	whole := draw.New(canvas)
	whole.SetColor(p.BackgroundColor)
	whole.Fill(whole.Path())
	p.Draw(draw.Crop(whole, margin, -2*margin, margin, -margin))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, err
	}
	// Who does not have the font that the text was measured with has one of the same widths.
	return bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

var stores = map[string]string{"sqlite": "SQLite", "postgres": "Postgres"}

// ticks are at multiples of 1, 2 or 5 times a power of ten, five to ten of them.
func ticks(least, most float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10((most-least)/5)))
	for _, times := range []float64{5, 2} {
		if (most-least)/(times*step) >= 5 {
			step *= times
			break
		}
	}
	var marks []plot.Tick
	for i := math.Ceil(least / step); i*step <= most; i++ {
		// To as many digits as the step has: not 0.30000000000000004.
		value := math.Round(i*step*1e9) / 1e9
		marks = append(marks, plot.Tick{Value: value, Label: report.Number(value)})
	}
	return marks
}

// doubling says that the curves are measured at 1, 2, 4, 8 and so on: the axis doubles too.
func doubling(series []report.Series) bool {
	for _, s := range series {
		for i, p := range s.Points {
			if p[0] <= 0 || i > 0 && p[0] != 2*s.Points[i-1][0] || len(s.Points) < 3 {
				return false
			}
		}
	}
	return true
}

func doublings(least, most float64) (marks []plot.Tick) {
	for v := least; v <= most; v *= 2 {
		marks = append(marks, plot.Tick{Value: v, Label: report.Number(v)})
	}
	return marks
}
