package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdkpb "go.temporal.io/api/sdk/v1"

	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// details are the current details of the run, as the Temporal UI asks for them.
func (w *world) details(t *testing.T) string {
	t.Helper()
	answer, err := w.env.QueryWorkflow("__temporal_workflow_metadata")
	if err != nil {
		t.Fatal(err)
	}
	var metadata sdkpb.WorkflowMetadata
	if err := answer.Get(&metadata); err != nil {
		t.Fatal(err)
	}
	for _, i := range append(append(metadata.GetDefinition().GetSignalDefinitions(), metadata.GetDefinition().GetUpdateDefinitions()...),
		metadata.GetDefinition().GetQueryDefinitions()...) {
		if i.GetDescription() == "" {
			t.Errorf("%s has no description", i.GetName())
		}
	}
	return metadata.GetCurrentDetails()
}

const (
	titleLine  = "**Loops**\n\n"
	tableHead  = "| track | state | |\n|---|---|---|\n"
	courseLine = "\n[All videos of the course](namespaces/default-test-namespace/workflows?query=CourseId%3D%22c1%22)\n"
	runPage    = "namespaces/default-test-namespace/workflows/video%2F0b6f1c1e-9c5d-4f0e-8a44-3f6f5a0d7b11/default-test-run-id/"
)

// TestDetails tells what a person reads who opens the run, at every moment that differs. Runs begin on 2 November 2026
// at 8 o'clock.
func TestDetails(t *testing.T) {
	t.Parallel()
	const minute, hour = time.Minute, time.Hour
	for name, tc := range map[string]struct {
		in     workflows.VideoInput
		events func(*world)
		at     time.Duration // 0: when the run has ended
		want   string
	}{
		"waiting": {
			events: func(*world) {}, at: minute,
			want: titleLine + tableHead +
				"| transcription | waiting | ask 1 of 3 at 2026-11-02 08:00:00 UTC; if nothing comes, asked again at 2026-11-02 14:00:00 UTC |\n" +
				"| compression | waiting | since 2026-11-02 08:00:00 UTC; if nothing comes, overdue at 2026-11-03 08:00:00 UTC |\n" + courseLine,
		},
		"asked for the last time, compression overdue": {
			events: func(*world) {}, at: 25 * hour,
			want: titleLine + tableHead +
				"| transcription | given up | asked for 3 times |\n" +
				"| compression | overdue | since 2026-11-02 08:00:00 UTC; if nothing comes, given up at 2026-11-04 08:00:00 UTC |\n" +
				"\nNo transcription came for any of 3 asks. See that the transcription service runs, then retry.\n" + askAgain + courseLine,
		},
		"failed": {
			events: func(w *world) { w.at(hour, func() { w.compressed(1) }) },
			want: titleLine + tableHead +
				"| transcription | given up | asked for 3 times |\n" +
				"| compression | done | [compressed video](<https://cdn.example.org/1.mp4>) |\n" +
				"\nNo transcription came for any of 3 asks. See that the transcription service runs, then retry.\n" + askAgain + courseLine,
		},
		"done": {
			events: func(w *world) { w.at(hour, func() { w.compressed(1); w.transcribed(1) }) },
			want: titleLine + tableHead +
				"| transcription | done | asked for once: [transcript](https://s.example.org/1.json) |\n" +
				"| compression | done | [compressed video](<https://cdn.example.org/1.mp4>) |\n" + courseLine,
		},
		"a step fails": {
			events: func(w *world) {
				w.failing[workflows.StepStoreTranscript] = 100
				w.at(minute, func() { w.transcribed(1) })
			},
			at: 2 * minute,
			want: titleLine + tableHead +
				"| transcription | waiting | asked for once; a result has come and is being stored |\n" +
				"| compression | waiting | since 2026-11-02 08:00:00 UTC; if nothing comes, overdue at 2026-11-03 08:00:00 UTC |\n" +
				"\n**Store the transcript (300 words, 2m5s): fails since 2026-11-02 08:01:00 UTC** and is tried again until it succeeds. " +
				"See that the storage, Kafka and the database are there. First error: away. [Latest error and next try](" + runPage + "pending-activities)\n" +
				courseLine,
		},
		"the first step fails": {
			events: func(w *world) { w.failing[workflows.StepBegin] = 10 }, at: 10 * time.Second,
			want: "The run has just begun: it loads what is known of the video.\n" +
				"\n**Load the plan, ask for a transcription: fails since 2026-11-02 08:00:00 UTC** and is tried again until it succeeds. " +
				"See that the database is there. First error: away. [Latest error and next try](" + runPage + "pending-activities)\n",
		},
		"a result that can never be stored": {
			events: func(w *world) {
				w.finally[workflows.StepStoreTranscript] = temporal.NewNonRetryableApplicationError("the transcript is too large", "TooLarge", nil)
				w.at(minute, func() { w.transcribed(1); w.compressed(1) })
			},
			want: titleLine + tableHead +
				"| transcription | given up | asked for once |\n" +
				"| compression | done | [compressed video](<https://cdn.example.org/1.mp4>) |\n" +
				"\nThe result cannot be applied: the transcript is too large. When that is mended, retry.\n" + askAgain + courseLine,
		},
		"a step failed and succeeded": {
			events: func(w *world) {
				w.failing[workflows.StepStoreTranscript] = 3
				w.at(minute, func() { w.transcribed(1) })
				w.at(2*minute, func() { w.compressed(1) })
			},
			want: titleLine + tableHead +
				"| transcription | done | asked for once: [transcript](https://s.example.org/1.json) |\n" +
				"| compression | done | [compressed video](<https://cdn.example.org/1.mp4>) |\n" + courseLine,
		},
		"cancelled by hand": {
			events: func(w *world) { w.at(minute, w.env.CancelWorkflow) },
			want: titleLine + tableHead +
				"| transcription | waiting | ask 1 of 3 at 2026-11-02 08:00:00 UTC |\n| compression | waiting |  |\n" +
				"\nThe run was cancelled: it finishes what it has in hand and asks for nothing more. To go on, start another one with the " +
				"same id and input.\n" + courseLine,
		},
		"deleted": {
			events: func(w *world) {
				w.at(minute, func() { w.locked(func() { w.tombstone = true }); w.env.CancelWorkflow() })
			},
			want: titleLine + "The video was deleted; nothing is left to do.\n" + courseLine,
		},
		"unknown, waited for": {
			events: func(w *world) { w.row = false }, at: minute,
			want: "There is no video with this id yet. At 2026-11-02 08:10:00 UTC it is looked for once more, then the run ends.\n",
		},
		"unknown": {
			events: func(w *world) { w.row = false },
			want:   "There is no video with this id; what came for it is left alone.\n",
		},
		"started by hand to ask again, in vain": {
			in: workflows.VideoInput{VideoID: string(videoID), Retry: &workflows.Retry{}},
			events: func(w *world) {
				asked := w.env.Now()
				w.now.Asks, w.now.AskedAt, w.now.Transcription, w.now.Compression = 1, &asked, contract.Done, contract.Done
			},
			want: titleLine + tableHead +
				"| transcription | done | asked for once: [transcript](https://s.example.org/1.json) |\n| compression | done |  |\n" +
				"\nNot asked again: The transcript is stored already. To ask again all the same, use \"force\".\n" + courseLine,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.events(w)
			var got string
			if tc.at > 0 {
				w.at(tc.at, func() { got = w.details(t); w.env.CancelWorkflow() })
			}
			if tc.in.VideoID == "" {
				tc.in.VideoID = string(videoID)
			}
			_, _ = w.run(tc.in)
			if tc.at == 0 {
				got = w.details(t)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
		})
	}
}

const askAgain = "\nTo ask again: the update `retry`; when the run has ended, start one with the same id and the input " +
	"`{\"videoId\": \"…\", \"retry\": {}}`.\n"

// TestTrouble sees the search attribute name the steps that are being tried again. That it is unset in the end shows on a
// real server alone: see worker.TestVideo.
func TestTrouble(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		known bool
		want  []string
	}{
		"known":                      {known: true, want: []string{"StoreTranscript", "StoreTranscript SetVideoURL", "SetVideoURL"}},
		"a run that began before it": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.settings.TitleAndTrouble = tc.known
			w.failing[workflows.StepStoreTranscript], w.failing[workflows.StepSetVideoURL] = 5, 8
			w.at(time.Minute, func() { w.transcribed(1); w.compressed(1) })
			if _, err := w.run(workflows.VideoInput{VideoID: string(videoID)}); err != nil {
				t.Fatal(err)
			}
			var got []string
			var title string
			for _, set := range w.attributes {
				if names, ok := set.GetKeywordList(workflows.AttributeTrouble); ok {
					got = append(got, strings.Join(names, " "))
				}
				if s, ok := set.GetKeyword(workflows.AttributeTitle); ok {
					title = s
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("trouble (-want +got):\n%s", diff)
			}
			if (title == "Loops") != tc.known {
				t.Errorf("title %q", title)
			}
		})
	}
}

// TestRetryAtStart starts a run with a retry, as an operator does who has nothing but the Temporal UI.
func TestRetryAtStart(t *testing.T) {
	t.Parallel()
	given := func(w *world) {
		asked := w.env.Now().Add(-7 * time.Hour)
		w.now.Asks, w.now.AskedAt, w.now.Transcription, w.now.Compression = 3, &asked, contract.GivenUp, contract.Done
	}
	w := newWorld(t)
	given(w)
	w.at(time.Minute, func() { w.transcribed(1) })
	got, err := w.run(workflows.VideoInput{VideoID: string(videoID), Retry: &workflows.Retry{}})
	if err != nil || got.Transcription != contract.Done || got.NotRetried != "" || len(w.asked) != 1 || w.asked[0] != 4 {
		t.Errorf("got %+v, error %v, asks %v; want ask 4 and its answer stored", got, err, w.asked)
	}

	w = newWorld(t)
	given(w)
	got, err = w.run(workflows.VideoInput{VideoID: string(videoID)})
	if err != nil || got.Transcription != contract.GivenUp || len(w.asked) != 0 {
		t.Errorf("got %+v, error %v, asks %v; want a run that asks for nothing", got, err, w.asked)
	}
}

// TestPlainText is shown as it is by a renderer of markdown; devstack/browsertest sees the Temporal UI do so.
func TestPlainText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Loops and ranges":      "Loops and ranges",
		"1. Introduction":       `1\. Introduction`,
		"2026. A year":          `2026\. A year`,
		"Version 1.5":           "Version 1.5",
		"# C# and **F#**":       `\# C# and \*\*F#\*\*`,
		"- [x](https://a.test)": `\- \[x\](https://a.test)`,
		"<b>a | b</b> & `c`":    "\\<b\\>a \\| b\\</b\\> \\& \\`c\\`",
		"":                      "",
	} {
		if got := workflows.PlainText(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := workflows.Line("a\n b\tc", 100); got != "a b c" {
		t.Errorf("got %q", got)
	}
}
