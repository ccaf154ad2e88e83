package deadletter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/deadletter"
	"github.com/codeendelea/vidflow/internal/golden"
	"github.com/codeendelea/vidflow/internal/kafka"
)

func (r *rig) list(f deadletter.Filter) []deadletter.Entry {
	r.t.Helper()
	entries, err := r.box().List(r.ctx(), f)
	if err != nil {
		r.t.Fatal(err)
	}
	return entries
}

func origins(entries []deadletter.Entry) (offsets []int64) {
	for _, e := range entries {
		offsets = append(offsets, e.Origin.Offset)
	}
	return offsets
}

func TestList(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bury(
		death{origin: 1, minute: 1, key: videoID, class: "json", reason: "Not JSON at all", value: "{"},
		death{origin: 2, minute: 3, class: "schema", reason: "words is missing", value: `{"video_id":"` + videoID + `"}`},
		death{origin: 3, minute: 2, key: "k", topic: compressions, class: "url", reason: "no URL", value: "ftp://x"},
		death{origin: 4, minute: 4, key: "k", class: "json", reason: "not JSON either", without: true},
		death{origin: 4, minute: 5, key: "k", class: "json", reason: "not JSON, still", without: true},
	)
	// What is no letter is passed over.
	for _, rec := range []*kgo.Record{
		{Topic: transcripts + contract.DeadLetterSuffix, Value: []byte("by hand")},
		{Topic: transcripts + contract.DeadLetterSuffix, Headers: []kafka.Header{{Key: contract.HeaderCheck, Value: []byte("1")}}},
		{Topic: transcripts + contract.DeadLetterSuffix, Headers: []kafka.Header{{Key: contract.HeaderOriginTopic, Value: []byte("x")}}},
	} {
		if err := r.cl.ProduceSync(r.ctx(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	all := r.list(deadletter.Filter{})
	for name, row := range map[string]struct {
		filter deadletter.Filter
		want   []int64
	}{
		"all, the oldest first":  {deadletter.Filter{}, []int64{1, 3, 2, 4}},
		"of a class":             {deadletter.Filter{Classes: []string{"json"}}, []int64{1, 4}},
		"of two classes":         {deadletter.Filter{Classes: []string{"url", "schema"}}, []int64{3, 2}},
		"of a reason":            {deadletter.Filter{Reason: "NOT json"}, []int64{1, 4}},
		"since":                  {deadletter.Filter{Since: noon.Add(3 * time.Minute)}, []int64{2, 4}},
		"until":                  {deadletter.Filter{Until: noon.Add(3 * time.Minute)}, []int64{1, 3}},
		"of a video":             {deadletter.Filter{Video: videoID}, []int64{1, 2}},
		"at a place":             {deadletter.Filter{Places: []deadletter.Place{all[1].Place}}, []int64{3}},
		"all of it must fit":     {deadletter.Filter{Video: videoID, Classes: []string{"url"}}, nil},
		"the latest death tells": {deadletter.Filter{Until: noon.Add(5 * time.Minute), Reason: "either"}, nil},
	} {
		if diff := cmp.Diff(row.want, origins(r.list(row.filter))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := all[3]; got.Letters != 2 || got.Reason != "not JSON, still" || !got.WithoutValue || got.Size != 12000000 {
		t.Errorf("got %+v, want the last of two letters, without its value", got)
	}
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bury(
		death{origin: 1, minute: 1, key: videoID, class: "json", value: `{"a":1}`},
		death{origin: 2, minute: 2, class: "schema", value: "no key"},
		death{origin: 3, minute: 3, key: "k", class: "json", without: true},
		death{origin: 4, minute: 4, key: "k", topic: compressions, class: "url", value: "ftp://x"},
		death{origin: 1, minute: 5, key: videoID, class: "json", value: `{"a":1}`},
	)
	redrive := func(f deadletter.Filter) (sent, refused int) {
		box := r.box()
		entries, err := box.List(r.ctx(), f)
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Redrive(r.ctx(), r.producer(), entries, func(d deadletter.Redriven) {
			if d.Err == nil {
				sent++
			} else if refused++; !errors.Is(d.Err, deadletter.ErrWithoutValue) {
				t.Errorf("%s: %v", d.Entry.Place, d.Err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return sent, refused
	}
	if sent, refused := redrive(deadletter.Filter{}); sent != 3 || refused != 1 {
		t.Errorf("sent %d, refused %d; want 3 and the one without its value", sent, refused)
	}
	records := append(r.records(transcripts), r.records(compressions)...)
	got := make(map[string]map[string]string)
	for _, rec := range records {
		if rec.Timestamp.Before(noon) && rec.Topic == "" {
			t.Errorf("%+v", rec)
		}
		got[string(rec.Key)+"|"+string(rec.Value)] = headers(rec)
	}
	origin := func(topic, offset string) map[string]string {
		return map[string]string{
			"theirs": "kept", contract.HeaderOriginTopic: topic, contract.HeaderOriginTopicID: topicID.String(),
			contract.HeaderOriginPartition: "1", contract.HeaderOriginOffset: offset, contract.HeaderOriginTime: "1795521600000",
		}
	}
	want := map[string]map[string]string{
		videoID + `|{"a":1}`: origin(transcripts, "1"),
		"|no key":            origin(transcripts, "2"),
		"k|ftp://x":          origin(compressions, "4"),
	}
	if diff := cmp.Diff(want, got); diff != "" || len(records) != 3 {
		t.Errorf("%d records (-want +got):\n%s", len(records), diff)
	}

	if sent, _ := redrive(deadletter.Filter{}); sent != 0 {
		t.Errorf("a repeat sent %d back, want none", sent)
	}
	if diff := cmp.Diff([]int64{3}, origins(r.list(deadletter.Filter{}))); diff != "" {
		t.Errorf("open (-want +got):\n%s", diff)
	}
	for _, e := range r.list(deadletter.Filter{Redriven: true}) {
		if e.Redriven() == (e.Origin.Offset == 3) || e.Redriven() && e.RedrivenTo == "" {
			t.Errorf("%+v", e)
		}
	}

	// What dies again is open again.
	r.bury(death{origin: 2, minute: 0, class: "schema", value: "no key"})
	if sent, _ := redrive(deadletter.Filter{Classes: []string{"schema"}}); sent != 1 {
		t.Errorf("sent %d, want the one that died again, though its clock runs behind", sent)
	}
	if sent, _ := redrive(deadletter.Filter{Redriven: true, Video: videoID}); sent != 1 {
		t.Errorf("sent %d, want the one that was asked for again", sent)
	}
}

// mortal dies at a certain publish: before it, or after it and before anybody hears of it.
type mortal struct {
	deadletter.Publisher
	left  atomic.Int64
	after bool
}

var errKilled = errors.New("killed")

func (m *mortal) Publish(
	ctx context.Context, topic string, key, value []byte, headers ...kafka.Header,
) (int32, int64, error) {
	left := m.left.Add(-1)
	if left < 0 && (!m.after || left < -1) {
		return 0, 0, errKilled
	}
	p, o, err := m.Publisher.Publish(ctx, topic, key, value, headers...)
	if left < 0 {
		err = errKilled
	}
	return p, o, err
}

func TestRedrive_can_be_killed_at_any_moment(t *testing.T) {
	t.Parallel()
	const letters = 5
	for _, after := range []bool{false, true} {
		for step := range int64(2 * letters) {
			r := newRig(t)
			for i := range letters {
				r.bury(death{origin: int64(i), minute: i, key: "k", class: "json", value: strings.Repeat("v", i+1)})
			}
			box := r.box()
			m := &mortal{Publisher: r.producer(), after: after}
			m.left.Store(step)
			entries, err := box.List(r.ctx(), deadletter.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			_ = box.Redrive(r.ctx(), m, entries, func(deadletter.Redriven) {})
			box.Close()

			entries = r.list(deadletter.Filter{})
			if err := r.box().Redrive(r.ctx(), r.producer(), entries, func(d deadletter.Redriven) {
				if d.Err != nil {
					t.Error(d.Err)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if left := r.list(deadletter.Filter{}); len(left) > 0 {
				t.Errorf("killed at %d: %d letters are still open", step, len(left))
			}
			// Each record is there, and a repeat is the same record to the byte: value, and origin.
			values := make(map[string]string)
			for _, rec := range r.records(transcripts) {
				origin := headers(rec)[contract.HeaderOriginOffset]
				if before, ok := values[origin]; ok && before != string(rec.Value) {
					t.Errorf("killed at %d: origin %s came with %q and %q", step, origin, before, rec.Value)
				}
				values[origin] = string(rec.Value)
			}
			if len(values) != letters {
				t.Errorf("killed at %d: %d of %d records were sent back", step, len(values), letters)
			}
		}
	}
}

func TestRedrive_passes_over_what_cannot_be(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bury(death{origin: 1, key: "k", class: "json", value: "v"})
	entries := r.list(deadletter.Filter{})
	foreign, vanished := entries[0], entries[0]
	foreign.OriginTopic = "elsewhere"
	vanished.Offset = 7
	var got []string
	tell := func(d deadletter.Redriven) { got = append(got, d.Err.Error()) }
	if err := r.box().Redrive(r.ctx(), r.producer(), []deadletter.Entry{foreign}, tell); err != nil {
		t.Fatal(err)
	}
	r.bury(death{origin: 2, key: "k", class: "json", value: "v"}) // so that the scan for offset 7 is not in vain
	want := []string{deadletter.ErrForeign.Error()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(r.records(transcripts)); n != 0 {
		t.Errorf("%d records were sent back, want none", n)
	}
}

func TestFind_and_print(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bury(
		death{origin: 1, minute: 1, key: videoID, class: "json", reason: "bad \x1b[31m escape", value: `{"b":[1,2],"a":"\u001b"}`},
		death{origin: 2, minute: 2, key: videoID, class: "json", reason: "cut short", value: "\x1b" + strings.Repeat("x", 4100)},
		death{origin: 3, minute: 3, key: videoID, class: "bounds", reason: "too large", without: true},
		death{origin: 4, minute: 4, key: videoID, topic: compressions, class: "no_value", reason: "it has none"},
	)
	var list bytes.Buffer
	entries := r.list(deadletter.Filter{})
	if err := deadletter.PrintList(&list, entries); err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, "testdata/list.txt", list.Bytes())
	var whole, objects bytes.Buffer
	for _, e := range entries {
		letter, err := r.box().Find(r.ctx(), e.Place)
		if err != nil {
			t.Fatal(err)
		}
		if err := deadletter.Print(&whole, letter, false); err != nil {
			t.Fatal(err)
		}
		if letter.Origin.Offset == 2 {
			letter.Value = []byte("\xff")
		}
		for _, v := range []any{letter, e, deadletter.Redriven{Entry: e, Err: deadletter.ErrForeign}} {
			if err := json.NewEncoder(&objects).Encode(v); err != nil {
				t.Fatal(err)
			}
		}
	}
	golden.Equal(t, "testdata/letters.txt", whole.Bytes())
	golden.Equal(t, "testdata/letters.json", objects.Bytes())

	for _, place := range []deadletter.Place{
		{Topic: transcripts + contract.DeadLetterSuffix, Partition: 0, Offset: 99},
		{Topic: transcripts + contract.DeadLetterSuffix, Partition: 9, Offset: 0},
		{Topic: "nowhere.dlq", Partition: 0, Offset: 0},
	} {
		if _, err := r.box().Find(r.ctx(), place); err == nil {
			t.Errorf("%s: want an error", place)
		}
	}
}

func TestParsePlace(t *testing.T) {
	t.Parallel()
	place := deadletter.Place{Topic: "a.dlq", Partition: 3, Offset: 12}
	if got, err := deadletter.ParsePlace(place.String()); err != nil || got != place {
		t.Errorf("got %v, %v; want %v", got, err, place)
	}
	for _, text := range []string{"", "a", "a/1", "/1@2", "a/x@2", "a/1@x", "a/-1@2", "a/1@-2", "a/1@2@3", "a/99999999999@1"} {
		if got, err := deadletter.ParsePlace(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
