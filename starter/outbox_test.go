package starter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"pgregory.net/rapid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/workflows"
)

// TestOutbox interleaves creating, deleting, storing, two relays and the ends that each of their attempts can have, on a
// real database. However they fall: a video that was created has, or will have, a run; of one that was deleted nothing
// stays behind.
func TestOutbox(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, user := db.Course(t)
	rapid.Check(t, func(t *rapid.T) {
		o := newOutbox(t, db, course, user)
		t.Repeat(map[string]func(*rapid.T){
			"create":                o.create,
			"delete":                o.deleteOne,
			"delete elsewhere":      o.vanish,
			"delete one in storing": o.deleteStoring,
			"look for vanished":     o.findVanished,
			"take intents":          o.take,
			"carry out an intent":   o.carryOut,
			"a relay dies":          o.die,
			"a result is uploaded":  o.upload,
			"an upload lands":       o.land,
			"a run ends":            o.endRun,
			"time passes":           o.pass,
			"":                      o.check,
		})
		o.settle(t)
	})
}

// outbox is the real Store and the real Relay, with a Temporal and a storage that are no more than what they remember.
type outbox struct {
	db           *postgrestest.DB
	course, user string
	runs         *modelRuns
	objects      *modelObjects
	store        *mortalStore
	relays       [2]*Relay
	hands        [2][]postgres.Intent // what each has leased

	created  []contract.VideoID
	deleted  map[contract.VideoID]bool // by us
	vanished map[contract.VideoID]bool // elsewhere
	uploads  []uploading
	offset   int64
}

// uploading is an upload that is under way, and the claim that it holds.
type uploading struct {
	token uuid.UUID
	id    contract.VideoID
	at    contract.Position
}

func newOutbox(t *rapid.T, db *postgrestest.DB, course, user string) *outbox {
	o := &outbox{
		db: db, course: course, user: user,
		runs:     &modelRuns{started: map[string]bool{}, open: map[string]bool{}},
		objects:  &modelObjects{paths: map[string]bool{}},
		store:    &mortalStore{Store: db.Store},
		deleted:  map[contract.VideoID]bool{},
		vanished: map[contract.VideoID]bool{},
	}
	for i := range o.relays {
		o.relays[i] = newRelay(o.store, o.runs, o.objects, Config{}.withDefaults(), newMetrics(nil), slog.New(slog.DiscardHandler))
	}
	o.relays[1].terminateAfter = 0
	o.exec(t, `truncate pipeline.intents, pipeline.claims, pipeline.idempotency_keys, pipeline.videos`)
	o.exec(t, `delete from public.videos`)
	return o
}

func (o *outbox) exec(t *rapid.T, sql string, args ...any) {
	if _, err := o.db.Admin.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// anyOf draws one of the videos for which ok holds.
func (o *outbox) anyOf(t *rapid.T, ok func(contract.VideoID) bool) contract.VideoID {
	var some []contract.VideoID
	for _, id := range o.created {
		if ok(id) {
			some = append(some, id)
		}
	}
	if len(some) == 0 {
		t.Skip("there is none")
	}
	return some[rapid.IntRange(0, len(some)-1).Draw(t, "video")]
}

func (o *outbox) gone(id contract.VideoID) bool { return o.deleted[id] || o.vanished[id] }
func (o *outbox) live(id contract.VideoID) bool { return !o.gone(id) }

func (o *outbox) create(t *rapid.T) {
	id := contract.VideoID(uuid.NewString())
	if _, err := o.db.Store.CreateVideo(context.Background(), postgres.NewVideo{UserID: o.user, Video: contract.Video{
		ID: id, CourseID: o.course, Title: "Heaps", Description: "What a heap is good for",
		CameraVideoURL: "https://cdn.example.org/raw.mp4", Level: contract.Beginner,
	}}); err != nil {
		t.Fatal(err)
	}
	o.created = append(o.created, id)
}

func (o *outbox) deleteOne(t *rapid.T) { o.remove(t, o.anyOf(t, o.live)) }

// deleteStoring goes straight to what chance alone seldom finds: a video is deleted, its run ended and its transcript
// removed while an upload of it is under way.
func (o *outbox) deleteStoring(t *rapid.T) {
	if len(o.uploads) == 0 || o.gone(o.uploads[0].id) {
		t.Skip("none is being stored")
	}
	id := o.uploads[0].id
	o.remove(t, id)
	o.runs.open[workflows.WorkflowID(id)] = false
	intents, err := o.db.Store.DueIntents(context.Background(), 100, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range intents {
		o.relays[0].carryOut(context.Background(), in)
	}
}

func (o *outbox) remove(t *rapid.T, id contract.VideoID) {
	if deleted, err := o.db.Store.DeleteVideo(context.Background(), id, 0); err != nil || !deleted {
		t.Fatalf("delete: %t, %v", deleted, err)
	}
	o.deleted[id] = true
}

func (o *outbox) vanish(t *rapid.T) {
	id := o.anyOf(t, o.live)
	o.exec(t, `delete from public.videos where id = $1`, id.String())
	o.vanished[id] = true
}

func (o *outbox) findVanished(t *rapid.T) {
	var after contract.VideoID
	for {
		found, next, err := o.db.Store.FindVanished(context.Background(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range found {
			o.deleted[id] = true // from here on it is promised to be cleaned up
		}
		if next == "" {
			return
		}
		after = next
	}
}

func (o *outbox) take(t *rapid.T) {
	relay := rapid.IntRange(0, 1).Draw(t, "relay")
	intents, err := o.db.Store.DueIntents(context.Background(), 2, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	o.hands[relay] = append(o.hands[relay], intents...)
}

func (o *outbox) carryOut(t *rapid.T) {
	relay := rapid.IntRange(0, 1).Draw(t, "relay")
	if len(o.hands[relay]) == 0 {
		t.Skip("it has nothing in hand")
	}
	in := o.hands[relay][0]
	o.hands[relay] = o.hands[relay][1:]
	o.runs.fault = rapid.SampledFrom([]fault{none, none, refused, inDoubt}).Draw(t, "Temporal")
	o.objects.fault = rapid.SampledFrom([]fault{none, none, refused, inDoubt}).Draw(t, "storage")
	o.store.dead = rapid.Bool().Draw(t, "dies before it has said so")
	if o.live(in.VideoID) && rapid.IntRange(0, 4).Draw(t, "deleted meanwhile") == 0 {
		o.runs.before = func() { o.remove(t, in.VideoID) }
	}
	o.relays[relay].carryOut(context.Background(), in)
	o.runs.fault, o.objects.fault, o.store.dead, o.runs.before = none, none, false, nil
}

// die loses what a relay had in hand; another gets it when the leases have run out.
func (o *outbox) die(t *rapid.T) { o.hands[rapid.IntRange(0, 1).Draw(t, "relay")] = nil }

// upload is what a run does when a result comes, which starts one where none is open.
func (o *outbox) upload(t *rapid.T) {
	id := o.anyOf(t, func(contract.VideoID) bool { return true })
	o.runs.started[workflows.WorkflowID(id)], o.runs.open[workflows.WorkflowID(id)] = true, true
	o.offset++
	u := uploading{token: uuid.New(), id: id, at: contract.Position{TopicID: uuid.Max, Offset: o.offset, Time: time.Now()}}
	claim, err := o.db.Store.Claim(context.Background(), id, u.token, u.at, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if claim.Outcome == postgres.Granted {
		o.uploads = append(o.uploads, u)
	}
}

// land ends an upload: it was late or in time, and its worker lives to say so or not.
func (o *outbox) land(t *rapid.T) {
	if len(o.uploads) == 0 {
		t.Skip("none is under way")
	}
	u := o.uploads[0]
	o.uploads = o.uploads[1:]
	o.objects.paths[u.id.TranscriptPath()] = true
	if !rapid.Bool().Draw(t, "its worker lives") {
		return
	}
	_, _, err := o.db.Store.ApplyTranscript(context.Background(), u.token, u.id, u.at,
		"https://example.org/"+u.id.TranscriptPath(), contract.TranscriptSummary{Words: 1, Language: "en"})
	if err != nil && !errors.Is(err, postgres.ErrNoVideo) {
		t.Fatal(err)
	}
}

func (o *outbox) endRun(t *rapid.T) {
	id := o.anyOf(t, func(id contract.VideoID) bool { return o.runs.open[workflows.WorkflowID(id)] })
	o.runs.open[workflows.WorkflowID(id)] = false
}

// pass lets every lease and every claim run out. No upload takes longer than its claim.
func (o *outbox) pass(t *rapid.T) {
	for _, u := range o.uploads {
		if rapid.Bool().Draw(t, "an upload lands late") {
			o.objects.paths[u.id.TranscriptPath()] = true
		}
	}
	o.uploads = nil
	o.exec(t, `update pipeline.intents set next_at = now() - interval '1 s'`)
	o.exec(t, `update pipeline.claims set until = now() - interval '1 s'`)
}

// check is what holds at every moment.
func (o *outbox) check(t *rapid.T) {
	intents := map[string]bool{}
	rows, err := o.db.Admin.Query(context.Background(), `select video_id::text || ' ' || kind from pipeline.intents`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var intent string
		if err := rows.Scan(&intent); err != nil {
			t.Fatal(err)
		}
		intents[intent] = true
	}
	for _, id := range o.created {
		switch {
		case o.live(id) && !o.runs.started[workflows.WorkflowID(id)] && !intents[id.String()+" run"]:
			t.Fatalf("video %s has no run, and nobody intends to start one", id)
		case o.deleted[id] && o.objects.paths[id.TranscriptPath()] && !intents[id.String()+" cleanup"]:
			t.Fatalf("deleted video %s has an object, and nobody intends to remove it", id)
		case o.deleted[id] && intents[id.String()+" run"]:
			t.Fatalf("deleted video %s is still intended to run", id)
		}
	}
}

// settle lets everything work without faults until nothing is left to do, and looks at what is left.
func (o *outbox) settle(t *rapid.T) {
	ctx := context.Background()
	for range 20 {
		o.findVanished(t)
		o.pass(t)
		// A worker is there: it obeys, and a run that finds no video ends by itself.
		for _, id := range o.created {
			if workflow := workflows.WorkflowID(id); o.gone(id) || slices.Contains(o.runs.cancelled, workflow) {
				o.runs.open[workflow] = false
			}
		}
		intents, err := o.db.Store.DueIntents(ctx, 100, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if len(intents) == 0 {
			break
		}
		for _, in := range intents {
			o.relays[0].carryOut(ctx, in)
		}
	}
	var left int
	if err := o.db.Admin.QueryRow(ctx, `select count(*) from pipeline.intents`).Scan(&left); err != nil || left > 0 {
		t.Fatalf("%d intents are left (%v)", left, err)
	}
	for _, id := range o.created {
		workflow := workflows.WorkflowID(id)
		switch {
		case o.live(id) && !o.runs.started[workflow]:
			t.Fatalf("video %s never had a run", id)
		case o.gone(id) && o.runs.open[workflow]:
			t.Fatalf("deleted video %s has an open run", id)
		case o.gone(id) && o.objects.paths[id.TranscriptPath()]:
			t.Fatalf("deleted video %s has an object", id)
		}
	}
}

// fault is how a call to another system can end.
type fault int

const (
	none    fault = iota
	refused       // it had no effect
	inDoubt       // it had, and nobody learned
)

var errFault = errors.New("connection reset by peer")

// mortalStore is the database as a relay sees it that dies between an intent's effect and the word about it.
type mortalStore struct {
	*postgres.Store
	dead bool
}

func (s *mortalStore) IntentDone(ctx context.Context, id contract.VideoID, kind postgres.IntentKind) error {
	if s.dead {
		return errFault
	}
	return s.Store.IntentDone(ctx, id, kind)
}

func (s *mortalStore) IntentFailed(ctx context.Context, id contract.VideoID, kind postgres.IntentKind, after time.Duration, why string) error {
	if s.dead {
		return errFault
	}
	return s.Store.IntentFailed(ctx, id, kind, after, why)
}

// modelRuns is Temporal, by workflow ids.
type modelRuns struct {
	Temporal
	started, open map[string]bool
	cancelled     []string
	fault         fault
	before        func() // what happens just before a run is started
}

func (m *modelRuns) act(effect func()) error {
	if m.fault != refused {
		effect()
	}
	if m.fault != none {
		return errFault
	}
	return nil
}

func (m *modelRuns) ExecuteWorkflow(_ context.Context, options client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	if m.before != nil {
		m.before()
	}
	return modelRun{id: options.ID}, m.act(func() { m.started[options.ID], m.open[options.ID] = true, true })
}

func (m *modelRuns) DescribeWorkflow(_ context.Context, id, _ string) (*client.WorkflowExecutionDescription, error) {
	if m.fault != none {
		return nil, errFault
	}
	if !m.started[id] {
		return nil, serviceerror.NewNotFound("no such workflow")
	}
	d := &client.WorkflowExecutionDescription{}
	d.Status = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	if m.open[id] {
		d.Status = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	}
	return d, nil
}

func (m *modelRuns) CancelWorkflow(_ context.Context, id, _ string) error {
	return m.act(func() { m.cancelled = append(m.cancelled, id) })
}

func (m *modelRuns) TerminateWorkflow(_ context.Context, id, _, _ string, _ ...any) error {
	return m.act(func() { m.open[id] = false })
}

type modelRun struct {
	client.WorkflowRun
	id string
}

func (r modelRun) GetID() string    { return r.id }
func (r modelRun) GetRunID() string { return fmt.Sprintf("run of %s", r.id) }

// modelObjects is storage.
type modelObjects struct {
	paths map[string]bool
	fault fault
}

func (m *modelObjects) Delete(_ context.Context, path string) error {
	if m.fault != refused {
		delete(m.paths, path)
	}
	if m.fault != none {
		return errFault
	}
	return nil
}
