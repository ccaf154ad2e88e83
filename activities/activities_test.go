package activities_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/workflows"
)

// fixture is activities on a real database, with a video that waits for both results; what they reach beyond it is held
// still, to fail at the moment that a test wants.
type fixture struct {
	*activities.Activities

	t  *testing.T
	db *postgrestest.DB
	id contract.VideoID

	topic uuid.UUID
	// records by offset; a missing one is gone.
	records map[int64][]byte
	readErr error

	mu        sync.Mutex
	published []published
	publish   func() error // nil succeeds
	uploads   int
	upload    func(w http.ResponseWriter) bool // reports whether it answered; nil succeeds
}

type published struct{ Key, Value, IdempotencyKey string }

func setup(t *testing.T, cfg activities.Config) *fixture {
	t.Helper()
	f := &fixture{t: t, db: postgrestest.New(t), id: postgrestest.NewVideoID(), topic: uuid.New(), records: map[int64][]byte{}}
	course, user := f.db.Course(t)
	_, err := f.db.Store.CreateVideo(t.Context(), postgres.NewVideo{UserID: user, Video: contract.Video{
		ID: f.id, CourseID: course, Title: strings.Repeat("Loops ", 42), Description: "What a loop is good for",
		CameraVideoURL: "https://cdn.example.org/raw.mp4", Level: contract.Beginner,
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(f.serveStorage))
	t.Cleanup(server.Close)
	storage, err := supabase.New(supabase.Config{URL: server.URL, ServiceKey: "sb_secret_test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(storage.Close)
	cfg.RequestTopic = "Transcribe"
	f.Activities = activities.New(activities.Deps{Store: f.db.Store, Records: f, Transcripts: storage, Requests: f}, cfg, slog.New(slog.DiscardHandler))
	return f
}

func (f *fixture) serveStorage(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	f.uploads++
	upload := f.upload
	f.mu.Unlock()
	if upload != nil && upload(w) {
		return
	}
	fmt.Fprint(w, `{"Key":"k","Id":"1"}`)
}

// onUpload has storage call answer for each upload; see the field.
func (f *fixture) onUpload(answer func(http.ResponseWriter) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.upload = answer
}

func (f *fixture) Publish(_ context.Context, _ string, key, value []byte, headers ...kafka.Header) (int32, int64, error) {
	p := published{Key: string(key), Value: string(value)}
	for _, h := range headers {
		if h.Key == contract.HeaderIdempotencyKey {
			p.IdempotencyKey = string(h.Value)
		}
	}
	f.published = append(f.published, p)
	if f.publish != nil {
		return 0, 0, f.publish()
	}
	return 0, int64(len(f.published)), nil
}

func (f *fixture) Read(_ context.Context, ref contract.Reference) ([]byte, error) {
	if f.readErr != nil {
		return nil, f.readErr
	}
	value, ok := f.records[ref.Offset]
	if !ok || !ref.Matches(value) {
		return nil, fmt.Errorf("%w: past retention", kafka.ErrGone)
	}
	return value, nil
}

// result appends a transcript of the video and refers to it.
func (f *fixture) result(offset int64) workflows.ApplyInput {
	value := fmt.Appendf(nil, `{"video_id":%q,"transcription":{"duration":1,"language":"en","words":[]},"take":%d}`, f.id, offset)
	f.records[offset] = value
	return f.refer(offset, value)
}

func (f *fixture) refer(offset int64, value []byte) workflows.ApplyInput {
	sum := sha256.Sum256(value)
	return workflows.ApplyInput{VideoID: f.id, Result: contract.Reference{
		Topic: "update_transcribe", TopicID: f.topic, Offset: offset, Size: len(value), SHA256: sum[:],
		Position: contract.NewPosition(f.topic, 0, offset, time.Now(), time.Now()),
	}}
}

func (f *fixture) pipeline() contract.Pipeline {
	f.t.Helper()
	l, err := f.db.Store.Video(f.t.Context(), f.id)
	if err != nil || l.Pipeline == nil {
		f.t.Fatalf("video %s: %v", f.id, err)
	}
	return *l.Pipeline
}

// claims is how long the claims on the video stand.
func (f *fixture) claims() time.Duration {
	f.t.Helper()
	d, err := f.db.Store.ClaimsUntil(f.t.Context(), f.id)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// TestAskKilledBetweenPublishAndRecord repeats an ask whose record was lost: the same key and the same bytes go out
// again, although the row has changed meanwhile.
func TestAskKilledBetweenPublishAndRecord(t *testing.T) {
	t.Parallel()
	f := setup(t, activities.Config{})
	f.publish = func() error { return errors.New("killed") } // it was published all the same
	if _, err := f.AskForTranscription(t.Context(), workflows.AskInput{VideoID: f.id, N: 1}); err == nil {
		t.Fatal("the first try succeeded")
	}
	if f.pipeline().Transcription.Asks != 0 {
		t.Fatal("an ask is recorded that failed")
	}
	if _, err := f.SetVideoURL(t.Context(), workflows.ApplyInput{VideoID: f.id, Result: contract.Reference{
		Topic: "finish_compress", URL: "https://cdn.example.org/small.mp4", Position: contract.NewPosition(uuid.New(), 0, 1, time.Now(), time.Now()),
	}}); err != nil {
		t.Fatal(err)
	}
	f.publish = nil
	for range 2 { // the second finds it recorded
		s, err := f.AskForTranscription(t.Context(), workflows.AskInput{VideoID: f.id, N: 1})
		if err != nil || s.Asks != 1 || s.AskedAt == nil {
			t.Fatalf("got %+v, error %v; want ask 1 recorded", s, err)
		}
	}
	if len(f.published) != 2 {
		t.Fatalf("published %d times, want 2", len(f.published))
	}
	if diff := cmp.Diff(f.published[0], f.published[1]); diff != "" {
		t.Errorf("the repeat differs (-first +repeat):\n%s", diff)
	}
	if want := (contract.Ask{Video: f.id, N: 1}).Key(); f.published[0].IdempotencyKey != want {
		t.Errorf("got idempotency key %q, want %q", f.published[0].IdempotencyKey, want)
	}

	if _, err := f.AskForTranscription(t.Context(), workflows.AskInput{VideoID: f.id, N: 2}); err != nil {
		t.Fatal(err)
	}
	if f.published[2].IdempotencyKey == f.published[0].IdempotencyKey || f.published[2].Value == f.published[0].Value {
		t.Error("the second ask is not a request of its own, with the row's present URL")
	}
}

// TestBegin loads what a run starts from.
func TestBegin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare   func(*fixture)
		ask       bool
		want      workflows.Snapshot // states and asks alone
		published int
	}{
		"asks at once":             {ask: true, want: workflows.Snapshot{Transcription: contract.Waiting, Compression: contract.Waiting, Asks: 1, AskLimit: 3}, published: 1},
		"a result is in hand":      {want: workflows.Snapshot{Transcription: contract.Waiting, Compression: contract.Waiting, AskLimit: 3}},
		"no broker is no error":    {ask: true, prepare: func(f *fixture) { f.publish = func() error { return errors.New("away") } }, want: workflows.Snapshot{Transcription: contract.Waiting, Compression: contract.Waiting, AskLimit: 3}, published: 1},
		"deleted":                  {ask: true, prepare: (*fixture).delete, want: workflows.Snapshot{Missing: workflows.Deleted}},
		"vanished":                 {ask: true, prepare: func(f *fixture) { f.db.RemoveVideo(f.t, f.id) }, want: workflows.Snapshot{Missing: workflows.Deleted}},
		"unknown":                  {ask: true, prepare: func(f *fixture) { f.id = postgrestest.NewVideoID() }, want: workflows.Snapshot{Missing: workflows.Unknown}},
		"created elsewhere":        {ask: true, prepare: (*fixture).elsewhere, want: workflows.Snapshot{Transcription: contract.Untracked, Compression: contract.Untracked, AskLimit: 3}},
		"asked before this run":    {ask: true, prepare: (*fixture).asked, want: workflows.Snapshot{Transcription: contract.Waiting, Compression: contract.Waiting, Asks: 1, AskLimit: 3}, published: 1},
		"given up before":          {ask: true, prepare: (*fixture).gaveUp, want: workflows.Snapshot{Transcription: contract.GivenUp, Compression: contract.Waiting, AskLimit: 3}},
		"reopened after giving up": {ask: true, prepare: func(f *fixture) { f.gaveUp(); f.reopen() }, want: workflows.Snapshot{Transcription: contract.Waiting, Compression: contract.Waiting, Asks: 1, AskLimit: 3}, published: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := new(observed)
			f := setup(t, activities.Config{Observer: seen})
			if tc.prepare != nil {
				tc.prepare(f)
			}
			plan, err := f.Begin(t.Context(), workflows.BeginInput{VideoID: f.id, Ask: tc.ask})
			if err != nil {
				t.Fatal(err)
			}
			got := plan.Snapshot
			if (got.Asks > 0) != (got.AskedAt != nil) {
				t.Errorf("%d asks, asked at %v", got.Asks, got.AskedAt)
			}
			got.Revision, got.AskedAt, got.CompressionSince = 0, nil, nil
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("snapshot (-want +got):\n%s", diff)
			}
			if len(f.published) != tc.published {
				t.Errorf("published %d requests, want %d", len(f.published), tc.published)
			}
			if told := len(seen.missing) == 1 && seen.missing[0] == tc.want.Missing; told != (tc.want.Missing != "") {
				t.Errorf("was told that videos are missing: %v, want %q", seen.missing, tc.want.Missing)
			}
			if plan.Settings.AskAgainAfter != 6*time.Hour {
				t.Errorf("settings are missing: %+v", plan.Settings)
			}
			// Each run keeps its plan for ever: nothing is in it that it has no use for.
			if waits := plan.Settings.UnknownGrace > 0; waits != (tc.want.Missing == workflows.Unknown) {
				t.Errorf("grace for an unknown video: %s", plan.Settings.UnknownGrace)
			}
			if len(plan.Title) > workflows.MaxTitleBytes {
				t.Errorf("title of %d bytes", len(plan.Title))
			}
		})
	}
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) delete() {
	_, err := f.db.Store.DeleteVideo(f.t.Context(), f.id, 0)
	f.must(err)
}

func (f *fixture) elsewhere() {
	course, _ := f.db.Course(f.t)
	f.id = f.db.Video(f.t, course)
}

func (f *fixture) asked() {
	_, err := f.AskForTranscription(f.t.Context(), workflows.AskInput{VideoID: f.id, N: 1})
	f.must(err)
}

func (f *fixture) gaveUp() {
	_, err := f.GiveUp(f.t.Context(), workflows.GiveUpInput{VideoID: f.id, Track: contract.TranscriptionTrack, Reason: "silence"})
	f.must(err)
}

func (f *fixture) reopen() {
	_, err := f.Reopen(f.t.Context(), workflows.ReopenInput{VideoID: f.id})
	f.must(err)
}

// TestStoreTranscript tells what becomes of a result, and of the claim that was taken for it.
func TestStoreTranscript(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(*fixture)
		// in is the result to store; nil means the one at offset 5.
		in      func(*fixture) workflows.ApplyInput
		outcome workflows.Outcome // "" is an error
		final   bool              // whether the error is
		uploads int
		claimed bool // whether a claim is left standing
	}{
		"stored":            {outcome: workflows.ResultApplied, uploads: 1},
		"stored before":     {prepare: func(f *fixture) { f.store(5) }, outcome: workflows.ResultApplied, uploads: 1},
		"superseded":        {prepare: func(f *fixture) { f.store(6) }, outcome: workflows.ResultSuperseded, uploads: 1},
		"newer":             {prepare: func(f *fixture) { f.store(4) }, outcome: workflows.ResultApplied, uploads: 2},
		"deleted":           {prepare: (*fixture).delete, outcome: workflows.VideoMissing},
		"row vanished":      {prepare: func(f *fixture) { f.db.RemoveVideo(f.t, f.id) }, outcome: workflows.VideoMissing},
		"created elsewhere": {prepare: func(f *fixture) { f.elsewhere(); f.load() }, outcome: workflows.ResultApplied, uploads: 1},
		"record gone": {
			in:      func(f *fixture) workflows.ApplyInput { in := f.result(5); delete(f.records, 5); return in },
			outcome: workflows.ResultGone,
		},
		"another record": {
			in:      func(f *fixture) workflows.ApplyInput { in := f.result(5); in.Result.SHA256[0]++; return in },
			outcome: workflows.ResultGone,
		},
		"another video's transcript": {
			in: func(f *fixture) workflows.ApplyInput {
				f.records[5] = []byte(`{"video_id":"11111111-2222-3333-4444-555555555555","transcription":{"duration":1,"language":"en","words":[]}}`)
				return f.refer(5, f.records[5])
			},
			outcome: workflows.ResultGone,
		},
		"no transcript at all": {
			in:      func(f *fixture) workflows.ApplyInput { f.records[5] = []byte(`[]`); return f.refer(5, f.records[5]) },
			outcome: workflows.ResultGone,
		},
		"broker away":             {prepare: func(f *fixture) { f.readErr = errors.New("no broker answers") }},
		"another is being stored": {prepare: (*fixture).otherClaim, claimed: true},
		"refused: slow down":      {prepare: answer(429, `{"statusCode":"429","error":"slow_down","message":"slow down"}`), uploads: 1},
		"refused: bucket missing": {prepare: answer(400, `{"statusCode":"404","error":"Bucket not found","message":"Bucket not found","code":"NoSuchBucket"}`), uploads: 1},
		"refused: too large":      {prepare: answer(413, `{"statusCode":"413","error":"Payload too large","message":"too large"}`), uploads: 1, final: true},
		"in doubt: 502":           {prepare: answer(502, `<html>bad gateway</html>`), uploads: 1, claimed: true},
		"in doubt: cut":           {prepare: func(f *fixture) { f.onUpload(cut) }, uploads: 1, claimed: true},
		"deleted during the upload": {
			prepare: func(f *fixture) { f.onUpload(func(http.ResponseWriter) bool { f.delete(); return false }) }, uploads: 1, claimed: true,
		},
		"its claim ran out during the upload": {
			prepare: func(f *fixture) {
				f.onUpload(func(http.ResponseWriter) bool { f.db.Exec(f.t, "delete from pipeline.claims"); return false })
			}, uploads: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := new(observed)
			f := setup(t, activities.Config{Observer: seen})
			if tc.prepare != nil {
				tc.prepare(f)
			}
			in := f.result(5)
			if tc.in != nil {
				in = tc.in(f)
			}
			got, err := f.StoreTranscript(t.Context(), in)
			if got.Outcome != tc.outcome || (err == nil) != (tc.outcome != "") {
				t.Fatalf("got outcome %q, error %v; want outcome %q", got.Outcome, err, tc.outcome)
			}
			var app *temporal.ApplicationError
			if final := errors.As(err, &app) && app.NonRetryable(); final != tc.final {
				t.Errorf("got a final error: %t, want %t (%v)", final, tc.final, err)
			}
			want := activities.Try{
				Track: contract.TranscriptionTrack, VideoID: f.id, RecordTime: in.Result.Position.Time, Outcome: tc.outcome, Refused: tc.final,
			}
			if diff := cmp.Diff(want, seen.last()); diff != "" {
				t.Errorf("the observer is told (-want +got):\n%s", diff)
			}
			f.mu.Lock()
			uploads := f.uploads
			f.mu.Unlock()
			if uploads != tc.uploads {
				t.Errorf("got %d uploads, want %d", uploads, tc.uploads)
			}
			if claimed := f.claims() > 0; claimed != tc.claimed {
				t.Errorf("a claim is left standing: %t, want %t", claimed, tc.claimed)
			}
			if tc.outcome == workflows.ResultApplied && f.pipeline().Transcription.State != contract.Done {
				t.Errorf("got state %s, want done", f.pipeline().Transcription.State)
			}
		})
	}
}

func (f *fixture) store(offset int64) {
	_, err := f.StoreTranscript(f.t.Context(), f.result(offset))
	f.must(err)
}

func (f *fixture) load() {
	_, err := f.Begin(f.t.Context(), workflows.BeginInput{VideoID: f.id})
	f.must(err)
}

func (f *fixture) otherClaim() {
	claim, err := f.db.Store.Claim(f.t.Context(), f.id, uuid.New(), f.result(4).Result.Position, time.Minute)
	f.must(err)
	if claim.Outcome != postgres.Granted {
		f.t.Fatalf("got a claim that is %s", claim.Outcome)
	}
}

func answer(status int, body string) func(*fixture) {
	return func(f *fixture) {
		f.onUpload(func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		})
	}
}

func cut(w http.ResponseWriter) bool {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
	return true
}

// TestStoreTranscriptWaitsUntilThereIsRoom: transcripts are held in memory while storage takes its time, and only so many fit.
// Who waits has claimed nothing yet, and gets his turn.
func TestStoreTranscriptWaitsUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	f := setup(t, activities.Config{InHandBytes: 1}) // smaller than every record: one is in hand alone
	uploading, goOn := make(chan struct{}), make(chan struct{})
	f.onUpload(func(http.ResponseWriter) bool {
		close(uploading)
		<-goOn
		return false
	})
	older, newer := f.result(1), f.result(2)
	stored := make(chan error, 1)
	go func() {
		_, err := f.StoreTranscript(t.Context(), older)
		stored <- err
	}()
	<-uploading
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.StoreTranscript(ctx, newer); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without room it ended with %v, want the end of its time", err)
	}
	f.onUpload(nil)
	close(goOn)
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	if got, err := f.StoreTranscript(t.Context(), newer); err != nil || got.Outcome != workflows.ResultApplied {
		t.Errorf("got %+v, %v; want it applied", got, err)
	}
}

// TestStoreTranscriptComesBackWhenTheClaimHasRunOut is told by the database when that is.
func TestStoreTranscriptComesBackWhenTheClaimHasRunOut(t *testing.T) {
	t.Parallel()
	f := setup(t, activities.Config{})
	f.otherClaim()
	_, err := f.StoreTranscript(t.Context(), f.result(5))
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.NextRetryDelay() <= 20*time.Second || app.NextRetryDelay() > time.Minute {
		t.Errorf("got %v, want a retry in about a minute", err)
	}
}

// TestLastError is what callers see of trouble: a sentence, without the names of our servers, until it is over.
func TestLastError(t *testing.T) {
	t.Parallel()
	f := setup(t, activities.Config{})
	answer(502, "bad gateway")(f)
	if _, err := f.StoreTranscript(t.Context(), f.result(5)); err == nil {
		t.Fatal("stored")
	}
	if got := f.pipeline().Transcription.LastError; got == nil || *got != "Storage does not take the transcript yet; it is tried again." {
		t.Errorf("got last error %v", got)
	}
	f.onUpload(nil)
	f.store(5)
	if got := f.pipeline().Transcription.LastError; got != nil {
		t.Errorf("got last error %q after it went well", *got)
	}
}

// TestGiveUp gives up only what is still waited for.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	f := setup(t, activities.Config{})
	f.asked()
	for _, tc := range []struct {
		asks int
		want contract.TrackState
	}{{0, contract.Waiting}, {1, contract.GivenUp}, {1, contract.GivenUp}} {
		s, err := f.GiveUp(t.Context(), workflows.GiveUpInput{VideoID: f.id, Track: contract.TranscriptionTrack, Asks: tc.asks, Reason: "silence"})
		if err != nil || s.Transcription != tc.want {
			t.Errorf("after %d asks: got %s, error %v; want %s", tc.asks, s.Transcription, err, tc.want)
		}
	}
	f.store(5)
	s, err := f.GiveUp(t.Context(), workflows.GiveUpInput{VideoID: f.id, Track: contract.TranscriptionTrack, Asks: 1, Reason: "silence"})
	if err != nil || s.Transcription != contract.Done {
		t.Errorf("a done track: got %s, error %v", s.Transcription, err)
	}
}
