package oncall

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		expr string
		want []Use
	}{
		{`up{job=~"vidflow.*"} == 0`, []Use{{"up", []string{"job"}}}},
		{`sum by (topic) (increase(records_total{outcome="merged"}[5m] offset 1m)) / on (topic) lag`, []Use{
			{"lag", []string{"topic"}}, {"records_total", []string{"outcome", "topic"}},
		}},
		{`histogram_quantile(0.95, sum by (le) (rate(a_bucket[5m]))) > 2`, []Use{{"a_bucket", []string{"le"}}}},
	} {
		got, err := Uses(row.expr)
		if err != nil {
			t.Errorf("%s: %v", row.expr, err)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.expr, diff)
		}
	}
	for _, expr := range []string{`sum(`, `{__name__=~"kafka_.*"}`} {
		if got, err := Uses(expr); err == nil {
			t.Errorf("%s: got %v, want an error", expr, got)
		}
	}
}

func TestQuicker(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ expr, want string }{
		{`sum(increase(a_total[10m] offset 2m)) > 10`, `sum(increase(a_total[10s] offset 2s)) > 10`},
		{`max(age_seconds{kind="run"}) > 60`, `max(age_seconds{kind="run"}) > (60) / 12`},
		{`(max(age_seconds) or vector(0)) > bool 6.5 * 60`, `(max(age_seconds) or vector(0)) > bool (6.5 * 60) / 12`},
		{`histogram_quantile(0.5, rate(a_seconds_bucket[1h])) > 2`, `histogram_quantile(0.5, rate(a_seconds_bucket[1m])) > 2`},
		{`changes(start_seconds[30m]) > 3`, `changes(start_seconds[30s]) > 3`},
		{`count(age_seconds) < 2`, `count(age_seconds) < 2`},
		{`up == 0`, `up == 0`},
	} {
		got, err := quicker(row.expr, 60, 12)
		if err != nil {
			t.Fatal(err)
		}
		if got != row.want {
			t.Errorf("%s: got %s, want %s", row.expr, got, row.want)
		}
	}
}
