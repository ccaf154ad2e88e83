package audit

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Verdict is what is wrong, a sentence a finding.
type Verdict struct {
	Lost    []string
	Doubled []string
	Stuck   []string
	// Flawed says where the test itself makes no sense: a record that it cannot understand, results whose order is open.
	Flawed []string
	// Harmless counts repeats of the same: an ask with the same key and bytes, a dead letter of the same origin.
	Harmless int
}

// Sound says whether nothing is wrong.
func (v Verdict) Sound() bool { return len(v.Lost)+len(v.Doubled)+len(v.Stuck)+len(v.Flawed) == 0 }

type judge struct {
	*Evidence
	Verdict
	newest map[Track]map[string]*Record
}

func (j *judge) lost(format string, args ...any) {
	j.Lost = append(j.Lost, fmt.Sprintf(format, args...))
}

func (j *judge) doubled(format string, args ...any) {
	j.Doubled = append(j.Doubled, fmt.Sprintf(format, args...))
}

func (j *judge) stuck(format string, args ...any) {
	j.Stuck = append(j.Stuck, fmt.Sprintf(format, args...))
}

func (j *judge) flawed(format string, args ...any) {
	j.Flawed = append(j.Flawed, fmt.Sprintf(format, args...))
}

// Judge finds what is wrong with a pipeline that has come to rest.
func Judge(e *Evidence) Verdict {
	j := &judge{Evidence: e, newest: map[Track]map[string]*Record{Transcription: {}, Compressed: {}}}
	j.records()
	j.videos()
	j.unknown()
	j.creations()
	j.effects()
	j.asks()
	j.runs()
	for _, w := range e.Waiting {
		j.stuck("%s", w)
	}
	return j.Verdict
}

// records finds the newest result of each video, and holds the dead letters against what had to become one.
func (j *judge) records() {
	there := make(map[Place]bool, len(j.Records))
	for i := range j.Records {
		r := &j.Records[i]
		there[r.Place] = true
		switch dead := j.DeadLetters[r.Place]; {
		case r.Poison && dead == 0:
			j.lost("the poison at %v is not among the dead letters", r.Place)
		case !r.Poison && r.Unreadable != "":
			j.flawed("the record at %v is neither marked as poison nor readable: %s", r.Place, r.Unreadable)
		case !r.Poison && dead > 0:
			j.lost("the result at %v of video %s is no poison and became a dead letter", r.Place, r.Video)
		default:
			j.Harmless += max(0, dead-1)
		}
		if r.Poison || r.Unreadable != "" {
			continue
		}
		if known := j.newest[r.Track][r.Video]; known == nil || r.Position.After(known.Position) {
			j.newest[r.Track][r.Video] = r
		}
	}
	for _, r := range j.Records {
		// Among records of several partitions, times that run backwards within one of them make the order circular.
		if newest := j.newest[r.Track][r.Video]; newest != nil && r.Position.After(newest.Position) {
			j.flawed("of the results at %v and %v of video %s, each is newer than the other", r.Place, newest.Place, r.Video)
		}
	}
	for _, p := range j.Accepted {
		if !there[p] {
			j.lost("Kafka accepted a record at %v and has none there", p)
		}
	}
	for origin := range j.DeadLetters {
		if !there[origin] {
			j.lost("a dead letter says that it came from %v, where no record is", origin)
		}
	}
}

// videos holds row and object of every video that is there against its newest results.
func (j *judge) videos() {
	for _, video := range slices.Sorted(maps.Keys(j.Rows)) {
		row := j.Rows[video]
		if r := j.newest[Transcription][video]; r != nil {
			object, url := j.Objects[video], j.TranscriptURL(video)
			switch {
			case !object.There:
				j.lost("video %s has no transcript in storage; its newest result is at %v", video, r.Place)
			case object.Sum != r.Stored:
				j.lost("the stored transcript of video %s (%d bytes) is not what its newest result at %v demands", video, object.Bytes, r.Place)
			}
			if row.Transcript != url {
				j.lost("transcript_url of video %s is %q, want %q", video, row.Transcript, url)
			}
		}
		if r := j.newest[Compressed][video]; r != nil && row.Camera != r.URL {
			j.lost("camera_video_url of video %s is %q, want %q of its newest result at %v", video, row.Camera, r.URL, r.Place)
		}
		for _, track := range []Track{Transcription, Compressed} {
			r, at := j.newest[track][video], row.Positions[track]
			switch {
			case r != nil && (at == nil || !at.Same(r.Position)):
				j.lost("the %s of video %s stands at %v; its newest result is at %v", track, video, at, r.Place)
			case r == nil && at != nil:
				j.doubled("the %s of video %s stands at %v, and there is no result of it", track, video, at)
			}
			if state := row.TrackStates[track]; state != "done" && (r != nil || state != "untracked") {
				j.stuck("the %s of video %s is %s", track, video, state)
			}
		}
	}
	for _, video := range slices.Sorted(maps.Keys(j.Objects)) {
		if _, there := j.Rows[video]; !there && j.Objects[video].There {
			j.stuck("video %s is deleted or never was, and its object is still there", video)
		}
	}
}

// unknown asks for the trace of results whose video is not there: a run that looked for it.
func (j *judge) unknown() {
	seen := map[string]bool{}
	for _, r := range j.Records {
		_, there := j.Rows[r.Video]
		if r.Poison || r.Unreadable != "" || there || seen[r.Video] {
			continue
		}
		seen[r.Video] = true
		if len(j.Runs[r.Video]) == 0 {
			j.lost("the result at %v of video %s, which is not there, left no run", r.Place, r.Video)
		}
	}
}

func (j *judge) creations() {
	for _, title := range slices.Sorted(maps.Keys(j.Inserted)) {
		if n := j.Inserted[title]; n > 1 {
			j.doubled("one creation made %d rows: %q", n, title)
		}
	}
	for _, video := range slices.Sorted(maps.Keys(j.Tracked)) {
		if _, there := j.Rows[video]; there && len(j.Runs[video]) == 0 {
			j.lost("video %s was created and has no run", video)
		}
	}
}

// effects looks for a position that was applied twice, and for an older one that was applied after a newer.
func (j *judge) effects() {
	type place struct {
		video string
		track Track
	}
	last := map[place]*Position{}
	for _, e := range j.Effects {
		at := place{e.Video, e.Track}
		before := last[at]
		switch {
		case e.Position == nil:
			j.doubled("the %s of video %s was set to %q without a position", e.Track, e.Video, e.Value)
			continue
		case before == nil || e.Position.After(*before):
		case e.Position.Same(*before):
			j.doubled("the %s of video %s was set twice from %v", e.Track, e.Video, e.Position)
		default:
			j.doubled("the %s of video %s was set from %v after the newer %v", e.Track, e.Video, e.Position, before)
		}
		last[at] = e.Position
	}
}

// clockSlack is for the milliseconds in which Kafka keeps times.
const clockSlack = 50 * time.Millisecond

// asks looks for one key with different bytes, and for keys that nothing asked for: one that follows another without a
// wait that ran out or a retry in between.
func (j *judge) asks() {
	type first struct {
		bytes string
		n     int
		at    time.Time
	}
	keys := map[string]map[string]*first{}
	for _, a := range j.Asks {
		if keys[a.Video] == nil {
			keys[a.Video] = map[string]*first{}
		}
		known := keys[a.Video][a.Key]
		switch {
		case known == nil:
			keys[a.Video][a.Key] = &first{bytes: a.Bytes, n: a.N, at: a.Time}
			continue
		case known.bytes != a.Bytes:
			j.doubled("the ask %s was published with different bytes", a.Key)
		default:
			j.Harmless++
		}
		if a.Time.Before(known.at) {
			known.at = a.Time
		}
	}
	for _, video := range slices.Sorted(maps.Keys(keys)) {
		asks := slices.SortedFunc(maps.Values(keys[video]), func(a, b *first) int { return a.n - b.n })
		early := 0
		for i := 1; i < len(asks); i++ {
			if asks[i].at.Sub(asks[i-1].at) < j.AskAgainAfter-clockSlack {
				early++
			}
		}
		if allowed := j.Retries[video]; early > allowed {
			j.doubled("video %s was asked for %d times, %d of them before the answer to the one before was due, after %d retries",
				video, len(asks), early, allowed)
		}
	}
}

// runs looks for runs that are open, and for videos whose last run did not complete. That of a deleted video may have
// been terminated: nothing of it was still wanted.
func (j *judge) runs() {
	for _, video := range slices.Sorted(maps.Keys(j.Runs)) {
		runs := j.Runs[video]
		for _, r := range runs {
			if r.Status == Running {
				j.stuck("run %s of video %s is open", r.ID, video)
			}
		}
		last := runs[len(runs)-1]
		_, there := j.Rows[video]
		switch {
		case last.Status == Completed, last.Status == Running:
		case !there && last.Status == Terminated:
		default:
			j.stuck("the last run of video %s is %s", video, last.Status)
		}
	}
}
