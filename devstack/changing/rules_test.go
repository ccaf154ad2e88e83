package changing

import (
	"os"
	"strings"
	"testing"
)

// edit replaces a text in a file of the workflow.
type edit struct{ file, old, changed string }

// free are the changes of the page's table that need no guard, and breaking those that do; the words are the table's.
var (
	free = map[string][]edit{
		"the summary of a step or of a timer": {
			{"tracks.go", `"Set the URL of the compressed video"`, `"Set the address"`},
			{"tracks.go", `": give the transcription up, unless it has come"`, `": give it up"`},
		},
		"time limits, retries and heartbeats of steps": {
			{"step.go", "localStepTimeout = 5 * time.Second", "localStepTimeout = 4 * time.Second"},
			{"step.go", "stepTimeout = 2 * time.Minute", "stepTimeout = time.Minute"},
			{"step.go", "stepSilence = 15 * time.Second", "stepSilence = 20 * time.Second"},
			{"step.go", "BackoffCoefficient: 2", "BackoffCoefficient: 3"},
		},
		"current details, logging, answers to queries": {
			{"details.go", "The run has just begun", "It has just begun"},
			{"video.go", "	v.begun = true\n", "	v.begun = true\n	workflow.GetLogger(ctx).Info(\"begun\")\n"},
			{"show.go", "VideoID: v.id, Missing: v.plan.Missing,", "VideoID: v.id,"},
		},
		"another value of a search attribute": {
			{"show.go", "AttributeAsks.ValueSet(int64(now.asks))", "AttributeAsks.ValueSet(int64(now.asks + 1))"},
		},
		"a field more in an input or a result, with `omitempty`": {
			{"steps.go", "type ApplyInput struct {\n", "type ApplyInput struct {\n	More string `json:\"more,omitempty\"`\n"},
			{"steps.go", "type Settings struct {\n", "type Settings struct {\n	More string `json:\"more,omitempty\"`\n"},
		},
		"a signal, a query or an update more, as long as nothing waits for it": {
			{
				"video.go", "	v.drain()\n	for waited := false",
				"	workflow.Go(v.steady, func(ctx workflow.Context) {\n		workflow.GetSignalChannel(ctx, \"more\").Receive(ctx, nil)\n" +
					"		_ = workflow.Sleep(ctx, time.Hour)\n	})\n" +
					"	if err := workflow.SetQueryHandler(ctx, \"more\", func() (int, error) { return 1, nil }); err != nil {\n		return err\n	}\n" +
					"	if err := workflow.SetUpdateHandler(ctx, \"more\", func(workflow.Context) error { return nil }); err != nil {\n		return err\n	}\n" +
					"	v.drain()\n	for waited := false",
			},
		},
	}
	breaking = map[string]edit{
		"setting the search attributes once more, or once less": {"show.go", "	v.shown = now\n", ""},
		"the name of a step":                       {"steps.go", `StepSetVideoURL = "SetVideoURL"`, `StepSetVideoURL = "SetCompressedURL"`},
		"when a deadline is, computed otherwise":   {"tracks.go", "AskedAt.Add(v.plan.Settings.AskAgainAfter)", "AskedAt.Add(2 * v.plan.Settings.AskAgainAfter)"},
		"a timer more, also a `workflow.Sleep`":    {"tracks.go", "	result := v.compression.next()\n", "	result := v.compression.next()\n	_ = workflow.Sleep(ctx, time.Second)\n"},
		"a regular activity where a local one was": {"step.go", "err := workflow.ExecuteLocalActivity(local, name, in).Get(local, out)", "_, err := local, v.persist(ctx, name, summary, in, out, abandon)"},
		"the name of a field in JSON":              {"steps.go", `json:"askedAt,omitempty"`, `json:"lastAsked,omitempty"`},
	}
)

// TestRules tries what the page's table says: what is free replays, all at once, and of what breaks each by itself does not.
func TestRules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	change := func(t *testing.T, o *Overlay, e edit) {
		t.Helper()
		if err := o.Replace("workflows/"+e.file, e.old, e.changed); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("free", func(t *testing.T) {
		t.Parallel()
		o := overlay(t)
		for words, edits := range free {
			if !strings.Contains(string(text), "| "+words+" | free") {
				t.Errorf("%s does not say that it is free: %s", page, words)
			}
			for _, e := range edits {
				change(t, o, e)
			}
		}
		if said, ok := replays(t, o); !ok {
			t.Errorf("it breaks open runs:\n%s", said)
		}
	})
	for words, e := range breaking {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(string(text), "| "+words+" | breaks") {
				t.Errorf("%s does not say that it breaks open runs", page)
			}
			o := overlay(t)
			change(t, o, e)
			if _, ok := replays(t, o); ok {
				t.Error("every history replays")
			}
		})
	}
}
