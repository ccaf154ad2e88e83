package worker_test

import (
	"bytes"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/temporaltest"
	"github.com/codeendelea/vidflow/workflows"
)

// record makes TestVideo write the history of each path that has none yet; see `make histories`.
var record = flag.Bool("record", false, "write the histories of the paths that have none yet to ../workflows/testdata/histories")

// TestVideo takes a video along every path through the workflow, on a real Temporal server, with real activities.
func TestVideo(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]struct {
		settings func(*workflows.Settings)
		// events returns the run whose history is kept, when it has ended.
		events func(*bench) client.WorkflowRun
	}{
		"finished": {events: func(b *bench) client.WorkflowRun {
			run := b.start()
			b.pipeline("the first ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
			_, stored := b.transcribed("hello")
			b.pipeline("the transcript", func(p contract.Pipeline) bool { return p.Transcription.State == contract.Done })
			b.compressed("https://cdn.example.org/small.mp4")
			b.completed(run, contract.Done, contract.Done)
			b.stored(stored)
			if got := b.db.CameraVideoURL(b.t, b.id); got != "https://cdn.example.org/small.mp4" {
				b.t.Errorf("got camera_video_url %q", got)
			}
			b.askedFor(1)
			d, err := b.temporal.DescribeWorkflowExecution(b.ctx, run.GetID(), run.GetRunID())
			if err != nil {
				b.t.Fatal(err)
			}
			events, size := d.GetWorkflowExecutionInfo().GetHistoryLength(), d.GetWorkflowExecutionInfo().GetHistorySizeBytes()
			b.t.Logf("a normal run: %d events, %d bytes", events, size)
			if events > 20 || size > 5000 {
				b.t.Errorf("a normal run has %d events and %d bytes, want at most 20 and 5,000", events, size)
			}
			for _, e := range b.history(run) {
				if task := e.GetWorkflowTaskStartedEventAttributes(); task != nil && task.GetWorkerVersion().GetBuildId() != build { //nolint:staticcheck // the server has no other place for it
					b.t.Errorf("event %d names the build %q, want %q", e.GetEventId(), task.GetWorkerVersion().GetBuildId(), build) //nolint:staticcheck // the same
				}
				if task := e.GetWorkflowTaskScheduledEventAttributes(); task != nil && task.GetTaskQueue().GetName() != workflows.TaskQueue {
					b.t.Errorf("event %d: a task in the queue %q, which nobody polls when the worker has died", e.GetEventId(), task.GetTaskQueue().GetName())
				}
			}
			return run
		}},
		"results-before-the-run": {events: func(b *bench) client.WorkflowRun {
			b.stop()
			_, stored := b.transcribed("early")
			b.compressed("https://cdn.example.org/early.mp4")
			b.startWorker()
			run := b.start()
			b.completed(run, contract.Done, contract.Done)
			b.stored(stored)
			b.askedFor(0)
			return run
		}},
		"repeated-and-older-results": {events: func(b *bench) client.WorkflowRun {
			run := b.start()
			value, _ := b.transcript("older")
			older := b.append(transcripts, value)
			newer, stored := b.transcribed("newer")
			b.pipeline("the transcript", func(p contract.Pipeline) bool { return p.Transcription.State == contract.Done })
			b.signal(workflows.SignalTranscribed, older)
			b.signal(workflows.SignalTranscribed, newer)
			b.compressed("https://cdn.example.org/small.mp4")
			b.completed(run, contract.Done, contract.Done)
			b.stored(stored)
			return run
		}},
		"given-up": {
			settings: func(s *workflows.Settings) {
				s.AskAgainAfter, s.OverdueAfter, s.GiveUpAfter = time.Second, time.Second, time.Second
			},
			events: func(b *bench) client.WorkflowRun {
				run := b.start()
				b.failed(run, workflows.ErrTranscriptionGivenUp)
				b.pipeline("both given up", func(p contract.Pipeline) bool {
					return p.Transcription.State == contract.GivenUp && p.Compression.State == contract.GivenUp && p.Transcription.LastError != nil
				})
				b.askedFor(3)
				return run
			},
		},
		"asked-again": {
			settings: func(s *workflows.Settings) { s.AskAgainAfter = 2 * time.Second },
			events: func(b *bench) client.WorkflowRun {
				run := b.start()
				b.pipeline("the second ask", func(p contract.Pipeline) bool { return p.Transcription.Asks >= 2 }) // or, seen late, the third
				b.transcribed("hello")
				b.compressed("https://cdn.example.org/small.mp4")
				b.completed(run, contract.Done, contract.Done)
				return run
			},
		},
		"overdue-then-compressed": {
			settings: func(s *workflows.Settings) { s.OverdueAfter = time.Second },
			events: func(b *bench) client.WorkflowRun {
				run := b.start()
				b.transcribed("hello")
				b.pipeline("overdue", func(p contract.Pipeline) bool { return p.Compression.State == contract.Overdue })
				b.compressed("https://cdn.example.org/late.mp4")
				b.completed(run, contract.Done, contract.Done)
				return run
			},
		},
		"given-up-then-answered": {
			settings: func(s *workflows.Settings) { s.AskAgainAfter = 500 * time.Millisecond },
			events: func(b *bench) client.WorkflowRun {
				run := b.start()
				b.pipeline("given up", func(p contract.Pipeline) bool { return p.Transcription.State == contract.GivenUp })
				b.transcribed("at last")
				b.compressed("https://cdn.example.org/small.mp4")
				b.completed(run, contract.Done, contract.Done)
				return run
			},
		},
		"retried": {events: func(b *bench) client.WorkflowRun {
			b.start()
			b.pipeline("the first ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
			b.transcribed("first")
			b.compressed("https://cdn.example.org/small.mp4")
			b.completed(b.current(), contract.Done, contract.Done)

			if _, err := b.retry(workflows.Retry{}); errorType(err) != workflows.ErrNothingToRetry {
				b.t.Errorf("retry of a finished video: got %v, want %s", err, workflows.ErrNothingToRetry)
			}
			got, err := b.retry(workflows.Retry{Force: true})
			if err != nil || got.Ask != 2 {
				b.t.Fatalf("forced retry: got ask %d, error %v; want ask 2", got.Ask, err)
			}
			run := b.current()
			b.pipeline("the second ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 2 })
			_, stored := b.transcribed("second")
			b.completed(run, contract.Done, contract.Done)
			b.stored(stored)
			b.askedFor(2)
			return run
		}},
		"record-gone": {events: func(b *bench) client.WorkflowRun {
			run := b.start()
			b.pipeline("the first ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
			value, _ := b.transcript("replaced")
			gone := b.append(transcripts, value)
			gone.SHA256[0]++ // another record is at its offset
			b.signal(workflows.SignalTranscribed, gone)
			b.pipeline("the second ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 2 })
			_, stored := b.transcribed("again")
			b.compressed("https://cdn.example.org/small.mp4")
			b.completed(run, contract.Done, contract.Done)
			b.stored(stored)
			b.askedFor(2)
			return run
		}},
		"storage-down": {events: func(b *bench) client.WorkflowRun {
			b.storage.fail(http.StatusBadGateway)
			run := b.start()
			_, stored := b.transcribed("patience")
			b.pipeline("an error that callers see", func(p contract.Pipeline) bool { return p.Transcription.LastError != nil })
			b.compressed("https://cdn.example.org/small.mp4")
			b.pipeline("the compression, which waits for nobody", func(p contract.Pipeline) bool { return p.Compression.State == contract.Done })
			b.wait("the step is a pending activity with its error", func() bool {
				d, err := b.temporal.DescribeWorkflowExecution(b.ctx, workflows.WorkflowID(b.id), "")
				return err == nil && len(d.PendingActivities) == 1 && d.PendingActivities[0].GetLastFailure() != nil &&
					d.PendingActivities[0].GetActivityType().GetName() == workflows.StepStoreTranscript
			})
			b.storage.fail(0)
			b.completed(run, contract.Done, contract.Done)
			p := b.pipeline("no error any more", func(p contract.Pipeline) bool { return p.Transcription.LastError == nil })
			if p.Transcription.State != contract.Done {
				b.t.Errorf("got %s", p.Transcription.State)
			}
			b.stored(stored)
			return run
		}},
		"storage-down-with-its-trouble": {events: func(b *bench) client.WorkflowRun {
			b.storage.fail(http.StatusBadGateway)
			run := b.start()
			_, stored := b.transcribed("patience")
			b.wait("the attribute names the step", func() bool { return slices.Equal(b.trouble(run), []string{workflows.StepStoreTranscript}) })
			b.storage.fail(0)
			b.pipeline("the transcript", func(p contract.Pipeline) bool { return p.Transcription.State == contract.Done })
			b.wait("the attribute is unset", func() bool { return b.trouble(run) == nil })
			b.compressed("https://cdn.example.org/small.mp4")
			b.completed(run, contract.Done, contract.Done)
			b.stored(stored)
			return run
		}},
		"retried-at-start": {
			settings: func(s *workflows.Settings) { s.AskAgainAfter = 300 * time.Millisecond },
			events: func(b *bench) client.WorkflowRun {
				b.start()
				b.compressed("https://cdn.example.org/small.mp4")
				b.failed(b.current(), workflows.ErrTranscriptionGivenUp)
				b.stop() // the next one has the patience to see ask 4 before it asks once more
				b.cfg.Settings = patient()
				b.steps = activities.New(b.steps.Deps, b.cfg, slog.New(slog.DiscardHandler))
				b.startWorker()
				in := b.input()
				in.Retry = &workflows.Retry{}
				run, err := b.temporal.ExecuteWorkflow(b.ctx, b.options(), workflows.VideoWorkflow, in)
				if err != nil {
					b.t.Fatal(err)
				}
				b.pipeline("ask 4", func(p contract.Pipeline) bool { return p.Transcription.Asks == 4 })
				_, stored := b.transcribed("at last")
				b.completed(run, contract.Done, contract.Done)
				b.stored(stored)
				return run
			},
		},
		"transcript-refused": {
			settings: func(s *workflows.Settings) { s.OverdueAfter = time.Hour },
			events: func(b *bench) client.WorkflowRun {
				b.storage.fail(http.StatusRequestEntityTooLarge)
				run := b.start()
				b.transcribed("too large")
				b.compressed("https://cdn.example.org/small.mp4")
				b.failed(run, workflows.ErrTranscriptionGivenUp)
				b.pipeline("given up", func(p contract.Pipeline) bool { return p.Transcription.State == contract.GivenUp })
				return run
			},
		},
		"broker-down": {events: func(b *bench) client.WorkflowRun {
			b.publish.away(true)
			run := b.start()
			b.pipeline("an error that callers see", func(p contract.Pipeline) bool { return p.Transcription.LastError != nil })
			b.publish.away(false)
			b.pipeline("the first ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
			b.transcribed("hello")
			b.compressed("https://cdn.example.org/small.mp4")
			b.completed(run, contract.Done, contract.Done)
			b.askedFor(1)
			return run
		}},
		"answered-while-the-broker-is-down": {events: func(b *bench) client.WorkflowRun {
			b.publish.away(true)
			run := b.start()
			b.pipeline("an error that callers see", func(p contract.Pipeline) bool { return p.Transcription.LastError != nil })
			b.transcribed("hello")
			b.compressed("https://cdn.example.org/small.mp4")
			b.completed(run, contract.Done, contract.Done)
			b.askedFor(0)
			return run
		}},
		"retried-while-the-broker-is-down": {events: func(b *bench) client.WorkflowRun {
			b.publish.away(true)
			run := b.start()
			b.pipeline("an error that callers see", func(p contract.Pipeline) bool { return p.Transcription.LastError != nil })
			b.db.Exec(b.t, "update videos set camera_video_url = 'https://cdn.example.org/mended.mp4'")
			if got, err := b.retry(workflows.Retry{Force: true}); err != nil || got.Ask != 2 {
				b.t.Fatalf("got ask %d, error %v; want ask 2: ask 1 may have been published", got.Ask, err)
			}
			b.publish.away(false)
			b.pipeline("the second ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 2 && p.Transcription.AskedAt != nil })
			if asks := b.asks(); len(asks) != 1 || !strings.Contains(string(asks[0].Value), "mended.mp4") {
				b.t.Errorf("got %d requests, want one with the row's present URL", len(asks))
			}
			b.transcribed("hello")
			b.compressed("https://cdn.example.org/small.mp4")
			b.completed(run, contract.Done, contract.Done)
			return run
		}},
		"created-elsewhere": {events: func(b *bench) client.WorkflowRun {
			b.id = b.db.Video(b.t, b.course)
			_, stored := b.transcribed("foreign")
			run := b.current()
			b.completed(run, contract.Done, contract.Untracked)
			b.stored(stored)
			b.askedFor(0)
			return run
		}},
		"deleted-while-waiting": {events: func(b *bench) client.WorkflowRun {
			run := b.start()
			b.pipeline("the first ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
			b.delete()
			if err := b.temporal.CancelWorkflow(b.ctx, run.GetID(), ""); err != nil {
				b.t.Fatal(err)
			}
			b.missing(run, workflows.Deleted)
			return run
		}},
		"deleted-before-the-result": {events: func(b *bench) client.WorkflowRun {
			b.delete()
			b.transcribed("too late")
			run := b.current()
			b.missing(run, workflows.Deleted)
			b.stored("")
			return run
		}},
		"unknown": {
			settings: func(s *workflows.Settings) { s.UnknownGrace = 200 * time.Millisecond },
			events: func(b *bench) client.WorkflowRun {
				b.db.Exec(b.t, "delete from pipeline.videos")
				b.db.RemoveVideo(b.t, b.id)
				b.transcribed("whose?")
				run := b.current()
				b.missing(run, workflows.Unknown)
				b.stored("")
				return run
			},
		},
		"cancelled-by-hand": {events: func(b *bench) client.WorkflowRun {
			run := b.start()
			b.pipeline("the first ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
			if err := b.temporal.CancelWorkflow(b.ctx, run.GetID(), ""); err != nil {
				b.t.Fatal(err)
			}
			if _, err := b.end(run); !temporal.IsCanceledError(err) {
				b.t.Errorf("got %v, want a cancelled run", err)
			}
			return run
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := patient()
			if path.settings != nil {
				path.settings(&settings)
			}
			b := newBench(t, temporaltest.New(t), settings)
			b.keep(name, path.events(b))
		})
	}
}

// TestVideoContinuesAsNew floods a run until its history is long: the successor goes on, with the newest result.
func TestVideoContinuesAsNew(t *testing.T) {
	t.Parallel()
	b := newBench(t, temporaltest.ShortHistories(t), patient())
	b.storage.fail(http.StatusTooManyRequests) // refused for certain: no claim stays in doubt
	first := b.start()
	b.pipeline("the first ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
	firstID := first.GetRunID()
	var stored string
	b.wait("a successor", func() bool {
		_, stored = b.transcribed("newest")
		d, err := b.temporal.DescribeWorkflowExecution(b.ctx, first.GetID(), firstID)
		return err == nil && d.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
	})
	b.storage.fail(0)
	b.compressed("https://cdn.example.org/small.mp4")
	b.completed(first, contract.Done, contract.Done)
	b.stored(stored)
	b.askedFor(1)
	b.keep("continued-as-new-successor", first) // waiting for its end has moved it along the chain
	b.keep("continued-as-new", b.temporal.GetWorkflow(b.ctx, first.GetID(), firstID))
}

// TestVideoWithoutSearchAttributes runs on a server that has none of them.
func TestVideoWithoutSearchAttributes(t *testing.T) {
	t.Parallel()
	settings := patient()
	settings.SearchAttributes = false
	b := newBench(t, temporaltest.NewBare(t), settings)
	run := b.start()
	b.transcribed("hello")
	b.compressed("https://cdn.example.org/small.mp4")
	b.completed(run, contract.Done, contract.Done)
	b.keep("without-search-attributes", run)
}

// TestVideoWithoutTitle runs where Temporal is not to learn titles: nothing of the run has it.
func TestVideoWithoutTitle(t *testing.T) {
	t.Parallel()
	b := newBench(t, temporaltest.New(t), patient())
	b.stop()
	b.hideTitle()
	b.startWorker()
	run := b.start()
	b.pipeline("the first ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
	b.transcribed("hello")
	b.compressed("https://cdn.example.org/small.mp4")
	b.completed(run, contract.Done, contract.Done)
	data, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(&historypb.History{Events: b.history(run)})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), title) {
		t.Errorf("the title is in the history:\n%s", data)
	}
	b.keep("without-title", run)
}

// TestReset resets a finished run to its beginning: the signals come again, no effect does.
func TestReset(t *testing.T) {
	t.Parallel()
	b := newBench(t, temporaltest.New(t), patient())
	run := b.start()
	b.pipeline("the first ask", func(p contract.Pipeline) bool { return p.Transcription.Asks == 1 })
	_, stored := b.transcribed("hello")
	b.compressed("https://cdn.example.org/small.mp4")
	b.completed(run, contract.Done, contract.Done)
	before := b.pipeline("finished", func(contract.Pipeline) bool { return true })

	b.reset(run)
	again := b.current()
	if again.GetRunID() == run.GetRunID() {
		t.Fatal("the reset made no new run")
	}
	b.completed(again, contract.Done, contract.Done)
	b.stored(stored)
	b.askedFor(1)
	after := b.pipeline("finished", func(contract.Pipeline) bool { return true })
	if after.Revision != before.Revision {
		t.Errorf("the row was changed by the reset: revision %d, then %d", before.Revision, after.Revision)
	}
	b.keep("reset", again)
}

// trouble is the search attribute of that name; nil when it is not set.
func (b *bench) trouble(run client.WorkflowRun) []string {
	b.t.Helper()
	d, err := b.temporal.DescribeWorkflowExecution(b.ctx, run.GetID(), run.GetRunID())
	if err != nil {
		b.t.Fatal(err)
	}
	value := d.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()[workflows.AttributeTrouble.GetName()]
	if len(value.GetData()) == 0 {
		return nil
	}
	var names []string
	if err := converter.GetDefaultDataConverter().FromPayload(value, &names); err != nil {
		b.t.Fatal(err)
	}
	return names
}

// completed waits for a run to complete with these states.
func (b *bench) completed(run client.WorkflowRun, transcription, compression contract.TrackState) {
	b.t.Helper()
	got, err := b.end(run)
	if err != nil || got.Transcription != transcription || got.Compression != compression {
		b.t.Fatalf("got %+v, error %v; want a completed run with transcription %s, compression %s", got, err, transcription, compression)
	}
}

func (b *bench) failed(run client.WorkflowRun, want string) {
	b.t.Helper()
	if _, err := b.end(run); errorType(err) != want {
		b.t.Fatalf("got %v, want a run that failed with %s", err, want)
	}
}

func (b *bench) missing(run client.WorkflowRun, want workflows.Missing) {
	b.t.Helper()
	got, err := b.end(run)
	if err != nil || got.Missing != want {
		b.t.Fatalf("got %+v, error %v; want a completed run that says %s", got, err, want)
	}
}

func (b *bench) delete() {
	b.t.Helper()
	if _, err := b.db.Store.DeleteVideo(b.ctx, b.id, 0); err != nil {
		b.t.Fatal(err)
	}
}

// stored compares the stored transcript; "" means that none may be there.
func (b *bench) stored(want string) {
	b.t.Helper()
	if got := b.storage.object(b.id.TranscriptPath()); got != want {
		b.t.Errorf("stored: got %q, want %q", got, want)
	}
	if want == "" {
		return
	}
	if got := b.db.TranscriptURL(b.t, b.id); !strings.HasSuffix(got, "/storage/v1/object/public/captions/"+b.id.TranscriptPath()) {
		b.t.Errorf("got transcript_url %q", got)
	}
}

// askedFor compares the asks on the topic: asks 1 to n, each with its key. On a busy machine, where an attempt has run out
// of time, one may be repeated as it is.
func (b *bench) askedFor(n int) {
	b.t.Helper()
	key := func(r *kgo.Record) string {
		for _, h := range r.Headers {
			if h.Key == contract.HeaderIdempotencyKey {
				return string(h.Value)
			}
		}
		return ""
	}
	got := slices.CompactFunc(b.asks(), func(x, y *kgo.Record) bool { return key(x) == key(y) && bytes.Equal(x.Value, y.Value) })
	if len(got) != n {
		b.t.Errorf("got %d requests on %s, want %d", len(got), requests, n)
	}
	for i, r := range got {
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		ask := contract.Ask{Video: b.id, N: i + 1}
		if string(r.Key) != string(b.id) || headers[contract.HeaderIdempotencyKey] != ask.Key() ||
			headers[contract.HeaderTraceparent] != ask.Traceparent() || headers[contract.HeaderContentType] != contract.ContentTypeJSON ||
			headers[contract.HeaderTimestamp] == "" {
			b.t.Errorf("request %d has the key %q and the headers %v", i+1, r.Key, headers)
		}
		if !strings.Contains(string(r.Value), `"video_id":"`+string(b.id)+`","video_url":"https://`) || !strings.Contains(string(r.Value), `"userId":"`) {
			b.t.Errorf("request %d: %s", i+1, r.Value)
		}
	}
}

func (b *bench) retry(in workflows.Retry) (workflows.Retried, error) {
	b.t.Helper()
	handle, err := b.temporal.UpdateWithStartWorkflow(b.ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: b.temporal.NewWithStartWorkflowOperation(b.options(), workflows.VideoWorkflow, b.input()),
		UpdateOptions: client.UpdateWorkflowOptions{
			WorkflowID: workflows.WorkflowID(b.id), UpdateName: workflows.UpdateRetry, Args: []any{in},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return workflows.Retried{}, err
	}
	var got workflows.Retried
	return got, handle.Get(b.ctx, &got)
}

func errorType(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}

func (b *bench) history(run client.WorkflowRun) []*historypb.HistoryEvent {
	b.t.Helper()
	var events []*historypb.HistoryEvent
	for it := b.temporal.GetWorkflowHistory(b.ctx, run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		event, err := it.Next()
		if err != nil {
			b.t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

// keep writes the history of a run that has ended, unless there is one of that name: recorded histories are for ever.
func (b *bench) keep(name string, run client.WorkflowRun) {
	b.t.Helper()
	file := filepath.Join("..", "workflows", "testdata", "histories", name+".json")
	if _, err := os.Stat(file); !*record || err == nil {
		return
	}
	data, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(&historypb.History{Events: b.history(run)})
	if err == nil {
		err = os.WriteFile(file, append(data, '\n'), 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
