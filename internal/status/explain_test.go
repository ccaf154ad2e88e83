package status

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/golden"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/workflows"
)

func before(d time.Duration) *time.Time {
	t := noon.Add(-d)
	return &t
}

func words(s string) *string { return &s }

// waitingVideo was created an hour ago and waits for both results.
func waitingVideo() Video {
	return Video{
		At: noon, now: noon, VideoID: aVideo, State: string(postgres.Working), Pending: []Due{}, Claims: []Claim{}, Letters: []Dead{},
		Row: &Row{Title: "Sorting, explained", CourseID: "c0000000-0000-4000-8000-000000000001", CameraVideoURL: "https://example.test/sorting.mp4", CreatedAt: *before(time.Hour)},
		Pipeline: &Tracks{
			Revision: 3, CreatedAt: *before(time.Hour), UpdatedAt: *before(time.Hour),
			Transcription: Transcription{Track: Track{State: contract.Waiting, Next: before(-5 * time.Hour)}, Asks: 1, AskLimit: 3, AskedAt: before(time.Hour)},
			Compression:   Compression{Track: Track{State: contract.Waiting, Next: before(-23 * time.Hour)}, Since: *before(time.Hour)},
		},
		Runs:   Runs{WorkflowID: workflows.WorkflowID(aVideo), List: []Run{{RunID: "01a212e1-6173-7c92-8e3f-26bea9f96c5a", Status: "running", Started: *before(time.Hour), HistoryLength: 7}}},
		Object: Object{URL: "https://abcd.supabase.co/storage/v1/object/public/captions/videos/" + string(aVideo) + ".json"},
	}
}

// doneVideo has both results.
func doneVideo() Video {
	v := waitingVideo()
	v.State = string(postgres.Done)
	summary := &contract.TranscriptSummary{Duration: 233, Language: "en", Words: 546}
	at := func(offset int64) *contract.Position {
		return &contract.Position{TopicID: uuid.UUID{1}, Partition: 1, Offset: offset, Time: *before(50 * time.Minute)}
	}
	v.Pipeline.Transcription = Transcription{
		Track: Track{State: contract.Done, Applied: at(14), DoneAt: before(50 * time.Minute)}, Asks: 1, AskLimit: 3, AskedAt: before(time.Hour), Summary: summary,
	}
	v.Pipeline.Compression = Compression{Track: Track{State: contract.Done, Applied: at(3), DoneAt: before(40 * time.Minute)}, Since: *before(time.Hour)}
	v.Row.TranscriptURL = &v.Object.URL
	v.Object.Exists, v.Object.Size, v.Object.Matches, v.Object.Summary = true, 48594, true, summary
	v.Runs.List[0].Status, v.Runs.List[0].Closed, v.Runs.List[0].HistoryLength = "completed", before(40*time.Minute), 20
	v.Records = Records{
		Transcription: &Record{Topic: "update_transcribe", Partition: 1, Offset: 14, Readable: true},
		Compression:   &Record{Topic: "finish_compress", Partition: 1, Offset: 3, Why: "the topic keeps it no longer"},
	}
	return v
}

func TestVideo_explain(t *testing.T) {
	t.Parallel()
	const awaitsCompression = "It waits for the compression, until 2026-11-26 11:00:00Z (in 23 h); then that is overdue."
	awaitsTranscription := "It waits for the transcription (ask 1 of 3, sent 2026-11-25 11:00:00Z), until 2026-11-25 17:00:00Z (in 5 h); then ask 2 is sent."
	for name, row := range map[string]struct {
		of     func() Video
		change func(*Video)
		want   VideoLevel
		says   []string
		do     string // its beginning
	}{
		"waiting": {waitingVideo, nil, VideoOK, []string{awaitsTranscription, awaitsCompression}, ""},
		"asked again": {waitingVideo, func(v *Video) {
			v.Pipeline.Transcription.Asks = 3
		}, VideoOK, []string{
			"It waits for the transcription (ask 3 of 3, sent 2026-11-25 11:00:00Z), until 2026-11-25 17:00:00Z (in 5 h); then it is given up.", awaitsCompression,
		}, ""},
		"about to be asked for": {waitingVideo, func(v *Video) {
			v.Pipeline.Transcription.AskedAt, v.Pipeline.Transcription.Next, v.Pipeline.Transcription.Asks = nil, nil, 0
			v.Pipeline.UpdatedAt = noon
		}, VideoOK, []string{"Ask 1 of 3 is about to be sent.", awaitsCompression}, ""},
		"not asked for": {waitingVideo, func(v *Video) {
			v.Pipeline.Transcription.AskedAt, v.Pipeline.Transcription.Next, v.Pipeline.Transcription.Asks = nil, nil, 0
		}, VideoTrouble, []string{"Ask 1 of 3 is due since 2026-11-25 11:00:00Z, and was not sent.", awaitsCompression}, "look whether a worker runs"},
		"cannot be asked for": {waitingVideo, func(v *Video) {
			v.Pipeline.Transcription.AskedAt, v.Pipeline.Transcription.Next, v.Pipeline.Transcription.Asks = nil, nil, 0
			v.Pipeline.Transcription.LastError = words("The transcription could not be asked for yet; it is tried again.")
			v.Runs.List[0].Steps = []Step{{Name: workflows.StepAsk, Attempt: 5, LastFailure: "Kafka is away", Since: *before(time.Minute), NextAt: before(-8 * time.Second)}}
		}, VideoTrouble, []string{
			"The step AskForTranscription fails, tried 4 times; it is tried again until it works, next in 8 s: Kafka is away", awaitsCompression,
		}, "mend what the step says"},
		"a deadline has passed": {waitingVideo, func(v *Video) {
			v.Pipeline.Transcription.Next = before(2 * time.Minute)
			v.Pipeline.Compression.Next = before(2 * time.Minute)
		}, VideoTrouble, []string{
			"The answer to ask 1 of 3 was waited for until 2026-11-25 11:58:00Z, and nobody did anything then.",
			"The compression was waited for until 2026-11-25 11:58:00Z, and nobody did anything then.",
		}, "look whether a worker runs"},
		"overdue": {waitingVideo, func(v *Video) {
			v.State = string(postgres.Overdue)
			v.Pipeline.Compression.State = contract.Overdue
		}, VideoTrouble, []string{
			awaitsTranscription, "The compression is overdue; it is waited for until 2026-11-26 11:00:00Z (in 23 h); then it is given up.",
		}, "look whether the compression service runs"},
		"given up": {waitingVideo, func(v *Video) {
			v.State = string(postgres.Failed)
			v.Pipeline.Transcription.Track = Track{State: contract.GivenUp, LastError: words("No transcription came for any of 3 asks."), LastErrorAt: before(time.Minute)}
		}, VideoFailed, []string{
			"The transcription was given up at 2026-11-25 11:59:00Z: No transcription came for any of 3 asks.", awaitsCompression,
		}, "POST /api/videos/" + string(aVideo) + "/transcription/retry"},
		"compression given up": {doneVideo, func(v *Video) {
			v.State = string(postgres.Failed)
			v.Pipeline.Compression.Track = Track{State: contract.GivenUp}
		}, VideoFailed, []string{"The compression was given up."}, "see that the compression service sends"},
		"done":                         {doneVideo, nil, VideoOK, []string{"Both results are in; nothing is left to do."}, ""},
		"done, and Temporal is away":   {doneVideo, func(v *Video) { v.Runs = Runs{Error: "x"} }, VideoOK, []string{"Both results are in; nothing is left to do."}, ""},
		"the transcript is gone":       {doneVideo, func(v *Video) { v.Object.Exists = false }, VideoTrouble, []string{"Its transcript is not in the storage."}, "POST "},
		"the address is another":       {doneVideo, func(v *Video) { v.Object.Matches = false }, VideoTrouble, []string{"The row's transcript_url is not where its transcript is."}, "POST "},
		"another transcript is stored": {doneVideo, func(v *Video) { v.Object.Summary = &contract.TranscriptSummary{Words: 1} }, VideoTrouble, []string{"The storage has another transcript than the one that was applied."}, "POST "},
		"something else is stored":     {doneVideo, func(v *Video) { v.Object.Problem = "it is no transcript: x" }, VideoTrouble, []string{"What the storage has for it is wrong: it is no transcript: x."}, "POST "},
		"the storage is away":          {doneVideo, func(v *Video) { v.Object = Object{Error: "x"} }, VideoUnclear, []string{"Whether its transcript is in the storage cannot be told."}, "look whether the storage runs"},
		"untracked": {waitingVideo, func(v *Video) {
			v.State = string(postgres.Untracked)
			v.Pipeline.Transcription.State, v.Pipeline.Compression.State = contract.Untracked, contract.Untracked
			v.Runs.List = nil
		}, VideoOK, []string{"It was created elsewhere, and nothing is asked for; a result that comes is applied."}, "POST "},
		"one result of a video from elsewhere": {
			doneVideo, func(v *Video) { v.Pipeline.Compression = Compression{Track: Track{State: contract.Untracked}} }, VideoOK,
			[]string{"The result that came is applied, and nobody asked for the other; nothing is left to do."},
			"",
		},
		"never dealt with": {waitingVideo, func(v *Video) {
			v.State, v.Pipeline, v.Runs.List = string(postgres.Untracked), nil, nil
		}, VideoOK, []string{"It was created elsewhere, and vidflow has not dealt with it yet; a result that comes is applied."}, "POST "},
		"a step fails": {waitingVideo, func(v *Video) {
			v.Runs.List[0].Steps = []Step{{Name: workflows.StepStoreTranscript, Attempt: 2, LastFailure: "storage: upload: the bucket does not exist", Since: *before(time.Minute)}}
		}, VideoTrouble, []string{
			"The step StoreTranscript fails, tried once; it is tried again until it works, next now: storage: upload: the bucket does not exist", awaitsCompression,
		}, "mend what the step says"},
		"a step waits for a claim": {waitingVideo, func(v *Video) {
			v.Runs.List[0].Steps = []Step{{Name: workflows.StepStoreTranscript, Attempt: 2, LastFailure: "another", FailureType: failureBusy, Since: *before(time.Minute)}}
			v.Claims = []Claim{{Until: *before(-30 * time.Second)}}
		}, VideoOK, []string{
			"The step StoreTranscript waits until an older result of this video can no longer be stored, until 2026-11-25 12:00:30Z (in 30 s).", awaitsCompression,
		}, ""},
		"a step is under way": {waitingVideo, func(v *Video) {
			v.Runs.List[0].Steps = []Step{{Name: workflows.StepSetVideoURL, Attempt: 1, Since: *before(time.Second)}}
		}, VideoOK, []string{"The step SetVideoURL is under way.", awaitsTranscription}, ""},
		"a step takes long": {waitingVideo, func(v *Video) {
			v.Runs.List[0].Steps = []Step{{Name: workflows.StepSetVideoURL, Attempt: 1, Since: *before(4 * time.Minute)}}
		}, VideoTrouble, []string{"The step SetVideoURL is under way since 2026-11-25 11:56:00Z.", awaitsTranscription}, "look at the worker's log"},
		"its code fails": {
			waitingVideo, func(v *Video) { v.Runs.List[0].TaskAttempts, v.Runs.List[0].TaskSince = 3, before(time.Minute) }, VideoTrouble,
			[]string{"Its run cannot go on: its workflow task fails, tried 3 times.", awaitsTranscription, awaitsCompression},
			"look at the worker's log",
		},
		"no worker takes its task": {
			waitingVideo, func(v *Video) { v.Runs.List[0].TaskAttempts, v.Runs.List[0].TaskSince = 1, before(2*time.Minute) }, VideoTrouble,
			[]string{"Its run waits for a worker since 2026-11-25 11:58:00Z.", awaitsTranscription, awaitsCompression},
			"start vidflow worker",
		},
		"no run": {waitingVideo, func(v *Video) { v.Runs.List = nil }, VideoTrouble, []string{"No run sees to it.", awaitsTranscription, awaitsCompression}, "vidflow adopt"},
		"a run that ended too early": {
			waitingVideo, func(v *Video) { v.Runs.List[0].Status, v.Runs.List[0].Closed = "terminated", &noon }, VideoTrouble,
			[]string{"No run sees to it.", awaitsTranscription, awaitsCompression},
			"vidflow adopt",
		},
		"a run is about to be started": {waitingVideo, func(v *Video) {
			v.Runs.List, v.Pending = nil, []Due{{Kind: postgres.IntentRun, CreatedAt: noon}}
		}, VideoOK, []string{"Its run is about to be started by the relay of the starter.", awaitsTranscription, awaitsCompression}, ""},
		"a run is not started": {waitingVideo, func(v *Video) {
			v.Runs.List, v.Pending = nil, []Due{{Kind: postgres.IntentRun, CreatedAt: *before(2 * time.Minute)}}
		}, VideoTrouble, []string{"Its run is yet to be started, since 2026-11-25 11:58:00Z.", awaitsTranscription, awaitsCompression}, "start vidflow starter"},
		"a run cannot be started": {waitingVideo, func(v *Video) {
			v.Runs.List, v.Pending = nil, []Due{{Kind: postgres.IntentRun, CreatedAt: noon, NextAt: *before(-5 * time.Second), Attempts: 2, LastError: "Temporal is away"}}
		}, VideoTrouble, []string{"Its run could not be started yet, tried twice; the next try is in 5 s: Temporal is away", awaitsTranscription, awaitsCompression}, "look whether Temporal"},
		"Temporal is away": {
			waitingVideo, func(v *Video) { v.Runs = Runs{Error: "x"} }, VideoUnclear,
			[]string{awaitsTranscription, awaitsCompression, "Whether its run goes on cannot be told: Temporal does not answer."},
			"look whether Temporal runs",
		},
		"Postgres is away": {waitingVideo, func(v *Video) { v.Error = "x" }, VideoUnclear, []string{"Where it is cannot be told: Postgres does not answer."}, "look whether Postgres runs"},
		"a dead letter": {waitingVideo, func(v *Video) {
			v.Letters = []Dead{{Letter: "update_transcribe.dlq/0@12", Track: contract.TranscriptionTrack, Open: true}, {Track: contract.CompressionTrack}}
		}, VideoTrouble, []string{awaitsTranscription, "1 result of the transcription could not be understood.", awaitsCompression}, "vidflow dlq show update_transcribe.dlq/0@12"},
		"deleted": {waitingVideo, func(v *Video) {
			v.State, v.Row, v.Pipeline.DeletedAt, v.Runs.List = "deleted", nil, before(time.Hour), nil
		}, VideoMissing, []string{"It was deleted at 2026-11-25 11:00:00Z."}, ""},
		"deleted, and not cleaned up": {waitingVideo, func(v *Video) {
			v.State, v.Row, v.Pipeline.DeletedAt, v.Runs.List = "deleted", nil, before(time.Hour), nil
			v.Pending = []Due{{Kind: postgres.IntentCleanup, NextAt: noon, Attempts: 1, LastError: "storage is away"}}
		}, VideoMissing, []string{
			"It was deleted at 2026-11-25 11:00:00Z.", "Its run and its transcript are yet to be removed; tried once in vain, the next try is now: storage is away",
		}, "look at the log of the starter"},
		"its row is gone": {
			waitingVideo, func(v *Video) { v.State, v.Row, v.Runs.List = "unknown", nil, nil }, VideoMissing,
			[]string{"Its row is gone. The relay of the starter notices that within about a minute, and cleans up."},
			"",
		},
		"unknown": {
			waitingVideo, func(v *Video) { v.State, v.Row, v.Pipeline, v.Runs.List = "unknown", nil, nil, nil }, VideoMissing,
			[]string{"There is no such video, and vidflow never saw one with this id."},
			"",
		},
		"unknown, with a run": {
			waitingVideo, func(v *Video) { v.State, v.Row, v.Pipeline = "unknown", nil, nil }, VideoMissing,
			[]string{"There is no such video, and vidflow never saw one with this id.", "A run is open: it ends when it has looked for the row a second time."},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := row.of()
			if row.change != nil {
				row.change(&v)
			}
			v.explain()
			if v.Verdict != row.want {
				t.Errorf("got %s, want %s", v.Verdict, row.want)
			}
			if diff := cmp.Diff(row.says, v.Says); diff != "" {
				t.Errorf("it says (-want +got):\n%s", diff)
			}
			if !strings.HasPrefix(v.Do, row.do) || (row.do == "") != (v.Do == "") {
				t.Errorf("it says to do %q, want %q", v.Do, row.do)
			}
		})
	}
}

func TestVideo_Print(t *testing.T) {
	t.Parallel()
	failing := waitingVideo()
	failing.Runs.List[0].Steps = []Step{{
		Name: workflows.StepStoreTranscript, State: "scheduled", Attempt: 4, LastFailure: "storage: upload videos/0b0e4a3e.json: the bucket \"captions\" does not exist (404 NoSuchBucket)",
		Since: *before(time.Minute), NextAt: before(-8 * time.Second),
	}}
	failing.Runs.List = append(failing.Runs.List, Run{RunID: "02", Status: "failed", Started: *before(3 * time.Hour), Closed: before(2 * time.Hour), HistoryLength: 31, Failure: "No transcription came for any of 3 asks."})
	failing.Runs.State = &workflows.State{VideoID: aVideo, Transcription: contract.Waiting, Asks: 1, AskLimit: 3, Compression: contract.Waiting}
	failing.Claims = []Claim{{Position: contract.Position{Partition: 1, Offset: 14}, Until: *before(-time.Minute)}}
	failing.Pipeline.Transcription.LastError, failing.Pipeline.Transcription.LastErrorAt = words("Storage does not take the transcript yet; it is tried again."), before(time.Minute)
	failing.Letters = []Dead{
		{Letter: "update_transcribe.dlq/0@12", Track: contract.TranscriptionTrack, Class: "json", Reason: "not JSON: it ends too early", DiedAt: noon, Open: true},
		{Letter: "finish_compress.dlq/0@1", Track: contract.CompressionTrack, Class: "url", Reason: "no URL: \x1b[31m", DiedAt: noon, RedrivenAt: &noon},
	}
	deleted := Video{
		At: noon, now: noon, VideoID: aVideo, State: "deleted", Runs: Runs{WorkflowID: workflows.WorkflowID(aVideo)},
		Pipeline: &Tracks{DeletedAt: before(time.Hour), UpdatedAt: *before(time.Hour), Transcription: Transcription{Track: Track{State: contract.Untracked}}, Compression: Compression{Track: Track{State: contract.Untracked}}},
		Pending:  []Due{{Kind: postgres.IntentCleanup, CreatedAt: *before(time.Hour), NextAt: noon, Attempts: 3, LastError: "storage is away"}},
	}
	for name, v := range map[string]Video{"video_done": doneVideo(), "video_failing": failing, "video_deleted": deleted} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v.explain()
			var plain, colored bytes.Buffer
			if err := v.Print(&plain, false); err != nil {
				t.Fatal(err)
			}
			golden.Equal(t, filepath.Join("testdata", name+".txt"), plain.Bytes())
			if strings.Contains(plain.String(), "\x1b") {
				t.Error("a terminal would act on what it says")
			}
			if err := v.Print(&colored, true); err != nil {
				t.Fatal(err)
			}
			if got := uncolored(colored.String()); got != plain.String() {
				t.Errorf("with colours it says something else (-plain +coloured):\n%s", cmp.Diff(plain.String(), got))
			}
		})
	}
}
