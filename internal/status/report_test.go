package status

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/golden"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const (
	aVideo  = contract.VideoID("0b0e4a3e-35cf-4cd3-9a0c-0c1f3f3d9a01")
	another = contract.VideoID("7d1c9a52-90b7-4f0e-8d53-5f6a9a2d7c11")
)

func number(n float64) *float64 { return &n }

// healthy is a pipeline with nothing wrong.
func healthy() Report {
	group := func(name string, topics ...string) Group {
		return Group{
			Name: name, Topics: topics, State: "Stable", Protocol: assignor,
			Members: []Member{{ClientID: "codeendelea-api-server", Host: "10.0.0.7", Partitions: 4}},
		}
	}
	r := Report{
		At: noon, Milliseconds: 32, Reasons: []Reason{},
		Worker: Worker{
			TaskQueue: taskQueue, Pollers: []Poller{{Identity: "17@worker-0@", LastAccess: noon, AgeSeconds: 12, Version: unversioned}},
			Versions: []VersionShare{{unversioned, 100}},
		},
		Starter: Starter{Sessions: []Session{{Address: "10.0.0.5", Connections: 2, AgeSeconds: number(1)}}},
		Kafka: Kafka{Groups: []Group{
			group("codeendelea-transcription-consumer", "update_transcribe"),
			group("codeendelea-compression-consumer", "finish_compress"),
			group("vidflow-dead-letters", "update_transcribe.dlq", "finish_compress.dlq"),
		}},
		Outbox: Outbox{Intents: []Intent{{Kind: "run"}, {Kind: "cleanup"}}},
		Videos: Videos{
			Unfinished:    7,
			Transcription: Queue{5, &Waiting{VideoID: aVideo, Since: noon.Add(-2 * time.Hour), AgeSeconds: 7200, Asks: 1}},
			Compression:   Queue{7, &Waiting{VideoID: another, Since: noon.Add(-5 * time.Hour), AgeSeconds: 18000, Asks: 1}},
		},
		Temporal: Temporal{Address: "temporal:7233", Namespace: "default", OpenRuns: 7, MissingAttributes: []string{}},
		Postgres: Postgres{Schema: 3, SchemaWanted: 3},
		Storage:  Storage{URL: "https://abcd.supabase.co", Bucket: "captions"},
	}
	return judged(r)
}

func judged(r Report) Report {
	r.Reasons = judge(r)
	r.Verdict = worst(r.Reasons)
	return r
}

// troubled is one with something wrong everywhere, and the longest texts.
func troubled() Report {
	r := healthy()
	r.Worker.Pollers = []Poller{{Identity: "17@worker-0@", LastAccess: noon.Add(-4 * time.Minute), AgeSeconds: 240, Silent: true, Version: "vidflow:one"}}
	r.Worker.Versions = []VersionShare{{"vidflow:one", 70}, {"vidflow:two", 30}}
	r.Worker.Unserved, r.Worker.Mend = "30 % of the new videos go to version vidflow:two, which no worker runs: they wait.",
		"temporal worker deployment set-ramping-version --deployment-name vidflow --delete"
	r.Worker.Stranded, r.Worker.StrandedVersion = 3, "vidflow:zero"
	r.Worker.Backlog, r.Worker.BacklogSeconds = 12, 230
	r.Kafka.Groups[0].Lag, r.Kafka.Groups[0].LagSeconds = 1412, number(95)
	r.Kafka.Groups[1].Members, r.Kafka.Groups[1].State = []Member{}, "Empty"
	r.Kafka.Groups[1].Lag, r.Kafka.Groups[1].OldestError = 3, "the Kafka login has no permission for the topic: TOPIC_AUTHORIZATION_FAILED"
	r.Outbox.Intents = []Intent{
		{Kind: "run", Count: 3, AgeSeconds: 150, Attempts: 9, LastError: "start the run of video 7d1c9a52-90b7-4f0e-8d53-5f6a9a2d7c11: connection refused"},
		{Kind: "cleanup", Count: 1, AgeSeconds: 2},
	}
	r.Videos.Overdue = Queue{2, &Waiting{VideoID: another, AgeSeconds: 26 * 3600}}
	r.Videos.Unattended = Queue{4, &Waiting{VideoID: aVideo, AgeSeconds: 3 * 86400}}
	r.Videos.Troubled = Queue{2, &Waiting{VideoID: another, AgeSeconds: 90}}
	r.Videos.TroubledError = "Storage does not take the transcript yet; it is tried again."
	r.Videos.Failed, r.Videos.FailedLately = 9, 2
	r.Videos.Newest = []GivenUp{
		{VideoID: another, Track: contract.TranscriptionTrack, At: &noon, AgeSeconds: 3000, Reason: "No transcription came for any of 3 asks. See that the transcription service runs, then retry."},
		{VideoID: aVideo, Track: contract.CompressionTrack, At: &noon, AgeSeconds: 90000, Reason: "evil \x1b[31m\u202e text"},
	}
	r.DeadLetters = DeadLetters{
		Open:   3,
		Kinds:  []LetterCount{{Topic: "update_transcribe", Class: "json", Count: 2, AgeSeconds: 60}, {Topic: "finish_compress", Class: "url", Count: 1, AgeSeconds: 400}},
		Newest: []Letter{{Letter: "update_transcribe.dlq/0@12", Class: "json", Reason: "not JSON: it ends too early"}},
	}
	r.Temporal.OpenRuns, r.Temporal.FailedLately, r.Temporal.StuckRuns = 7, 3, 1
	r.Temporal.MissingAttributes = []string{"CourseId", "Asks"}
	return judged(r)
}

// down is one of which nothing answers.
func down() Report {
	r := Report{At: noon}
	r.Worker = Worker{TaskQueue: taskQueue, Error: "ask Temporal at temporal:7233 about namespace default: context deadline exceeded"}
	r.Temporal = Temporal{Address: "temporal:7233", Namespace: "default", Error: r.Worker.Error}
	r.Postgres.Error = "reach the database: failed to connect to `user=vidflow database=postgres`: 10.0.0.9:5432 (db): dial error: dial tcp " +
		"10.0.0.9:5432: connect: connection refused and then more of the same until two lines are not enough for all of what it says, as it happens"
	o := overview{err: r.Postgres.Error}
	r.Outbox, r.Videos, r.DeadLetters = o.outbox(), o.videos(), o.deadLetters()
	r.Starter = Starter{Error: r.Postgres.Error, API: "http://localhost:8000", APIError: "connection refused"}
	r.Kafka.Error = "reach a Kafka broker: unable to dial: dial tcp 10.0.0.3:9093: connect: connection refused"
	r.Storage = Storage{URL: "https://abcd.supabase.co", Bucket: "captions", Error: "check: dial tcp 10.0.0.4:443: connect: connection refused"}
	return judged(r)
}

func TestReport_Print(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Report{"healthy": healthy(), "troubled": troubled(), "down": down()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var plain, colored bytes.Buffer
			if err := r.Print(&plain, false); err != nil {
				t.Fatal(err)
			}
			golden.Equal(t, filepath.Join("testdata", name+".txt"), plain.Bytes())
			lines := strings.Split(strings.TrimSuffix(plain.String(), "\n"), "\n")
			for _, line := range lines {
				if utf8.RuneCountInString(line) > width {
					t.Errorf("more than %d columns: %s", width, line)
				}
			}
			if len(lines) > 66 || name == "healthy" && len(lines) > 40 {
				t.Errorf("%d lines", len(lines))
			}
			if strings.ContainsAny(plain.String(), "\x1b\u202e") {
				t.Error("a terminal would act on what it says")
			}
			if err := r.Print(&colored, true); err != nil {
				t.Fatal(err)
			}
			if got := uncolored(colored.String()); got != plain.String() {
				t.Errorf("with colours it says something else (-plain +coloured):\n%s", cmp.Diff(plain.String(), got))
			}
		})
	}
}

func uncolored(text string) string {
	for {
		before, rest, ok := strings.Cut(text, "\x1b[")
		if !ok {
			return text
		}
		_, after, _ := strings.Cut(rest, "m")
		text = before + after
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*Report)
		want   Level
		says   string // the first reason
	}{
		"nothing wrong":    {func(*Report) {}, OK, ""},
		"Postgres away":    {func(r *Report) { r.Postgres.Error, r.Starter.Error, r.Videos.Error = "x", "x", "x" }, Broken, "Postgres cannot be used"},
		"Temporal away":    {func(r *Report) { r.Temporal.Error, r.Worker.Error = "x", "x" }, Broken, "Temporal cannot be used"},
		"Kafka away":       {func(r *Report) { r.Kafka = Kafka{Error: "x"} }, Broken, "Kafka cannot be used"},
		"storage away":     {func(r *Report) { r.Storage.Error = "x" }, Broken, "The storage cannot be used"},
		"no worker":        {func(r *Report) { r.Worker.Pollers = nil }, Broken, "No worker polls"},
		"a silent worker":  {func(r *Report) { r.Worker.Pollers[0].Silent = true }, Broken, "No worker polls"},
		"a stopped worker": {func(r *Report) { r.Worker.Pollers[0].Stopped = true }, Broken, "No worker polls"},
		"one of two workers stopped": {
			func(r *Report) { r.Worker.Pollers = append(r.Worker.Pollers, Poller{Identity: "x", Stopped: true}) }, OK, "",
		},
		"one stopped and one silent": {
			func(r *Report) {
				r.Worker.Pollers[0].Silent = true
				r.Worker.Pollers = append(r.Worker.Pollers, Poller{Identity: "x", Stopped: true})
			}, Broken, "No worker polls",
		},
		"one of two workers silent": {
			func(r *Report) { r.Worker.Pollers = append(r.Worker.Pollers, Poller{Identity: "x", Silent: true}) }, OK, "",
		},
		"no current version": {
			func(r *Report) {
				r.Worker.Unserved, r.Worker.Mend = "No version of deployment vidflow is current.", "x"
			}, Broken, "No version of deployment vidflow is current.",
		},
		"a run of a version that is gone": {
			func(r *Report) { r.Worker.Stranded, r.Worker.StrandedVersion = 1, "vidflow:one" }, Degraded,
			"1 open run belongs to a version that no worker runs, such as vidflow:one",
		},
		"a queue that may not be described": {func(r *Report) { r.Worker.Error = "x" }, Unknown, "It cannot be told whether a worker runs"},
		"no bridge":                         {func(r *Report) { r.Kafka.Groups[1].Members = nil }, Broken, "No kafkabridge consumes finish_compress"},
		"others consume":                    {func(r *Report) { r.Kafka.Groups[0].Protocol = "RoundRobinAssigner" }, Broken, "Others than vidflow consume"},
		"nobody reads dead letters":         {func(r *Report) { r.Kafka.Groups[2].Members = nil }, Degraded, "No starter reads"},
		"a group that may not be described": {func(r *Report) { r.Kafka.Groups[0].Error = "x" }, Unknown, "How far update_transcribe is read cannot be told: x."},
		"no starter":                        {func(r *Report) { r.Starter.Sessions = nil }, Broken, "No starter is connected"},
		"a starter that does nothing":       {func(r *Report) { r.Starter.Sessions[0].AgeSeconds = number(61) }, Broken, "No starter is connected"},
		"a starter of another login":        {func(r *Report) { r.Starter.Sessions[0].AgeSeconds = nil }, OK, ""},
		"a pooler":                          {func(r *Report) { r.Starter.Sessions, r.Starter.Pooled = nil, true }, OK, ""},
		"an API that answers":               {func(r *Report) { r.Starter.Sessions, r.Starter.API = nil, "http://api" }, OK, ""},
		"an API that does not answer":       {func(r *Report) { r.Starter.API, r.Starter.APIError = "http://api", "x" }, Broken, "The API at http://api does not answer."},
		"a short lag":                       {func(r *Report) { r.Kafka.Groups[0].Lag, r.Kafka.Groups[0].LagSeconds = 9, number(59) }, OK, ""},
		"a long lag":                        {func(r *Report) { r.Kafka.Groups[0].Lag, r.Kafka.Groups[0].LagSeconds = 9, number(61) }, Degraded, "9 records of update_transcribe are unread"},
		"a backlog":                         {func(r *Report) { r.Worker.Backlog, r.Worker.BacklogSeconds = 1, 61 }, Degraded, "1 task is waiting"},
		"an outbox that is behind":          {func(r *Report) { r.Outbox.Intents[0] = Intent{Kind: "run", Count: 2, AgeSeconds: 61} }, Degraded, "The outbox is behind"},
		"an outbox that is busy":            {func(r *Report) { r.Outbox.Intents[0] = Intent{Kind: "run", Count: 2, AgeSeconds: 59} }, OK, ""},
		"unattended":                        {func(r *Report) { r.Videos.Unattended = Queue{1, &Waiting{VideoID: aVideo}} }, Degraded, "Nobody sees to 1 video"},
		"trouble that passes":               {func(r *Report) { r.Videos.Troubled = Queue{1, &Waiting{VideoID: aVideo, AgeSeconds: 59}} }, OK, ""},
		"trouble that lasts":                {func(r *Report) { r.Videos.Troubled = Queue{1, &Waiting{VideoID: aVideo, AgeSeconds: 61}} }, Degraded, "1 video is in trouble, the first for 1 min: "},
		"runs that cannot go on":            {func(r *Report) { r.Temporal.StuckRuns = 2 }, Degraded, "2 runs cannot go on"},
		"runs lost":                         {func(r *Report) { r.Videos.Unfinished = 17 }, Degraded, "About 10 of 17 unfinished videos have no run"},
		"runs not started yet":              {func(r *Report) { r.Videos.Unfinished, r.Outbox.Intents[0].Count = 17, 10 }, OK, ""},
		"few runs lost":                     {func(r *Report) { r.Videos.Unfinished = 16 }, OK, ""},
		"few of many runs lost":             {func(r *Report) { r.Videos.Unfinished, r.Temporal.OpenRuns = 10000, 9950 }, OK, ""},
		"runs that cannot be counted":       {func(r *Report) { r.Videos.Unfinished, r.Temporal.CountError = 100, "x" }, OK, ""},
		"overdue":                           {func(r *Report) { r.Videos.Overdue.Count = 1 }, Degraded, "1 compression is overdue."},
		"failed long ago":                   {func(r *Report) { r.Videos.Failed = 5 }, OK, ""},
		"failed lately":                     {func(r *Report) { r.Videos.Failed, r.Videos.FailedLately = 5, 2 }, Degraded, "2 videos failed since yesterday."},
		"dead letters":                      {func(r *Report) { r.DeadLetters.Open = 2 }, Degraded, "2 dead letters are open."},
		"no search attributes":              {func(r *Report) { r.Temporal.MissingAttributes = []string{"Asks"} }, OK, ""},
		"the worst comes first": {
			func(r *Report) { r.DeadLetters.Open, r.Storage.Error, r.Kafka.Groups[0].Error = 2, "x", "x" }, Broken, "The storage",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := healthy()
			row.change(&r)
			r = judged(r)
			first := ""
			if len(r.Reasons) > 0 {
				first = r.Reasons[0].What
			}
			if r.Verdict != row.want || !strings.HasPrefix(first, row.says) || (row.says == "") != (first == "") {
				t.Errorf("got %s, %q; want %s, %q", r.Verdict, first, row.want, row.says)
			}
			for _, reason := range r.Reasons {
				if reason.Do == "" {
					t.Errorf("%q says not what to do", reason.What)
				}
			}
		})
	}
}

// TestJSON holds the documents that scripts read: what is there may be relied on, and only ever gains members.
func TestJSON(t *testing.T) {
	t.Parallel()
	video := doneVideo()
	video.explain()
	for name, document := range map[string]any{"report": troubled(), "video": video} {
		text, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden.Equal(t, filepath.Join("testdata", name+".json"), append(text, '\n'))
	}
}
