package browsertest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/devstack/browser"
	"github.com/codeendelea/vidflow/internal/captions"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
	"github.com/codeendelea/vidflow/internal/supabase"
	"github.com/codeendelea/vidflow/starter"
)

// player is the API, a bucket, and a page of another origin with a video element that shows captions.
type player struct {
	db      *postgrestest.DB
	storage *supabase.Client
	api     *httptest.Server
	page    *httptest.Server
	course  string

	mu       sync.Mutex
	statuses []int // of the answers to requests for captions
}

func newPlayer(t *testing.T) *player {
	t.Helper()
	p := &player{db: postgrestest.New(t)}
	p.course, _ = p.db.Course(t)
	var err error
	p.storage, err = supabase.New(supabase.Config{URL: os.Getenv("SUPABASE_URL"), ServiceKey: os.Getenv("SUPABASE_SERVICE_KEY")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.storage.Close)
	s, err := starter.New(starter.Deps{Store: p.db.Store, Transcripts: p.storage},
		starter.Config{JWTSecret: "secret", ResultTopic: "update_transcribe"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		s.Handler().ServeHTTP(ww, r)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.statuses = append(p.statuses, ww.Status())
	}))
	t.Cleanup(p.api.Close)
	p.page = httptest.NewServer(http.HandlerFunc(p.servePage))
	t.Cleanup(p.page.Close)
	return p
}

// servePage serves a page and its video: a minute of silence.
func (p *player) servePage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/silence.wav" {
		w.Header().Set("Content-Type", "audio/wav")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(silence(time.Minute)))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, `<!doctype html><body style="margin: 0">
		<video crossorigin src="/silence.wav" width="960" height="540" style="background: #345" preload="auto">
			<track default kind="captions" src="%s/api/videos/%s/captions.vtt">
		</video>
		<script>
			const video = document.querySelector("video"), track = document.querySelector("track")
			const seek = time => new Promise(done => {
				video.addEventListener("seeked", () => requestAnimationFrame(() => requestAnimationFrame(done)), {once: true})
				video.currentTime = time
			})
			const told = cue => ({
				start: Math.round(cue.startTime * 1000), end: Math.round(cue.endTime * 1000),
				lines: cue.getCueAsHTML().textContent.split("\n"),
			})
		</script>`, p.api.URL, strings.TrimPrefix(r.URL.Path, "/"))
}

// silence is a WAV file of one channel with 8,000 samples a second, of 8 bits.
func silence(length time.Duration) []byte {
	const rate = 8000
	n := uint32(length.Seconds() * rate)
	var b bytes.Buffer
	b.WriteString("RIFF")
	_ = binary.Write(&b, binary.LittleEndian, 36+n)
	b.WriteString("WAVEfmt ")
	_ = binary.Write(&b, binary.LittleEndian, struct {
		Size              uint32
		Format, Channels  uint16
		Rate, BytesSecond uint32
		Block, Bits       uint16
	}{16, 1, 1, rate, rate, 1, 8})
	b.WriteString("data")
	_ = binary.Write(&b, binary.LittleEndian, n)
	b.Write(bytes.Repeat([]byte{0x80}, int(n)))
	return b.Bytes()
}

// transcribed stores a transcript as the worker does, and answers the cues it must give.
func (p *player) transcribed(t *testing.T, id contract.VideoID, text string) []captions.Cue {
	t.Helper()
	words := []captions.Word{} // not null
	at := 1.0
	for line := range strings.Lines(text) {
		for _, w := range strings.Fields(line) {
			words = append(words, captions.Word{Text: w, Start: at, End: at + 0.4})
			at += 0.5
		}
		at += 2
	}
	stored, err := json.Marshal(map[string]any{"video_id": id, "transcription": map[string]any{"words": words}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.storage.Put(t.Context(), id.TranscriptPath(), stored); err != nil {
		t.Fatal(err)
	}
	if _, err := p.db.Store.LoadPipeline(t.Context(), id); err != nil { // whereby it becomes known
		t.Fatal(err)
	}
	token, pos := uuid.New(), contract.Position{TopicID: uuid.New(), Time: time.Now()}
	if c, err := p.db.Store.Claim(t.Context(), id, token, pos, time.Minute); err != nil || c.Outcome != postgres.Granted {
		t.Fatalf("claim: %+v, %v", c, err)
	}
	ok, _, err := p.db.Store.ApplyTranscript(t.Context(), token, id, pos, p.storage.PublicURL(id.TranscriptPath()),
		contract.TranscriptSummary{Words: len(words)})
	if err != nil || !ok {
		t.Fatalf("apply: %t, %v", ok, err)
	}
	return captions.Cut(words)
}

// cue is what the browser made of one of the file's.
type cue struct {
	Start int64    `json:"start"`
	End   int64    `json:"end"`
	Lines []string `json:"lines"`
}

func asTold(cues []captions.Cue) []cue {
	told := []cue{}
	for _, c := range cues {
		told = append(told, cue(c))
	}
	return told
}

func (p *player) open(t *testing.T, tab *browser.Tab, id contract.VideoID) {
	t.Helper()
	tab.Open(p.page.URL + "/" + string(id))
	tab.Await("the video can be played", `video.readyState >= 3`)
}

// The states of a track element.
const (
	trackLoaded = 2
	trackFailed = 3
)

func (p *player) loaded(t *testing.T, tab *browser.Tab, id contract.VideoID) []cue {
	t.Helper()
	p.open(t, tab, id)
	tab.Await("the captions are loaded", fmt.Sprintf("track.readyState == %d", trackLoaded))
	var cues []cue
	tab.Eval(`Array.from(track.track.cues, told)`, &cues)
	return cues
}

// TestCaptions has a browser's own video element show the captions of a video, on a page of another origin.
func TestCaptions(t *testing.T) {
	t.Parallel()
	p := newPlayer(t)
	chromium := browser.New(t)
	for name, text := range map[string]string{
		"english": "Welcome back. Today we look at graphs, which are made of nodes and of the edges between them.\n" +
			"If a < b && c > d then it --> works. A tag: <b>bold</b>, an entity: &lt; and done.",
		"arabic": "مرحباً بكم في هذه المحاضرة. سوف نرى اليوم كيف تعمل خوارزمية البحث في الشجرة.\n" +
			"Python هي لغة برمجة سهلة، وسوف نكتب بها 3 أمثلة.\n2026 هو العام.\n(main) هي الدالة!",
		"chinese": "我们 今天 来看 二叉树 的 搜索 算法 , 首先 写 代码 , 然后 运行 测试 。\n为什么 这个 函数 很 慢 ? 我们 用 Python 写 一个 。",
	} {
		t.Run(name, func(t *testing.T) {
			id := p.db.Video(t, p.course)
			want := asTold(p.transcribed(t, id, text))
			tab := chromium.Tab(t)
			if diff := cmp.Diff(want, p.loaded(t, tab, id)); diff != "" || len(want) < 2 {
				t.Fatalf("cues (-want +got):\n%s", diff)
			}

			seek := func(ms int64) []cue {
				var active []cue
				tab.Eval(fmt.Sprintf(`seek(%d / 1000).then(() => Array.from(track.track.activeCues, told))`, ms), &active)
				return active
			}
			if got := seek(0); len(got) != 0 {
				t.Errorf("before anything is said: %+v", got)
			}
			nothing := tab.Screenshot()
			for i, c := range want {
				if diff := cmp.Diff([]cue{c}, seek((c.Start+c.End)/2)); diff != "" {
					t.Errorf("in the middle of cue %d (-want +got):\n%s", i, diff)
				}
				picture := tab.Screenshot()
				if bytes.Equal(picture, nothing) {
					t.Errorf("nothing is to be seen of cue %d", i)
				}
				if err := os.WriteFile(filepath.Join(t.ArtifactDir(), fmt.Sprintf("%s-%d.png", name, i)), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}

	t.Run("empty", func(t *testing.T) {
		id := p.db.Video(t, p.course)
		p.transcribed(t, id, "")
		if got := p.loaded(t, chromium.Tab(t), id); len(got) != 0 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("none", func(t *testing.T) {
		tab := chromium.Tab(t)
		p.open(t, tab, p.db.Video(t, p.course))
		tab.Await("the captions have failed", fmt.Sprintf("track.readyState == %d", trackFailed))
	})
}

// TestCaptionsAreKept by the browser, which asks each time whether they are still the newest.
func TestCaptionsAreKept(t *testing.T) {
	t.Parallel()
	p := newPlayer(t)
	id := p.db.Video(t, p.course)
	tab := browser.New(t).Tab(t)

	first := asTold(p.transcribed(t, id, "The first."))
	for range 2 {
		if diff := cmp.Diff(first, p.loaded(t, tab, id)); diff != "" {
			t.Errorf("cues (-want +got):\n%s", diff)
		}
	}
	second := asTold(p.transcribed(t, id, "The second one."))
	if diff := cmp.Diff(second, p.loaded(t, tab, id)); diff != "" {
		t.Errorf("cues of the newer transcript (-want +got):\n%s", diff)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff([]int{http.StatusOK, http.StatusNotModified, http.StatusOK}, p.statuses); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// TestDirection measures where words stand in lines that are laid out as players lay out cues: each by the direction of its
// first character that has one.
func TestDirection(t *testing.T) {
	t.Parallel()
	words := func(text string) (words []captions.Word) {
		for i, w := range strings.Fields(text) {
			words = append(words, captions.Word{Text: w, Start: float64(i), End: float64(i) + 0.9})
		}
		return words
	}
	tab := browser.New(t).Tab(t)
	tab.Open("about:blank")
	tab.Eval(`document.body.innerHTML = '<div style="unicode-bidi: plaintext; white-space: pre; width: 900px; font: 20px sans-serif"></div>'`, nil)
	// order is the words of a line, from left to right as they are seen.
	order := func(line string) (seen []string) {
		encoded, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		tab.Eval(`(line => {
			const text = document.querySelector("div").appendChild(new Text(line)), words = []
			for (const m of line.matchAll(/[\p{L}\p{M}\p{N}]+/gu)) {
				const range = document.createRange()
				range.setStart(text, m.index)
				range.setEnd(text, m.index + m[0].length)
				words.push([range.getBoundingClientRect().left, m[0]])
			}
			text.remove()
			return words.sort((a, b) => a[0] - b[0]).map(w => w[1])
		})(`+string(encoded)+`)`, &seen)
		return seen
	}
	for text, rightToLeft := range map[string]bool{
		"مرحباً بكم جميعاً.":      true,
		"Python هي لغة سهلة.":     true,
		"2026 هو العام الجديد.":   true,
		"(main) هي دالة مهمة!":    true,
		"HTML היא שפה טובה.":      true,
		"We say مرحباً to all.":   false,
		"مرحباً means hello here": false,
	} {
		cues := captions.Cut(words(text))
		if len(cues) != 1 || len(cues[0].Lines) != 1 {
			t.Fatalf("%q: %+v", text, cues)
		}
		want := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" .()!", r) })
		if rightToLeft {
			slices.Reverse(want)
		}
		if diff := cmp.Diff(want, order(cues[0].Lines[0])); diff != "" {
			t.Errorf("%q from left to right (-want +got):\n%s", text, diff)
		}
	}
	if diff := cmp.Diff([]string{"Python", "سهلة", "لغة", "هي"}, order("Python هي لغة سهلة.")); diff != "" {
		t.Errorf("a line without a mark no longer needs one (-want +got):\n%s", diff)
	}
}
