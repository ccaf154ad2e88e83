package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// TestUnfinished lists one video of each kind there is, for each selection of lacks, in pages of any size.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, _ := db.Course(t)
	want := map[contract.VideoID][]postgres.Lack{} // what each lacks, in order of precedence
	transcriptions := []contract.TrackState{"", contract.Untracked, contract.Waiting, contract.Done, contract.GivenUp}
	compressions := []contract.TrackState{contract.Untracked, contract.Waiting, contract.Overdue, contract.Done, contract.GivenUp}
	for _, transcription := range transcriptions {
		for _, compression := range compressions {
			for _, stored := range []bool{false, true} {
				id := db.Video(t, course)
				if stored {
					db.Exec(t, `update public.videos set transcript_url = 'https://x.example/1.json' where id = $1`, string(id))
				}
				var lacks []postgres.Lack
				lack := func(l postgres.Lack, has bool) {
					if has {
						lacks = append(lacks, l)
					}
				}
				if transcription == "" {
					lack(postgres.LackUntracked, !stored)
				} else {
					db.Exec(t, `insert into pipeline.videos (video_id, course_id, transcription_state, compression_state, asks)
						values ($1, $2, $3, $4, 2)`, string(id), course, string(transcription), string(compression))
					lack(postgres.LackFailed, transcription == contract.GivenUp)
					lack(postgres.LackUntracked, transcription == contract.Untracked && !stored)
					lack(postgres.LackWaiting, transcription == contract.Waiting || compression == contract.Waiting)
					lack(postgres.LackOverdue, compression == contract.Overdue)
				}
				want[id] = lacks
			}
		}
	}
	deleted := db.Video(t, course)
	db.Exec(t, `insert into pipeline.videos (video_id, transcription_state, compression_state, deleted_at)
		values ($1, 'waiting', 'waiting', now())`, string(deleted))

	for set := 1; set < 1<<len(postgres.Lacks()); set++ {
		var q postgres.UnfinishedQuery
		for i, l := range postgres.Lacks() {
			if set&(1<<i) != 0 {
				q.Lacks = append(q.Lacks, l)
			}
		}
		t.Run(fmt.Sprint(q.Lacks), func(t *testing.T) {
			t.Parallel()
			wanted := map[contract.VideoID]postgres.Lack{}
			for id, lacks := range want {
				if i := slices.IndexFunc(lacks, func(l postgres.Lack) bool { return slices.Contains(q.Lacks, l) }); i >= 0 {
					wanted[id] = lacks[i]
				}
			}
			for _, size := range []int{1, 7, len(want) + 1, 1000} {
				if diff := cmp.Diff(wanted, pages(t, db, q, size)); diff != "" {
					t.Errorf("in pages of %d (-want +got):\n%s", size, diff)
				}
			}
			for id := range want {
				one := must(db.Store.StillUnfinished(t.Context(), q, id))(t)
				if lack, ok := wanted[id]; ok != (one != nil) || (ok && (one.Lack != lack || one.Video.ID != id)) {
					t.Errorf("alone: got %+v, want %q", one, lack)
				}
			}
		})
	}
}

// pages lists everything, and sees that it comes in order and once.
func pages(t *testing.T, db *postgrestest.DB, q postgres.UnfinishedQuery, size int) map[contract.VideoID]postgres.Lack {
	t.Helper()
	got := map[contract.VideoID]postgres.Lack{}
	var after, last contract.VideoID
	for {
		list, next, err := db.Store.Unfinished(t.Context(), q, after, size)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list {
			if strings.Compare(string(u.Video.ID), string(last)) <= 0 {
				t.Errorf("%s comes after %s", u.Video.ID, last)
			}
			last = u.Video.ID
			got[u.Video.ID] = u.Lack
		}
		if next == "" {
			return got
		}
		after = next
	}
}

func TestUnfinished_of_a_course_and_a_time(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	course, _ := db.Course(t)
	id, other := db.Video(t, course), db.Video(t, "")
	db.Exec(t, `update public.videos set created_at = $2, title = 'Sorting' where id = $1`, string(id), noon)
	db.Exec(t, `update public.videos set created_at = $2 where id = $1`, string(other), noon.Add(-time.Hour))
	all := postgres.Lacks()
	for name, row := range map[string]struct {
		q    postgres.UnfinishedQuery
		want []contract.VideoID
	}{
		"a course":                      {postgres.UnfinishedQuery{CourseID: course}, []contract.VideoID{id}},
		"an empty course":               {postgres.UnfinishedQuery{CourseID: uuid.NewString()}, nil},
		"since then":                    {postgres.UnfinishedQuery{Since: noon}, []contract.VideoID{id}},
		"since a moment later":          {postgres.UnfinishedQuery{Since: noon.Add(time.Microsecond)}, nil},
		"until then":                    {postgres.UnfinishedQuery{Until: noon}, []contract.VideoID{other}},
		"of a course, until long after": {postgres.UnfinishedQuery{CourseID: course, Until: noon.Add(time.Hour)}, []contract.VideoID{id}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row.q.Lacks = all
			list, _, err := db.Store.Unfinished(t.Context(), row.q, "", 100)
			if err != nil {
				t.Fatal(err)
			}
			var got []contract.VideoID
			for _, u := range list {
				got = append(got, u.Video.ID)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	one := must(db.Store.StillUnfinished(t.Context(), postgres.UnfinishedQuery{Lacks: all}, id))(t)
	want := &postgres.Unfinished{
		Lack: postgres.LackUntracked, Video: contract.Video{ID: id, CourseID: course, Title: "Sorting", CreatedAt: noon},
		Transcription: contract.Untracked, Compression: contract.Untracked,
	}
	if diff := cmp.Diff(want, one); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
