package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// TestStatus_in_an_outage: with nothing behind any address it says so, soon, to a person and to a script.
func TestStatus_in_an_outage(t *testing.T) {
	t.Parallel()
	env := environment(map[string]string{"LOG_LEVEL": ""})
	began := time.Now()
	got := invoke(t, env, "status")
	if took := time.Since(began); got.code != exitBroken || got.stderr != "" || took > time.Minute {
		t.Errorf("exit code %d after %s, errors %q; want %d", got.code, took, got.stderr, exitBroken)
	}
	for _, want := range []string{"BROKEN", "Postgres cannot be used", "Temporal cannot be used", "Kafka cannot be used", "The storage cannot be used"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%q is not in:\n%s", want, got.stdout)
		}
	}
	if strings.Contains(got.stdout, "\x1b") {
		t.Errorf("it has colours where there is no terminal:\n%q", got.stdout)
	}
	for _, secret := range secrets {
		got.shows(t, secret)
	}

	got = invoke(t, env, "status", testID)
	if got.code != exitFailed || !strings.Contains(got.stdout, "Where it is cannot be told") {
		t.Errorf("of a video: got %+v, want exit code %d", got, exitFailed)
	}
}

func TestStatus_refuses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		args []string
		code int
		want string
	}{
		"what is no id":        {[]string{"x"}, exitFailed, `vidflow: video id "x" is not a UUID`},
		"an empty id":          {[]string{""}, exitFailed, `vidflow: video id "" is not a UUID`},
		"no time":              {[]string{"--watch=soon"}, exitUsage, `vidflow: --watch: "soon" is no time to wait; want 2s, 1m`},
		"a time that is short": {[]string{"--watch=1ms"}, exitUsage, `vidflow: --watch: "1ms" is no time to wait`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := invoke(t, environment(nil), append([]string{"status"}, row.args...)...)
			if got.code != row.code || !strings.HasPrefix(got.stderr, row.want) {
				t.Errorf("got %+v, want exit code %d and %q", got, row.code, row.want)
			}
		})
	}
	if got := invoke(t, nil, "status"); got.code != exitUsage || !strings.Contains(got.stderr, "DATABASE_URL") {
		t.Errorf("without a configuration: got %+v", got)
	}
}

func TestStatus_watch_takes_a_video_after_it(t *testing.T) {
	t.Parallel()
	line, err := parse([]string{"status", "--watch", testID, "--json"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := line.tool.(*statusCmd)
	if time.Duration(c.Watch) != watchEvery || c.Video == nil || *c.Video != testID || !c.JSON {
		t.Errorf("got %+v", c)
	}
}

// TestStatus_json: one document on one line, with its exit code; of a video that vidflow has not dealt with, too.
func TestStatus_json(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	env := servers(t, map[string]string{"DATABASE_URL": db.URL})
	var report struct{ Verdict string }
	got := invoke(t, env, "status", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || strings.Count(got.stdout, "\n") != 1 || got.code != exitBroken ||
		report.Verdict != "broken" {
		t.Errorf("%v: got %+v, want one line that says that no starter is there", err, got)
	}
	var video struct{ Verdict, State string }
	got = invoke(t, env, "status", "--json", string(db.Video(t, "")))
	if err := json.Unmarshal([]byte(got.stdout), &video); err != nil || strings.Count(got.stdout, "\n") != 1 || got.code != exitOK ||
		video.Verdict != "ok" || video.State != "untracked" {
		t.Errorf("%v: got %+v, want one line that says that it is untracked", err, got)
	}
}
