package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/codeendelea/vidflow/devstack/envfile"
	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/postgres"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/internal/contract"
	vidflow "github.com/codeendelea/vidflow/internal/postgres"
)

// listenersVariable holds how many listeners TestListeners measures a starter with.
const listenersVariable = "VIDFLOW_TEST_LISTENERS"

func listeners(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv(listenersVariable))
	if err != nil || n < 1 {
		t.Skipf("a measurement: %s is not set (make bench-events)", listenersVariable)
	}
	return n
}

// TestListeners measures one starter with many listeners: memory, goroutines, what it asks of the database, and how long
// after a change its listeners know.
func TestListeners(t *testing.T) {
	n := listeners(t)
	fmt.Printf("%-34s %8s %8s %8s %9s %9s %9s %9s %9s %9s %9s\n", fmt.Sprintf("%d listeners", n),
		"MiB none", "MiB", "gorout.", "open s", "q/s none", "q/s idle", "changes/s", "q/change", "p50 ms", "p99 ms")
	for _, mode := range []string{"listen", "poll"} {
		for _, c := range []struct {
			name   string
			videos int
			course bool
		}{
			{"one video", 1, false},
			{"a video each", n, false},
			{"a course of 100 videos", 100, true},
		} {
			measureListeners(t, mode, mode+", "+c.name, n, c.videos, c.course)
		}
	}
}

func measureListeners(t *testing.T, mode, name string, n, videos int, course bool) {
	t.Helper()
	var settings []envfile.Var
	if mode == "poll" {
		settings = []envfile.Var{{Name: "DATABASE_LISTEN_URL", Value: ""}}
	}
	p := newPipeline(t, settings...)
	// The process under measure is not to wait for its clients: they are in this one, on the same machine.
	p.start(starter)
	defer p.stop(starter)
	p.awaitSource(mode)
	ctx := t.Context()
	courseID := seed.Courses[0].ID
	p.db.Exec(t, `
		with v as (
			insert into public.videos (course_id, title, description, camera_video_url)
			select $1::uuid, 'Video ' || n, 'What a video of a course is about, in two or three sentences. It is not read here.',
				'https://cdn.example.org/raw/' || n || '.mp4' from generate_series(1, $2::int) n
			returning id, course_id
		)
		insert into pipeline.videos (video_id, course_id, transcription_state, compression_state)
		select id, course_id, 'waiting', 'waiting' from v`, courseID, videos)
	rows, err := p.db.Admin.Query(ctx, `select video_id::text from pipeline.videos`)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	idleMemory := p.resident(starter)
	const idle = 10 * time.Second
	before := p.queries()
	<-time.After(idle)
	alone := float64(p.queries()-before) / idle.Seconds()

	began := time.Now()
	heard := make(chan time.Duration, 1<<20)
	var opened, reading sync.WaitGroup
	for i := range n {
		path := "/api/videos/" + ids[i%len(ids)] + "/events"
		if course {
			path = "/api/courses/" + courseID + "/events"
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.block.Addr(ports.API))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, p.places.API.Token)
		opened.Add(1)
		reading.Go(func() {
			ready := sync.OnceFunc(opened.Done)
			defer ready()
			lines := bufio.NewReaderSize(conn, 4096)
			complete := false
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				now := time.Now()
				switch {
				case strings.HasPrefix(line, "event: complete"):
					complete = true
				case !strings.HasPrefix(line, "data: "):
				case course && !complete:
				case course && strings.HasPrefix(line, `data: {"all"`):
					ready()
				case !course && !complete:
					complete = true // the present state
					ready()
				default:
					if at := updatedAt.FindStringSubmatch(line); at != nil {
						if changed, err := time.Parse(time.RFC3339Nano, at[1]); err == nil {
							heard <- now.Sub(changed)
						}
					}
				}
			}
		})
	}
	opened.Wait()
	openSeconds := time.Since(began).Seconds()

	before = p.queries()
	<-time.After(idle)
	idleQueries := float64(p.queries()-before) / idle.Seconds()

	perChange := n
	if !course {
		perChange = max(1, n/len(ids))
	}
	// At most 4,000 events a second: clients and server share the machine.
	const changes = 60
	every := max(50*time.Millisecond, time.Duration(perChange)*time.Second/4000)
	before = p.queries()
	ticker := time.NewTicker(every)
	for i := range changes {
		if err := p.db.Store.RecordError(ctx, contract.VideoID(ids[i%len(ids)]), contract.TranscriptionTrack, strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		<-ticker.C
	}
	ticker.Stop()
	var latencies []time.Duration
	if mode == "listen" { // every change is told by itself
		for len(latencies) < changes*perChange*9/10 {
			select {
			case l := <-heard:
				latencies = append(latencies, l)
			case <-time.After(30 * time.Second):
				t.Fatalf("%s: %d events of %d", name, len(latencies), changes*perChange)
			}
		}
	}
	for quiet := false; !quiet; {
		select {
		case l := <-heard:
			latencies = append(latencies, l)
		case <-time.After(3 * time.Second):
			quiet = true
		}
	}
	queries := float64(p.queries()-before) / changes
	if len(latencies) == 0 {
		t.Fatalf("%s: no event", name)
	}
	slices.Sort(latencies)
	ms := func(q float64) float64 {
		return float64(latencies[int(q*float64(len(latencies)-1))].Microseconds()) / 1000
	}
	fmt.Printf("%-34s %8d %8d %8s %9.1f %9.1f %9.1f %9.0f %9.2f %9.1f %9.1f\n", name, idleMemory>>20, p.resident(starter)>>20,
		p.metric("go_goroutines"), openSeconds, alone, idleQueries, 1/every.Seconds(), queries, ms(.5), ms(.99))
}

var updatedAt = regexp.MustCompile(`"updated_at":"([^"]+)"`)

// resident is the memory of a process, in bytes.
func (p *pipeline) resident(name string) int {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.processes[name].PID()))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}

// queries is how many the starter has asked of the database: one for each time that it took a connection.
func (p *pipeline) queries() int {
	p.t.Helper()
	<-time.After(1500 * time.Millisecond) // it is counted anew once a second at most
	n, err := strconv.Atoi(p.metric("pgxpool_acquires_total"))
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *pipeline) metric(name string) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.block.URL(ports.StarterOps)+"/metrics", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 2 && (fields[0] == name || strings.HasPrefix(fields[0], name+"{")) {
			return fields[1]
		}
	}
	return "?"
}

// TestAnnouncing measures what announcing costs who writes, on a server that keeps what it commits: after the commit, as it
// is done, within it, as it was, and not at all.
func TestAnnouncing(t *testing.T) {
	listeners(t)
	ctx := t.Context()
	block, anchor, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	defer anchor.Close()
	dir := t.TempDir()
	server := postgres.New(postgres.Config{
		Dir: filepath.Join(dir, "postgres"), Port: block.Port(ports.Postgres),
		LogFile: filepath.Join(dir, "log"),
	})
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop(context.WithoutCancel(ctx)) }()
	url := server.URL("postgres")
	if err := vidflow.Migrate(ctx, url, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	const most, each, took = 16, 100, 5 * time.Second
	pool, err := pgxpool.New(ctx, url+"&pool_max_conns=20")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(ctx, sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	store, err := vidflow.Open(ctx, url, vidflow.WithMaxConns(20))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var ids [most * each]contract.VideoID
	for i := range ids {
		ids[i] = contract.VideoID(uuid.NewString())
		exec(`insert into pipeline.videos (video_id, transcription_state, compression_state) values ($1, 'waiting', 'waiting')`, string(ids[i]))
	}
	bySQL := func(ctx context.Context, id contract.VideoID, n int) error {
		_, err := pool.Exec(ctx, `update pipeline.videos set transcription_error = $2 where video_id = $1`, string(id), strconv.Itoa(n))
		return err
	}
	byStore := func(ctx context.Context, id contract.VideoID, n int) error {
		return store.RecordError(ctx, id, contract.TranscriptionTrack, strconv.Itoa(n))
	}
	measure := func(name string, writers int, write func(context.Context, contract.VideoID, int) error) {
		t.Helper()
		end := time.Now().Add(took)
		var total [most]int
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				for i := 0; time.Now().Before(end); i++ {
					if err := write(ctx, ids[w*each+i%each], i); err != nil {
						t.Error(err)
						return
					}
					total[w]++
				}
			})
		}
		writing.Wait()
		sum := 0
		for _, n := range total {
			sum += n
		}
		fmt.Printf("%2d writers, %-28s %8.0f commits/s\n", writers, name, float64(sum)/took.Seconds())
	}
	exec(`create function pipeline.announce() returns trigger language plpgsql as $$
		begin
			perform pg_notify('vidflow_videos', new.video_id || ' ' || new.revision || ' ' || coalesce(new.course_id::text, ''));
			return null;
		end $$`)
	for range 2 {
		for _, writers := range []int{1, most} {
			measure("announced after the commit", writers, byStore)
			measure("not announced", writers, bySQL)
			exec(`create trigger announce_changed after update on pipeline.videos
				for each row when (old.revision <> new.revision) execute function pipeline.announce()`)
			measure("announced within it", writers, bySQL)
			exec(`drop trigger announce_changed on pipeline.videos`)
		}
	}
}

// TestEvents_long is a stream that outlives every time-out of the server's.
func TestEvents_long(t *testing.T) {
	listeners(t)
	p := newPipeline(t)
	p.start(starter)
	id := p.create(10 * time.Second)
	one, all := p.listen(eventsOf(id), ""), p.listen("/api/courses/"+p.courseOf(id)+"/events", "")
	one.await(p.revision(id))
	for len(all.ids) == 0 { // complete
		<-time.After(10 * time.Millisecond)
	}
	<-time.After(100 * time.Second)
	one.await(p.change(id))
	for len(all.ids) < 2 {
		select {
		case <-t.Context().Done():
			t.Fatal("the course's stream is silent")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
