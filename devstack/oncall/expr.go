package oncall

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Use is what an expression wants of a metric: that it exists, and has these labels.
type Use struct {
	Metric string
	Labels []string
}

// Uses are the metrics that an expression names, with the labels that it picks them by, groups them by or joins them on.
func Uses(expr string) ([]Use, error) {
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return nil, err
	}
	wanted := map[string]map[string]bool{}
	var unnamed error
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		if selector.Name == "" {
			unnamed = fmt.Errorf("%s picks metrics by something else than one name", selector)
			return nil
		}
		if wanted[selector.Name] == nil {
			wanted[selector.Name] = map[string]bool{}
		}
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != model.MetricNameLabel {
				wanted[selector.Name][matcher.Name] = true
			}
		}
		for label := range grouping(path) {
			wanted[selector.Name][label] = true
		}
		return nil
	})
	if unnamed != nil {
		return nil, unnamed
	}
	var uses []Use
	for _, metric := range slices.Sorted(maps.Keys(wanted)) {
		uses = append(uses, Use{Metric: metric, Labels: slices.Sorted(maps.Keys(wanted[metric]))})
	}
	return uses, nil
}

// grouping is the labels that the expressions around a selector keep of it or join it on.
func grouping(path []parser.Node) map[string]bool {
	names := map[string]bool{}
	for _, node := range path {
		switch around := node.(type) {
		case *parser.AggregateExpr:
			if !around.Without {
				for _, label := range around.Grouping {
					names[label] = true
				}
			}
		case *parser.BinaryExpr:
			if m := around.VectorMatching; m != nil && m.On {
				for _, label := range m.MatchingLabels {
					names[label] = true
				}
			}
		}
	}
	return names
}

// quicker divides every window and offset of an expression, and the numbers that gauges of seconds are compared with.
func quicker(expr string, windows, limits int) (string, error) {
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return "", err
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			n.Range = shorter(n.Range, windows)
		case *parser.SubqueryExpr:
			n.Range, n.Step = shorter(n.Range, windows), shorter(n.Step, windows)
			n.OriginalOffset = shorter(n.OriginalOffset, windows)
		case *parser.VectorSelector:
			n.OriginalOffset = shorter(n.OriginalOffset, windows)
		case *parser.BinaryExpr:
			if n.Op.IsComparisonOperator() && ofSeconds(n.LHS) && n.RHS.Type() == parser.ValueTypeScalar {
				n.RHS = &parser.BinaryExpr{
					Op: parser.DIV, LHS: &parser.ParenExpr{Expr: n.RHS}, RHS: &parser.NumberLiteral{Val: float64(limits)},
				}
			}
		}
		return nil
	})
	return parsed.String(), nil
}

func shorter(d time.Duration, by int) time.Duration { return d / time.Duration(by) }

// ofSeconds says whether an expression is the value of gauges of seconds, as they are: ages.
func ofSeconds(expr parser.Expr) bool {
	ages, others := 0, 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			if strings.HasSuffix(n.Name, "_seconds") {
				ages++
			} else {
				others++
			}
		case *parser.MatrixSelector:
			others++
		case *parser.AggregateExpr:
			if n.Op == parser.COUNT {
				others++
			}
		}
		return nil
	})
	return ages > 0 && others == 0
}
