package starter_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/starter"
)

// TestAttacks sends to every operation what an attacker would. Nothing of it has an effect, no answer is our fault, and
// none says anything of another lecturer's video, not even whether it exists to somebody who has no token.
func TestAttacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim := w.db.User(t, "lecturer")
	w.db.Exec(t, `update public.users set email = 'the.victim@example.org' where id = $1`, victim)
	course := w.db.CourseOf(t, victim)
	video := w.db.Video(t, course)
	w.db.Exec(t, `update public.videos set title = 'The victim''s title', description = 'The victim''s words',
		camera_video_url = 'https://victim.example.org/raw.mp4' where id = $1`, video.String())
	before := w.text(`select string_agg(v::text, E'\n' order by id) from public.videos v`)

	token := func(c jwt.MapClaims) string { return "Bearer " + sign(t, jwt.SigningMethodHS256, []byte(secret), c) }
	mine := claims(w.lecturer, starter.Lecturer)
	type attack struct {
		authorization string
		headers       []string
		body          any // in place of the operation's own
		id            string
		statuses      []int
	}
	attacks := map[string]attack{
		"no token":            {statuses: []int{401}},
		"forged":              {authorization: "Bearer " + sign(t, jwt.SigningMethodHS256, []byte("guessed"), claims(victim, starter.Admin)), statuses: []int{401}},
		"alg none":            {authorization: "Bearer " + sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(victim, starter.Admin)), statuses: []int{401}},
		"expired":             {authorization: token(with(claims(victim, starter.Lecturer), "exp", time.Now().Add(-time.Minute).Unix())), statuses: []int{401}},
		"wrong audience":      {authorization: token(with(claims(victim, starter.Lecturer), "aud", "another-api")), statuses: []int{401}},
		"wrong issuer":        {authorization: token(with(claims(victim, starter.Lecturer), "iss", "another")), statuses: []int{401}},
		"refresh token":       {authorization: token(with(claims(victim, starter.Lecturer), "token_type", "refresh")), statuses: []int{401}},
		"a student":           {authorization: token(claims(victim, starter.Student)), statuses: []int{403}},
		"another lecturer":    {authorization: token(mine), statuses: []int{403}},
		"cookie from afar":    {headers: []string{"Cookie", "access_token=" + strings.TrimPrefix(token(claims(victim, starter.Lecturer)), "Bearer "), "Origin", "https://evil.example"}, statuses: []int{403}},
		"climbing id":         {authorization: token(mine), id: "..%2f..%2f" + video.String(), statuses: []int{404, 405, 422}},
		"climbing, unescaped": {authorization: token(mine), id: "../" + video.String(), statuses: []int{404, 405, 422}},
		"id with a NUL":       {authorization: token(mine), id: video.String() + "%00", statuses: []int{422}},
		"id with SQL":         {authorization: token(mine), id: "x'%20or%20'1'='1", statuses: []int{422}},
		"id in braces":        {authorization: token(mine), id: "%7B" + video.String() + "%7D", statuses: []int{422}},
		"deep body":           {authorization: token(mine), body: strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), statuses: []int{400, 403, 404, 422}},
		"deep list":           {authorization: token(mine), body: strings.Repeat("[", 30_000), statuses: []int{400, 403, 404, 422}},
		"huge body":           {authorization: token(mine), body: `{"x":"` + strings.Repeat("x", 20<<20) + `"}`, statuses: []int{403, 413}},
		"header of two lines": {
			authorization: token(mine), headers: []string{"Idempotency-Key", "a b", "X-Request-Id", "x: y", "Origin", "https://evil.example"},
			statuses: []int{403, 422},
		},
		"another method": {authorization: token(mine), headers: []string{"X-HTTP-Method-Override", "DELETE", "X-Method-Override", "DELETE"}, statuses: []int{403}},
	}
	operations := []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/api/courses/{course}/videos", body()},
		{http.MethodGet, "/api/courses/{course}/pipeline", nil},
		{http.MethodGet, "/api/videos/{video}/pipeline", nil},
		{http.MethodGet, "/api/courses/{course}/events", nil},
		{http.MethodGet, "/api/videos/{video}/events", nil},
		{http.MethodPut, "/api/videos/{video}/transcription", transcript},
		{http.MethodPost, "/api/videos/{video}/transcription/retry", nil},
		{http.MethodDelete, "/api/videos/{video}", nil},
		{http.MethodDelete, "/api/videos/{video}/pipeline", nil},
	}
	for name, a := range attacks {
		for _, o := range operations {
			t.Run(name+"/"+o.method+strings.ReplaceAll(o.path, "/", "_"), func(t *testing.T) {
				ids := strings.NewReplacer("{course}", course, "{video}", video.String())
				if a.id != "" {
					ids = strings.NewReplacer("{course}", a.id, "{video}", a.id)
				}
				sent := o.body
				if a.body != nil {
					if o.body == nil {
						t.Skip("it takes no body")
					}
					sent = a.body
				}
				headers := a.headers
				if a.authorization != "" {
					headers = append([]string{"Authorization", a.authorization}, headers...)
				}
				got := w.call(o.method, ids.Replace(o.path), "", sent, headers...)
				known := false
				for _, status := range a.statuses {
					known = known || got.status == status
				}
				if !known {
					t.Errorf("status %d, want one of %v: %s", got.status, a.statuses, got.body)
				}
				got.expect(t, got.status)
				said := string(got.body) + fmt.Sprint(got.header)
				for _, secret := range []string{"victim", victim} {
					if strings.Contains(said, secret) {
						t.Errorf("the answer says %q: %s", secret, said)
					}
				}
			})
		}
	}

	// A flood of them is cut short; see TestRateLimit.
	if after := w.text(`select string_agg(v::text, E'\n' order by id) from public.videos v`); after != before {
		t.Errorf("the table was changed, from\n%s\nto\n%s", before, after)
	}
	equal(t, "intents", w.intents(), 0)
	equal(t, "records", len(w.publisher.records), 0)
}

// TestExistenceIsNotTold to those who have no token: what is there and what is not are answered alike, to the byte.
func TestExistenceIsNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	there, nowhere := w.db.Video(t, w.course), contract.VideoID(uuid.NewString())
	var answers []string
	for _, id := range []contract.VideoID{there, nowhere} {
		a := w.call(http.MethodGet, pipelineOf(id), "", nil).expect(t, http.StatusUnauthorized)
		answers = append(answers, strings.ReplaceAll(string(a.body), a.header.Get("X-Request-Id"), "id"))
	}
	equal(t, "answer", answers[0], answers[1])
}

// TestRawRequests are those that no client library would send.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.db.Video(t, w.course)
	head := func(path string, headers ...string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: example.org\r\nAuthorization: Bearer " + w.owner() + "\r\n" +
			"Content-Type: application/json\r\nConnection: close\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
	}
	t.Run("requests", func(t *testing.T) {
		for name, c := range map[string]struct {
			request string
			status  string
		}{
			"slow body":             {head(w.videosPath(), "Content-Length: 500") + `{"title":`, "408"}, // and then nothing
			"slow transcript retry": {head("/api/videos/"+id.String()+"/transcription/retry", "Content-Length: 500") + `{`, "408"},
			"two lengths":           {head(w.videosPath(), "Content-Length: 5", "Content-Length: 6") + `{"a":1}`, "400"},
			"length and chunks":     {head(w.videosPath(), "Content-Length: 7", "Transfer-Encoding: chunked") + "0\r\n\r\n", "4"},
			"chunk that is none":    {head(w.videosPath(), "Transfer-Encoding: chunked") + "zz\r\n{}\r\n0\r\n\r\n", "400"},
			"header with a NUL":     {head(w.videosPath(), "Idempotency-Key: a\x00b", "Content-Length: 2") + "{}", "400"},
			"header split in two":   {head(w.videosPath(), "Idempotency-Key: a\r\n b: c", "Content-Length: 2") + "{}", "4"},
			"path split in two":     {head("/api/health\r\nX-Injected: 1", "Content-Length: 2") + "{}", "400"},
			"huge header":           {head(w.videosPath(), "X-Huge: "+strings.Repeat("x", 2<<20), "Content-Length: 2") + "{}", "431"},
			"no HTTP":               {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", "400"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.server.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
					t.Fatal(err)
				}
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = io.WriteString(conn, c.request) // what is refused on the way is not read to the end
				}()
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				said, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				<-sent
				if !strings.HasPrefix(res.Status, c.status) || res.Header.Get("X-Injected") != "" {
					t.Errorf("status %s, want %s: %s", res.Status, c.status, said)
				}
				if word := leaked(string(said), c.request); word != "" {
					t.Errorf("the answer says %q: %s", word, said)
				}
			})
		}
	})
	equal(t, "intents", w.intents(), 0)
}
