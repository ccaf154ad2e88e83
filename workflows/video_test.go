package workflows_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// ending is what a row of the table is judged by.
type ending struct {
	Asked       []int   // asks published, in order, repeats included
	Stored, Set []int64 // offsets of the results whose effects happened, in order

	Transcription, Compression contract.TrackState
	Missing                    workflows.Missing
	Error                      string // type of the error that the run fails with
}

// TestVideo tells every order of events that a run may see, and what is asked, stored and set in the end.
func TestVideo(t *testing.T) {
	t.Parallel()
	done := ending{Asked: []int{1}, Stored: []int64{1}, Set: []int64{1}, Transcription: contract.Done, Compression: contract.Done}
	with := func(change func(*ending)) ending {
		e := done
		change(&e)
		return e
	}
	const minute, hour = time.Minute, time.Hour

	for name, tc := range map[string]struct {
		events func(*world)
		in     workflows.VideoInput
		want   ending
	}{
		"both results in time": {
			events: func(w *world) {
				w.at(5*minute, func() { w.transcribed(1) })
				w.at(9*minute, func() { w.compressed(1) })
			},
			want: done,
		},
		"compression first": {
			events: func(w *world) {
				w.at(1*minute, func() { w.compressed(1) })
				w.at(9*minute, func() { w.transcribed(1) })
			},
			want: done,
		},
		"a result before the first step is not asked for": {
			events: func(w *world) {
				w.at(0, func() { w.transcribed(1); w.compressed(1) })
			},
			want: with(func(e *ending) { e.Asked = nil }),
		},
		"a result during the first step": {
			events: func(w *world) {
				w.during[workflows.StepBegin] = func() { w.transcribed(1) }
				w.at(minute, func() { w.compressed(1) })
			},
			want: done,
		},
		"each result twice": {
			events: func(w *world) {
				w.at(1*minute, func() { w.transcribed(1) })
				w.at(2*minute, func() { w.transcribed(1) })
				w.at(3*minute, func() { w.compressed(1); w.compressed(1) })
			},
			want: done,
		},
		"an older result after a newer one": {
			events: func(w *world) {
				w.at(1*minute, func() { w.transcribed(7) })
				w.at(2*minute, func() { w.transcribed(6) })
				w.at(3*minute, func() { w.compressed(1) })
			},
			want: with(func(e *ending) { e.Stored = []int64{7} }),
		},
		"a newer result after an older one": {
			events: func(w *world) {
				w.at(1*minute, func() { w.transcribed(6) })
				w.at(2*minute, func() { w.transcribed(7) })
				w.at(3*minute, func() { w.compressed(1) })
			},
			want: with(func(e *ending) { e.Stored = []int64{6, 7} }),
		},
		"several while one is stored: the newest alone": {
			events: func(w *world) {
				w.during[workflows.StepStoreTranscript] = func() { w.transcribed(3); w.transcribed(9); w.transcribed(5) }
				w.at(1*minute, func() { w.transcribed(2) })
				w.at(3*minute, func() { w.compressed(1) })
			},
			want: with(func(e *ending) { e.Stored = []int64{2, 9} }),
		},
		"a result during the last step is applied before the run ends": {
			events: func(w *world) {
				w.at(1*minute, func() { w.compressed(1) })
				w.at(2*minute, func() { w.transcribed(1) })
				w.during[workflows.StepStoreTranscript] = func() { w.compressed(2); w.transcribed(2) }
			},
			want: with(func(e *ending) { e.Stored, e.Set = []int64{1, 2}, []int64{1, 2} }),
		},
		"silence: asked three times, then given up": {
			events: func(w *world) { w.at(hour, func() { w.compressed(1) }) },
			want: with(func(e *ending) {
				e.Asked, e.Stored, e.Transcription, e.Error = []int{1, 2, 3}, nil, contract.GivenUp, workflows.ErrTranscriptionGivenUp
			}),
		},
		"silence on both tracks": {
			events: func(*world) {},
			want: ending{
				Asked: []int{1, 2, 3}, Transcription: contract.GivenUp, Compression: contract.GivenUp, Error: workflows.ErrTranscriptionGivenUp,
			},
		},
		"the answer to the second ask": {
			events: func(w *world) {
				w.at(hour, func() { w.compressed(1) })
				w.at(7*hour, func() { w.transcribed(1) })
			},
			want: with(func(e *ending) { e.Asked = []int{1, 2} }),
		},
		"given up and then answered, before the other track is settled": {
			events: func(w *world) {
				w.at(20*hour, func() { w.transcribed(1) })
				w.at(21*hour, func() { w.compressed(1) })
			},
			want: with(func(e *ending) { e.Asked = []int{1, 2, 3} }),
		},
		"compression alone is silent: overdue, then given up": {
			events: func(w *world) { w.at(minute, func() { w.transcribed(1) }) },
			want: with(func(e *ending) {
				e.Set, e.Compression, e.Error = nil, contract.GivenUp, workflows.ErrCompressionGivenUp
			}),
		},
		"compression comes while overdue": {
			events: func(w *world) {
				w.at(minute, func() { w.transcribed(1) })
				w.at(30*hour, func() {
					w.locked(func() {
						if w.now.Compression != contract.Overdue {
							panic("not overdue: " + w.now.Compression)
						}
					})
					w.compressed(1)
				})
			},
			want: done,
		},
		"every step fails at first": {
			events: func(w *world) {
				for _, step := range []string{workflows.StepBegin, workflows.StepStoreTranscript, workflows.StepSetVideoURL} {
					w.failing[step] = 3
				}
				w.at(1*minute, func() { w.transcribed(1) })
				w.at(9*minute, func() { w.compressed(1) })
			},
			want: done,
		},
		"a compression passes a transcript that cannot be stored yet": {
			events: func(w *world) {
				w.failing[workflows.StepStoreTranscript] = 100
				w.at(1*minute, func() { w.transcribed(1) })
				w.at(2*minute, func() { w.compressed(1) })
				w.at(10*minute, func() {
					w.locked(func() {
						if len(w.set) != 1 || len(w.stored) != 0 {
							panic("the compression waited for the transcript")
						}
					})
				})
			},
			want: done,
		},
		"a transcript that can never be stored is given up": {
			events: func(w *world) {
				w.finally[workflows.StepStoreTranscript] = temporal.NewNonRetryableApplicationError("413: too large", "TooLarge", nil)
				w.at(1*minute, func() { w.transcribed(1) })
				w.at(2*minute, func() { w.compressed(1) })
			},
			want: with(func(e *ending) {
				e.Stored, e.Transcription, e.Error = nil, contract.GivenUp, workflows.ErrTranscriptionGivenUp
			}),
		},
		"the record is gone or another: asked again at once": {
			events: func(w *world) {
				w.gone[7] = true
				w.at(1*minute, func() { w.transcribed(7) })
				w.at(2*minute, func() { w.compressed(1) })
				w.at(3*minute, func() { w.transcribed(8) })
			},
			want: with(func(e *ending) { e.Asked, e.Stored = []int{1, 2}, []int64{8} }),
		},
		"every record is gone: given up after the last ask": {
			events: func(w *world) {
				w.gone[7], w.gone[8], w.gone[9] = true, true, true
				for i := range int64(3) {
					w.at(time.Duration(i+1)*minute, func() { w.transcribed(i + 7) })
				}
				w.at(9*minute, func() { w.compressed(1) })
			},
			want: with(func(e *ending) {
				e.Asked, e.Stored, e.Transcription, e.Error = []int{1, 2, 3}, nil, contract.GivenUp, workflows.ErrTranscriptionGivenUp
			}),
		},
		"a newer record is gone after an older one was stored: not asked again": {
			events: func(w *world) {
				w.gone[2] = true
				w.at(1*minute, func() { w.transcribed(1) })
				w.at(2*minute, func() { w.transcribed(2) })
				w.at(3*minute, func() { w.compressed(1) })
			},
			want: done,
		},
		"no broker at first: asked when it is there": {
			events: func(w *world) {
				w.publishDown = true
				w.at(30*minute, func() { w.locked(func() { w.publishDown = false }) })
				w.at(50*minute, func() { w.transcribed(1); w.compressed(1) })
			},
			want: done,
		},
		"no broker for requests, but a result comes": {
			events: func(w *world) {
				w.publishDown = true
				w.at(30*minute, func() { w.transcribed(1); w.compressed(1) })
			},
			want: with(func(e *ending) { e.Asked = nil }),
		},
		"the wait resumes from the recorded time": {
			events: func(w *world) {
				at := w.env.Now().Add(-5 * hour)
				w.now.Asks, w.now.AskedAt, w.now.CompressionSince = 1, &at, &at
				w.at(90*minute, func() {
					w.locked(func() {
						if w.now.Asks != 2 {
							panic("not asked again an hour after the run began")
						}
					})
					w.transcribed(1)
					w.compressed(1)
				})
			},
			want: with(func(e *ending) { e.Asked = []int{2} }),
		},
		"a late compression for a given-up video asks for nothing": {
			events: func(w *world) {
				w.now.Asks, w.now.Transcription = 3, contract.GivenUp
				w.at(0, func() { w.compressed(1) })
			},
			want: ending{Set: []int64{1}, Transcription: contract.GivenUp, Compression: contract.Done},
		},
		"a late transcript for a given-up video": {
			events: func(w *world) {
				w.now.Asks, w.now.Transcription, w.now.Compression = 3, contract.GivenUp, contract.GivenUp
				w.at(0, func() { w.transcribed(1) })
			},
			want: ending{Stored: []int64{1}, Transcription: contract.Done, Compression: contract.GivenUp},
		},
		"a foreign video: the result at hand, nothing more": {
			events: func(w *world) {
				w.now.Transcription, w.now.Compression = contract.Untracked, contract.Untracked
				w.at(0, func() { w.transcribed(1) })
			},
			want: ending{Stored: []int64{1}, Transcription: contract.Done, Compression: contract.Untracked},
		},
		"a finished video started by hand": {
			events: func(w *world) { w.now.Transcription, w.now.Compression = contract.Done, contract.Done },
			want:   ending{Transcription: contract.Done, Compression: contract.Done},
		},
		"an unknown video: nothing, after a grace": {
			events: func(w *world) {
				w.row = false
				w.at(0, func() { w.transcribed(1) })
			},
			want: ending{Missing: workflows.Unknown},
		},
		"a result before the row of its video": {
			events: func(w *world) {
				w.row = false
				w.at(0, func() { w.transcribed(1) })
				w.at(minute, func() { w.locked(func() { w.row = true }); w.compressed(1) })
			},
			want: with(func(e *ending) { e.Asked = nil }),
		},
		"a deleted video": {
			events: func(w *world) {
				w.tombstone = true
				w.at(0, func() { w.transcribed(1) })
			},
			want: ending{Missing: workflows.Deleted},
		},
		"deleted while waiting": {
			events: func(w *world) {
				w.at(hour, func() { w.locked(func() { w.tombstone = true }); w.env.CancelWorkflow() })
			},
			want: ending{Asked: []int{1}, Missing: workflows.Deleted},
		},
		"vanished while waiting: found by the next ask": {
			events: func(w *world) { w.at(hour, func() { w.locked(func() { w.row = false }) }) },
			want:   ending{Asked: []int{1}, Missing: workflows.Unknown},
		},
		"deleted while a result is stored": {
			events: func(w *world) {
				w.during[workflows.StepStoreTranscript] = func() { w.locked(func() { w.tombstone = true }) }
				w.at(minute, func() { w.transcribed(1); w.compressed(1) })
			},
			want: ending{Asked: []int{1}, Missing: workflows.Deleted},
		},
		"cancelled by hand: finishes what is in hand": {
			events: func(w *world) {
				w.during[workflows.StepStoreTranscript] = func() { w.env.CancelWorkflow() }
				w.at(minute, func() { w.transcribed(1) })
			},
			want: ending{Asked: []int{1}, Stored: []int64{1}, Transcription: contract.Done, Compression: contract.Waiting, Error: "canceled"},
		},
		"retried by hand after it was given up": {
			events: func(w *world) {
				w.at(19*hour, func() { w.retry(workflows.Retry{}, &retried{}) })
				w.at(20*hour, func() { w.transcribed(1); w.compressed(1) })
			},
			want: with(func(e *ending) { e.Asked = []int{1, 2, 3, 4} }),
		},
		"retried by hand and silent again: another three asks": {
			events: func(w *world) {
				w.at(1*hour, func() { w.compressed(1) })
				w.at(17*hour, func() { w.retry(workflows.Retry{Force: true}, &retried{}) })
			},
			want: with(func(e *ending) {
				e.Asked, e.Stored, e.Transcription, e.Error = []int{1, 2, 3, 4, 5, 6}, nil, contract.GivenUp, workflows.ErrTranscriptionGivenUp
			}),
		},
		"carried over from the run before": {
			in: workflows.VideoInput{Carried: &workflows.Carried{
				Transcript: ref("update_transcribe", 4), Compression: ref("finish_compress", 5),
			}},
			events: func(*world) {},
			want:   with(func(e *ending) { e.Asked, e.Stored, e.Set = nil, []int64{4}, []int64{5} }),
		},
		"carried over that a track was given up": {
			in: workflows.VideoInput{Carried: &workflows.Carried{GaveUp: []workflows.GaveUp{{Track: contract.TranscriptionTrack, Reason: "silence"}}}},
			events: func(w *world) {
				w.now.Asks, w.now.Transcription = 3, contract.GivenUp
				w.at(hour, func() { w.compressed(1) })
			},
			want: ending{Set: []int64{1}, Transcription: contract.GivenUp, Compression: contract.Done, Error: workflows.ErrTranscriptionGivenUp},
		},
		"an id in capitals": {
			in: workflows.VideoInput{VideoID: "0B6F1C1E-9C5D-4F0E-8A44-3F6F5A0D7B11"},
			events: func(w *world) {
				w.at(minute, func() { w.transcribed(1); w.compressed(1) })
			},
			want: done,
		},
		"an id that is none": {
			in:     workflows.VideoInput{VideoID: "../../etc/passwd"},
			events: func(*world) {},
			want:   ending{Transcription: contract.Waiting, Compression: contract.Waiting, Error: workflows.ErrInvalidInput},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.events(w)
			if tc.in.VideoID == "" {
				tc.in.VideoID = string(videoID)
			}
			result, err := w.run(tc.in)

			got := ending{
				Asked: w.asked, Stored: w.stored, Set: w.set,
				Transcription: w.now.Transcription, Compression: w.now.Compression, Missing: result.Missing, Error: errorType(err),
			}
			if temporal.IsCanceledError(err) {
				got.Error = "canceled"
			}
			if got.Missing != "" { // the row, and its state with it, is gone
				got.Transcription, got.Compression = "", ""
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("ending (-want +got):\n%s\nerror: %v", diff, err)
			}
		})
	}
}

func ref(topic string, offset int64) *contract.Reference {
	r := newReference(topic, offset, time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC))
	return &r
}

// TestVideoContinuesAsNew sees a run with a long history hand over what it took from signals.
func TestVideoContinuesAsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.failing[workflows.StepStoreTranscript] = 1000 // storage is down
	w.at(time.Minute, func() { w.transcribed(1) })
	w.at(time.Hour, func() {
		w.env.SetContinueAsNewSuggested(true)
		w.transcribed(2)
	})
	_, err := w.run(workflows.VideoInput{VideoID: string(videoID)})
	var next *workflow.ContinueAsNewError
	if !errors.As(err, &next) {
		t.Fatalf("got %v, want the run to continue as new", err)
	}
	in := decodeInput(t, next)
	if in.Carried == nil || in.Carried.Transcript == nil || in.Carried.Transcript.Offset != 2 {
		t.Fatalf("got %+v carried over, want the newest result, at offset 2", in.Carried)
	}

	w.failing[workflows.StepStoreTranscript] = 0
	w.nextRun(w.env.Now())
	w.at(time.Minute, func() { w.compressed(1) })
	if _, err := w.run(in); err != nil {
		t.Fatalf("the successor: %v", err)
	}
	if diff := cmp.Diff([]int64{2}, w.stored); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{1}, w.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// TestVideoReset runs a second time from the start, as after a reset: the signals come again, no effect does.
func TestVideoReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.at(time.Minute, func() { w.transcribed(1); w.compressed(1) })
	w.at(2*time.Minute, func() { w.transcribed(2) })
	if _, err := w.run(workflows.VideoInput{VideoID: string(videoID)}); err != nil {
		t.Fatal(err)
	}
	w.nextRun(w.env.Now())
	w.at(0, func() { w.transcribed(1); w.compressed(1); w.transcribed(2) })
	if _, err := w.run(workflows.VideoInput{VideoID: string(videoID)}); err != nil {
		t.Fatal(err)
	}
	if len(w.asked) != 1 || len(w.set) != 1 || len(w.stored) > 2 {
		t.Errorf("got asked %v, stored %v, set %v; want no effect to repeat", w.asked, w.stored, w.set)
	}
}

// TestRetry tells when a retry is refused, and why.
func TestRetry(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		state   func(*world)
		in      workflows.Retry
		ask     int
		refused string
	}{
		"given up": {
			state: func(w *world) { w.now.Asks, w.now.Transcription = 3, contract.GivenUp },
			ask:   4,
		},
		"given up, forced": {
			state: func(w *world) { w.now.Asks, w.now.Transcription = 3, contract.GivenUp },
			in:    workflows.Retry{Force: true}, ask: 4,
		},
		"finished": {
			state:   func(w *world) { w.now.Asks, w.now.Transcription = 1, contract.Done },
			refused: workflows.ErrNothingToRetry,
		},
		"finished, forced": {
			state: func(w *world) { w.now.Asks, w.now.Transcription = 1, contract.Done },
			in:    workflows.Retry{Force: true}, ask: 2,
		},
		"an answer is waited for": {
			state:   func(*world) {},
			refused: workflows.ErrNothingToRetry,
		},
		"an answer is waited for, forced": {
			state: func(*world) {},
			in:    workflows.Retry{Force: true}, ask: 2,
		},
		"created elsewhere": {
			state: func(w *world) { w.now.Transcription, w.now.Compression = contract.Untracked, contract.Untracked },
			ask:   1,
		},
		"deleted": {
			state:   func(w *world) { w.tombstone = true },
			refused: workflows.ErrNoVideo,
		},
		"unknown": {
			state:   func(w *world) { w.row = false },
			refused: workflows.ErrNoVideo,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.state(w)
			var got retried
			w.at(0, func() { w.retry(tc.in, &got) })
			w.at(time.Minute, func() { w.transcribed(1); w.compressed(1) })
			if _, err := w.run(workflows.VideoInput{VideoID: string(videoID)}); err != nil {
				t.Fatal(err)
			}
			if got.ask != tc.ask || errorType(got.err) != tc.refused {
				t.Errorf("got ask %d, error %v; want ask %d, error type %q", got.ask, got.err, tc.ask, tc.refused)
			}
			asked := 0
			if len(w.asked) > 0 {
				asked = w.asked[len(w.asked)-1]
			}
			if tc.ask > 0 && asked != tc.ask {
				t.Errorf("got last ask published %d, want %d", asked, tc.ask)
			}
		})
	}
}

// TestVideoUnderAnotherWorkflowID refuses a run that would not be the only one of its video.
func TestVideoUnderAnotherWorkflowID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.run(workflows.VideoInput{VideoID: "11111111-2222-3333-4444-555555555555"})
	if got := errorType(err); got != workflows.ErrInvalidInput {
		t.Errorf("got %v, want an error of type %s", err, workflows.ErrInvalidInput)
	}
}
