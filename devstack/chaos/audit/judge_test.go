package audit

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	created = "11111111-1111-4111-8111-111111111111"
	deleted = "22222222-2222-4222-8222-222222222222"
	unknown = "33333333-3333-4333-8333-333333333333"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// at is the position of a record: topic, partition, offset and seconds after noon.
func at(track Track, partition int32, offset int64, seconds int) Position {
	topic := [16]byte{1}
	if track == Compressed {
		topic = [16]byte{2}
	}
	return Position{Topic: topic, Partition: partition, Offset: offset, Time: noon.Add(time.Duration(seconds) * time.Second)}
}

func record(track Track, p Position, video string, demands string) Record {
	topic := "update_transcribe"
	r := Record{Position: p, Track: track, Video: video, Stored: sha256.Sum256([]byte(demands))}
	if track == Compressed {
		topic, r.URL, r.Stored = "finish_compress", demands, [32]byte{}
	}
	r.Place = Place{topic, p.Partition, p.Offset}
	return r
}

func address(video string) string { return "https://storage.test/" + video + ".json" }

// sound is a pipeline with nothing wrong: a video whose transcript was replaced by a newer one, whose transcription was
// asked for twice, and whose first ask was repeated; one that was deleted; a result of one that never was; and poison.
func sound() *Evidence {
	first, second, older := at(Transcription, 0, 3, 10), at(Transcription, 0, 5, 30), at(Transcription, 1, 9, 5)
	url := at(Compressed, 2, 1, 12)
	poison := record(Transcription, at(Transcription, 0, 4, 20), "", "")
	poison.Poison = true
	ask := func(n int, seconds int) Ask {
		return Ask{Video: created, Key: fmt.Sprintf("%s/transcribe/%d", created, n), N: n, Bytes: "{}", Time: noon.Add(time.Duration(seconds) * time.Second)}
	}
	e := &Evidence{
		Inserted: map[string]int{"one": 1, "two": 1},
		Tracked:  map[string]bool{created: true, deleted: true},
		Accepted: []Place{{"update_transcribe", 0, 3}},
		Records: []Record{
			record(Transcription, first, created, "old"),
			poison,
			record(Transcription, second, created, "new"),
			record(Transcription, older, created, "oldest"),
			record(Compressed, url, created, "https://media.test/a.mp4"),
			record(Compressed, at(Compressed, 0, 0, 1), deleted, "https://media.test/b.mp4"),
			record(Compressed, at(Compressed, 0, 1, 2), unknown, "https://media.test/c.mp4"),
		},
		DeadLetters: map[Place]int{poison.Place: 2},
		Asks:        []Ask{ask(1, 0), ask(1, 2), ask(2, 22)},
		Effects: []Effect{
			{Video: created, Track: Transcription, Value: address(created), Position: &first, At: noon},
			{Video: created, Track: Compressed, Value: "https://media.test/a.mp4", Position: &url, At: noon},
			{Video: created, Track: Transcription, Value: address(created), Position: &second, At: noon},
		},
		Rows: map[string]Row{created: {
			Transcript: address(created), Camera: "https://media.test/a.mp4",
			TrackStates: map[Track]string{Transcription: "done", Compressed: "done"},
			Positions:   map[Track]*Position{Transcription: &second, Compressed: &url},
		}},
		Objects: map[string]Object{created: {There: true, Sum: sha256.Sum256([]byte("new"))}, deleted: {}, unknown: {}},
		Runs: map[string][]Run{
			created: {{ID: "a", Status: Completed}},
			deleted: {{ID: "b", Status: Terminated}},
			unknown: {{ID: "c", Status: Completed}},
		},
		TranscriptURL: address,
		AskAgainAfter: 20 * time.Second,
	}
	return e
}

func TestJudge_finds_nothing_where_nothing_is_wrong(t *testing.T) {
	t.Parallel()
	v := Judge(sound())
	if !v.Sound() {
		t.Errorf("lost %q, doubled %q, stuck %q, flawed %q", v.Lost, v.Doubled, v.Stuck, v.Flawed)
	}
	if v.Harmless != 2 { // the ask that was repeated, and the dead letter
		t.Errorf("%d harmless repeats, want 2", v.Harmless)
	}
}

func TestJudge_finds_what_is_planted(t *testing.T) {
	t.Parallel()
	row := func(e *Evidence, change func(*Row)) {
		r := e.Rows[created]
		change(&r)
		e.Rows[created] = r
	}
	tests := map[string]struct {
		plant func(e *Evidence)
		lost  string
		twice string
		stuck string
	}{
		"a dropped record: the newest is not applied": {
			plant: func(e *Evidence) {
				e.Effects = e.Effects[:2]
				row(e, func(r *Row) { r.Positions[Transcription] = e.Effects[0].Position })
				e.Objects[created] = Object{There: true, Sum: sha256.Sum256([]byte("old"))}
			},
			lost: "stands at",
		},
		"a dropped record: nothing is stored": {
			plant: func(e *Evidence) { e.Objects[created] = Object{} },
			lost:  "has no transcript in storage",
		},
		"a dropped record: an URL is not set": {
			plant: func(e *Evidence) { row(e, func(r *Row) { r.Camera = "https://media.test/original.mp4" }) },
			lost:  "camera_video_url",
		},
		"a column that was never set": {
			plant: func(e *Evidence) { row(e, func(r *Row) { r.Transcript = "" }) },
			lost:  "transcript_url",
		},
		"a result of an unknown video without a trace": {
			plant: func(e *Evidence) { delete(e.Runs, unknown) },
			lost:  "left no run",
		},
		"altered bytes": {
			plant: func(e *Evidence) { e.Objects[created] = Object{There: true, Sum: sha256.Sum256([]byte("neW"))} },
			lost:  "is not what its newest result",
		},
		"a missing dead letter": {
			plant: func(e *Evidence) { clear(e.DeadLetters) },
			lost:  "is not among the dead letters",
		},
		"a good result among the dead letters": {
			plant: func(e *Evidence) { e.DeadLetters[e.Records[0].Place] = 1 },
			lost:  "is no poison and became a dead letter",
		},
		"a created video without a run": {
			plant: func(e *Evidence) { delete(e.Runs, created) },
			lost:  "was created and has no run",
		},
		"a record that Kafka accepted and does not have": {
			plant: func(e *Evidence) { e.Accepted = append(e.Accepted, Place{"update_transcribe", 0, 99}) },
			lost:  "has none there",
		},
		"a position that is applied twice": {
			plant: func(e *Evidence) { e.Effects = append(e.Effects, e.Effects[2]) },
			twice: "was set twice from",
		},
		"an effect that no record accounts for": {
			plant: func(e *Evidence) {
				e.Effects = append(e.Effects, Effect{Video: created, Track: Compressed, Value: "https://media.test/x.mp4"})
			},
			twice: "without a position",
		},
		"an older one that is applied last": {
			plant: func(e *Evidence) {
				older := at(Transcription, 1, 9, 5)
				e.Effects = append(e.Effects, Effect{Video: created, Track: Transcription, Value: address(created), Position: &older})
				row(e, func(r *Row) { r.Positions[Transcription] = &older })
				e.Objects[created] = Object{There: true, Sum: sha256.Sum256([]byte("oldest"))}
			},
			lost:  "is not what its newest result",
			twice: "after the newer",
		},
		"one key with different bytes": {
			plant: func(e *Evidence) { e.Asks[1].Bytes = `{"other": 1}` },
			twice: "with different bytes",
		},
		"an ask more than the waits allow": {
			plant: func(e *Evidence) { e.Asks[2].Time = noon.Add(10 * time.Second) },
			twice: "before the answer to the one before was due",
		},
		"a creation that made two rows": {
			plant: func(e *Evidence) { e.Inserted["one"] = 2 },
			twice: "made 2 rows",
		},
		"a run that is open": {
			plant: func(e *Evidence) { e.Runs[created] = append(e.Runs[created], Run{ID: "d", Status: Running}) },
			stuck: "is open",
		},
		"a last run that failed": {
			plant: func(e *Evidence) { e.Runs[created] = append(e.Runs[created], Run{ID: "d", Status: "Failed"}) },
			stuck: "is Failed",
		},
		"a run of a video that is there was terminated": {
			plant: func(e *Evidence) { e.Runs[created][0].Status = Terminated },
			stuck: "is Terminated",
		},
		"a track that waits": {
			plant: func(e *Evidence) { row(e, func(r *Row) { r.TrackStates[Compressed] = "waiting" }) },
			stuck: "is waiting",
		},
		"an intent, a claim or a lag": {
			plant: func(e *Evidence) { e.Waiting = []string{"the intent run of video x is not carried out"} },
			stuck: "the intent run",
		},
		"an object of a deleted video that is still there": {
			plant: func(e *Evidence) { e.Objects[deleted] = Object{There: true} },
			stuck: "its object is still there",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sound()
			tt.plant(e)
			v := Judge(e)
			for _, part := range []struct {
				what string
				want string
				got  []string
			}{{"lost", tt.lost, v.Lost}, {"doubled", tt.twice, v.Doubled}, {"stuck", tt.stuck, v.Stuck}} {
				all := strings.Join(part.got, "\n")
				if part.want == "" && len(part.got) > 0 {
					t.Errorf("%s: got %q, want nothing", part.what, all)
				}
				if !strings.Contains(all, part.want) {
					t.Errorf("%s: got %q, want …%s…", part.what, all, part.want)
				}
			}
		})
	}
}

func TestJudge_lets_people_retry(t *testing.T) {
	t.Parallel()
	e := sound()
	e.Asks[2].Time = noon.Add(3 * time.Second)
	e.Retries = map[string]int{created: 1}
	if v := Judge(e); !v.Sound() {
		t.Errorf("doubled: %q", v.Doubled)
	}
}

func TestJudge_says_when_the_test_leaves_the_order_open(t *testing.T) {
	t.Parallel()
	e := sound()
	// Newer by offset than one that is newer by time than the third, which is newer by time than the first.
	e.Records = append(e.Records,
		record(Transcription, at(Transcription, 0, 6, 1), created, "a"),
		record(Transcription, at(Transcription, 1, 10, 29), created, "b"))
	if v := Judge(e); len(v.Flawed) == 0 {
		t.Error("nothing said")
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	p := at(Transcription, 0, 5, 10)
	for name, tt := range map[string]struct {
		q    Position
		want bool
	}{
		"itself":                          {p, false},
		"a later offset":                  {at(Transcription, 0, 6, 10), false},
		"an earlier offset, a later time": {at(Transcription, 0, 4, 99), true},
		"another partition, earlier":      {at(Transcription, 1, 9, 9), true},
		"another partition, later":        {at(Transcription, 1, 1, 11), false},
		"another partition, same time":    {at(Transcription, 1, 1, 10), false},
		"another topic, same time":        {Position{Partition: 9, Offset: 9, Time: p.Time}, true},
	} {
		if got := p.After(tt.q); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
}
