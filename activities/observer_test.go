package activities_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/workflows"
)

// observed keeps what an observer is told.
type observed struct {
	mu        sync.Mutex
	missing   []workflows.Missing
	tries     []activities.Try
	captioned []time.Duration
}

func (o *observed) VideoMissing(why workflows.Missing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.missing = append(o.missing, why)
}

func (o *observed) ResultTried(try activities.Try) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tries = append(o.tries, try)
}

func (o *observed) Captioned(after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.captioned = append(o.captioned, after)
}

func (o *observed) last() activities.Try {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tries) == 0 {
		return activities.Try{}
	}
	return o.tries[len(o.tries)-1]
}

// TestObserver_of_compressions is told of each try, as of the transcripts in TestStoreTranscript.
func TestObserver_of_compressions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(*fixture)
		want    workflows.Outcome // empty: it fails
	}{
		"applied":       {want: workflows.ResultApplied},
		"superseded":    {prepare: func(f *fixture) { f.compress(6) }, want: workflows.ResultSuperseded},
		"deleted":       {prepare: (*fixture).delete, want: workflows.VideoMissing},
		"database away": {prepare: func(f *fixture) { f.db.Store.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := new(observed)
			f := setup(t, activities.Config{Observer: seen})
			if tc.prepare != nil {
				tc.prepare(f)
			}
			in := f.compression(5)
			_, _ = f.SetVideoURL(t.Context(), in)
			want := activities.Try{
				Track: contract.CompressionTrack, VideoID: f.id, RecordTime: in.Result.Position.Time, Outcome: tc.want,
			}
			if diff := cmp.Diff(want, seen.last()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func (f *fixture) compression(offset int64) workflows.ApplyInput {
	return workflows.ApplyInput{VideoID: f.id, Result: contract.Reference{
		Topic: "finish_compress", TopicID: f.topic, Offset: offset, URL: "https://cdn.example.org/small.mp4",
		Position: contract.NewPosition(uuid.Nil, 0, offset, time.Now(), time.Now()),
	}}
}

func (f *fixture) compress(offset int64) {
	_, err := f.SetVideoURL(f.t.Context(), f.compression(offset))
	f.must(err)
}

// TestObserver_of_captions is told of the first transcript of a video that was asked for.
func TestObserver_of_captions(t *testing.T) {
	t.Parallel()
	took := func(f *fixture, created, asked time.Duration) {
		f.db.Exec(f.t, `update pipeline.videos set created_at = now() - $1::interval, asked_at = now() - $2::interval`, created, asked)
	}
	for name, tc := range map[string]struct {
		prepare func(*fixture)
		want    []time.Duration
	}{
		"asked for once": {
			prepare: func(f *fixture) { f.asked(); took(f, 3*time.Hour, time.Hour); f.store(5) },
			want:    []time.Duration{time.Hour},
		},
		"asked for twice": {
			prepare: func(f *fixture) {
				f.asked()
				_, err := f.AskForTranscription(f.t.Context(), workflows.AskInput{VideoID: f.id, N: 2})
				f.must(err)
				took(f, 3*time.Hour, time.Hour)
				f.store(5)
			},
			want: []time.Duration{3 * time.Hour},
		},
		"a second transcript": {
			prepare: func(f *fixture) { f.asked(); took(f, 3*time.Hour, time.Hour); f.store(5); f.store(6); f.store(6) },
			want:    []time.Duration{time.Hour},
		},
		"never asked for": {prepare: func(f *fixture) { f.store(5) }},
		"not stored yet": {prepare: func(f *fixture) {
			f.asked()
			answer(502, "bad gateway")(f)
			_, _ = f.StoreTranscript(f.t.Context(), f.result(5))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := new(observed)
			f := setup(t, activities.Config{Observer: seen})
			tc.prepare(f)
			about := cmp.Comparer(func(x, y time.Duration) bool { return (x - y).Abs() < time.Minute })
			if diff := cmp.Diff(tc.want, seen.captioned, about); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
