package status

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/failure/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/kafka"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/workflows"
)

// VideoLevel is how a video is doing.
type VideoLevel string

// The levels of a video.
const (
	VideoOK      VideoLevel = "ok"       // done, or waiting in time
	VideoTrouble VideoLevel = "trouble"  // somebody has to see to something, or it takes longer than it should
	VideoFailed  VideoLevel = "failed"   // a track was given up
	VideoMissing VideoLevel = "no_video" // deleted, or never known
	VideoUnclear VideoLevel = "unknown"  // could not be told
)

// Video is where one video is. Its JSON is documented in docs/status.md and only ever gains members.
type Video struct {
	At           time.Time        `json:"at"`
	Milliseconds int64            `json:"milliseconds"` // that it took
	VideoID      contract.VideoID `json:"video_id"`
	Verdict      VideoLevel       `json:"verdict"`
	// State is how far both tracks are together, as the API says it; "deleted" or "unknown" of a video that is not there.
	State string `json:"state"`
	// Says is what it waits for and until when, what happens then, and what is wrong: sentences. Do is what to do next.
	Says []string `json:"says"`
	Do   string   `json:"do,omitempty"`

	// Error says why the database's part is missing: row, pipeline, intents, claims, dead letters.
	Error    string  `json:"error,omitempty"`
	Row      *Row    `json:"row"`
	Pipeline *Tracks `json:"pipeline"`
	Pending  []Due   `json:"intents"`
	Claims   []Claim `json:"claims"`
	Letters  []Dead  `json:"dead_letters"`
	Runs     Runs    `json:"runs"`
	Records  Records `json:"records"`
	Object   Object  `json:"object"`

	now time.Time // of the database
}

// Row is the video's row in the API server's table.
type Row struct {
	Title          string    `json:"title"`
	CourseID       string    `json:"course_id"`
	CameraVideoURL string    `json:"camera_video_url"`
	TranscriptURL  *string   `json:"transcript_url"`
	CreatedAt      time.Time `json:"created_at"`
}

// Tracks is the pipeline's own row.
type Tracks struct {
	Revision      int64         `json:"revision"`
	CreatedAt     time.Time     `json:"created_at"`
	UpdatedAt     time.Time     `json:"updated_at"`
	DeletedAt     *time.Time    `json:"deleted_at"`
	Transcription Transcription `json:"transcription"`
	Compression   Compression   `json:"compression"`
}

// Track is what both tracks have.
type Track struct {
	State contract.TrackState `json:"state"`
	// Next is when the run does something if no result comes; null when that is now, or never.
	Next        *time.Time         `json:"next"`
	Applied     *contract.Position `json:"applied"`
	DoneAt      *time.Time         `json:"done_at"`
	LastError   *string            `json:"last_error"`
	LastErrorAt *time.Time         `json:"last_error_at"`
}

// Transcription is the track that asks.
type Transcription struct {
	Track
	Asks     int                         `json:"asks"`
	AskLimit int                         `json:"ask_limit"`
	AskedAt  *time.Time                  `json:"asked_at"`
	Summary  *contract.TranscriptSummary `json:"summary"`
}

// Compression is the track that only waits.
type Compression struct {
	Track
	Since time.Time `json:"since"`
}

// Due is an intent that is yet to be carried out.
type Due struct {
	Kind      postgres.IntentKind `json:"kind"`
	CreatedAt time.Time           `json:"created_at"`
	NextAt    time.Time           `json:"next_at"`
	Attempts  int                 `json:"attempts"`
	LastError string              `json:"last_error,omitempty"`
}

// Claim is an attempt that is storing a transcript.
type Claim struct {
	Position contract.Position `json:"position"`
	Until    time.Time         `json:"until"`
}

// Dead is a dead letter about the video.
type Dead struct {
	Letter       string         `json:"letter"`
	Track        contract.Track `json:"track"`
	Class        string         `json:"class"`
	Reason       string         `json:"reason"`
	DiedAt       time.Time      `json:"died_at"`
	Open         bool           `json:"open"`
	RedrivenAt   *time.Time     `json:"redriven_at"`
	WithoutValue bool           `json:"without_value"`
}

// Runs is what Temporal says of the video's workflow, the latest run first.
type Runs struct {
	Error      string `json:"error,omitempty"`
	WorkflowID string `json:"workflow_id"`
	List       []Run  `json:"list"`
	// State is the run's own view of both tracks; QueryError says why there is none. Only an open run is asked.
	State      *workflows.State `json:"state"`
	QueryError string           `json:"query_error,omitempty"`
}

// Run is one run.
type Run struct {
	RunID         string     `json:"run_id"`
	Status        string     `json:"status"`
	Started       time.Time  `json:"started"`
	Closed        *time.Time `json:"closed"`
	HistoryLength int64      `json:"history_length"`
	// Failure is why it failed.
	Failure string `json:"failure,omitempty"`
	// Steps are those that are not done. Only of an open run.
	Steps []Step `json:"steps,omitempty"`
	// TaskAttempts is how often its workflow task was tried; above 1 its code fails. TaskSince when it was scheduled; null
	// when there is none.
	TaskAttempts int32      `json:"task_attempts"`
	TaskSince    *time.Time `json:"task_since"`
}

// Step is an activity that was tried and is not done.
type Step struct {
	Name        string     `json:"name"`
	State       string     `json:"state"`
	Attempt     int32      `json:"attempt"`
	LastFailure string     `json:"last_failure,omitempty"`
	FailureType string     `json:"failure_type,omitempty"`
	Since       time.Time  `json:"since"`
	NextAt      *time.Time `json:"next_at"`
	Worker      string     `json:"worker,omitempty"`
}

// Records says of the results that were applied whether they can still be read.
type Records struct {
	Error         string  `json:"error,omitempty"`
	Transcription *Record `json:"transcription"`
	Compression   *Record `json:"compression"`
}

// Record is where a result came from.
type Record struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Readable  bool   `json:"readable"`
	Why       string `json:"why,omitempty"` // not
}

// Object is the transcript in the storage.
type Object struct {
	Error  string `json:"error,omitempty"`
	URL    string `json:"url"`
	Exists bool   `json:"exists"`
	Size   int    `json:"size"`
	// Matches says that the row's transcript_url is this object's address.
	Matches bool `json:"matches"`
	// Problem says what is wrong with what is stored.
	Problem string                      `json:"problem,omitempty"`
	Summary *contract.TranscriptSummary `json:"summary"`
}

// GatherVideo asks everybody about one video, side by side, and says in sentences what it waits for.
func GatherVideo(ctx context.Context, s Sources, id contract.VideoID) Video {
	began := time.Now()
	v := Video{At: began.UTC(), VideoID: id}
	var wg sync.WaitGroup
	var runs Runs
	var object Object
	wg.Go(func() {
		runs = within(ctx, func(ctx context.Context) Runs { return s.runs(ctx, id) }, func(e string) Runs { return Runs{Error: e} })
	})
	wg.Go(func() {
		object = within(ctx, func(ctx context.Context) Object { return s.object(ctx, id) }, func(e string) Object { return Object{Error: e} })
	})
	// What is in Kafka is known from the database.
	known := within(ctx, func(ctx context.Context) known { return s.known(ctx, id) }, func(e string) known { return known{err: e} })
	s.fill(&v, known)
	if v.Pipeline != nil {
		v.Records = within(ctx, func(ctx context.Context) Records { return s.records(ctx, v.Pipeline) }, func(e string) Records { return Records{Error: e} })
	}
	wg.Wait()
	v.Runs, v.Object = runs, object
	list(&v.Runs.List)
	v.Runs.WorkflowID = workflows.WorkflowID(id)
	v.Object.URL = s.Storage.PublicURL(id.TranscriptPath())
	v.Object.Matches = v.Row != nil && v.Row.TranscriptURL != nil && *v.Row.TranscriptURL == v.Object.URL
	v.Milliseconds = time.Since(began).Milliseconds()
	v.explain()
	return v
}

// known is what the database says.
type known struct {
	postgres.Loaded
	postgres.Details
	err string
}

func (s Sources) known(ctx context.Context, id contract.VideoID) known {
	var k known
	var err error
	if k.Loaded, err = s.Store.Video(ctx, id); err == nil {
		k.Details, err = s.Store.Details(ctx, id)
	}
	k.err = s.text(err)
	return k
}

// fill takes over what the database says.
func (s Sources) fill(v *Video, k known) {
	v.Error, v.now = k.err, k.Now
	v.Pending, v.Claims, v.Letters = []Due{}, []Claim{}, []Dead{}
	if k.err != "" {
		return
	}
	v.State = string(k.State())
	switch {
	case k.Pipeline != nil && k.Pipeline.DeletedAt != nil:
		v.State = string(workflows.Deleted)
	case k.Video == nil:
		v.State = string(workflows.Unknown)
	}
	if r := k.Video; r != nil {
		v.Row = &Row{Title: r.Title, CourseID: r.CourseID, CameraVideoURL: r.CameraVideoURL, TranscriptURL: r.TranscriptURL, CreatedAt: r.CreatedAt}
	}
	if p := k.Pipeline; p != nil {
		v.Pipeline = s.tracks(p)
	}
	for _, i := range k.Intents {
		v.Pending = append(v.Pending, Due(i))
	}
	for _, c := range k.Claims {
		v.Claims = append(v.Claims, Claim(c))
	}
	for _, l := range k.Letters {
		v.Letters = append(v.Letters, Dead{
			Letter: letterName(l.Topic, l.Letter), Track: l.Track, Class: l.Class, Reason: l.Reason, DiedAt: l.DiedAt,
			Open: l.Open, RedrivenAt: l.RedrivenAt, WithoutValue: l.WithoutValue,
		})
	}
}

func (s Sources) tracks(p *contract.Pipeline) *Tracks {
	t, c := p.Transcription, p.Compression
	tracks := &Tracks{
		Revision: p.Revision, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, DeletedAt: p.DeletedAt,
		Transcription: Transcription{
			Track: Track{State: t.State, Applied: t.Position, DoneAt: t.DoneAt, LastError: t.LastError, LastErrorAt: t.LastErrorAt},
			Asks:  t.Asks, AskLimit: s.MaxAsks, AskedAt: t.AskedAt, Summary: t.Summary,
		},
		Compression: Compression{
			Track: Track{State: c.State, Applied: c.Position, DoneAt: c.DoneAt, LastError: c.LastError, LastErrorAt: c.LastErrorAt},
			Since: c.Since,
		},
	}
	if t.AskLimit != nil {
		tracks.Transcription.AskLimit = *t.AskLimit
	}
	if t.State == contract.Waiting && t.AskedAt != nil {
		next := t.AskedAt.Add(s.Deadlines.AskAgainAfter)
		tracks.Transcription.Next = &next
	}
	if c.State.Open() {
		next := c.Since.Add(s.Deadlines.OverdueAfter)
		if c.State == contract.Overdue {
			next = next.Add(s.Deadlines.GiveUpAfter)
		}
		tracks.Compression.Next = &next
	}
	return tracks
}

const (
	// runsShown is how many runs are named.
	runsShown = 3
	// queryLimit is how long a worker may take to answer a query.
	queryLimit = 3 * time.Second
)

// runs asks for the latest run by the workflow's id, which Temporal knows at once, and for those before it.
func (s Sources) runs(ctx context.Context, id contract.VideoID) Runs {
	r := Runs{List: []Run{}}
	workflowID := workflows.WorkflowID(id)
	latest, err := s.Temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return r
	}
	if err != nil {
		r.Error = s.text(s.temporalError(err))
		return r
	}
	r.List = append(r.List, s.run(ctx, latest))
	if r.List[0].Closed == nil {
		s.query(ctx, workflowID, &r)
	}
	// Older ones are known to visibility, which may be a little late.
	list, err := s.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: s.Namespace, PageSize: runsShown, Query: fmt.Sprintf("WorkflowId = %q", workflowID),
	})
	if err != nil {
		return r
	}
	for _, e := range list.GetExecutions() {
		if e.GetExecution().GetRunId() == r.List[0].RunID || len(r.List) == runsShown {
			continue
		}
		older := s.closed(ctx, e)
		r.List = append(r.List, older)
	}
	return r
}

func (s Sources) run(ctx context.Context, described *workflowservice.DescribeWorkflowExecutionResponse) Run {
	r := s.closed(ctx, described.GetWorkflowExecutionInfo())
	for _, a := range described.GetPendingActivities() {
		step := Step{
			Name: a.GetActivityType().GetName(), State: strings.ToLower(a.GetState().String()), Attempt: a.GetAttempt(),
			LastFailure: innermost(a.GetLastFailure()), FailureType: a.GetLastFailure().GetApplicationFailureInfo().GetType(),
			Since: a.GetScheduledTime().AsTime(), Worker: a.GetLastWorkerIdentity(),
		}
		if a.GetNextAttemptScheduleTime() != nil {
			at := a.GetNextAttemptScheduleTime().AsTime()
			step.NextAt = &at
		}
		r.Steps = append(r.Steps, step)
	}
	if task := described.GetPendingWorkflowTask(); task != nil {
		since := task.GetScheduledTime().AsTime()
		r.TaskAttempts, r.TaskSince = task.GetAttempt(), &since
	}
	return r
}

// innermost is what went wrong at first.
func innermost(f *failure.Failure) string {
	for f.GetCause() != nil && f.GetApplicationFailureInfo() == nil {
		f = f.GetCause()
	}
	return contract.Clip(f.GetMessage(), maxErrorBytes)
}

// closed is what is known of a run, and of one that has ended in failure why.
func (s Sources) closed(ctx context.Context, info *workflowpb.WorkflowExecutionInfo) Run {
	r := Run{
		RunID: info.GetExecution().GetRunId(), Status: strings.ToLower(info.GetStatus().String()),
		Started: info.GetStartTime().AsTime(), HistoryLength: info.GetHistoryLength(),
	}
	if info.GetCloseTime() == nil {
		return r
	}
	at := info.GetCloseTime().AsTime()
	r.Closed = &at
	if info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_FAILED {
		r.Failure = s.failure(ctx, info.GetExecution())
	}
	return r
}

func (s Sources) failure(ctx context.Context, run *common.WorkflowExecution) string {
	history, err := s.Temporal.WorkflowService().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: s.Namespace, Execution: run, HistoryEventFilterType: enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
	})
	if err != nil {
		return s.text(err)
	}
	for _, event := range history.GetHistory().GetEvents() {
		if f := event.GetWorkflowExecutionFailedEventAttributes().GetFailure(); f != nil {
			return innermost(f)
		}
	}
	return ""
}

func (s Sources) query(ctx context.Context, workflowID string, r *Runs) {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	answer, err := s.Temporal.QueryWorkflow(ctx, workflowID, r.List[0].RunID, workflows.QueryState)
	var state workflows.State
	if err == nil {
		err = answer.Get(&state)
	}
	var (
		late     *serviceerror.DeadlineExceeded
		canceled *serviceerror.Canceled // which is how some servers say that it is late
	)
	switch {
	case err == nil:
		r.State = &state
	case ctx.Err() != nil || errors.As(err, &late) || errors.As(err, &canceled):
		r.QueryError = "no worker has answered in time: none runs, or one has a step of this run in hand"
	default:
		r.QueryError = "no worker answers: " + s.text(err)
	}
}

// records looks whether the partitions still hold what was applied.
func (s Sources) records(ctx context.Context, t *Tracks) Records {
	var r Records
	if t.Transcription.Applied == nil && t.Compression.Applied == nil {
		return r
	}
	cl, err := kafka.NewClient(impatient(s.Kafka), s.Log, "status/records")
	if err == nil {
		defer cl.Close()
		err = kafka.Ping(ctx, cl)
	}
	if err != nil {
		return Records{Error: s.text(err)}
	}
	adm := kadm.NewClient(cl)
	for _, look := range []struct {
		topic string
		at    *contract.Position
		into  **Record
	}{
		{s.TranscriptionTopic, t.Transcription.Applied, &r.Transcription},
		{s.CompressionTopic, t.Compression.Applied, &r.Compression},
	} {
		if look.at == nil {
			continue
		}
		record, err := kept(ctx, adm, look.topic, *look.at)
		if err != nil {
			r.Error = s.text(err)
			continue
		}
		*look.into = record
	}
	return r
}

func kept(ctx context.Context, adm *kadm.Client, topic string, at contract.Position) (*Record, error) {
	r := &Record{Topic: topic, Partition: at.Partition, Offset: at.Offset}
	topics, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("look at topic %s: %w", topic, err)
	}
	if found := topics[topic]; found.Err != nil {
		return nil, fmt.Errorf("look at topic %s: %w", topic, found.Err)
	} else if uuid.UUID(found.ID) != at.TopicID {
		r.Why = "the topic was made anew since"
		return r, nil
	}
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("look at topic %s: %w", topic, err)
	}
	if start, ok := starts.Lookup(topic, at.Partition); !ok || start.Offset > at.Offset {
		r.Why = "the topic keeps it no longer"
		return r, nil
	}
	r.Readable = true
	return r, nil
}

// object reads the transcript itself: it is small, and so it is known to be one.
func (s Sources) object(ctx context.Context, id contract.VideoID) Object {
	var o Object
	value, err := s.Storage.Get(ctx, id.TranscriptPath())
	if errors.Is(err, supabase.ErrNotFound) {
		return o
	}
	if err != nil {
		o.Error = s.text(err)
		return o
	}
	o.Exists, o.Size = true, len(value)
	result, err := contract.DecodeTranscription([]byte(id), value)
	switch {
	case err != nil:
		o.Problem = "it is no transcript: " + s.text(err)
	case result.VideoID != id:
		o.Problem = "it is a transcript of video " + string(result.VideoID)
	default:
		o.Summary = &result.Summary
	}
	return o
}
