package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/devstack/control"
	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/oncall"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/devstack/simulator"
)

// watched is a pipeline that a Prometheus watches.
type watched struct {
	*pipeline
	prometheus oncall.Prometheus
	simulator  *simulator.Simulator
	servers    control.Client
	began      time.Time
}

// watchPipeline starts everything, Prometheus last.
func watchPipeline(t *testing.T, rules oncall.Rules) *watched {
	t.Helper()
	settings := map[string]string{
		"TRANSCRIPTION_ASK_AGAIN_AFTER": "12s", "TRANSCRIPTION_MAX_ASKS": "2",
		"COMPRESSION_OVERDUE_AFTER": "5s", "COMPRESSION_GIVE_UP_AFTER": "5m", "UNKNOWN_VIDEO_GRACE": "1s",
	}
	var env envfile.Vars
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		env = append(env, envfile.Var{Name: name, Value: settings[name]})
	}
	w := &watched{pipeline: newPipeline(t, env...), servers: control.Client{URL: need(t, "VIDFLOW_TEST_CONTROL")}, began: time.Now()}
	w.env = w.env.With(envfile.Var{Name: "DATABASE_LISTEN_URL", Value: w.db.URL})
	w.start(everyProcess...)
	w.simulator = w.simulate(soon())

	w.prometheus = w.prometheusAt(ports.TemporalUI, rules, []oncall.Target{
		{Job: "vidflow-worker", Addr: w.block.Addr(ports.WorkerOps)},
		{Job: "vidflow-starter", Addr: w.block.Addr(ports.StarterOps)},
		{Job: "vidflow-kafkabridge", Addr: w.block.Addr(ports.BridgeOps)},
	})
	return w
}

// prometheusAt starts a Prometheus that scrapes the targets, at a port of the test's own where the server that it is for does
// not listen.
func (w *watched) prometheusAt(port ports.Service, rules oncall.Rules, targets []oncall.Target) oncall.Prometheus {
	w.t.Helper()
	quick, err := rules.Quicker(quickWindows, quickLimits)
	if err != nil {
		w.t.Fatal(err)
	}
	listen := w.block.Addr(port)
	args, err := oncall.Arguments(w.t.TempDir(), listen, quick, targets)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command("prometheus", args...)
	out := w.console.Writer("prometheus", len(everyProcess)+1)
	cmd.Stdout, cmd.Stderr = out, out
	child, err := process.Start(cmd, process.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.end("prometheus", child) })
	return oncall.Prometheus{URL: "http://" + listen}
}

func (w *watched) in(t *testing.T) *watched {
	q := *w
	q.pipeline = w.pipeline.in(t)
	return &q
}

// awaitFiring waits until all of the alerts have fired, at the same time or one after the other.
func (w *watched) awaitFiring(names ...string) {
	w.t.Helper()
	w.awaitFor(2*patience, "these fire: "+strings.Join(names, ", "), func(ctx context.Context) error {
		firing, err := w.prometheus.Firing(ctx)
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool {
			if !slices.ContainsFunc(firing, func(labels map[string]string) bool { return labels["alertname"] == name }) {
				return false
			}
			w.t.Logf("%6.1f s: %s fires", time.Since(w.began).Seconds(), name)
			return true
		})
		if len(names) > 0 {
			return fmt.Errorf("%s did not", strings.Join(names, ", "))
		}
		return nil
	})
}

// awaitNoPage waits until nobody is called any more.
func (w *watched) awaitNoPage() {
	w.t.Helper()
	healed := time.Now()
	w.awaitFor(2*patience, "the pages are over", func(ctx context.Context) error {
		firing, err := w.prometheus.Firing(ctx)
		if err != nil {
			return err
		}
		for _, labels := range firing {
			if labels["severity"] == "page" {
				return fmt.Errorf("%v fires", labels)
			}
		}
		return nil
	})
	w.t.Logf("%6.1f s: no page, %.1f s after all is mended", time.Since(w.began).Seconds(), time.Since(healed).Seconds())
}

const resultsLate, creationsLate = "vidflow:results_late:bool", "vidflow:creations_late:bool"

// awaitBroken waits until a promise is not kept, whatever fires already.
func (w *watched) awaitBroken(record string) {
	w.t.Helper()
	w.await(record+" is 1", func(ctx context.Context) error {
		broken, err := w.prometheus.Query(ctx, record+" == 1")
		if err == nil && len(broken) == 0 {
			err = errors.New("it is not")
		}
		return err
	})
}

// awaitKept waits until both promises are kept, for some looks in a row.
func (w *watched) awaitKept() {
	w.t.Helper()
	began := time.Now()
	w.awaitFor(2*patience, "both promises are kept", func(ctx context.Context) error {
		for _, record := range []string{resultsLate, creationsLate} {
			kept, err := w.prometheus.Query(ctx, fmt.Sprintf("sum_over_time(%[1]s[5s]) == 0 and count_over_time(%[1]s[5s]) > 4", record))
			if err != nil {
				return err
			}
			if len(kept) == 0 {
				return errors.New(record + " is not")
			}
		}
		return nil
	})
	w.t.Logf("%6.1f s: promises kept again, after %.1f s", time.Since(w.began).Seconds(), time.Since(began).Seconds())
}

// exist checks that each metric of an expression has been there, with each label that the expression wants of it.
func (w *watched) exist(where, expr string) {
	w.t.Helper()
	uses, err := oncall.Uses(expr)
	if err != nil {
		w.t.Errorf("%s: %v", where, err)
	}
	for _, use := range uses {
		series, err := w.prometheus.Labels(w.t.Context(), use.Metric, w.began)
		if err != nil || len(series) == 0 {
			w.t.Errorf("%s: there is no metric %s (%v)", where, use.Metric, err)
			continue
		}
		for _, label := range use.Labels {
			if !slices.ContainsFunc(series, func(labels map[string]string) bool { return labels[label] != "" }) {
				w.t.Errorf("%s: %s has no label %s", where, use.Metric, label)
			}
		}
	}
}

// nothingScraped: a Prometheus that knows of no process calls somebody.
func (w *watched) nothingScraped(rules oncall.Rules) {
	blind := w.prometheusAt(ports.TemporalGRPC, rules, nil)
	pages := []string{"VidflowCreationsNotStarted", "VidflowResultsNotApplied"}
	w.await("both pages fire", func(ctx context.Context) error {
		firing, err := blind.Firing(ctx)
		if err == nil && len(firing) < len(pages) {
			err = fmt.Errorf("there are %v", firing)
		}
		for _, labels := range firing {
			if !slices.Contains(pages, labels["alertname"]) || labels["window"] != "none" {
				w.t.Fatalf("%v fires", labels)
			}
		}
		return err
	})
}
