package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/codeendelea/vidflow/internal/contract"
)

const testID = "0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01"

// kafkaEnvironment is a broker in this process with vidflow's topics, and nothing else but what the tools need.
func kafkaEnvironment(t *testing.T) map[string]string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "Transcribe", "update_transcribe", "finish_compress",
		"update_transcribe.dlq", "finish_compress.dlq"))
	if err != nil {
		t.Fatalf("start kfake: %v", err)
	}
	t.Cleanup(cluster.Close)
	return map[string]string{
		"KAFKA_BROKERS": strings.Join(cluster.ListenAddrs(), ","), "KAFKA_SSL": "false", "KAFKA_REQUEST_TIMEOUT": "5s",
		"TEMPORAL_TLS": "perhaps", "DATABASE_URL": "none of the tools' business",
	}
}

// must runs a command that has to succeed, and returns what it printed.
func must(t *testing.T, env map[string]string, args ...string) string {
	t.Helper()
	got := invoke(t, env, args...)
	if got.code != exitOK {
		t.Fatalf("vidflow %s: exit code %d\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return got.stdout
}

// bury writes a dead letter by hand.
func bury(t *testing.T, env map[string]string, offset, class string, more ...string) {
	t.Helper()
	args := []string{
		"kafka", "produce", "update_transcribe.dlq", "--key", testID,
		"--header", contract.HeaderOriginTopic + "=update_transcribe",
		"--header", contract.HeaderOriginTopicID + "=0f0e0d0c-0b0a-4900-8807-060504030201",
		"--header", contract.HeaderOriginPartition + "=0", "--header", contract.HeaderOriginOffset + "=" + offset,
		"--header", contract.HeaderOriginTime + "=1795521600000",
		"--header", contract.HeaderClass + "=" + class, "--header", contract.HeaderReason + "=it is " + class,
	}
	must(t, env, append(args, more...)...)
}

func TestDlq(t *testing.T) {
	t.Parallel()
	env := kafkaEnvironment(t)
	if got := must(t, env, "dlq", "list"); got != "No dead letters.\n" {
		t.Errorf("got %q", got)
	}
	bury(t, env, "7", "json", "{")
	bury(t, env, "8", "schema", `{"video_id":"x"}`)
	bury(t, env, "9", "json", "--no-value", "--header", contract.HeaderSize+"=12000000", "--header", contract.HeaderSHA256+"=5a")

	list := must(t, env, "dlq", "list", "--class", "json,schema", "--since", "1h", "--video", testID, "--reason", "IT IS")
	if n := strings.Count(list, "\n"); n != 4 || !strings.Contains(list, "update_transcribe.dlq/0@1") {
		t.Errorf("got %d lines, want a heading and three letters:\n%s", n, list)
	}
	var letter struct {
		Letter string
		Origin struct{ Offset int64 }
	}
	if err := json.Unmarshal([]byte(must(t, env, "dlq", "list", "--class", "schema", "--json")), &letter); err != nil {
		t.Fatal(err)
	}
	if letter.Letter != "update_transcribe.dlq/0@1" || letter.Origin.Offset != 8 {
		t.Errorf("got %+v", letter)
	}
	if got := must(t, env, "dlq", "show", letter.Letter, "--value"); got != `{"video_id":"x"}` {
		t.Errorf("got the value %q", got)
	}
	if got := must(t, env, "dlq", "show", letter.Letter); !strings.Contains(got, "update_transcribe/0@8") {
		t.Errorf("got %q", got)
	}
	if got := invoke(t, env, "dlq", "show", "update_transcribe.dlq/0@2", "--value"); got.code != exitFailed ||
		!strings.Contains(got.stderr, "went without its value of 12000000 bytes") {
		t.Errorf("got %+v", got)
	}

	if got := must(t, env, "dlq", "redrive", "--all", "--dry-run"); strings.Count(got, "\n") != 4 {
		t.Errorf("got %q", got)
	}
	if got := must(t, env, "kafka", "tail", "transcripts"); got != "" {
		t.Errorf("a dry run wrote %q", got)
	}
	want := outcome{
		code: exitOK, stdout: "update_transcribe.dlq/0@1 sent back to update_transcribe/0@0\n", stderr: "1 of 1 sent back.\n",
	}
	if diff := cmp.Diff(want, invoke(t, env, "dlq", "redrive", letter.Letter), cmp.AllowUnexported(outcome{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = outcome{
		code: exitFailed,
		stdout: "update_transcribe.dlq/0@2 not sent back: it went without its value, which was too large for the dead-letter topic\n" +
			"update_transcribe.dlq/0@0 sent back to update_transcribe/0@1\n",
		stderr: "1 of 2 sent back.\n",
	}
	if diff := cmp.Diff(want, invoke(t, env, "dlq", "redrive", "--all"), cmp.AllowUnexported(outcome{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := invoke(t, env, "dlq", "redrive", "--class", "schema"); got.code != exitOK || got.stderr != "There is nothing to send back.\n" {
		t.Errorf("got %+v", got)
	}
	if got := must(t, env, "dlq", "redrive", "--class", "schema", "--again", "--json"); got !=
		`{"letter":"update_transcribe.dlq/0@1","topic":"update_transcribe","to":"0@2","error":null}`+"\n" {
		t.Errorf("got %q", got)
	}
	if got := must(t, env, "kafka", "tail", "transcripts", "--from", "start"); strings.Count(got, "\n") != 3 {
		t.Errorf("got %q, want three records", got)
	}
}

func TestTools_refuse(t *testing.T) {
	t.Parallel()
	env := kafkaEnvironment(t)
	for name, row := range map[string]struct {
		args []string
		code int
		want string
	}{
		"to redrive nobody knows what": {[]string{"dlq", "redrive"}, exitFailed, "vidflow: say which: "},
		"a time that is none":          {[]string{"dlq", "list", "--since", "noon"}, exitFailed, `vidflow: --since: "noon" is no time`},
		"a video that is none":         {[]string{"dlq", "list", "--video", "x"}, exitFailed, "vidflow: --video: "},
		"a letter that is none":        {[]string{"dlq", "show", "x"}, exitFailed, `vidflow: "x" names no dead letter`},
		"a letter of another topic":    {[]string{"dlq", "redrive", "update_transcribe/0@1"}, exitFailed, "vidflow: update_transcribe/0@1: the name of a dead-letter topic"},
		"a letter that is not there":   {[]string{"dlq", "show", "update_transcribe.dlq/0@1"}, exitFailed, "vidflow: there is no dead letter at "},
		"a class that is none":         {[]string{"dlq", "list", "--class", "bad"}, exitUsage, "vidflow: --class must be one of "},
		"no subcommand":                {[]string{"dlq"}, exitUsage, "vidflow: expected one of "},
		"a topic that is missing":      {[]string{"kafka", "tail", "nowhere"}, exitFailed, "vidflow: Kafka topics missing: nowhere"},
		"a partition that is missing":  {[]string{"kafka", "tail", "--partition", "7"}, exitFailed, "vidflow: there is no partition 7"},
		"a place that is none":         {[]string{"kafka", "tail", "--from", "x"}, exitFailed, `vidflow: --from: "x"; want start, `},
		"two values":                   {[]string{"kafka", "produce", "t", "v", "--no-value"}, exitFailed, "vidflow: want one of a value, "},
		"a header that is none":        {[]string{"kafka", "produce", "t", "v", "--header", "x"}, exitFailed, `vidflow: --header "x": want NAME=VALUE`},
		"a flag that it has no use for": {
			[]string{"dlq", "list", "--jwt-secret", "x"}, exitUsage, "vidflow dlq cannot start: ",
		},
		"an API without a token": {
			[]string{"kafka", "send-test-video", "--over", "api", "--api", "http://x"}, exitFailed, "vidflow: the API needs ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := invoke(t, env, row.args...)
			if got.code != row.code || !strings.HasPrefix(got.stderr, row.want) || got.stdout != "" {
				t.Errorf("got %+v, want exit code %d and %q", got, row.code, row.want)
			}
		})
	}
	if got := invoke(t, nil, "dlq", "list"); got.code != exitUsage || !strings.Contains(got.stderr, "KAFKA_BROKERS  is not set") {
		t.Errorf("got %+v, want it to name what is not set", got)
	}
}

func TestTools_say_soon_that_Kafka_is_away(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	env := map[string]string{
		"KAFKA_BROKERS": listener.Addr().String(), "KAFKA_SSL": "false", "KAFKA_USERNAME": "u", "KAFKA_PASSWORD": "of-nobody",
	}
	for _, args := range [][]string{{"dlq", "list"}, {"kafka", "check"}, {"kafka", "tail"}} {
		began := time.Now()
		got := invoke(t, env, args...)
		if took := time.Since(began); got.code != exitFailed || took > time.Minute { // with all retries it would be many
			t.Errorf("%q: exit code %d after %s\n%s", args, got.code, took, got.stderr)
		}
		got.shows(t, "of-nobody")
	}
}

func TestKafka_produce_and_tail(t *testing.T) {
	t.Parallel()
	env := kafkaEnvironment(t)
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("https://x.example/2.mp4"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := must(t, env, "kafka", "produce", "finish_compress", "https://x.example/1.mp4", "--key", testID, "--header", "a=b=c"),
		"finish_compress/0@0  compressed video: https://x.example/1.mp4\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	must(t, env, "kafka", "produce", "finish_compress", "--file", file, "--key", testID)
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"kafka", "produce", "update_transcribe"}, env, strings.NewReader("{"), &stdout, &stderr)
	if code != exitOK || stderr.String() != "Warning: cannot be understood: not JSON: it ends too early\n" {
		t.Errorf("from standard input: exit code %d, %s", code, stderr.String())
	}
	must(t, env, "kafka", "produce", "update_transcribe", "v", "--dry-run")

	var first struct {
		Offset    int64
		Key, Says string
		Headers   []struct{ Key, Value string }
		Value     string
	}
	line := must(t, env, "kafka", "tail", "compressions", "--from", "0", "--limit", "1", "--json", "--values")
	if err := json.Unmarshal([]byte(line), &first); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	if first.Key != testID || first.Value != "https://x.example/1.mp4" || len(first.Headers) != 1 || first.Headers[0].Value != "b=c" {
		t.Errorf("got %+v", first)
	}
	for name, row := range map[string]struct {
		args  []string
		lines int
	}{
		"all":                 {nil, 3},
		"the last of each":    {[]string{"--from", "last:1"}, 2},
		"of a video":          {[]string{"--video", testID}, 2},
		"since an hour":       {[]string{"--from", "1h"}, 3},
		"since the next hour": {[]string{"--from", time.Now().Add(time.Hour).Format(time.RFC3339)}, 0},
		"with values":         {[]string{"compressions", "--values"}, 4},
		"of one partition":    {[]string{"finish_compress", "--partition", "0"}, 2},
		"followed, so many":   {[]string{"--follow", "--from", "start", "--limit", "3"}, 3},
	} {
		if got := must(t, env, append([]string{"kafka", "tail"}, row.args...)...); strings.Count(got, "\n") != row.lines {
			t.Errorf("%s: want %d lines, got:\n%s", name, row.lines, got)
		}
	}
}

func TestKafka_check(t *testing.T) {
	t.Parallel()
	env := kafkaEnvironment(t)
	got := must(t, env, "kafka", "check")
	if !strings.Contains(got, "\nok       round trip   update_transcribe.dlq ") || !strings.Contains(got, "3 warnings, 0 failed, 0 unknown\n") {
		t.Errorf("got:\n%s", got)
	}
	env["KAFKA_PRODUCE_TOPIC"] = "nowhere"
	failed := invoke(t, env, "kafka", "check", "worker", "--no-round-trip", "--json")
	var report struct {
		Findings []struct{ Status, Name, Mend string }
	}
	if err := json.Unmarshal([]byte(failed.stdout), &report); err != nil {
		t.Fatalf("%v in %q", err, failed.stdout)
	}
	if failed.code != exitFailed || failed.stderr != "see above\n" && failed.stderr != "" {
		t.Errorf("got exit code %d and %q, want %d", failed.code, failed.stderr, exitFailed)
	}
	var mends []string
	for _, f := range report.Findings {
		if f.Status == "failed" {
			mends = append(mends, f.Mend)
		}
	}
	want := []string{"kafka-topics.sh --bootstrap-server " + env["KAFKA_BROKERS"] + " --create --topic nowhere --partitions 3"}
	if diff := cmp.Diff(want, mends); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseWhen(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-24T11:00:00Z":      now.Add(-time.Hour),
		"2026-11-24T12:00:00+01:00": now.Add(-time.Hour),
		"2026-11-23":                now.Add(-36 * time.Hour),
		"90m":                       now.Add(-90 * time.Minute),
		"3d":                        now.Add(-72 * time.Hour),
		"0s":                        now,
	} {
		if got, err := parseWhen(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "noon", "-3d", "-1h", "99999d", "24.11.2026"} {
		if got, err := parseWhen(text, now); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
}
