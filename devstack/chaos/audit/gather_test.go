package audit

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

// What the pipeline's own store does leaves the evidence that it should, and what is planted behind its back is found.
func TestHistory(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := postgrestest.New(t)
	conn, err := pgx.Connect(ctx, db.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(ctx) })
	if err := Watch(ctx, conn); err != nil {
		t.Fatal(err)
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	const video = contract.VideoID(created)
	exec(`with c as (insert into public.courses default values returning id)
		insert into public.videos (id, course_id, title, description, camera_video_url)
		select $1, id, 'a title', '', 'https://media.test/original.mp4' from c`, created)
	if _, err := db.Store.LoadPipeline(ctx, video); err != nil {
		t.Fatal(err)
	}
	topic := uuid.New()
	apply := func(offset int64, url string) {
		t.Helper()
		pos := contract.Position{TopicID: topic, Partition: 1, Offset: offset, Time: noon}
		if _, _, err := db.Store.ApplyCompression(ctx, video, pos, url); err != nil {
			t.Fatal(err)
		}
	}
	apply(1, "https://media.test/1.mp4")
	apply(3, "https://media.test/3.mp4")
	apply(3, "https://media.test/3.mp4") // a repeat
	apply(2, "https://media.test/2.mp4") // an older one

	look := func() (*Evidence, Verdict) {
		t.Helper()
		e := &Evidence{}
		if err := e.history(ctx, conn); err != nil {
			t.Fatal(err)
		}
		j := &judge{Evidence: e}
		j.effects()
		return e, j.Verdict
	}
	e, v := look()
	if len(e.Effects) != 2 || len(v.Doubled) != 0 || e.Inserted["a title"] != 1 {
		t.Fatalf("effects %+v, doubled %q, inserted %v", e.Effects, v.Doubled, e.Inserted)
	}
	if last := e.Effects[1]; last.Position == nil || last.Position.Offset != 3 || last.Position.Topic != topic ||
		!last.Position.Time.Equal(noon) || last.Value != "https://media.test/3.mp4" {
		t.Errorf("the last effect is %+v at %+v", last, last.Position)
	}
	rows, err := videoRows(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	if r := rows[created]; r.Camera != "https://media.test/3.mp4" || r.TrackStates[Compressed] != "done" || r.Positions[Compressed].Offset != 3 {
		t.Errorf("row %+v", r)
	}

	exec("update public.videos set camera_video_url = camera_video_url") // the same value, and still an effect
	exec(`with v as (update public.videos set camera_video_url = 'https://media.test/1.mp4' where id = $1 returning id)
		update pipeline.videos p set compression_position = ($2::uuid, 1, 1, now())::pipeline.position from v where p.video_id = v.id`, created, topic)
	_, v = look()
	all := strings.Join(v.Doubled, "\n")
	if !strings.Contains(all, "without a position") || !strings.Contains(all, "after the newer") {
		t.Errorf("doubled: %s", all)
	}

	exec("insert into pipeline.intents (video_id, kind) values ($1, 'run')", created)
	exec(`insert into pipeline.claims (token, video_id, position, until)
		values (gen_random_uuid(), $1, ($2::uuid, 1, 4, now())::pipeline.position, now() + interval '1 minute')`, created, topic)
	if waiting, vanished, err := unsettled(ctx, conn); waiting != 0 || vanished != 0 || err != nil {
		t.Errorf("%d wait, %d have vanished, %v", waiting, vanished, err)
	}
	left, err := pending(ctx, conn)
	if err != nil || len(left) != 2 || !strings.Contains(left[0], "intent") || !strings.Contains(left[1], "claimed") {
		t.Errorf("left: %q, %v", left, err)
	}
	exec("delete from public.videos")
	if waiting, vanished, err := unsettled(ctx, conn); waiting != 0 || vanished != 1 || err != nil {
		t.Errorf("%d wait, %d have vanished, %v", waiting, vanished, err)
	}
}

func TestPublished(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	topics := Topics{
		Asks: "Transcribe", Transcriptions: "update_transcribe", Compressions: "finish_compress",
		TranscriptionGroup: "transcripts", CompressionGroup: "compressions",
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics.Asks, topics.Transcriptions, topics.Compressions,
		topics.Transcriptions+deadLetterSuffix, topics.Compressions+deadLetterSuffix))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	headers := func(pairs ...string) (list []kgo.RecordHeader) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return list
	}
	if err := cl.ProduceSync(ctx,
		&kgo.Record{Topic: topics.Asks, Key: []byte(created), Value: []byte("{}"), Headers: headers("idempotency-key", created+"/transcribe/2")},
		&kgo.Record{Topic: topics.Transcriptions, Value: []byte(`{"videoId": "` + created + `", "words": []}`), Timestamp: noon},
		&kgo.Record{Topic: topics.Transcriptions, Value: []byte(`nonsense`), Headers: headers(PoisonHeader, "yes")},
		&kgo.Record{Topic: topics.Transcriptions, Value: []byte(`nonsense`)},
		&kgo.Record{Topic: topics.Compressions, Partition: 1, Key: []byte(created), Value: []byte("https://media.test/a.mp4")},
		&kgo.Record{Topic: topics.Transcriptions + deadLetterSuffix, Value: []byte(`nonsense`), Headers: headers(
			"vidflow-origin-topic", topics.Transcriptions, "vidflow-origin-partition", "0", "vidflow-origin-offset", "1")},
	).FirstErr(); err != nil {
		t.Fatal(err)
	}
	e := &Evidence{}
	if err := e.published(ctx, cluster.ListenAddrs(), topics); err != nil {
		t.Fatal(err)
	}
	if len(e.Asks) != 1 || e.Asks[0].N != 2 || e.Asks[0].Video != created {
		t.Errorf("asks %+v", e.Asks)
	}
	if n := e.DeadLetters[Place{topics.Transcriptions, 0, 1}]; n != 1 || len(e.DeadLetters) != 1 {
		t.Errorf("dead letters %v", e.DeadLetters)
	}
	byPlace := map[Place]Record{}
	for _, r := range e.Records {
		byPlace[r.Place] = r
	}
	transcript := byPlace[Place{topics.Transcriptions, 0, 0}]
	if transcript.Video != created || transcript.Track != Transcription || !transcript.Position.Time.Equal(noon) ||
		transcript.Position.Topic == [16]byte{} || transcript.Stored == sha256.Sum256(nil) {
		t.Errorf("transcript %+v", transcript)
	}
	if r := byPlace[Place{topics.Transcriptions, 0, 1}]; !r.Poison || r.Unreadable != "" {
		t.Errorf("poison %+v", r)
	}
	if r := byPlace[Place{topics.Transcriptions, 0, 2}]; r.Poison || r.Unreadable == "" {
		t.Errorf("nonsense that is not marked %+v", r)
	}
	if r := byPlace[Place{topics.Compressions, 1, 0}]; r.Video != created || r.URL != "https://media.test/a.mp4" {
		t.Errorf("compression %+v", r)
	}

	behind, err := lag(ctx, cluster.ListenAddrs(), topics)
	if err != nil || len(behind) != 2 {
		t.Fatalf("lag %q, %v", behind, err)
	}
	var offsets kadm.Offsets
	offsets.AddOffset(topics.Transcriptions, 0, 3, -1)
	if _, err := kadm.NewClient(cl).CommitOffsets(ctx, topics.TranscriptionGroup, offsets); err != nil {
		t.Fatal(err)
	}
	behind, err = lag(ctx, cluster.ListenAddrs(), topics)
	if err != nil || len(behind) != 1 || !strings.Contains(behind[0], "group compressions has committed 0 of 1") {
		t.Errorf("lag %q, %v", behind, err)
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/there":
			_, _ = w.Write([]byte("bytes"))
		case "/gone": // as Supabase says it
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"statusCode":"404","error":"not_found","message":"Object not found"}`))
		default:
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(server.Close)
	if o, err := fetch(t.Context(), server.URL+"/there"); err != nil || !o.There || o.Sum != sha256.Sum256([]byte("bytes")) || o.Bytes != 5 {
		t.Errorf("there: %+v, %v", o, err)
	}
	if o, err := fetch(t.Context(), server.URL+"/gone"); err != nil || o.There {
		t.Errorf("gone: %+v, %v", o, err)
	}
	if _, err := fetch(t.Context(), server.URL+"/broken"); err == nil {
		t.Error("a broken storage counts as one without the object")
	}
}
