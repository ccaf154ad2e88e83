package plots

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/codeendelea/vidflow/devstack/bench/report"
)

func curves() *report.Report {
	return &report.Report{Series: []report.Series{
		{Plot: "throughput", Name: "vidflow", Store: "postgres", X: "videos at once", Y: "videos a second", Points: [][2]float64{{1, 5}, {2, 9}, {4, 1200}}},
		{Plot: "throughput", Name: "floor", Store: "postgres", X: "videos at once", Y: "videos a second", Points: [][2]float64{{1, 6}, {2, 10}, {4, 1300}}},
		{Plot: "anything-else", Name: "one", X: "a", Y: "b", Points: [][2]float64{{0, 0}, {1, 1}}},
	}}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	pictures, err := Draw(curves())
	if err != nil {
		t.Fatal(err)
	}
	if len(pictures) != 2 {
		t.Fatalf("%d pictures, want 2", len(pictures))
	}
	for name, want := range map[string][]string{
		"throughput":    {"Throughput against concurrency", "videos at once", "videos a second", "vidflow, Temporal on Postgres", "floor, Temporal on Postgres", "1,000"},
		"anything-else": {"anything else", ">a<", ">b<", ">one<"},
	} {
		text := textOf(t, pictures[name])
		for _, w := range want {
			if !strings.Contains(text, strings.Trim(w, "<>")) {
				t.Errorf("picture %s says nowhere %q; it says %q", name, w, text)
			}
		}
	}
	again, err := Draw(curves())
	if err != nil {
		t.Fatal(err)
	}
	for name := range pictures {
		if !bytes.Equal(pictures[name], again[name]) {
			t.Errorf("picture %s is another the second time", name)
		}
	}
}

// TestCommitted pictures are those of the committed baseline.
func TestCommitted(t *testing.T) {
	t.Parallel()
	baseline, err := report.Read("../baseline.json")
	if err != nil {
		t.Fatal(err)
	}
	pictures, err := Draw(baseline)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range pictures {
		file := filepath.Join("../../../docs/images", File(name))
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not drawn from the baseline, run `make bench-baseline`", file)
		}
	}
}

func TestDraw_refuses_curves_with_different_axes(t *testing.T) {
	t.Parallel()
	r := curves()
	r.Series[1].Y = "records a second"
	if _, err := Draw(r); err == nil || !strings.Contains(err.Error(), "different axes") {
		t.Errorf("got %v, want an error", err)
	}
}

// textOf is what is written in a picture.
func textOf(t *testing.T, svg []byte) string {
	t.Helper()
	var text strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatalf("no XML: %v", err)
		}
		if chars, ok := token.(xml.CharData); ok {
			text.Write(bytes.TrimSpace(chars))
			text.WriteByte('\n')
		}
	}
}
