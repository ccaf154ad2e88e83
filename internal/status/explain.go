package status

import (
	"fmt"
	"slices"
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/workflows"
)

const (
	// startAllowed is how long a video may be without its run, and an ask may be due: the relay looks every five seconds.
	startAllowed = time.Minute
	// lateAllowed is how long after a deadline a run may take to act.
	lateAllowed = time.Minute
	// stepAllowed is how long a step may be under way without having failed.
	stepAllowed = 3 * time.Minute
	// failureBusy is the type of the failure of a step that waits for another attempt.
	failureBusy = "Busy"
)

// explain says in sentences what the video waits for, until when, and what happens then; what is wrong comes first.
func (v *Video) explain() {
	v.Says = []string{}
	switch {
	case v.Error != "":
		v.Verdict = VideoUnclear
		v.say("Where it is cannot be told: Postgres does not answer.")
		v.next("look whether Postgres runs and is reached from here")
		return
	case v.State == string(workflows.Deleted), v.State == string(workflows.Unknown):
		v.Verdict = VideoMissing
		v.absent()
		return
	}
	v.Verdict = VideoOK
	if v.Pipeline == nil {
		v.say("It was created elsewhere, and vidflow has not dealt with it yet; a result that comes is applied.")
		v.next(v.retry() + " asks for a transcription")
		return
	}
	v.trouble()
	v.transcription()
	v.compression()
	v.object()
	if v.Verdict == VideoOK && v.State == string(postgres.Done) && len(v.Says) == 0 {
		if v.Pipeline.Transcription.State == contract.Done && v.Pipeline.Compression.State == contract.Done {
			v.say("Both results are in; nothing is left to do.")
		} else {
			v.say("The result that came is applied, and nobody asked for the other; nothing is left to do.")
		}
	}
	if v.Runs.Error != "" && v.Verdict == VideoOK && v.open() {
		v.Verdict = VideoUnclear
	}
	if v.Runs.Error != "" && v.open() {
		v.say("Whether its run goes on cannot be told: Temporal does not answer.")
		v.next("look whether Temporal runs and is reached from here")
	}
}

func (v *Video) say(format string, args ...any) {
	v.Says = append(v.Says, fmt.Sprintf(format, args...))
}

// next keeps the first thing to do.
func (v *Video) next(do string) {
	if v.Do == "" {
		v.Do = do
	}
}

// worse lowers the verdict.
func (v *Video) worse(level VideoLevel, do string) {
	order := []VideoLevel{VideoFailed, VideoTrouble, VideoUnclear, VideoOK}
	if slices.Index(order, level) < slices.Index(order, v.Verdict) {
		v.Verdict = level
	}
	v.next(do)
}

// open reports whether a run has something to wait for.
func (v *Video) open() bool {
	return v.Pipeline != nil && (v.Pipeline.Transcription.State.Open() || v.Pipeline.Compression.State.Open())
}

// run is the latest, if it is open.
func (v *Video) run() *Run {
	if len(v.Runs.List) == 0 || v.Runs.List[0].Closed != nil {
		return nil
	}
	return &v.Runs.List[0]
}

func (v *Video) pending(kind postgres.IntentKind) *Due {
	i := slices.IndexFunc(v.Pending, func(d Due) bool { return d.Kind == kind })
	if i < 0 {
		return nil
	}
	return &v.Pending[i]
}

// absent is about a video that is not there.
func (v *Video) absent() {
	switch {
	case v.State == string(workflows.Deleted):
		v.say("It was deleted at %s.", stamp(*v.Pipeline.DeletedAt))
	case v.Pipeline != nil:
		v.say("Its row is gone. The relay of the starter notices that within about a minute, and cleans up.")
	default:
		v.say("There is no such video, and vidflow never saw one with this id.")
	}
	cleanup := v.pending(postgres.IntentCleanup)
	switch {
	case cleanup != nil && cleanup.LastError != "":
		v.say("Its run and its transcript are yet to be removed; %s in vain, the next try is %s: %s", tried(cleanup.Attempts),
			v.in(cleanup.NextAt), cleanup.LastError)
		v.next("look at the log of the starter")
	case cleanup != nil:
		v.say("Its run and its transcript are yet to be removed by the relay of the starter.")
	case v.Object.Exists && v.Pipeline != nil:
		v.say("Its transcript is still in the storage.")
		v.next("look at the log of the starter")
	}
	if v.run() != nil {
		v.say("A run is open: it ends when it has looked for the row a second time.")
	}
}

// trouble is about the run and its steps.
func (v *Video) trouble() {
	run := v.run()
	if run == nil {
		v.withoutRun()
		return
	}
	if run.TaskAttempts > 1 {
		v.say("Its run cannot go on: its workflow task fails, %s.", tried(int(run.TaskAttempts)))
		v.worse(VideoTrouble, "look at the worker's log")
	} else if run.TaskSince != nil && v.late(*run.TaskSince, lateAllowed) {
		v.say("Its run waits for a worker since %s.", stamp(*run.TaskSince))
		v.worse(VideoTrouble, "start vidflow worker")
	}
	for _, step := range run.Steps {
		v.step(step)
	}
}

func (v *Video) step(step Step) {
	switch {
	case step.FailureType == failureBusy:
		v.say("The step %s waits until an older result of this video can no longer be stored%s.", step.Name, v.claimed())
	case step.LastFailure != "":
		again := "now"
		if step.NextAt != nil {
			again = v.in(*step.NextAt)
		}
		v.say("The step %s fails, %s; it is tried again until it works, next %s: %s", step.Name, tried(int(step.Attempt)-1), again, step.LastFailure)
		v.worse(VideoTrouble, "mend what the step says; it is then tried again by itself")
	case v.late(step.Since, stepAllowed):
		v.say("The step %s is under way since %s.", step.Name, stamp(step.Since))
		v.worse(VideoTrouble, "look at the worker's log")
	default:
		v.say("The step %s is under way.", step.Name)
	}
}

func (v *Video) claimed() string {
	if len(v.Claims) == 0 {
		return ""
	}
	return ", " + v.until(v.Claims[len(v.Claims)-1].Until)
}

// withoutRun is about a video that no run sees to.
func (v *Video) withoutRun() {
	intent := v.pending(postgres.IntentRun)
	switch {
	case intent != nil && intent.LastError != "":
		v.say("Its run could not be started yet, %s; the next try is %s: %s", tried(intent.Attempts), v.in(intent.NextAt), intent.LastError)
		v.worse(VideoTrouble, "look whether Temporal and the starter run")
	case intent != nil && v.late(intent.CreatedAt, startAllowed):
		v.say("Its run is yet to be started, since %s.", stamp(intent.CreatedAt))
		v.worse(VideoTrouble, "start vidflow starter; where one runs: vidflow probe starter")
	case intent != nil:
		v.say("Its run is about to be started by the relay of the starter.")
	case v.open() && v.Runs.Error == "":
		v.say("No run sees to it.")
		v.worse(VideoTrouble, "vidflow adopt, or start the workflow Video with {\"videoId\": \""+string(v.VideoID)+"\"} in the Temporal UI")
	}
}

// retry is the call by which the API asks for another transcription.
func (v *Video) retry() string {
	return "POST /api/videos/" + string(v.VideoID) + "/transcription/retry"
}

func (v *Video) transcription() {
	t := v.Pipeline.Transcription
	retry := v.retry()
	switch t.State {
	case contract.GivenUp:
		v.say("The transcription was given up%s%s", at(t.LastErrorAt), reasonOf(t.LastError))
		v.worse(VideoFailed, retry)
	case contract.Waiting:
		v.awaited(t)
	case contract.Untracked:
		if v.Pipeline.Compression.State == contract.Untracked {
			v.say("It was created elsewhere, and nothing is asked for; a result that comes is applied.")
			v.next(retry + " asks for a transcription")
		}
	}
	v.letters(contract.TranscriptionTrack)
}

// doing reports whether the run is at a step.
func (v *Video) doing(step string) bool {
	run := v.run()
	return run != nil && slices.ContainsFunc(run.Steps, func(s Step) bool { return s.Name == step })
}

func (v *Video) awaited(t Transcription) {
	switch {
	case v.doing(workflows.StepStoreTranscript), v.doing(workflows.StepAsk):
		return // that was said
	case t.AskedAt == nil && t.LastError != nil:
		v.say("Ask %d of %d is due: %s", t.Asks+1, t.AskLimit, *t.LastError)
		v.worse(VideoTrouble, "vidflow kafka check worker")
	case t.AskedAt == nil && v.late(v.Pipeline.UpdatedAt, startAllowed):
		v.say("Ask %d of %d is due since %s, and was not sent.", t.Asks+1, t.AskLimit, stamp(v.Pipeline.UpdatedAt))
		v.worse(VideoTrouble, "look whether a worker runs: vidflow status")
	case t.AskedAt == nil:
		v.say("Ask %d of %d is about to be sent.", t.Asks+1, t.AskLimit)
	case v.late(*t.Next, lateAllowed):
		v.say("The answer to ask %d of %d was waited for until %s, and nobody did anything then.", t.Asks, t.AskLimit, stamp(*t.Next))
		v.worse(VideoTrouble, "look whether a worker runs: vidflow status")
	default:
		then := fmt.Sprintf("ask %d is sent", t.Asks+1)
		if t.Asks >= t.AskLimit {
			then = "it is given up"
		}
		v.say("It waits for the transcription (ask %d of %d, sent %s), %s; then %s.", t.Asks, t.AskLimit, stamp(*t.AskedAt), v.until(*t.Next), then)
	}
	if t.AskedAt != nil && t.LastError != nil {
		v.say("%s", *t.LastError)
	}
}

func (v *Video) compression() {
	c := v.Pipeline.Compression
	switch c.State {
	case contract.GivenUp:
		v.say("The compression was given up%s%s", at(c.LastErrorAt), reasonOf(c.LastError))
		v.worse(VideoFailed, "see that the compression service sends its result again; it is applied when it comes")
	case contract.Overdue:
		if v.doing(workflows.StepSetVideoURL) {
			break // that was said
		}
		if v.late(*c.Next, lateAllowed) {
			v.say("The compression is overdue; it was to be given up at %s, and nobody did.", stamp(*c.Next))
			v.worse(VideoTrouble, "look whether a worker runs: vidflow status")
			break
		}
		v.say("The compression is overdue; it is waited for %s; then it is given up.", v.until(*c.Next))
		v.worse(VideoTrouble, "look whether the compression service runs")
	case contract.Waiting:
		if v.doing(workflows.StepSetVideoURL) {
			break
		}
		if v.late(*c.Next, lateAllowed) {
			v.say("The compression was waited for until %s, and nobody did anything then.", stamp(*c.Next))
			v.worse(VideoTrouble, "look whether a worker runs: vidflow status")
			break
		}
		v.say("It waits for the compression, %s; then that is overdue.", v.until(*c.Next))
	}
	v.letters(contract.CompressionTrack)
}

func (v *Video) letters(track contract.Track) {
	open := 0
	name := ""
	for _, l := range v.Letters {
		if l.Track == track && l.Open {
			open++
			if name == "" {
				name = l.Letter
			}
		}
	}
	if open > 0 {
		v.say("%s of the %s could not be understood.", plural(int64(open), "result"), track)
		v.worse(VideoTrouble, "vidflow dlq show "+name)
	}
}

// object is about a transcript that ought to be in the storage.
func (v *Video) object() {
	t := v.Pipeline.Transcription
	if t.State != contract.Done || t.Applied == nil {
		return
	}
	again := v.retry() + "?force=true"
	o := v.Object
	switch {
	case o.Error != "":
		v.say("Whether its transcript is in the storage cannot be told.")
		v.worse(VideoUnclear, "look whether the storage runs and is reached from here")
	case !o.Exists:
		v.say("Its transcript is not in the storage.")
		v.worse(VideoTrouble, again)
	case o.Problem != "":
		v.say("What the storage has for it is wrong: %s.", o.Problem)
		v.worse(VideoTrouble, again)
	case !o.Matches:
		v.say("The row's transcript_url is not where its transcript is.")
		v.worse(VideoTrouble, again)
	case o.Summary != nil && t.Summary != nil && (o.Summary.Words != t.Summary.Words || o.Summary.Duration != t.Summary.Duration):
		v.say("The storage has another transcript than the one that was applied.")
		v.worse(VideoTrouble, again)
	}
}

func (v *Video) late(since time.Time, allowed time.Duration) bool { return v.now.Sub(since) > allowed }

// in says how soon that is.
func (v *Video) in(t time.Time) string {
	if !t.After(v.now) {
		return "now"
	}
	return "in " + ago(t.Sub(v.now).Seconds())
}

// until says when, and how long that is.
func (v *Video) until(t time.Time) string {
	if !t.After(v.now) {
		return "now"
	}
	return fmt.Sprintf("until %s (in %s)", stamp(t), ago(t.Sub(v.now).Seconds()))
}

func tried(times int) string {
	switch times {
	case 1:
		return "tried once"
	case 2:
		return "tried twice"
	default:
		return fmt.Sprintf("tried %d times", max(times, 0))
	}
}

func at(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " at " + stamp(*t)
}

// reasonOf ends a sentence with what somebody wrote.
func reasonOf(reason *string) string {
	if reason == nil {
		return "."
	}
	return ": " + *reason
}
