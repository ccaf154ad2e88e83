package oncall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// NeedPrometheus skips a test that is not run by `make test-alerts`, which sees to it that Prometheus is there.
func NeedPrometheus(t testing.TB) {
	t.Helper()
	if os.Getenv("VIDFLOW_TEST_PROMETHEUS") == "" {
		t.Skip("for a machine with Prometheus alone: make test-alerts")
	}
}

// Prometheus is a client of one that runs at URL.
type Prometheus struct{ URL string }

// Target is a process to scrape, by the job of the example configuration that it stands for.
type Target struct{ Job, Addr string }

// Arguments write into dir what a Prometheus needs that scrapes the targets every second and evaluates the rules as often, and
// returns its arguments.
func Arguments(dir, listen string, rules Rules, targets []Target) ([]string, error) {
	if err := rules.Write(filepath.Join(dir, "quick.rules.yml")); err != nil {
		return nil, err
	}
	type scrape map[string]any
	var scrapes []scrape
	for _, target := range targets {
		scrapes = append(scrapes, scrape{
			"job_name": target.Job, "static_configs": []map[string]any{{"targets": []string{target.Addr}}},
		})
	}
	// JSON is YAML.
	text, err := json.Marshal(map[string]any{
		"global":     map[string]string{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{"quick.rules.yml"}, "scrape_configs": scrapes,
	})
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, text, 0o644); err != nil {
		return nil, err
	}
	return []string{
		"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + listen,
		"--log.level=warn",
	}, nil
}

// Series is one of an answer.
type Series struct {
	Labels map[string]string
	Value  float64 // of an instant query
}

// Query evaluates an expression now.
func (p Prometheus) Query(ctx context.Context, expr string) ([]Series, error) {
	var answer struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := p.get(ctx, "query", url.Values{"query": {expr}}, &answer); err != nil {
		return nil, err
	}
	var all []Series
	for _, r := range answer.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		all = append(all, Series{Labels: r.Metric, Value: value})
	}
	return all, nil
}

// Ever is how many series an expression had at some time since then, looked at every two seconds.
func (p Prometheus) Ever(ctx context.Context, expr string, since time.Time) (int, error) {
	var answer struct{ Result []json.RawMessage }
	err := p.get(ctx, "query_range", url.Values{
		"query": {expr}, "start": {timestamp(since)}, "end": {timestamp(time.Now())}, "step": {"2"},
	}, &answer)
	return len(answer.Result), err
}

// Labels are the label sets that a metric has had since then.
func (p Prometheus) Labels(ctx context.Context, metric string, since time.Time) ([]map[string]string, error) {
	var answer []map[string]string
	err := p.get(ctx, "series", url.Values{"match[]": {metric}, "start": {timestamp(since)}, "end": {timestamp(time.Now())}}, &answer)
	return answer, err
}

// Firing are the alerts that fire now.
func (p Prometheus) Firing(ctx context.Context) ([]map[string]string, error) {
	var answer struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	if err := p.get(ctx, "alerts", nil, &answer); err != nil {
		return nil, err
	}
	var firing []map[string]string
	for _, alert := range answer.Alerts {
		if alert.State == "firing" {
			firing = append(firing, alert.Labels)
		}
	}
	return firing, nil
}

func timestamp(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

func (p Prometheus) get(ctx context.Context, what string, query url.Values, data any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/api/v1/"+what+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", what, resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s %s: %w", what, query.Get("query"), errors.New(answer.Error))
	}
	return json.Unmarshal(answer.Data, data)
}
