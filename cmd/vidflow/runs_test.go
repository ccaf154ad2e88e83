package main

import (
	"strings"
	"testing"
	"time"
)

func TestRuns_refuse(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a sample of none":           {[]string{"replay", "--sample", "0"}, exitUsage, `vidflow: replay: --sample: "0"; want a number such as 500, or a share such as 5%`},
		"a share of none":            {[]string{"replay", "--sample", "0%"}, exitUsage, `vidflow: replay: --sample: "0%" is no share`},
		"a share of more than all":   {[]string{"replay", "--sample", "101%"}, exitUsage, `vidflow: replay: --sample: "101%" is no share`},
		"to replay none at a time":   {[]string{"replay", "--parallel", "0"}, exitUsage, "vidflow: replay: --parallel: 0; want at least 1"},
		"a state that is none":       {[]string{"adopt", "--state", "lost"}, exitUsage, "vidflow: --state must be one of "},
		"to go back in time":         {[]string{"adopt", "--rate=-1"}, exitUsage, "vidflow: adopt: --rate and --limit: want 0 or more"},
		"a time that is none":        {[]string{"adopt", "--since", "noon"}, exitFailed, `vidflow: --since: "noon" is no time`},
		"another time that is none":  {[]string{"adopt", "--until", "noon"}, exitFailed, `vidflow: --until: "noon" is no time`},
		"a course that is none":      {[]string{"adopt", "--course", "x"}, exitFailed, `vidflow: --course: "x" is no id of a course`},
		"what it has no use for":     {[]string{"replay", "--database-url", "x"}, exitUsage, "vidflow replay cannot start: "},
		"a broker, to adopt with":    {[]string{"adopt", "--kafka-brokers", "x:1"}, exitUsage, "vidflow adopt cannot start: "},
		"Temporal that is not there": {[]string{"replay"}, exitFailed, "vidflow: ask Temporal at 127.0.0.1:1: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			got := invoke(t, environment(nil), row.args...)
			if got.code != row.code || !strings.Contains(got.stderr, row.want) || got.stdout != "" {
				t.Errorf("got %+v, want exit code %d and %q", got, row.code, row.want)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
			for _, secret := range secrets {
				got.shows(t, secret)
			}
		})
	}
}

func TestProgress_line(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for _, row := range []struct {
		done, total int
		took        time.Duration
		want        string
	}{
		{1, 10, 10 * time.Millisecond, "1 of 10 sent back"},
		{50, 0, 2 * time.Second, "50 sent back, 25/s"},
		{120, 4000, 10 * time.Second, "120 of 4000 sent back, 12/s, 5m23s left"},
		{10, 10, 4 * time.Second, "10 of 10 sent back, 2.5/s"},
		{12, 10, 4 * time.Second, "12 of 12 sent back, 3/s"}, // more have come meanwhile
	} {
		p := progress{what: "sent back", done: row.done, total: row.total, began: began}
		if got := p.line(began.Add(row.took)); got != row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
}
